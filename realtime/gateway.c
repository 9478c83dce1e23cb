/* gateway -- selliko-gateway: what happens in auctions, told to those who watch, as it happens.
 *
 *     clients ──Socket.IO──► sockets, rooms ◄──frames── feed (a thread) ◄──── table events
 *                               │      ▲
 *                               └─asks─┘  sessions, who may see what, what was missed (threads)
 *
 * A room is a listing; a signed-in person's own events go to the room of his user id, admins share one.
 * Nobody joins a room by himself but through join_room, which asks the database whether he may see the
 * listing.
 *
 * The race that matters is between joining and happening.  A join looks at the database at some moment
 * and sends what was missed up to then; what is fed meanwhile is held back for it, and of that only
 * what is newer than the look is sent afterwards.  From then on the room's own sequence sees to it that
 * each event goes to a socket once, in order.  So join_room {listingId, since} leaves no gap, whatever
 * happened to the connection, to this process or to the database before. */
#include "asks.h"
#include "feed.h"
#include "payload.h"
#include "socketio.h"

#include "arena.h"
#include "config.h"
#include "db.h"
#include "errors.h"
#include "fileurl.h"
#include "frame.h"
#include "lapse.h"
#include "log.h"
#include "metrics.h"
#include "must.h"
#include "sentry.h"
#include "shape.h"
#include "table.h"
#include "token.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>

#define ASKERS          2    /* threads that ask the database */
#define CHECK_S         1.   /* the sessions of connected people are checked in slices, … */
#define CHECK_SLICES    3    /* … each of them within this many seconds */
#define CHECK_AT_LEAST  200
#define REPLAY_PAGE     200  /* events */
#define REPLAY_BACKLOG  262144 /* bytes on their way to a client before it gets the next page */
#define HELD_MAX        5000 /* events held back for one join */
#define JOINS_AT_ONCE   64   /* of one socket, still asking */
#define ROOMS_MAX       500  /* of one socket */
#define PACKETS_SECOND  50   /* from one client, and … */
#define PACKETS_BURST   300  /* … at once */
#define GRACE_MS        3000 /* for clients to go when we stop */
#define MIN_FILES       65536

static struct {
    struct ev_loop  *loop;
    struct engineio *server;
    struct socketio *io;
    struct asks     *asks;
    struct feed     *feed;
    ev_signal        term, intr;
    ev_timer         check;
    struct person   *people;  /* signed in, in the order in which they are checked */
    struct person   *checked; /* up to whom this second's slice went */
    size_t           n_people;
    struct join     *joins; /* under way */
    bool             listening;
    int              status; /* to exit with */
} gw;

/* Hangs on a socket. */
struct person {
    struct socketio_socket *socket; /* NULL: gone, and only an ask still points here */
    struct person          *prev, *next; /* of the signed in */
    unsigned                asks;   /* that point here */
    unsigned                joins;  /* of these */
    bool                    signed_in;
    char                    user_id[37], session_id[37], role[8];
};

/* A join_room that waits for its answer. */
struct join {
    struct ask       ask;
    struct join     *prev, *next;
    struct person   *person;
    char             listing[37];
    char             user_id[37]; /* "" for nobody */
    int64_t          since;       /* what the client has; -1: it does not say */
    int64_t          ack_id;
    bool             left;        /* leave_room overtook it */
    bool             looked, may, complete;
    int64_t          reached; /* the sequence up to which it has been, or is being, told */
    struct payload  *page;    /* what was missed, a page at a time */
    int              n_page, more;
    bool             waits_for_drain;
    struct held {
        int64_t       id;
        struct frame *frame;
    }       *held;
    unsigned n_held, room_held;
};

/* -- persons ------------------------------------------------------------------------------------ */

static struct person *
person_of(struct socketio_socket *k)
{
    return socketio_data(k);
}

static void
release(struct person *p)
{
    if (!p->socket && !p->asks)
        free(p);
}

static void
count_in(struct person *p)
{
    /* In front: checked a moment ago, so its turn comes when the round begins anew. */
    p->next = gw.people;
    if (p->next)
        p->next->prev = p;
    gw.people = p;
    gw.n_people++;
}

static void
count_out(struct person *p)
{
    if (gw.checked == p)
        gw.checked = p->next;
    if (p->prev)
        p->prev->next = p->next;
    else
        gw.people = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->prev = p->next = NULL;
    gw.n_people--;
}

