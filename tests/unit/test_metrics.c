/* Figures are the sum over all processes, and outlive them. */
#include "../../lib/metrics.c"

#include <setjmp.h>
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
every_name_of_the_guide_is_there_once(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "api_requests_total counter", "api_request_duration_seconds histogram", "active_users_total gauge", "active_listings_total gauge",
        "bids_placed_total counter", "orders_completed_total counter", "whatsapp_messages_sent_total counter", "file_uploads_total counter",
    };
    metrics_add(METRICS_BIDS_PLACED, 3);
    metrics_add(METRICS_BIDS_PLACED, 1);
    assert_renders("bids_placed_total 4");
    assert_renders("file_uploads_total 0");
    metrics_gauge(collect, NULL, METRICS_ACTIVE_USERS, 7);
    metrics_gauge(collect, NULL, METRICS_ACTIVE_LISTINGS, 0);
    assert_non_null(strstr(rendered, "\nactive_users_total 7\n"));
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
        cmocka_unit_test_setup_teardown(every_name_of_the_guide_is_there_once, fresh, closed),
        cmocka_unit_test_setup_teardown(many_processes_count_into_one_figure_and_leave_it, fresh, closed),
        cmocka_unit_test_setup_teardown(a_place_whose_maker_died_is_not_shown_but_found, fresh, closed),
        cmocka_unit_test_setup_teardown(a_file_of_another_version_is_replaced, fresh, closed),
        cmocka_unit_test_setup_teardown(a_full_table_harms_nobody, fresh, closed),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
