/* people -- who is connected, and whether he may still be.
 *
 * A token is judged here; whether its session stands is the database's to say, when the client connects
 * and again every few seconds while it is connected, in slices, so that twenty thousand people cost one
 * small statement a second. */
#include "gateway_private.h"

#include "arena.h"
#include "db.h"
#include "jr.h"
#include "log.h"
#include "metrics.h"
#include "must.h"
#include "socketpacket.h"
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKEN_TEXT_MAX (TOKEN_MAX + 2) /* a longer one is none */
#define CHECK_SLICES   3   /* a round of checks is so many calls of people_check, … */
#define CHECK_AT_LEAST 200 /* … or fewer: so many sessions are asked about together anyway */

static struct {
    struct person *first;   /* signed in, in the order in which they are checked */
    struct person *checked; /* whose turn it is */
    size_t         n;
} people;

struct person *
people_of(struct socketio_socket *k)
{
    return socketio_data(k);
}

void
people_release(struct person *p)
{
    if (!p->socket && !p->asks)
        free(p);
}

static void
count_in(struct person *p)
{
    /* In front: checked a moment ago, so its turn comes when the round begins anew. */
    p->next = people.first;
    if (p->next)
        p->next->prev = p;
    people.first = p;
    people.n++;
}

static void
count_out(struct person *p)
{
    if (people.checked == p)
        people.checked = p->next;
    if (p->prev)
        p->prev->next = p->next;
    else
        people.first = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->prev = p->next = NULL;
    people.n--;
}

/* -- connecting --------------------------------------------------------------------------------- */

/* A connect_error; the socket is gone afterwards. */
static void
refuse_connect(struct socketio_socket *k, enum error why)
{
    char text[256];
    int  len = snprintf(text, sizeof(text), "{\"message\":\"%s\",\"data\":{\"code\":\"%s\"}}",
                        gateway_sentence(why), gateway_code(why));

    socketio_refuse(k, text, (size_t)len);
}

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
    char room[ROOMS_NAME_MAX];

    p->signed_in = true;
    snprintf(p->user_id, sizeof(p->user_id), "%s", s->claims.user_id);
    snprintf(p->session_id, sizeof(p->session_id), "%s", s->claims.session_id);
    snprintf(p->role, sizeof(p->role), "%s", s->role);
    count_in(p);
    rooms_of_user(room, p->user_id);
    socketio_join(p->socket, room);
    if (strcmp(p->role, "ADMIN") == 0)
        socketio_join(p->socket, ROOMS_ADMINS);
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
    people_release(p);
    free(s);
}

/* The token of {"token":…} in TEXT: NULL for none, "?" for what cannot be one. */
static const char *
token_in(const char *auth, size_t len, char text[static TOKEN_TEXT_MAX])
{
    struct jr object = {0}, token;

    (void)jr_first(auth, len, SOCKETPACKET_MAX_DEPTH, &object);
    token = jr_member(object, "token");
    if (token.kind == JR_ABSENT || token.kind == JR_NULL)
        return NULL;
    size_t token_len = jr_decode(token, text, TOKEN_TEXT_MAX);
    if (token.kind != JR_STRING || token_len >= TOKEN_TEXT_MAX || strlen(text) != token_len)
        return "?";
    return *text ? text : NULL;
}

void
people_connect(struct socketio_socket *k, void *app, const char *auth, size_t len)
{
    char        text[TOKEN_TEXT_MAX];
    const char *token = token_in(auth, len, text);

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
}

void
people_disconnect(struct socketio_socket *k, void *app, const char *reason)
{
    struct person *p = people_of(k);

    (void)app;
    log_debug("disconnected", log_s("reason", reason));
    if (!p)
        return;
    if (p->signed_in)
        count_out(p);
    p->socket = NULL;
    rooms_forget(p);
    people_release(p);
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
        for (struct person *p = people.first, *next; p; p = next) {
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

void
people_check(struct ev_loop *loop, ev_timer *timer, int revents)
{
    size_t slice = people.n / CHECK_SLICES + 1, at = 0, n = 0;

    (void)loop;
    (void)timer;
    (void)revents;
    metrics_own_set(METRICS_CLIENTS, (int64_t)engineio_count(gw.server));
    if (!people.n)
        return;
    if (slice < CHECK_AT_LEAST)
        slice = CHECK_AT_LEAST;
    struct check *c = must_alloc(sizeof(*c));
    c->ask.work = ask_ended;
    c->ask.done = sessions_are_checked;
    c->sessions = must_resize(NULL, slice * 37 + 2);
    c->roles = must_resize(NULL, slice * 9 + 2);
    size_t roles_at = 0;
    struct person *p = people.checked ? people.checked : people.first;
    for (; p && n < slice; p = p->next, n++) {
        at += (size_t)snprintf(c->sessions + at, 38, "%c%s", n ? ',' : '{', p->session_id);
        roles_at += (size_t)snprintf(c->roles + roles_at, 10, "%c%s", n ? ',' : '{', p->role);
    }
    people.checked = p; /* NULL: the next slice begins anew */
    memcpy(c->sessions + at, "}", 2);
    memcpy(c->roles + roles_at, "}", 2);
    asks_put(gw.asks, &c->ask);
}