static void
user_room(char room[static 48], const char *user_id)
{
    snprintf(room, 48, "user:%s", user_id);
}

static void
listing_room(char room[static 48], const char *listing)
{
    snprintf(room, 48, "listing:%s", listing);
}

#define ADMINS "admins"

/* What rooms there are decides what the feed reads. */
static void
room_changes(const char *room, int change)
{
    if (strncmp(room, "listing:", 8) == 0)
        feed_interest(gw.feed, PAYLOAD_TO_ROOM, room + 8, change);
    else if (strncmp(room, "user:", 5) == 0)
        feed_interest(gw.feed, PAYLOAD_TO_USER, room + 5, change);
    else
        feed_interest(gw.feed, PAYLOAD_TO_ADMINS, "", change);
}

static void
on_room_begins(void *app, const char *nsp, const char *room)
{
    (void)app;
    (void)nsp;
    room_changes(room, +1);
}

static void
on_room_ends(void *app, const char *nsp, const char *room)
{
    (void)app;
    (void)nsp;
    room_changes(room, -1);
}

/* -- refusals ----------------------------------------------------------------------------------- */

static const char *
code_of(enum error e)
{
    switch (e) {
#define CODE(name, status, code, sentence) \
    case ERR_##name: return code;
        ERRORS(CODE)
#undef CODE
    case ERR_COUNT: break;
    }
    abort();
}

static const char *
sentence_of(enum error e)
{
    switch (e) {
#define SENTENCE(name, status, code, sentence) \
    case ERR_##name: return sentence;
        ERRORS(SENTENCE)
#undef SENTENCE
    case ERR_COUNT: break;
    }
    abort();
}

/* A connect_error; the socket is gone afterwards. */
static void
refuse_connect(struct socketio_socket *k, enum error why)
{
    char text[256];
    int  len = snprintf(text, sizeof(text), "{\"message\":\"%s\",\"data\":{\"code\":\"%s\"}}",
                        sentence_of(why), code_of(why));

    socketio_refuse(k, text, (size_t)len);
}

static void
ack_failure(struct socketio_socket *k, int64_t ack_id, enum error why, const char *sentence)
{
    char text[320];
    int  len = snprintf(text, sizeof(text), "{\"success\":false,\"error\":\"%s\",\"code\":\"%s\"}",
                        sentence ? sentence : sentence_of(why), code_of(why));

    socketio_ack(k, ack_id, text, (size_t)len);
}

static void
ack_success(struct socketio_socket *k, int64_t ack_id)
{
    static const char text[] = "{\"success\":true}";

    socketio_ack(k, ack_id, text, sizeof(text) - 1);
}

/* -- connecting --------------------------------------------------------------------------------- */

struct sign_in {
    struct ask          ask;
    struct person      *person;
    struct token_claims claims;
    char                role[8]; /* as the database knows it; "" when why says so */
    enum error          why;
};

SQL(check_session, "SELECT session_check($1::uuid, $2::uuid, NULL) AS role");

static bool
ask_session(struct ask *ask, struct db *db)
{
    struct sign_in    *s = (struct sign_in *)(void *)ask;
    struct arena      *a = arena_new();
    const struct rows *rows;

    if (!a)
        return false;
    rows = db_run(db, a, check_session, s->claims.session_id, s->claims.user_id);
    if (rows)
        snprintf(s->role, sizeof(s->role), "%s", rows_text(rows, 0, "role"));
    else
        s->why = strcmp(db_sqlstate(db), "SK403") == 0 ? ERR_ACCOUNT_DISABLED : ERR_UNAUTHENTICATED;
    bool answered = rows || strncmp(db_sqlstate(db), "SK", 2) == 0;
    arena_free(a);
    return answered;
}

static void
welcome(struct person *p, const struct sign_in *s)
{
    char room[48];

    p->signed_in = true;
    snprintf(p->user_id, sizeof(p->user_id), "%s", s->claims.user_id);
    snprintf(p->session_id, sizeof(p->session_id), "%s", s->claims.session_id);
    snprintf(p->role, sizeof(p->role), "%s", s->role);
    count_in(p);
    user_room(room, p->user_id);
    socketio_join(p->socket, room);
    if (strcmp(p->role, "ADMIN") == 0)
        socketio_join(p->socket, ADMINS);
    socketio_accept(p->socket);
}

