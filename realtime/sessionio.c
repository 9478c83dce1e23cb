/* sessionio -- what comes in and goes out through a session, by whichever transport it has. */
#include "engineio_private.h"

#include "codec.h"
#include "must.h"

#include <stdlib.h>
#include <string.h>

#define POLL_BODY_MAX 1000000 /* of one answer; the rest waits for the next poll */

/* -- what comes in ------------------------------------------------------------------------------ */

static void
parse_error(struct engineio_session *s)
{
    session_leave(s, "parse error", s->ws ? END_POLITELY : END_AT_ONCE,
                  LWS_CLOSE_STATUS_PROTOCOL_ERR);
}

static void
deliver(struct engineio_session *s, const char *data, size_t len, bool binary)
{
    const struct engineio_endpoint *e = s->endpoint;

    if (e->handlers->message)
        e->handlers->message(s, e->app, data, len, binary);
}

static void
receive(struct engineio_session *s, const struct enginepacket *packet)
{
    switch (packet->type) {
    case ENGINEPACKET_MESSAGE:
        if (packet->base64) {
            char  *bytes = must_resize(NULL, CODEC_BYTES_LEN(packet->len));
            size_t len;
            if (codec_base64_decode(bytes, &len, packet->data, packet->len))
                deliver(s, bytes, len, true);
            else
                parse_error(s);
            free(bytes);
        } else
            deliver(s, packet->data, packet->len, false);
        break;
    case ENGINEPACKET_PONG:
        lapse_add(&s->server->pings, &s->heartbeat, clock_us());
        break;
    case ENGINEPACKET_CLOSE:
        session_leave(s, "transport close", END_ASKED, LWS_CLOSE_STATUS_NORMAL);
        break;
    case ENGINEPACKET_OPEN:
    case ENGINEPACKET_PING: /* protocol 4 has the server ping */
        parse_error(s);
        break;
    case ENGINEPACKET_UPGRADE:
    case ENGINEPACKET_NOOP:
        break;
    }
}

bool
session_posted(struct engineio_session *s, const char *body, size_t len)
{
    struct enginepacket_reader reader = {body, body + len};
    struct enginepacket        packet;
    int                        more = -1;

    if (codec_utf8_valid(body, len))
        while (s->state == SESSION_OPEN && (more = enginepacket_next(&reader, &packet)) > 0)
            receive(s, &packet);
    if (more < 0)
        parse_error(s);
    return more >= 0 && !(s->state == SESSION_LEAVING && s->end == END_AT_ONCE);
}

/* A probing WebSocket says 2probe, hears 3probe, and says 5: from then on it is the transport. */
static void
probe_message(struct engineio_session *s, struct conn *probe, const struct enginepacket *packet)
{
    if (packet->type == ENGINEPACKET_PING && packet->len == 5 &&
        memcmp(packet->data, "probe", 5) == 0) {
        char         *text;
        struct frame *f = engineio_text_frame(6, &text);

        memcpy(text, "3probe", 6);
        transport_write(probe, f);
        frame_unref(f);
        s->probed = true;
        if (s->poll)
            transport_want_write(s->poll);
        return;
    }
    if (packet->type != ENGINEPACKET_UPGRADE || !s->probed) {
        s->probed = false;
        lapse_remove(&s->upgrade);
        transport_close(session_let_go(&s->probe), LWS_CLOSE_STATUS_PROTOCOL_ERR);
        return;
    }

    lapse_remove(&s->upgrade);
    s->probed = false;
    s->probe = NULL;
    s->ws = probe;
    probe->role = CONN_WS;
    session_let_go(&s->post);
    struct conn *poll = session_let_go(&s->poll);
    if (poll) {
        char *noop = must_resize(NULL, 1);
        *noop = '6';
        transport_answer(poll, noop, 1);
    }
    if (s->queue.n)
        transport_want_write(probe);
}

