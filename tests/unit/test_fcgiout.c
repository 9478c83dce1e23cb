/* An answer of any size arrives whole, in records that end; who does not read is told of, and no signal kills us. */
#include "../../lib/fcgiout.c"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

struct reader { int fd; uint8_t *bytes; size_t len, cap; };

static void *
read_all(void *arg)
{
    struct reader *r = arg;
    ssize_t n;
    while (r->len < r->cap && (n = read(r->fd, r->bytes + r->len, r->cap - r->len)) > 0)
        r->len += (size_t)n;
    return NULL;
}

/* What a web server makes of the records: the content of STDOUT; every record is checked. */
static size_t
unpack(const struct reader *r, int request_id, char *out)
{
    size_t at = 0, len = 0;
    int type = 0;
    while (at < r->len) {
        const uint8_t *h = r->bytes + at;
        assert_true(r->len - at >= HEADER);
        assert_int_equal(h[0], 1);
        assert_int_equal(h[2] << 8 | h[3], request_id);
        size_t content = (size_t)(h[4] << 8 | h[5]);
        type = h[1];
        at += HEADER + content + h[6];
        assert_true(at <= r->len);
        if (type == STDOUT) {
            memcpy(out + len, h + HEADER, content);
            len += content;
        } else {
            assert_int_equal(type, END_REQUEST);
            assert_int_equal(content, 8);
            assert_memory_equal(h + HEADER, "\0\0\0\0\0\0\0\0", 8);
        }
    }
    assert_int_equal(type, END_REQUEST);
    return len;
}

static void
an_answer_arrives_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 8191, 65527, 65528, 65529, 131056, 1000003 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        char *body = malloc(size + 1), *got = malloc(size + 100);
        int pair[2];
        pthread_t thread;
        for (size_t k = 0; k < size; k++)
            body[k] = (char)(k * 7 + k / 251);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        struct reader r = { .fd = pair[1], .bytes = malloc(2 * size + 1000), .cap = 2 * size + 1000 };
        pthread_create(&thread, NULL, read_all, &r);
        assert_true(fcgiout_send(pair[0], 258, "Status: 200 OK\r\n\r\n", 18, body, size));
        close(pair[0]);
        pthread_join(thread, NULL);
        assert_int_equal(unpack(&r, 258, got), 18 + size);
        assert_memory_equal(got, "Status: 200 OK\r\n\r\n", 18);
        assert_memory_equal(got + 18, body, size);
        close(pair[1]);
        free(r.bytes);
        free(body);
        free(got);
    }
}

static void
a_web_server_that_is_gone_or_does_not_read_is_told_of(void **state)
{
    (void)state;
    static char body[4 << 20];
    int pair[2];
    signal(SIGPIPE, SIG_IGN);   /* as the programs do */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct timeval patience = { .tv_usec = 50000 };
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    assert_false(fcgiout_send(pair[0], 1, "x\r\n\r\n", 5, body, sizeof body));
    close(pair[1]);
    assert_false(fcgiout_send(pair[0], 1, "x\r\n\r\n", 5, body, 10));
    close(pair[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_arrives_whole),
        cmocka_unit_test(a_web_server_that_is_gone_or_does_not_read_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