static void
session_is_known(struct ask *ask)
{
    struct sign_in *s = (struct sign_in *)(void *)ask;
    struct person  *p = s->person;

    p->asks--;
    if (p->socket) {
        if (ask->unanswered)
            /* A refusal would be final to the client; a lost connection it mends by itself. */
            socketio_drop(p->socket, "unavailable");
        else if (s->role[0])
            welcome(p, s);
        else {
            struct socketio_socket *k = p->socket;
            p->socket = NULL;
            refuse_connect(k, s->why);
        }
    }
    release(p);
    free(s);
}

/* The token of {"token":…}: NULL for none, "?" for what cannot be one. */
static const char *
token_in(struct json_object *auth)
{
    struct json_object *token;

    if (!json_object_object_get_ex(auth, "token", &token) || !token)
        return NULL;
    if (!json_object_is_type(token, json_type_string))
        return "?";
    const char *text = json_object_get_string(token);
    if (strlen(text) != (size_t)json_object_get_string_len(token))
        return "?";
    return *text ? text : NULL;
}

static struct json_object *
parse_json(const char *text, size_t len)
{
    struct json_tokener *tok = json_tokener_new_ex(64);
    struct json_object  *value = NULL;

    if (tok && len < (1 << 20))
        value = json_tokener_parse_ex(tok, text, (int)len);
    json_tokener_free(tok);
    return value;
}

static void
on_connect(struct socketio_socket *k, void *app, const char *auth, size_t len)
{
    struct json_object *object = parse_json(auth, len);
    const char         *token = token_in(object);

    (void)app;
    if (!token) {
        struct person *p = must_alloc(sizeof(*p));
        p->socket = k;
        socketio_set_data(k, p);
        socketio_accept(k);
    } else {
        struct token_claims claims;
        enum token_result   result = token_verify(token, strlen(token), time(NULL), &claims);
        if (result != TOKEN_OK)
            refuse_connect(k, result == TOKEN_EXPIRED ? ERR_TOKEN_EXPIRED : ERR_UNAUTHENTICATED);
        else {
            struct person  *p = must_alloc(sizeof(*p));
            struct sign_in *s = must_alloc(sizeof(*s));
            p->socket = k;
            p->asks = 1;
            socketio_set_data(k, p);
            s->ask.work = ask_session;
            s->ask.done = session_is_known;
            s->person = p;
            s->claims = claims;
            s->why = ERR_UNAUTHENTICATED;
            asks_put(gw.asks, &s->ask);
        }
    }
    json_object_put(object);
}

static void
on_disconnect(struct socketio_socket *k, void *app, const char *reason)
{
    struct person *p = person_of(k);

    (void)app;
    log_debug("disconnected", log_s("reason", reason));
    if (!p)
        return;
    if (p->signed_in)
        count_out(p);
    p->socket = NULL;
    /* Joins that wait for the client, not for the database, end here; the others end by themselves. */
    for (struct join *j = gw.joins; p->joins && j; j = j->next)
        if (j->person == p && j->waits_for_drain) {
            j->waits_for_drain = false;
            asks_put(gw.asks, &j->ask);
        }
    release(p);
}

/* -- sessions that end while connected ---------------------------------------------------------- */

struct check {
    struct ask    ask;
    char         *sessions, *roles; /* arrays in PostgreSQL's input syntax */
    char        (*ended)[37];
    bool         *changed; /* the session lives on, with another role */
    int           n;
};

SQL(ended_sessions,
    "SELECT DISTINCT x.id, u.id IS NOT NULL AS changed FROM unnest($1::uuid[], $2::text[]) AS x(id, role)"
    "  LEFT JOIN sessions s ON s.id = x.id AND s.revoked_at IS NULL AND s.expires_at > now()"
    "  LEFT JOIN users u ON u.id = s.user_id AND u.is_active"
    " WHERE u.role IS DISTINCT FROM x.role");

static bool
ask_ended(struct ask *ask, struct db *db)
{
    struct check *c = (struct check *)(void *)ask;
    struct arena *a = arena_new();

    if (!a)
        return false;
    const struct rows *rows = db_run(db, a, ended_sessions, c->sessions, c->roles);
    if (rows && rows->n) {
        c->ended = must_alloc((size_t)rows->n * sizeof(*c->ended));
        c->changed = must_alloc((size_t)rows->n * sizeof(*c->changed));
        c->n = rows->n;
        for (int i = 0; i < rows->n; i++) {
            snprintf(c->ended[i], sizeof(c->ended[i]), "%s", rows_text(rows, i, "id"));
            c->changed[i] = rows_bool(rows, i, "changed");
        }
    }
    arena_free(a);
    return rows != NULL;
}

