/* Figures are the sum over all processes, and outlive them. */
#include "../../lib/metrics.c"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <cmocka.h>

static char dir[] = "/tmp/selliko-test-metrics-XXXXXX";
static char run[64], shm[96];

static char rendered[2 * 1024 * 1024];
static size_t rendered_len;

static void
collect(void *ctx, const char *s, size_t len)
{
    (void)ctx;
    assert_true(rendered_len + len < sizeof rendered);
    memcpy(rendered + rendered_len, s, len);
    rendered_len += len;
    rendered[rendered_len] = '\0';
}

static const char *
render(void)
{
    rendered_len = 0;
    metrics_render(collect, NULL);
    return rendered;
}

#define assert_renders(line) assert_non_null(strstr(render(), "\n" line "\n"))

static int
group_setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(run, sizeof run, "%s/run", dir);
    snprintf(shm, sizeof shm, "%s/metrics.shm", run);
    return mkdir(run, 0700);
}

static int
group_teardown(void **state)
{
    (void)state;
    unlink(shm);
    rmdir(run);
    return rmdir(dir);
}

static int
fresh(void **state)
{
    (void)state;
    unlink(shm);
    return metrics_open(dir) ? 0 : -1;
}

static int
closed(void **state)
{
    (void)state;
    if (all != &private_memory)
        munmap(all, sizeof *all);
    all = &private_memory;
    return 0;
}

static void
requests_are_counted_by_status_and_time(void **state)
{
    (void)state;
    struct metrics_route *r = metrics_route("bids", "/listings/{uuid}", "GET");
    assert_ptr_equal(metrics_route("bids", "/listings/{uuid}", "GET"), r);
    assert_ptr_not_equal(metrics_route("bids", "/listings/{uuid}", "PUT"), r);
    metrics_request(r, 200, 400000);
    metrics_request(r, 200, 500000);
    metrics_request(r, 200, 500001);
    metrics_request(r, 404, 30000000000);
#define LABELS "program=\"bids\",route=\"/listings/{uuid}\",method=\"GET\""
    assert_renders("api_requests_total{" LABELS ",status=\"200\"} 3");
    assert_renders("api_requests_total{" LABELS ",status=\"404\"} 1");
    assert_renders("api_request_duration_seconds_bucket{" LABELS ",le=\"0.0005\"} 2");
    assert_renders("api_request_duration_seconds_bucket{" LABELS ",le=\"0.001\"} 3");
    assert_renders("api_request_duration_seconds_bucket{" LABELS ",le=\"10\"} 3");
    assert_renders("api_request_duration_seconds_bucket{" LABELS ",le=\"+Inf\"} 4");
    assert_renders("api_request_duration_seconds_sum{" LABELS "} 30.001400001");
    assert_renders("api_request_duration_seconds_count{" LABELS "} 4");
}

static void
every_name_that_is_counted_is_there_once(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "api_requests_total counter", "api_request_duration_seconds histogram",
        "bids_placed_total counter", "orders_completed_total counter", "whatsapp_messages_sent_total counter", "file_uploads_total counter",
    };
    metrics_add(METRICS_BIDS_PLACED, 3);
    metrics_add(METRICS_BIDS_PLACED, 1);
    assert_renders("bids_placed_total 4");
    assert_renders("file_uploads_total 0");
    metrics_value(collect, NULL, "x_info", "What it is.", "version=\"1\"", "1");
    assert_non_null(strstr(rendered, "\n# HELP x_info What it is.\n# TYPE x_info gauge\nx_info{version=\"1\"} 1\n"));
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char line[96];
        snprintf(line, sizeof line, "# TYPE %s\n", expected[i]);
        const char *at = strstr(rendered, line);
        assert_non_null(at);
        assert_null(strstr(at + 1, line));
    }
}

