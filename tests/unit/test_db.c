/* Which statement is sent for which parameters; and, from a server of a few lines, what a failure is taken for at
 * moments that a real one seldom chooses. */
#include "../../lib/db.c"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void
an_optional_condition_stands_only_for_a_given_parameter(void **state)
{
    (void)state;
    char *none = variant_text("SELECT 1 WHERE true{?2 AND a = $2 ?}{?3 AND b = $3 ?} LIMIT $1", 2u);
    char *third = variant_text("SELECT 1 WHERE true{?2 AND a = $2 ?}{?3 AND b = $3 ?} LIMIT $1", 2u | 8u);
    assert_string_equal(none, "SELECT 1 WHERE true AND $2::text IS NULL AND $3::text IS NULL LIMIT $1");
    assert_string_equal(third, "SELECT 1 WHERE true AND $2::text IS NULL AND b = $3  LIMIT $1");
    free(none);
    free(third);
}

static void
the_same_parameters_give_the_same_statement(void **state)
{
    (void)state;
    static struct sql plain = { .name = "plain", .text = "SELECT $1" };
    static struct sql choice = { .name = "choice", .text = "SELECT 1 WHERE true{?1 AND x = $1 ?}{?2 AND y = $2 ?}" };
    const char *first[] = { "a", NULL }, *again[] = { "b", NULL }, *both[] = { "a", "b" };
    assert_ptr_equal(variant_of(&plain, first, 1), &plain);
    assert_ptr_equal(variant_of(&choice, first, 2), variant_of(&choice, again, 2));
    assert_ptr_not_equal(variant_of(&choice, first, 2), variant_of(&choice, both, 2));
    assert_int_not_equal(statement_id(variant_of(&choice, first, 2)), statement_id(variant_of(&choice, both, 2)));
}

static void
only_what_may_pass_by_itself_is_transient(void **state)
{
    (void)state;
    static const char *const passing[] = { "08006", "08001", "53300", "57P01", "57P02", "57P03", "57014", "40001", "40P01",
                                           "55P03", "25006", "58030", "26000", "42P05", "0A000", "25P02" };
    static const char *const lasting[] = { "00000", "23505", "42601", "22P02", "SK401", "XX000" };
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        assert_true(db_is_transient(passing[i]));
    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++)
        assert_false(db_is_transient(lasting[i]));
}

static void
without_a_server_a_statement_fails_and_says_so(void **state)
{
    (void)state;
    static struct sql one = { .name = "one", .text = "SELECT 1" };
    struct arena *a = arena_new();
    db_init("host=/nonexistent dbname=none", "test", 1, 5);
    struct db *db = db_open();
    assert_null(db_run(db, a, one));
    assert_string_equal(db_sqlstate(db), "08001");
    assert_false(db_command(db, "SELECT 1"));
    db_close(db);
    db_close(NULL);
    arena_free(a);
}

/* ---- a server ---- */

/* One connection after another.  The settings are always answered, the keys unless it LEAVES there, and a pipeline
 * with the error STATE, or without any. */
static struct { char folder[40]; pid_t pid; } server;

static bool
reads(int fd, void *buf, size_t n)
{
    return n == 0 || recv(fd, buf, n, MSG_WAITALL) == (ssize_t)n;   /* (for none at all it would wait, too) */
}

/* A message of the client: its type, 0 at the end.  What it says is not looked at. */
static char
read_message(int fd, bool typed)
{
    char type = 'S', rest[4096];
    uint32_t len;
    if ((typed && !reads(fd, &type, 1)) || !reads(fd, &len, 4) || ntohl(len) > sizeof rest || !reads(fd, rest, ntohl(len) - 4))
        return 0;
    return type;
}

static void
say(int fd, char type, const void *what, size_t n)
{
    char message[200] = { type };
    uint32_t len = htonl((uint32_t)n + 4);
    memcpy(message + 1, &len, 4);
    memcpy(message + 5, what, n);
    (void)send(fd, message, n + 5, MSG_NOSIGNAL);
}

static void
talk(int fd, bool leaves, const char *state)
{
    int queries = 0;
    (void)read_message(fd, false);
    say(fd, 'R', "\0\0\0\0", 4);
    say(fd, 'Z', "I", 1);
    for (char type; (type = read_message(fd, true)) != 0;) {
        if (type == 'Q') {
            if (++queries == 2 && leaves)
                return;
            say(fd, 'T', "\0\0", 2);
            say(fd, 'C', "SELECT 0", 9);
            say(fd, 'Z', "I", 1);
        } else if (type == 'S') {
            char error[40];
            int n = snprintf(error, sizeof error, "SERROR%cC%s%cMno%c", 0, state, 0, 0);
            say(fd, 'E', error, (size_t)n + 1);
            say(fd, 'Z', "I", 1);
        }
    }
}

static void
server_start(bool leaves, const char *state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    static char url[80];   /* which db_init keeps */
    snprintf(server.folder, sizeof server.folder, "/tmp/selliko-test-db-XXXXXX");
    assert_non_null(mkdtemp(server.folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", server.folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 5), 0);
    server.pid = fork();
    if (server.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int client; (client = accept(fd, NULL, NULL)) >= 0; close(client))
            talk(client, leaves, state);
        _exit(1);
    }
    close(fd);
    snprintf(url, sizeof url, "host=%s user=u dbname=d", server.folder);
    db_init(url, "test", 1, 5);
}

static void
server_stop(void)
{
    char path[80];
    kill(server.pid, SIGKILL);
    waitpid(server.pid, NULL, 0);
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", server.folder);
    unlink(path);
    rmdir(server.folder);
}

static void
a_connection_that_is_lost_while_its_keys_are_read_is_no_connection(void **state)
{
    (void)state;
    static struct sql one = { .name = "one", .text = "SELECT 1" };
    struct arena *a = arena_new();
    server_start(true, "");
    struct db *db = db_open();
    static const char *const before[] = { "00000", "SK401", "23505" };   /* nothing of it speaks for the failure of now */
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        memcpy(db->sqlstate, before[i], 6);
        assert_null(db_run(db, a, one));
        assert_null(db->conn);
        assert_string_equal(db_sqlstate(db), "08006");
    }
    db_close(db);
    server_stop();
    arena_free(a);
}

static void
after_an_error_the_connection_is_kept_unless_its_session_is_not_as_believed(void **state)
{
    (void)state;
    static struct sql one = { .name = "one", .text = "SELECT 1" };
    static const struct { const char *state; bool kept; } cases[] = {
        { "23505", true }, { "40P01", true }, { "SK401", true },
        { "26000", false }, { "42P05", false }, { "0A000", false }, { "25P02", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *a = arena_new();
        server_start(false, cases[i].state);
        struct db *db = db_open();
        assert_null(db_run(db, a, one));
        assert_string_equal(db_sqlstate(db), cases[i].state);
        assert_int_equal(db->conn != NULL, cases[i].kept);
        assert_null(db_run(db, a, one));   /* and goes on, over a new one where need be */
        assert_string_equal(db_sqlstate(db), cases[i].state);
        db_close(db);
        server_stop();
        arena_free(a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_optional_condition_stands_only_for_a_given_parameter),
        cmocka_unit_test(the_same_parameters_give_the_same_statement),
        cmocka_unit_test(only_what_may_pass_by_itself_is_transient),
        cmocka_unit_test(without_a_server_a_statement_fails_and_says_so),
        cmocka_unit_test(a_connection_that_is_lost_while_its_keys_are_read_is_no_connection),
        cmocka_unit_test(after_an_error_the_connection_is_kept_unless_its_session_is_not_as_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