static void
sessions_are_checked(struct ask *ask)
{
    struct check *c = (struct check *)(void *)ask;

    for (int i = 0; i < c->n; i++)
        for (struct person *p = gw.people, *next; p; p = next) {
            next = p->next;
            if (strcmp(p->session_id, c->ended[i]) != 0)
                continue;
            if (c->changed[i])
                socketio_drop(p->socket, "role changed"); /* it comes back as what it is now */
            else
                socketio_disconnect(p->socket, true);
        }
    free(c->sessions);
    free(c->roles);
    free(c->ended);
    free(c->changed);
    free(c);
}

static void
check_some(struct ev_loop *loop, ev_timer *timer, int revents)
{
    size_t slice = gw.n_people / CHECK_SLICES + 1, at = 0, n = 0;

    (void)loop;
    (void)timer;
    (void)revents;
    metrics_own_set(METRICS_CLIENTS, (int64_t)engineio_count(gw.server));
    if (!gw.n_people)
        return;
    if (slice < CHECK_AT_LEAST)
        slice = CHECK_AT_LEAST;
    struct check *c = must_alloc(sizeof(*c));
    c->ask.work = ask_ended;
    c->ask.done = sessions_are_checked;
    c->sessions = must_resize(NULL, slice * 37 + 2);
    c->roles = must_resize(NULL, slice * 9 + 2);
    size_t roles_at = 0;
    struct person *p = gw.checked ? gw.checked : gw.people;
    for (; p && n < slice; p = p->next, n++) {
        at += (size_t)snprintf(c->sessions + at, 38, "%c%s", n ? ',' : '{', p->session_id);
        roles_at += (size_t)snprintf(c->roles + roles_at, 10, "%c%s", n ? ',' : '{', p->role);
    }
    gw.checked = p; /* NULL: the next slice begins anew */
    memcpy(c->sessions + at, "}", 2);
    memcpy(c->roles + roles_at, "}", 2);
    asks_put(gw.asks, &c->ask);
}

/* -- joining ------------------------------------------------------------------------------------ */

SQL(look_at_listing,
    "SELECT " SHAPE_MAY_SEE " AS may,"
    "       coalesce((SELECT max(e.id) FROM events e WHERE e.listing_id = l.id), 0) AS reached,"
    "       coalesce((SELECT min(e.id) FROM events e), 0) AS oldest,"
    "       coalesce(l.approved_at > (SELECT min(e.created_at) FROM events e), true) AS all_kept"
    "  FROM listings l WHERE l.id = $2::uuid");

static bool
look(struct join *j, struct db *db, struct arena *a)
{
    const struct rows *rows = db_run(db, a, look_at_listing, j->user_id[0] ? j->user_id : NULL, j->listing);

    if (!rows)
        return false;
    j->looked = true;
    j->may = rows->n == 1 && rows_bool(rows, 0, "may");
    if (!j->may)
        return true;
    int64_t reached = rows_int(rows, 0, "reached");
    j->complete = j->since + 1 >= rows_int(rows, 0, "oldest") || rows_bool(rows, 0, "all_kept");
    /* A number from nowhere must not silence the room. */
    j->reached = j->since < 0 || j->since > reached ? reached : j->since;
    j->more = j->reached < reached;
    return true;
}

static bool
ask_listing(struct ask *ask, struct db *db)
{
    struct join  *j = (struct join *)(void *)ask;
    struct arena *a = arena_new();

    if (!a)
        return false;
    bool answered = (j->looked || look(j, db, a)) &&
                    (!j->may || !j->more ||
                     payload_of_listing(db, a, j->listing, j->reached, REPLAY_PAGE, &j->page, &j->n_page,
                                        &j->reached, &j->more) == 0);
    arena_free(a);
    return answered;
}

static void
free_page(struct join *j)
{
    for (int i = 0; i < j->n_page; i++)
        frame_unref(j->page[i].frame);
    free(j->page);
    j->page = NULL;
    j->n_page = 0;
}

