/* What Socket.IO packets mean, and how sockets and rooms come and go, on a fake Engine.IO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>

#include "../../realtime/frame.c"
#include "../../realtime/lapse.c"
#include "../../realtime/must.c"
#include "../../realtime/socketio.c"
#include "../../realtime/socketpacket.c"
#include "../../realtime/socketroom.c"
#include "../../realtime/table.c"

#define TEXT(s) s, sizeof(s) - 1

/* -- packets ------------------------------------------------------------------------------------ */

static bool
same(const char *text, size_t len, const char *expected)
{
    return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

static void
a_connect_brings_an_auth_object_or_none(void **state)
{
    struct socketpacket p;

    (void)state;
    assert_true(socketpacket_decode(TEXT("0"), &p));
    assert_int_equal(p.type, SOCKETPACKET_CONNECT);
    assert_true(same(p.nsp, p.nsp_len, "/"));
    assert_true(same(p.args, p.args_len, "{}"));
    assert_true(socketpacket_decode(TEXT("0{\"token\":\"1\"}"), &p));
    assert_true(same(p.args, p.args_len, "{\"token\":\"1\"}"));
    assert_true(socketpacket_decode(TEXT("0/custom"), &p));
    assert_true(same(p.nsp, p.nsp_len, "/custom"));
    assert_true(socketpacket_decode(TEXT("0/custom,{}"), &p));
    assert_true(same(p.nsp, p.nsp_len, "/custom"));
    assert_false(socketpacket_decode(TEXT("0[]"), &p));
    assert_false(socketpacket_decode(TEXT("0\"a\""), &p));
    assert_false(socketpacket_decode(TEXT("0{"), &p));
    assert_false(socketpacket_decode(TEXT("0{} "), &p));
}

static void
an_event_is_cut_into_name_and_arguments(void **state)
{
    struct socketpacket p;

    (void)state;
    assert_true(socketpacket_decode(TEXT("2[\"message\",1,\"2\",{\"3\":[true]}]"), &p));
    assert_true(same(p.name, p.name_len, "message"));
    assert_true(same(p.args, p.args_len, "1,\"2\",{\"3\":[true]}"));
    assert_int_equal(p.id, SOCKETPACKET_NO_ID);
    assert_true(socketpacket_decode(TEXT("2/custom,456[\"a\"]"), &p));
    assert_true(same(p.nsp, p.nsp_len, "/custom"));
    assert_true(same(p.name, p.name_len, "a"));
    assert_true(same(p.args, p.args_len, ""));
    assert_int_equal(p.id, 456);
    assert_true(socketpacket_decode(TEXT("2[ \"a\" , null ]"), &p));
    assert_true(same(p.args, p.args_len, "null "));
    assert_true(socketpacket_decode(TEXT("2[7,8]"), &p));
    assert_true(same(p.name, p.name_len, "7"));
}

static void
attachments_are_announced_and_bounded(void **state)
{
    struct socketpacket p;

    (void)state;
    assert_true(socketpacket_decode(TEXT("52-/n,7[\"m\",{\"_placeholder\":true,\"num\":0}]"), &p));
    assert_int_equal(p.type, SOCKETPACKET_BINARY_EVENT);
    assert_int_equal(p.attachments, 2);
    assert_int_equal(p.id, 7);
    assert_true(socketpacket_decode(TEXT("61-5[{}]"), &p));
    assert_true(same(p.args, p.args_len, "{}"));
    assert_true(socketpacket_decode(TEXT("510-[\"m\"]"), &p));
    assert_false(socketpacket_decode(TEXT("511-[\"m\"]"), &p));
    assert_false(socketpacket_decode(TEXT("5[\"m\"]"), &p));
    assert_false(socketpacket_decode(TEXT("5-[\"m\"]"), &p));
    assert_false(socketpacket_decode(TEXT("52"), &p));
}

static void
what_is_no_packet_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "abc", "7", "4{\"message\":\"x\"}", "2", "2{}", "2[]", "2[{}]", "2[null]", "2[true]",
        "2abc[\"a\"]", "2[\"a\"", "2[\"a\"]]", "2[\"a\"],", "2[\"a\",]", "2[,]", "1{}", "1/a,[]", "3[1]",
        "3{}", "31{}", "31", "2[\"connect\"]", "2[\"disconnect\"]", "2[\"connect_error\"]",
        "2[\"disconnecting\"]", "2[\"newListener\"]", "2[\"removeListener\"]",
        "29999999999999999[\"a\"]", "2-1[\"a\"]", "2[\"a\"] ", " 2[\"a\"]", "2/x[\"a\"]"};
    struct socketpacket      p;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (socketpacket_decode(bad[i], strlen(bad[i]), &p))
            fail_msg("accepted: %s", bad[i]);
    assert_true(socketpacket_decode(TEXT("1"), &p));
    assert_true(socketpacket_decode(TEXT("1/a,"), &p));
    assert_true(socketpacket_decode(TEXT("312[]"), &p));
}

