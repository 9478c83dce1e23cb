/* Errors are put by, a few a minute; a crash says where. */
#include "../../lib/sentry.c"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <cmocka.h>

static char dir[] = "/tmp/selliko-test-sentry-XXXXXX";
static char spool[128];

static int
group_setup(void **state)
{
    char run[64];
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(run, sizeof run, "%s/run", dir);
    snprintf(spool, sizeof spool, "%s/" SENTRY_SPOOL, dir);
    return mkdir(run, 0700);
}

static int
group_teardown(void **state)
{
    char run[64];
    (void)state;
    snprintf(run, sizeof run, "%s/run", dir);
    unlink(spool);
    rmdir(run);
    return rmdir(dir);
}

static int
empty(void **state)
{
    (void)state;
    log_tap(NULL);
    path[0] = '\0';
    unlink(spool);
    return 0;
}

static const char *
put_by_now(void)
{
    static char text[65536];
    int fd = open(spool, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

/* What a child does, and how it ended. */
static int
in_child(void (*work)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        log_open("bids", "error");
        sentry_open("https://k@example.org/1", dir, "bids");
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDERR_FILENO);
        work();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void
log_some(void)
{
    log_context("f00d", "POST /bids");
    log_warn("not this one");
    for (int i = 0; i < 50; i++)
        log_error("request failed", log_i("status", 500));
}

static void
errors_are_put_by_a_few_a_minute(void **state)
{
    (void)state;
    int n = 0;
    assert_int_equal(in_child(log_some), 0);
    for (const char *s = put_by_now(); (s = strchr(s, '\n')) != NULL; s++)
        n++;
    assert_in_range(n, LINES_A_MINUTE, 2 * LINES_A_MINUTE);   /* the minute may have turned */
    assert_non_null(strstr(put_by_now(), "\"requestId\":\"f00d\",\"route\":\"POST /bids\",\"status\":500}\n"));
    assert_null(strstr(put_by_now(), "not this one"));
}

static void
crash(void)
{
    log_context("f00d", "POST /bids");
    raise(SIGSEGV);
}

static void
assert_fails(void)
{
    abort();
}

static void
a_crash_says_where_and_is_one_all_the_same(void **state)
{
    (void)state;
    int status = in_child(crash);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_non_null(strstr(put_by_now(), "\"level\":\"fatal\",\"program\":\"bids\",\"message\":\"crashed\",\"signal\":\"SIGSEGV\","
                                         "\"requestId\":\"f00d\",\"route\":\"POST /bids\",\"frames\":["));
    assert_non_null(strstr(put_by_now(), "\"bids+0x"));
    empty(NULL);
    status = in_child(assert_fails);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(put_by_now(), "\"signal\":\"SIGABRT\",\"frames\":["));
}

static void
the_file_has_a_bound(void **state)
{
    (void)state;
    FILE *f = fopen(spool, "we");
    assert_non_null(f);
    for (int i = 0; i < SENTRY_SPOOL_MAX / 8; i++)
        fputs("1234567\n", f);
    fclose(f);
    assert_int_equal(in_child(log_some), 0);
    struct stat st;
    assert_int_equal(stat(spool, &st), 0);
    assert_int_equal(st.st_size, SENTRY_SPOOL_MAX);
}

static void
without_a_dsn_nothing_is_put_by(void **state)
{
    (void)state;
    sentry_open(NULL, dir, "bids");
    assert_int_equal(path[0], '\0');
    assert_string_equal(put_by_now(), "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_dsn_nothing_is_put_by, empty),
        cmocka_unit_test_setup(errors_are_put_by_a_few_a_minute, empty),
        cmocka_unit_test_setup(a_crash_says_where_and_is_one_all_the_same, empty),
        cmocka_unit_test_setup(the_file_has_a_bound, empty),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
