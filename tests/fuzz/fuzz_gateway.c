/* What clients of the gateway say, in any order, together with what happens meanwhile: no crash, nothing that
 * is kept for somebody who is gone.  Engine.IO, the database and the feed are fakes.  A line is a step:
 *
 *     oN       client N (0 to 3) connects          cN       it goes           dN   all was sent to it
 *     N…       it says …; TOKEN in it is a good access token
 *     bN…      it says … as bytes
 *     a…       the database answers the oldest question; the byte's bits say what
 *     eN…      event N happens in listing UUID
 *     t        the sessions of those who are there are asked about */
#include "../../realtime/socketio.c"

#define named rooms_named
#define drop people_drop
#include "../../realtime/people.c"
#include "../../realtime/rooms.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LISTING "0b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"
#define USER "1b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"
#define SESSION "2b8a1d7e-7a39-4f7c-9c3f-0a1b2c3d4e5f"

/* ---- a fake Engine.IO ---- */

struct engineio_session {
    void *data;
    size_t backlog;
    const char *closed;
    bool open;
};

#include "../unit/no_engineio.h"

void
engineio_send(struct engineio_session *s, struct frame *f)
{
    s->backlog += f->len;
}

size_t
engineio_backlog(const struct engineio_session *s)
{
    return s->backlog;
}

size_t
engineio_count(const struct engineio *server)
{
    (void)server;
    return 0;
}

/* ---- a fake feed ---- */

static int interest;

void
feed_interest(struct feed *feed, enum payload_to to, const char *key, int change)
{
    (void)feed;
    (void)to;
    (void)key;
    interest += change;
    if (interest < 0)
        abort();
}

/* ---- a fake database: what it was asked waits until a step answers it ---- */

struct gateway gw;
static struct ask *asked, **last_asked = &asked;

void
asks_put(struct asks *asks, struct ask *ask)
{
    (void)asks;
    ask->next = NULL;
    ask->unanswered = false;
    *last_asked = ask;
    last_asked = &ask->next;
}

static struct frame *
event_frame(void)
{
    static const char text[] = "[\"new_bid\",{}]";

    return socketio_frame("/", text, sizeof(text) - 1);
}

int
payload_of_listing(struct db *db, struct arena *a, const char *listing, int64_t since, int limit, struct payload **list,
                   int *n, int64_t *last, int *more)
{
    (void)db, (void)a, (void)listing, (void)limit;
    *list = must_resize(NULL, 2 * sizeof(**list));
    for (*n = 0; *n < 2; ++*n)
        (*list)[*n] = (struct payload){.id = ++since, .frame = event_frame()};
    *last = since;
    *more = 0;
    return 0;
}

static void
answer_listing(struct ask *ask, unsigned how)
{
    struct join *j = (struct join *)(void *)ask;

    if (!j->looked) {
        j->looked = true;
        j->may = how & 1;
        j->reached = j->since < 0 || j->since > 40 ? 40 : j->since;
        j->complete = how & 2;
        j->more = (how & 4) != 0;
    }
    if (j->may && j->more)
        payload_of_listing(NULL, NULL, j->listing, j->reached, 2, &j->page, &j->n_page, &j->reached, &j->more);
    j->more = (how & 4) != 0;
}

static void
answer_session(struct ask *ask, unsigned how)
{
    static const char *const roles[] = {"", "VENDOR", "ADMIN", "AGENT"};
    struct sign_in          *s = (struct sign_in *)(void *)ask;

    snprintf(s->role, sizeof(s->role), "%s", roles[how & 3]);
}

static void
answer_ended(struct ask *ask, unsigned how)
{
    struct check *c = (struct check *)(void *)ask;

    c->n = (how & 1) ? 1 : 0;
    c->ended = must_alloc(sizeof(*c->ended));
    c->changed = must_alloc(sizeof(*c->changed));
    snprintf(c->ended[0], sizeof(c->ended[0]), "%s", SESSION);
    c->changed[0] = how & 2;
}

static void
answer_oldest(unsigned how)
{
    struct ask *ask = asked;

    if (!ask)
        return;
    asked = ask->next;
    if (!asked)
        last_asked = &asked;
    ask->unanswered = (how & 24) == 24;
    if (ask->unanswered)
        ;
    else if (ask->work == ask_listing)
        answer_listing(ask, how);
    else if (ask->work == ask_session)
        answer_session(ask, how);
    else
        answer_ended(ask, how);
    ask->done(ask);
}