static void
end_join(struct join *j)
{
    struct person *p = j->person;

    feed_interest(gw.feed, PAYLOAD_TO_ROOM, j->listing, -1);
    if (j->prev)
        j->prev->next = j->next;
    else
        gw.joins = j->next;
    if (j->next)
        j->next->prev = j->prev;
    free_page(j);
    for (unsigned i = 0; i < j->n_held; i++)
        frame_unref(j->held[i].frame);
    free(j->held);
    p->asks--;
    p->joins--;
    release(p);
    free(j);
}

/* All that was missed is sent: from here on the room takes over. */
static void
take_in(struct join *j)
{
    struct socketio_socket *k = j->person->socket;
    char                    room[48], text[128];

    listing_room(room, j->listing);
    if (!j->left && !socketio_join(k, room)) {
        ack_failure(k, j->ack_id, ERR_RATE_LIMITED, "Too many rooms.");
        return;
    }
    if (!j->left)
        socketio_set_sequence(k, room, j->reached);
    int len = snprintf(text, sizeof(text), "{\"success\":true,\"sequence\":%lld%s}", (long long)j->reached,
                       j->since < 0  ? ""
                       : j->complete ? ",\"complete\":true"
                                     : ",\"complete\":false");
    socketio_ack(k, j->ack_id, text, (size_t)len);
    for (unsigned i = 0; !j->left && i < j->n_held; i++)
        if (j->held[i].id > socketio_sequence(k, room)) {
            socketio_set_sequence(k, room, j->held[i].id);
            socketio_send(k, j->held[i].frame);
        }
}

static void
listing_is_known(struct ask *ask)
{
    struct join            *j = (struct join *)(void *)ask;
    struct socketio_socket *k = j->person->socket;

    if (k && ask->unanswered)
        ack_failure(k, j->ack_id, ERR_UNAVAILABLE, NULL);
    else if (k && !j->may)
        ack_failure(k, j->ack_id, ERR_NOT_FOUND, NULL);
    else if (k) {
        for (int i = 0; i < j->n_page; i++)
            socketio_send(k, j->page[i].frame);
        free_page(j);
        if (j->more) {
            if (socketio_backlog(k) > REPLAY_BACKLOG)
                j->waits_for_drain = true;
            else
                asks_put(gw.asks, ask);
            return;
        }
        take_in(j);
    }
    end_join(j);
}

static void
on_drain(struct socketio_socket *k, void *app)
{
    struct person *p = person_of(k);

    (void)app;
    for (struct join *j = gw.joins; p && p->joins && j; j = j->next)
        if (j->person == p && j->waits_for_drain) {
            j->waits_for_drain = false;
            asks_put(gw.asks, &j->ask);
        }
}

/* -- what clients say --------------------------------------------------------------------------- */

static bool
is_uuid(const char *s)
{
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i]) || !s[i])
            return false;
    }
    return s[36] == '\0';
}

/* listingId of the first argument, in lower case; and since, -1 for none. */
static bool
read_room(const struct socketio_event *e, char listing[static 37], int64_t *since)
{
    struct json_object *arg = parse_json(e->args, e->args_len), *member;
    bool                good = json_object_is_type(arg, json_type_object) &&
                json_object_object_get_ex(arg, "listingId", &member) &&
                json_object_is_type(member, json_type_string) &&
                json_object_get_string_len(member) == 36 && is_uuid(json_object_get_string(member));

    if (good) {
        const char *id = json_object_get_string(member);
        for (int i = 0; i < 36; i++)
            listing[i] = (char)(id[i] >= 'A' && id[i] <= 'F' ? id[i] + 32 : id[i]);
        listing[36] = '\0';
        *since = -1;
        if (json_object_object_get_ex(arg, "since", &member) && member) {
            double n = json_object_get_double(member);
            good = (json_object_is_type(member, json_type_int) ||
                    json_object_is_type(member, json_type_double)) &&
                   n >= 0 && n <= 9007199254740991. && floor(n) == n;
            *since = good ? (int64_t)n : -1;
        }
    }
    json_object_put(arg);
    return good;
}