void
session_ws_message(struct engineio_session *s, struct conn *conn, const char *data, size_t len,
                   bool binary)
{
    struct enginepacket packet = {.type = ENGINEPACKET_MESSAGE};

    if (s->state != SESSION_OPEN)
        return;
    if (binary && conn == s->ws) {
        deliver(s, data, len, true);
        return;
    }
    bool sound = !binary && codec_utf8_valid(data, len) && enginepacket_decode(data, len, &packet);
    if (conn == s->probe) {
        if (!sound)
            packet.type = ENGINEPACKET_NOOP; /* anything but a probe */
        probe_message(s, conn, &packet);
    } else if (sound)
        receive(s, &packet);
    else
        parse_error(s);
}

/* -- what goes out ------------------------------------------------------------------------------ */

struct frame *
engineio_text_frame(size_t len, char **text)
{
    struct frame *f = frame_new(len, false);

    *text = f->data;
    return f;
}

void
engineio_send(struct engineio_session *s, struct frame *f)
{
    if (s->state != SESSION_OPEN)
        return;
    if (s->ws && !s->queue.n && !transport_busy(s->ws)) {
        if (transport_write(s->ws, f) < 0)
            session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return;
    }
    if (s->queue.bytes >= s->server->settings.max_queue_bytes) {
        session_leave(s, "slow client", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return;
    }
    frame_queue_push(&s->queue, f);
    s->had_backlog = true;
    if (s->ws)
        transport_want_write(s->ws);
    else if (s->poll)
        transport_want_write(s->poll);
}

static void
drained(struct engineio_session *s)
{
    const struct engineio_endpoint *e = s->endpoint;

    if (s->queue.n || !s->had_backlog || s->state != SESSION_OPEN)
        return;
    s->had_backlog = false;
    if (e->handlers->drain)
        e->handlers->drain(s, e->app);
}

void
session_ws_writable(struct engineio_session *s)
{
    if (s->state != SESSION_OPEN)
        return;
    while (s->queue.n && !transport_busy(s->ws)) {
        struct frame *f = frame_queue_pop(&s->queue);
        int           sent = transport_write(s->ws, f);
        frame_unref(f);
        if (sent < 0) {
            session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
            return;
        }
    }
    if (s->queue.n)
        transport_want_write(s->ws);
    drained(s);
}

char *
session_poll_body(struct engineio_session *s, size_t *len)
{
    size_t        room = 0, take = 0;
    struct frame *f;

    /* Measured first, so that one allocation does.  At least one frame, however long. */
    for (unsigned i = 0; i < s->queue.n; i++) {
        f = s->queue.ring[(s->queue.head + i) & (s->queue.room - 1)];
        size_t n = 1 + (f->binary ? 1 + CODEC_BASE64_LEN(f->len) : f->len);
        if (take && room + n > POLL_BODY_MAX)
            break;
        room += n;
        take++;
    }

    char *body = must_resize(NULL, room + 1), *at = body;
    if (!take)
        *at++ = '6'; /* what an upgrade, or nothing at all, has to say */
    for (; take; take--) {
        f = frame_queue_pop(&s->queue);
        if (at > body)
            *at++ = ENGINEPACKET_SEPARATOR;
        if (f->binary) {
            *at++ = 'b';
            at += codec_base64_encode(at, f->data, f->len);
        } else {
            memcpy(at, f->data, f->len);
            at += f->len;
        }
        frame_unref(f);
    }
    *len = (size_t)(at - body);
    drained(s);
    return body;
}

bool
session_poll(struct engineio_session *s, struct conn *conn, char **body, size_t *len)
{
    if (s->state == SESSION_LINGERING) {
        bool last = !s->queue.n;
        *body = session_farewell_body(s, len);
        if (last)
            session_free(s);
        return true;
    }
    if (s->poll) {
        /* The first poll gets a close packet when the session is reaped; this one gets 400. */
        session_leave(s, "transport error", END_AT_ONCE, LWS_CLOSE_STATUS_NORMAL);
        return false;
    }
    if (s->queue.n || s->probed)
        *body = session_poll_body(s, len);
    else {
        s->poll = conn;
        *body = NULL;
    }
    return true;
}
