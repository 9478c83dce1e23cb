/* What Engine.IO packets mean, and the plain modules beneath: codec, frame, table, lapse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../realtime/codec.c"
#include "../../realtime/enginepacket.c"
#include "../../realtime/frame.c"
#include "../../realtime/lapse.c"
#include "../../realtime/must.c"
#include "../../realtime/table.c"

#define TEXT(s) s, sizeof(s) - 1

/* -- packets ------------------------------------------------------------------------------------ */

static void
a_websocket_message_is_a_type_and_data(void **state)
{
    struct enginepacket p;

    (void)state;
    assert_true(enginepacket_decode(TEXT("4hello"), &p));
    assert_int_equal(p.type, ENGINEPACKET_MESSAGE);
    assert_int_equal(p.len, 5);
    assert_memory_equal(p.data, "hello", 5);
    assert_false(p.base64);
    assert_true(enginepacket_decode(TEXT("2probe"), &p));
    assert_int_equal(p.type, ENGINEPACKET_PING);
    assert_true(enginepacket_decode(TEXT("3"), &p));
    assert_int_equal(p.type, ENGINEPACKET_PONG);
    assert_int_equal(p.len, 0);
    assert_false(enginepacket_decode(TEXT(""), &p));
    assert_false(enginepacket_decode(TEXT("abc"), &p));
    assert_false(enginepacket_decode(TEXT("7"), &p));
    assert_false(enginepacket_decode(TEXT("bAQID"), &p));
}

static void
a_body_holds_several_packets(void **state)
{
    static const char          body[] = "4hello\x1e" "bAQIDBA==\x1e" "4";
    struct enginepacket_reader r = {body, body + sizeof(body) - 1};
    struct enginepacket        p;

    (void)state;
    assert_int_equal(enginepacket_next(&r, &p), 1);
    assert_int_equal(p.len, 5);
    assert_int_equal(enginepacket_next(&r, &p), 1);
    assert_true(p.base64);
    assert_int_equal(p.type, ENGINEPACKET_MESSAGE);
    assert_memory_equal(p.data, "AQIDBA==", 8);
    assert_int_equal(enginepacket_next(&r, &p), 1);
    assert_int_equal(p.len, 0);
    assert_int_equal(enginepacket_next(&r, &p), 0);
    assert_int_equal(enginepacket_next(&r, &p), 0);
}

static int
last_of(const char *body, size_t len)
{
    struct enginepacket_reader r = {body, body + len};
    struct enginepacket        p;
    int                        result;

    while ((result = enginepacket_next(&r, &p)) > 0)
        ;
    return result;
}

static void
an_empty_packet_in_a_body_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(last_of(TEXT("")), -1);
    assert_int_equal(last_of(TEXT("4a\x1e")), -1);
    assert_int_equal(last_of(TEXT("\x1e" "4a")), -1);
    assert_int_equal(last_of(TEXT("4a\x1e\x1e" "4b")), -1);
    assert_int_equal(last_of(TEXT("4a\x1exyz")), -1);
    assert_int_equal(last_of(TEXT("4a\x1e" "4b")), 0);
}

/* -- codec -------------------------------------------------------------------------------------- */