static void
begin_join(struct socketio_socket *k, const char *listing, int64_t since, int64_t ack_id)
{
    struct person *p = person_of(k);
    char           room[48];

    if (p->joins >= JOINS_AT_ONCE) {
        ack_failure(k, ack_id, ERR_RATE_LIMITED, NULL);
        return;
    }
    struct join *j = must_alloc(sizeof(*j));
    j->ask.work = ask_listing;
    j->ask.done = listing_is_known;
    j->person = p;
    snprintf(j->listing, sizeof(j->listing), "%s", listing);
    if (p->signed_in)
        snprintf(j->user_id, sizeof(j->user_id), "%s", p->user_id);
    j->since = since;
    j->ack_id = ack_id;
    /* Who is in the room already has been told some of it. */
    listing_room(room, listing);
    if (since >= 0 && since < socketio_sequence(k, room))
        j->since = socketio_sequence(k, room);
    j->next = gw.joins;
    if (j->next)
        j->next->prev = j;
    gw.joins = j;
    p->asks++;
    p->joins++;
    /* Before the look, so that nothing falls between the two. */
    feed_interest(gw.feed, PAYLOAD_TO_ROOM, listing, +1);
    asks_put(gw.asks, &j->ask);
}

static void
leave(struct socketio_socket *k, const char *listing, int64_t ack_id)
{
    char room[48];

    for (struct join *j = gw.joins; j; j = j->next)
        if (j->person->socket == k && strcmp(j->listing, listing) == 0)
            j->left = true;
    listing_room(room, listing);
    socketio_leave(k, room);
    ack_success(k, ack_id);
}

static bool
named(const struct socketio_event *e, const char *name)
{
    return e->name_len == strlen(name) && memcmp(e->name, name, e->name_len) == 0;
}

static void
on_event(struct socketio_socket *k, void *app, const struct socketio_event *e)
{
    char    listing[37];
    int64_t since;
    bool    join = named(e, "join_room");

    (void)app;
    if (!join && !named(e, "leave_room"))
        return; /* a later client's business, perhaps */
    if (!read_room(e, listing, &since))
        ack_failure(k, e->ack_id, ERR_VALIDATION_FAILED,
                    "listingId must be a UUID, and since a sequence number, if given.");
    else if (join)
        begin_join(k, listing, since, e->ack_id);
    else
        leave(k, listing, e->ack_id);
}

/* -- what happened ------------------------------------------------------------------------------ */

static void
hold(struct join *j, const struct payload *p)
{
    if (j->n_held == HELD_MAX) {
        /* It does not read what it missed, or not fast enough; it may come again. */
        if (j->person->socket)
            socketio_drop(j->person->socket, "slow client");
        return;
    }
    if (j->n_held == j->room_held) {
        j->room_held = j->room_held ? j->room_held * 2 : 8;
        j->held = must_resize(j->held, j->room_held * sizeof(*j->held));
    }
    j->held[j->n_held++] = (struct held){p->id, frame_ref(p->frame)};
}

static void
tell(const struct payload *p)
{
    char room[48];

    switch (p->to) {
    case PAYLOAD_TO_ROOM:
        for (struct join *j = gw.joins; j; j = j->next)
            if (strcmp(j->listing, p->key) == 0)
                hold(j, p);
        listing_room(room, p->key);
        socketio_send_room(gw.io, "/", room, p->frame, p->id);
        break;
    case PAYLOAD_TO_USER: /* of many listings: their numbers are in no order, and nothing is replayed */
        user_room(room, p->key);
        socketio_send_room(gw.io, "/", room, p->frame, 0);
        break;
    case PAYLOAD_TO_ADMINS:
        socketio_send_room(gw.io, "/", ADMINS, p->frame, 0);
        break;
    }
}

static void begin_listening(void);

static void
deliver(void *arg, const struct payload *list, int n)
{
    (void)arg;
    if (!gw.listening)
        begin_listening();
    for (int i = 0; i < n; i++) {
        tell(&list[i]);
        frame_unref(list[i].frame);
    }
}

/* -- the program -------------------------------------------------------------------------------- */

static void
all_are_gone(void *arg)
{
    (void)arg;
    ev_break(gw.loop, EVBREAK_ALL);
}

static void
on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)w;
    (void)revents;
    log_info("stopping", log_i("clients", (int64_t)engineio_count(gw.server)));
    ev_timer_stop(loop, &gw.check);
    engineio_shutdown(gw.server, GRACE_MS, all_are_gone, NULL);
}