static size_t
json(const char *text)
{
    const char *end = socketpacket_json_end(text, text + strlen(text));

    return end ? (size_t)(end - text) : 0;
}

static void
json_ends_where_its_value_ends(void **state)
{
    static const char *const whole[] = {
        "null", "true", "false", "0", "-0", "1.5", "-1.5e+10", "1E2", "\"\"", "\"\\u00e9\\n\\\"\"", "[]",
        "{}", "[1,[2,[3]]]", "{\"a\":{\"b\":[]},\"c\":1}", "[ ]", "{ \"a\" : 1 , \"b\" : [ ] }", " 1"};
    static const char *const bad[] = {
        "", " ", "nul", "-", "1.", "1e", "+1", ".5", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "[", "[1",
        "[1,", "{", "{\"a\"", "{\"a\":", "{\"a\":1,}", "{a:1}", "[}", "{]", "'a'", "{\"a\":1]"};

    (void)state;
    for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++)
        assert_int_equal(json(whole[i]), strlen(whole[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (json(bad[i]))
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(json("01"), 1);
    assert_int_equal(json("[1]]"), 3);
    assert_int_equal(json("truest"), 4);

    char deep[2 * SOCKETPACKET_MAX_DEPTH + 8];
    for (int depth = SOCKETPACKET_MAX_DEPTH - 1; depth <= SOCKETPACKET_MAX_DEPTH + 1; depth++) {
        memset(deep, '[', (size_t)depth + 1);
        memset(deep + depth + 1, ']', (size_t)depth + 1);
        deep[2 * depth + 2] = '\0';
        /* The innermost is empty and needs no place. */
        assert_int_equal(json(deep) != 0, depth <= SOCKETPACKET_MAX_DEPTH);
    }
}

/* -- a fake Engine.IO --------------------------------------------------------------------------- */

struct engineio_session {
    void       *data;
    char        sent[4096]; /* what was sent since the last says(), separated by | */
    size_t      sent_len;
    size_t      n_sent;
    const char *closed;
};

#include "no_engineio.h"

void
engineio_send(struct engineio_session *s, struct frame *f)
{
    s->n_sent++;
    if (s->sent_len + f->len + 2 < sizeof(s->sent)) {
        if (s->sent_len)
            s->sent[s->sent_len++] = '|';
        memcpy(s->sent + s->sent_len, f->data, f->len);
        s->sent_len += f->len;
    }
    s->sent[s->sent_len] = '\0';
}

size_t
engineio_backlog(const struct engineio_session *s)
{
    return s->sent_len;
}

/* -- an application ----------------------------------------------------------------------------- */

static struct ev_loop         *loop;
static struct socketio        *io;
static struct socketio_socket *newest;
static char                    heard[512];
static unsigned                n_blobs;

static void
app_connect(struct socketio_socket *k, void *app, const char *auth, size_t len)
{
    (void)app;
    newest = k;
    if (same(auth, len, "{\"no\":1}"))
        socketio_refuse(k, TEXT("{\"message\":\"no\"}"));
    else if (!same(auth, len, "{\"later\":1}"))
        socketio_accept(k);
}

static void
app_event(struct socketio_socket *k, void *app, const struct socketio_event *e)
{
    (void)app;
    snprintf(heard, sizeof(heard), "%.*s(%.*s)%lld", (int)e->name_len, e->name, (int)e->args_len, e->args,
             (long long)e->ack_id);
    n_blobs = e->n_blobs;
    if (same(e->name, e->name_len, "bye"))
        socketio_disconnect(k, false);
    else if (e->n_blobs)
        socketio_ack_binary(k, e->ack_id, e->args, e->args_len, e->blobs, e->n_blobs);
    else
        socketio_ack(k, e->ack_id, e->args, e->args_len);
}

static void
app_disconnect(struct socketio_socket *k, void *app, const char *reason)
{
    (void)k;
    (void)app;
    snprintf(heard, sizeof(heard), "gone: %s", reason);
}

static int
begin(void **state)
{
    static const char *const              namespaces[] = {"/", "/custom", NULL};
    static const struct socketio_handlers handlers = {
        .connect = app_connect, .event = app_event, .disconnect = app_disconnect};
    struct socketio_settings settings = SOCKETIO_DEFAULTS;

    (void)state;
    settings.namespaces = namespaces;
    settings.rooms_per_socket = 5;
    settings.connect_timeout_ms = 20;
    loop = ev_loop_new(0);
    io = socketio_new(loop, &settings, &handlers, NULL);
    heard[0] = '\0';
    return 0;
}

static int
end(void **state)
{
    (void)state;
    socketio_free(io);
    ev_loop_destroy(loop);
    return 0;
}

static void
says(struct engineio_session *s, const char *text)
{
    s->sent_len = 0;
    s->sent[0] = '\0';
    heard[0] = '\0';
    on_message(s, io, text, strlen(text), false);
}

static struct socketio_socket *
connected(struct engineio_session *s)
{
    on_open(s, io);
    says(s, "0");
    return newest;
}

static void
connecting_gives_a_sid(void **state)
{
    struct engineio_session s = {0};

    (void)state;
    struct socketio_socket *k = connected(&s);
    char                    expected[64];
    snprintf(expected, sizeof(expected), "40{\"sid\":\"%s\"}", socketio_sid(k));
    assert_string_equal(s.sent, expected);
    says(&s, "0/custom,{\"a\":1}");
    snprintf(expected, sizeof(expected), "40/custom,{\"sid\":\"%s\"}", socketio_sid(newest));
    assert_string_equal(s.sent, expected);
    assert_string_equal(socketio_nsp(newest), "/custom");
    says(&s, "0/random");
    assert_string_equal(s.sent, "44/random,{\"message\":\"Invalid namespace\"}");
    assert_null(s.closed);
    says(&s, "0");
    assert_string_equal(s.closed, "parse error"); /* twice */
    on_close(&s, io, "parse error");
    assert_string_equal(heard, "gone: parse error");
}

static void
the_application_may_refuse_or_take_its_time(void **state)
{
    struct engineio_session s = {0};

    (void)state;
    on_open(&s, io);
    says(&s, "0{\"no\":1}");
    assert_string_equal(s.sent, "44{\"message\":\"no\"}");
    assert_string_equal(heard, "");
    says(&s, "0{\"later\":1}");
    assert_string_equal(s.sent, "");
    socketio_emit(newest, TEXT("[\"too early\"]"));
    assert_string_equal(s.sent, "");
    socketio_accept(newest);
    assert_int_equal(strncmp(s.sent, "40{\"sid\":", 9), 0);
    on_close(&s, io, "transport close");
    assert_string_equal(heard, "gone: transport close");
}

static void
a_socket_may_go_while_it_waits(void **state)
{
    struct engineio_session s = {0};

    (void)state;
    on_open(&s, io);
    says(&s, "0{\"later\":1}");
    says(&s, "2[\"impatient\"]");
    assert_string_equal(s.closed, "forced close");
    on_close(&s, io, "forced close");
    assert_string_equal(heard, "gone: forced close");
}

static void
who_joins_nothing_is_sent_away(void **state)
{
    struct engineio_session s = {0}, t = {0};

    (void)state;
    on_open(&s, io);
    on_open(&t, io);
    says(&t, "0");
    while (!s.closed)
        ev_run(loop, EVRUN_ONCE);
    assert_string_equal(s.closed, "forced close");
    assert_null(t.closed);
    on_close(&s, io, "forced close");
    on_close(&t, io, "transport close");
}

static void
events_are_heard_and_acknowledged(void **state)
{
    struct engineio_session s = {0};

    (void)state;
    struct socketio_socket *k = connected(&s);
    says(&s, "2[\"hi\",1,{\"a\":\"b\"}]");
    assert_string_equal(heard, "hi(1,{\"a\":\"b\"})-1");
    assert_string_equal(s.sent, "");
    says(&s, "27[\"hi\",\"x\"]");
    assert_string_equal(s.sent, "437[\"x\"]");
    says(&s, "270[\"hi\"]");
    assert_string_equal(s.sent, "4370[]");
    s.sent_len = 0;
    socketio_emit(k, TEXT("[\"news\",1]"));
    assert_string_equal(s.sent, "42[\"news\",1]");
    s.sent_len = 0;
    socketio_emit_with_ack(k, 12, TEXT("[\"news\"]"));
    assert_string_equal(s.sent, "4212[\"news\"]");
    says(&s, "2[\"bye\"]");
    assert_string_equal(s.sent, "41");
    assert_string_equal(heard, "gone: server namespace disconnect");
    assert_null(s.closed);
    on_close(&s, io, "transport close");
}

static void
attachments_are_collected(void **state)
{
    struct engineio_session s = {0};

    (void)state;
    connected(&s);
    says(&s, "52-3[\"m\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]");
    assert_string_equal(heard, "");
    on_message(&s, io, TEXT("one"), true);
    assert_string_equal(heard, "");
    on_message(&s, io, TEXT("two"), true);
    assert_int_equal(n_blobs, 2);
    assert_string_equal(
        s.sent, "462-3[{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]|one|two");
    /* A text in between, a binary out of the blue. */
    says(&s, "51-[\"m\",{}]");
    says(&s, "2[\"hi\"]");
    assert_string_equal(s.closed, "parse error");
    on_close(&s, io, "parse error");

    struct engineio_session t = {0};
    connected(&t);
    on_message(&t, io, TEXT("one"), true);
    assert_string_equal(t.closed, "parse error");
    on_close(&t, io, "parse error");
}

static void
a_room_hears_what_is_sent_to_it(void **state)
{
    struct engineio_session s = {0}, t = {0}, u = {0};

    (void)state;
    struct socketio_socket *a = connected(&s), *b = connected(&t), *c = connected(&u);
    says(&u, "0/custom");
    struct socketio_socket *other = newest;

    assert_true(socketio_join(a, "r"));
    assert_true(socketio_join(b, "r"));
    assert_true(socketio_join(b, "r"));
    assert_true(socketio_join(other, "r")); /* a room of that name in another namespace */
    assert_int_equal(socketio_room_size(io, "/", "r"), 2);
    assert_int_equal(socketio_rooms(io), 2);
    s.sent_len = t.sent_len = u.sent_len = 0;
    s.sent[0] = t.sent[0] = u.sent[0] = '\0';
    assert_int_equal(socketio_emit_room(io, "/", "r", TEXT("[\"n\",1]")), 2);
    assert_string_equal(s.sent, "42[\"n\",1]");
    assert_string_equal(t.sent, "42[\"n\",1]");
    assert_string_equal(u.sent, "");
    socketio_leave(b, "r");
    socketio_leave(c, "r");
    assert_false(socketio_is_in(b, "r"));
    assert_true(socketio_is_in(a, "r"));
    assert_int_equal(socketio_emit_room(io, "/", "r", TEXT("[\"n\",2]")), 1);
    assert_string_equal(t.sent, "42[\"n\",1]");
    says(&s, "1"); /* who leaves the namespace leaves its rooms */
    assert_string_equal(heard, "gone: client namespace disconnect");
    assert_int_equal(socketio_room_size(io, "/", "r"), 0);

    for (int i = 0; i < 6; i++) {
        char room[8];
        snprintf(room, sizeof(room), "r%d", i);
        assert_int_equal(socketio_join(c, room), i < 5);
    }
    on_close(&s, io, "transport close");
    on_close(&t, io, "transport close");
    on_close(&u, io, "transport close");
    assert_int_equal(socketio_rooms(io), 0);
    assert_int_equal(io->members.n, 0);
}

static void
a_million_joins_and_leaves_leave_memory_flat(void **state)
{
    enum { SOCKETS = 100 };
    static struct engineio_session s[SOCKETS];
    struct socketio_socket        *k[SOCKETS];
    size_t                         before = 0;

    (void)state;
    for (int i = 0; i < SOCKETS; i++)
        k[i] = connected(&s[i]);
    for (int i = 0; i < 1000000; i++) {
        char room[16];
        int  who = (i * 7) % SOCKETS;

        snprintf(room, sizeof(room), "room %d", i % 997);
        assert_true(socketio_join(k[who], room));
        if (i % 3)
            socketio_join(k[(who + 1) % SOCKETS], room);
        socketio_leave(k[who], room);
        socketio_leave(k[(who + 1) % SOCKETS], room);
        if (i == 1000)
            before = mallinfo2().uordblks;
    }
    assert_int_equal(socketio_rooms(io), 0);
    assert_int_equal(io->members.n, 0);
    assert_true(mallinfo2().uordblks <= before + 4096);
    for (int i = 0; i < SOCKETS; i++)
        on_close(&s[i], io, "transport close");
}

static void
a_flood_of_packets_ends_the_session(void **state)
{
    struct engineio_session s = {0};

    (void)state;
    io->settings.packets_per_second = 10;
    io->settings.packet_burst = 20;
    connected(&s);
    for (int i = 0; i < 19; i++)
        says(&s, "2[\"hi\"]");
    assert_null(s.closed);
    for (int i = 0; i < 5; i++)
        says(&s, "2[\"hi\"]");
    assert_string_equal(s.closed, "too many packets");
    on_close(&s, io, "too many packets");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_brings_an_auth_object_or_none),
        cmocka_unit_test(an_event_is_cut_into_name_and_arguments),
        cmocka_unit_test(attachments_are_announced_and_bounded),
        cmocka_unit_test(what_is_no_packet_is_refused),
        cmocka_unit_test(json_ends_where_its_value_ends),
        cmocka_unit_test_setup_teardown(connecting_gives_a_sid, begin, end),
        cmocka_unit_test_setup_teardown(the_application_may_refuse_or_take_its_time, begin, end),
        cmocka_unit_test_setup_teardown(a_socket_may_go_while_it_waits, begin, end),
        cmocka_unit_test_setup_teardown(who_joins_nothing_is_sent_away, begin, end),
        cmocka_unit_test_setup_teardown(events_are_heard_and_acknowledged, begin, end),
        cmocka_unit_test_setup_teardown(attachments_are_collected, begin, end),
        cmocka_unit_test_setup_teardown(a_room_hears_what_is_sent_to_it, begin, end),
        cmocka_unit_test_setup_teardown(a_million_joins_and_leaves_leave_memory_flat, begin, end),
        cmocka_unit_test_setup_teardown(a_flood_of_packets_ends_the_session, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