static void
base64_of_rfc_4648_both_ways(void **state)
{
    static const char *const pairs[][2] = {{"", ""},         {"f", "Zg=="},     {"fo", "Zm8="},
                                           {"foo", "Zm9v"},  {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    char                     out[32];
    size_t                   len;

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        size_t n = strlen(pairs[i][0]), m = strlen(pairs[i][1]);
        assert_int_equal(codec_base64_encode(out, pairs[i][0], n), m);
        assert_int_equal(CODEC_BASE64_LEN(n), m);
        assert_memory_equal(out, pairs[i][1], m);
        assert_true(codec_base64_decode(out, &len, pairs[i][1], m));
        assert_int_equal(len, n);
        assert_memory_equal(out, pairs[i][0], n);
        while (m && pairs[i][1][m - 1] == '=') /* unpadded, too */
            m--;
        assert_true(codec_base64_decode(out, &len, pairs[i][1], m));
        assert_int_equal(len, n);
    }
}

static void
base64_that_means_nothing_is_refused(void **state)
{
    static const char *const bad[] = {"Z",     "Zg=",   "Zh==",  "Zm9=", "====", "=",
                                      "Zm9v=", "Zm 9v", "Zm9v\n", "Zg==Zg==", "-_-_", "Zm9vY==="};
    char                     out[32];
    size_t                   len;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(codec_base64_decode(out, &len, bad[i], strlen(bad[i])));
}

static void
utf8_is_told_from_what_only_looks_like_it(void **state)
{
    static const char *const good[] = {"", "plain ascii, longer than eight", "\xc3\xa9", "\xe2\x82\xac",
                                       "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                                       "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "12345678\xc3\xa9"};
    static const char *const bad[] = {"\x80", "\xc3", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf",
                                      "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82",
                                      "\xc3(", "1234567\xc3", "\xf0\x9f\x98"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(codec_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(codec_utf8_valid(bad[i], strlen(bad[i])));
    assert_true(codec_utf8_valid("a\0b", 3));
}

/* -- frames, tables, lapses --------------------------------------------------------------------- */

static void
a_frame_lives_as_long_as_somebody_waits_for_it(void **state)
{
    struct frame_queue a = {0}, b = {0};
    struct frame      *f = frame_new(3, false), *g = frame_new(5, true);

    (void)state;
    memcpy(f->data, "4hi", 3);
    for (int i = 0; i < 100; i++) {
        frame_queue_push(&a, f);
        frame_queue_push(&b, i & 1 ? f : g);
    }
    frame_unref(f);
    frame_unref(g);
    assert_int_equal(a.bytes, 300);
    assert_int_equal(b.bytes, 50 * 3 + 50 * 5);
    assert_int_equal(f->refs, 150);
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(frame_queue_first(&b), i & 1 ? f : g);
        frame_unref(frame_queue_pop(&b));
    }
    assert_null(frame_queue_pop(&b));
    assert_null(b.ring);
    assert_int_equal(f->refs, 100);
    frame_queue_end(&a);
    assert_int_equal(a.bytes, 0);
}

struct word {
    struct table_node node;
    char              text[16];
};

static void
remove_odd(struct table_node *node, void *arg)
{
    struct word *w = TABLE_OWNER(node, struct word, node);

    if (w->text[strlen(w->text) - 1] & 1)
        table_remove(arg, node);
}

static void
a_table_finds_what_is_in_it(void **state)
{
    enum { N = 5000 };
    struct table t = {0};
    struct word *words = must_alloc(N * sizeof(*words));

    (void)state;
    assert_null(table_find(&t, "w0", 2));
    for (int i = 0; i < N; i++) {
        snprintf(words[i].text, sizeof(words[i].text), "w%d", i);
        table_add(&t, &words[i].node, words[i].text, strlen(words[i].text));
    }
    for (int i = 0; i < N; i++)
        assert_ptr_equal(table_find(&t, words[i].text, strlen(words[i].text)), &words[i].node);
    assert_null(table_find(&t, "w", 1));
    assert_null(table_find(&t, "w5000", 5));
    table_each(&t, remove_odd, &t);
    assert_int_equal(t.n, N / 2);
    for (int i = 0; i < N; i++)
        assert_int_equal(!table_find(&t, words[i].text, strlen(words[i].text)), i & 1);
    for (int i = 0; i < N; i += 2)
        table_remove(&t, &words[i].node);
    assert_int_equal(t.n, 0);
    table_each(&t, remove_odd, &t);
    assert_true(t.n_buckets <= 64);
    table_end(&t);
    free(words);
}

static struct lapse_node *came_due[8];
static int                n_due;

static void
note_due(struct lapse_queue *q, struct lapse_node *node)
{
    came_due[n_due++] = node;
    if (n_due == 3)
        ev_break(q->loop, EVBREAK_ALL);
}

static void
deadlines_come_in_order_and_not_early(void **state)
{
    struct ev_loop    *loop = ev_loop_new(0);
    struct lapse_queue q;
    struct lapse_node  a = {0}, b = {0}, c = {0}, d = {0};
    int64_t            begin_us = clock_us();

    (void)state;
    n_due = 0;
    lapse_begin(&q, loop, 40, note_due, NULL);
    lapse_add(&q, &a, begin_us);
    lapse_add(&q, &b, begin_us - 20000); /* began to wait before a, though added after it */
    lapse_add(&q, &c, begin_us);
    lapse_add(&q, &d, begin_us);
    lapse_remove(&c);
    ev_run(loop, 0);
    assert_ptr_equal(came_due[0], &b);
    assert_ptr_equal(came_due[1], &a);
    assert_ptr_equal(came_due[2], &d);
    assert_true(clock_us() - begin_us >= 40000);
    assert_null(q.head);
    lapse_add(&q, &a, clock_us());
    lapse_end(&q);
    assert_null(a.queue);
    ev_loop_destroy(loop);
}

static void
ids_are_long_and_differ(void **state)
{
    char a[MUST_ID_LEN + 1], b[MUST_ID_LEN + 1];

    (void)state;
    must_id(a);
    must_id(b);
    assert_int_equal(strlen(a), MUST_ID_LEN);
    assert_string_not_equal(a, b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_websocket_message_is_a_type_and_data),
        cmocka_unit_test(a_body_holds_several_packets),
        cmocka_unit_test(an_empty_packet_in_a_body_is_malformed),
        cmocka_unit_test(base64_of_rfc_4648_both_ways),
        cmocka_unit_test(base64_that_means_nothing_is_refused),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
        cmocka_unit_test(a_frame_lives_as_long_as_somebody_waits_for_it),
        cmocka_unit_test(a_table_finds_what_is_in_it),
        cmocka_unit_test(deadlines_come_in_order_and_not_early),
        cmocka_unit_test(ids_are_long_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