/* GATEWAY_LISTEN: a path, or address:port. */
static void
begin_listening(void)
{
    const struct config *c = config();
    char                 text[256];
    int                  bound;

    gw.listening = true;
    if (c->gateway_listen)
        snprintf(text, sizeof(text), "%s", c->gateway_listen);
    else
        snprintf(text, sizeof(text), "%s/run/gateway.sock", c->state_dir);
    char *colon = strrchr(text, ':');
    if (strchr(text, '/') || !colon)
        bound = engineio_listen_unix(gw.server, text, 0660);
    else {
        *colon = '\0';
        bound = engineio_listen_tcp(gw.server, text, (unsigned)strtoul(colon + 1, NULL, 10));
        *colon = ':';
    }
    if (bound < 0) {
        log_error("cannot listen", log_s("at", text), log_s("detail", strerror(errno)));
        gw.status = EX_OSERR;
        ev_break(gw.loop, EVBREAK_ALL);
        return;
    }
    log_info("listening", log_s("at", text), log_s("name", c->gateway_name));
}

/* A connection is a descriptor, here and in nginx. */
static void
allow_many_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    struct rlimit more = {.rlim_cur = MIN_FILES, .rlim_max = limit.rlim_max > MIN_FILES ? limit.rlim_max : MIN_FILES};
    if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
        limit.rlim_cur = limit.rlim_max > MIN_FILES ? MIN_FILES : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool
set_up(void)
{
    const struct config     *c = config();
    struct engineio_settings engine = ENGINEIO_DEFAULTS;
    struct socketio_settings sockets = SOCKETIO_DEFAULTS;
    struct socketio_handlers handlers = {.connect = on_connect,
                                         .event = on_event,
                                         .drain = on_drain,
                                         .disconnect = on_disconnect,
                                         .room_begins = on_room_begins,
                                         .room_ends = on_room_ends};
    static char              prefix[32];
    bool                     limited = config_limit("bids") || config_limit("send-otp");

    snprintf(prefix, sizeof(prefix), "%.20s-", c->gateway_name);
    engine.sid_prefix = prefix;
    engine.ping_interval_ms = (unsigned)c->gateway_ping_interval_ms;
    engine.ping_timeout_ms = (unsigned)c->gateway_ping_timeout_ms;
    engine.upgrade_timeout_ms = (unsigned)c->gateway_upgrade_timeout_ms;
    engine.max_payload_bytes = sockets.max_binary_bytes = (size_t)c->gateway_max_payload_bytes;
    engine.max_sessions = (size_t)c->gateway_max_clients;
    engine.trust_real_ip = true;
    sockets.connect_timeout_ms = (unsigned)c->gateway_connect_timeout_ms;
    sockets.rooms_per_socket = ROOMS_MAX;
    if (limited) {
        engine.sessions_per_address = (unsigned)c->gateway_clients_per_address;
        engine.opens_per_address_minute = (unsigned)c->gateway_connects_per_minute;
        sockets.packets_per_second = PACKETS_SECOND;
        sockets.packet_burst = PACKETS_BURST;
    }
    gw.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!gw.loop)
        return false;
    gw.io = socketio_new(gw.loop, &sockets, &handlers, NULL);
    struct engineio_endpoint endpoint = socketio_endpoint(gw.io, "/socket.io/");
    gw.server = engineio_new(gw.loop, &engine, &endpoint, 1);
    return gw.server != NULL;
}

int
main(void)
{
    if (!config_load(stderr))
        return EX_CONFIG;
    const struct config *c = config();
    log_open("gateway", c->log_level);
    token_init(c->jwt_secret);
    fileurl_init(c->file_url_secret, c->file_url_secret_old);
    sentry_open(c->sentry_dsn, c->state_dir, "gateway");
    (void)metrics_open(c->state_dir);
    metrics_process("gateway");
    db_init(c->database_url, "gateway", 1);
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    if (!set_up()) {
        log_error("libwebsockets or libev cannot be set up");
        return EX_SOFTWARE;
    }
    ev_signal_init(&gw.term, on_term, SIGTERM);
    ev_signal_start(gw.loop, &gw.term);
    ev_signal_init(&gw.intr, on_term, SIGINT);
    ev_signal_start(gw.loop, &gw.intr);
    ev_timer_init(&gw.check, check_some, CHECK_S, CHECK_S);
    ev_timer_start(gw.loop, &gw.check);
    gw.asks = asks_begin(gw.loop, ASKERS);
    gw.feed = feed_begin(gw.loop, deliver, NULL);
    ev_run(gw.loop, 0);

    engineio_free(gw.server);
    asks_end(gw.asks);
    socketio_free(gw.io);
    feed_end(gw.feed);
    ev_loop_destroy(gw.loop);
    log_info("stopped");
    return gw.status;
}