static void
many_processes_count_into_one_figure_and_leave_it(void **state)
{
    (void)state;
    for (int p = 0; p < 4; p++)
        if (fork() == 0) {
            closed(NULL);
            if (!metrics_open(dir))
                _exit(1);
            struct metrics_route *r = metrics_route("bids", "/bids", "POST");
            for (int i = 0; i < 10000; i++) {
                metrics_request(r, 201 + i % 3, 1000);
                metrics_add(METRICS_BIDS_PLACED, 1);
            }
            _exit(0);
        }
    for (int p = 0; p < 4; p++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_renders("bids_placed_total 40000");
    assert_renders("api_request_duration_seconds_count{program=\"bids\",route=\"/bids\",method=\"POST\"} 40000");
    assert_renders("api_requests_total{program=\"bids\",route=\"/bids\",method=\"POST\",status=\"203\"} 13332");

    closed(NULL);   /* a restart */
    assert_true(metrics_open(dir));
    assert_renders("bids_placed_total 40000");
}

/* A process of PROGRAM with N requests in hand, as long as it lives. */
static pid_t
process(const char *program, int64_t n)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        closed(NULL);
        metrics_own_set(METRICS_THREADS, 16);   /* said before there is a place */
        if (!metrics_open(dir))
            _exit(1);
        metrics_process(program);
        metrics_own_add(METRICS_REQUESTS, n);
        metrics_own_set(METRICS_EVENTS_READ_MS, 1000 + n);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void
end_process(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void
figures_of_processes_go_with_them(void **state)
{
    (void)state;
    pid_t a = process("bids", 3), b = process("bids", 4), c = process("gateway", 5), d = process("gateway", 6);
    assert_renders("selliko_processes{program=\"bids\"} 2");
    assert_renders("selliko_requests_in_hand{program=\"bids\"} 7");
    assert_renders("selliko_threads{program=\"bids\"} 32");
    assert_renders("selliko_events_read_timestamp_seconds{program=\"gateway\"} 1.005");
    assert_null(strstr(render(), "selliko_gateway_clients{"));   /* nobody said it */
    end_process(a);
    assert_renders("selliko_processes{program=\"bids\"} 1");
    assert_renders("selliko_requests_in_hand{program=\"bids\"} 4");
    a = process("bids", 0);   /* takes the place that was left */
    assert_renders("selliko_requests_in_hand{program=\"bids\"} 4");
    end_process(a);
    end_process(b);
    end_process(c);
    end_process(d);
    assert_null(strstr(render(), "{program=\"bids\"}"));
    metrics_process("status");   /* one's own is seen as well */
    assert_renders("selliko_processes{program=\"status\"} 1");
}

static void
durations_of_all_programs_are_one_histogram(void **state)
{
    (void)state;
    metrics_observe(METRICS_PHOTO, 600000);
    metrics_observe(METRICS_PHOTO, 2000000000);
    assert_renders("selliko_photo_seconds_bucket{le=\"0.001\"} 1");
    assert_renders("selliko_photo_seconds_bucket{le=\"+Inf\"} 2");
    assert_renders("selliko_photo_seconds_sum 2.000600000");
    assert_renders("selliko_photo_seconds_count 2");
    assert_renders("selliko_db_round_trip_seconds_count 0");
}

static void
a_place_whose_maker_died_is_not_shown_but_found(void **state)
{
    (void)state;
    struct metrics_route *r = metrics_route("bids", "/half", "GET");
    metrics_request(r, 200, 1);
    atomic_store(&r->text[0], 0);   /* as if it had died before the first word */
    assert_null(strstr(render(), "/half"));
    assert_ptr_equal(metrics_route("bids", "/half", "GET"), r);
    assert_renders("api_requests_total{program=\"bids\",route=\"/half\",method=\"GET\",status=\"200\"} 1");
}

static void
a_file_of_another_version_is_replaced(void **state)
{
    (void)state;
    metrics_add(METRICS_BIDS_PLACED, 5);
    all->layout++;
    assert_true(metrics_open(dir));
    assert_renders("bids_placed_total 0");
    assert_int_equal(truncate(shm, 100), 0);
    closed(NULL);
    assert_true(metrics_open(dir));
    assert_renders("bids_placed_total 0");
}

static void
without_a_file_counting_goes_on_in_private(void **state)
{
    (void)state;
    assert_false(metrics_open("/nonexistent"));
    assert_int_equal(errno, ENOENT);
    metrics_add(METRICS_FILE_UPLOADS, 2);
    assert_renders("file_uploads_total 2");
}

static void
a_full_table_harms_nobody(void **state)
{
    (void)state;
    char route[300];
    for (int i = 0; i < ROUTES_MAX + 10; i++) {
        snprintf(route, sizeof route, "/r%d", i);
        metrics_request(metrics_route("p", route, "GET"), 200, 1);
    }
    assert_ptr_equal(metrics_route("p", route, "GET"), &not_rendered);
    memset(route, 'a', sizeof route - 1);
    route[sizeof route - 1] = '\0';
    assert_ptr_equal(metrics_route("p", route, "GET"), &not_rendered);
    for (int status = 100; status < 200; status++)
        metrics_request(metrics_route("p", "/r1", "GET"), status, 1);
    assert_renders("api_request_duration_seconds_count{program=\"p\",route=\"/r1\",method=\"GET\"} 101");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_counting_goes_on_in_private),
        cmocka_unit_test_setup_teardown(requests_are_counted_by_status_and_time, fresh, closed),
        cmocka_unit_test_setup_teardown(every_name_that_is_counted_is_there_once, fresh, closed),
        cmocka_unit_test_setup_teardown(many_processes_count_into_one_figure_and_leave_it, fresh, closed),
        cmocka_unit_test_setup_teardown(figures_of_processes_go_with_them, fresh, closed),
        cmocka_unit_test_setup_teardown(durations_of_all_programs_are_one_histogram, fresh, closed),
        cmocka_unit_test_setup_teardown(a_place_whose_maker_died_is_not_shown_but_found, fresh, closed),
        cmocka_unit_test_setup_teardown(a_file_of_another_version_is_replaced, fresh, closed),
        cmocka_unit_test_setup_teardown(a_full_table_harms_nobody, fresh, closed),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