/* ---- the steps ---- */

enum { CLIENTS = 4 };
static struct engineio_session session[CLIENTS];
static struct socketio        *io;
static char                    good_token[TOKEN_MAX + 1];

static void
go(struct engineio_session *s, const char *why)
{
    if (s->open)
        on_close(s, io, why);
    *s = (struct engineio_session){0};
}

static void
say(struct engineio_session *s, const char *text, size_t len, bool binary)
{
    const char *token = memmem(text, len, "TOKEN", 5);
    char       *with = malloc(len + sizeof(good_token));
    size_t      n = token ? (size_t)(token - text) : len;

    if (!with)
        abort();
    memcpy(with, text, n);
    if (token) {
        size_t token_len = strlen(good_token);
        memcpy(with + n, good_token, token_len);
        memcpy(with + n + token_len, token + 5, len - n - 5);
        n = len - 5 + token_len;
    }
    char *exact = malloc(n ? n : 1); /* so that a byte too many is seen */
    if (!exact)
        abort();
    memcpy(exact, with, n);
    on_message(s, io, exact, n, binary);
    free(exact);
    free(with);
}

static void
step(const char *text, size_t len)
{
    struct engineio_session *s = len > 1 && text[1] >= '0' && text[1] < '0' + CLIENTS ? &session[text[1] - '0'] : NULL;

    if (text[0] == 'o' && s && !s->open) {
        s->open = true;
        on_open(s, io);
    } else if (text[0] == 'c' && s)
        go(s, "transport close");
    else if (text[0] == 'd' && s && s->open) {
        s->backlog = 0;
        on_drain(s, io);
    } else if (text[0] == 'b' && s && s->open)
        say(s, text + 2, len - 2, true);
    else if (text[0] >= '0' && text[0] < '0' + CLIENTS && session[text[0] - '0'].open)
        say(&session[text[0] - '0'], text + 1, len - 1, false);
    else if (text[0] == 'a')
        answer_oldest(len > 1 ? (unsigned char)text[1] : 1);
    else if (text[0] == 't')
        people_check(NULL, NULL, 0);
    else if (text[0] == 'e') {
        struct payload p = {.id = 30 + (len > 1 ? (unsigned char)text[1] % 32 : 0), .to = PAYLOAD_TO_ROOM, .key = LISTING, .frame = event_frame()};
        rooms_tell(&p);
        frame_unref(p.frame);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (session[i].open && session[i].closed)
            go(&session[i], session[i].closed);
}

static void
begin(void)
{
    static const struct socketio_handlers handlers = {.connect = people_connect,
                                                      .event = rooms_event,
                                                      .drain = rooms_drain,
                                                      .disconnect = people_disconnect,
                                                      .room_begins = rooms_begin,
                                                      .room_ends = rooms_end};
    struct socketio_settings settings = SOCKETIO_DEFAULTS;
    struct token_claims      claims = {.iat = time(NULL), .exp = time(NULL) + 1000000};

    log_open("fuzz", "error");
    token_init("0123456789abcdef0123456789abcdef");
    snprintf(claims.user_id, sizeof(claims.user_id), USER);
    snprintf(claims.session_id, sizeof(claims.session_id), SESSION);
    snprintf(claims.phone, sizeof(claims.phone), "+919876543210");
    snprintf(claims.role, sizeof(claims.role), "VENDOR");
    token_make(&claims, good_token);
    settings.rooms_per_socket = 3;
    settings.max_binary_bytes = 100;
    gw.loop = ev_loop_new(0);
    io = gw.io = socketio_new(gw.loop, &settings, &handlers, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = text + size;

    if (!io)
        begin();
    while (text < end) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        if (!eol)
            eol = end;
        if (eol > text)
            step(text, (size_t)(eol - text));
        text = eol + 1;
    }
    for (int i = 0; i < CLIENTS; i++)
        go(&session[i], "transport close");
    while (asked)
        answer_oldest(0);
    if (joins || people.first || people.n || interest || socketio_rooms(io))
        abort();
    return 0;
}
