/* rooms -- who hears what: joining a listing's room without a gap, and telling what has happened.
 *
 *   join_room ──► look (may he? how far is the listing?) ──► page ──► page ──► in the room
 *                   │ a thread asks the database                                  ▲
 *                   └─ meanwhile: what is fed for that listing is held back ──────┘ the newer part of it
 *
 * A join looks at the database at some moment and sends what was missed up to then; of what was held
 * back only what is newer than the look is sent afterwards.  From then on the room's own sequence sees
 * to it that each event goes to a socket once, in order.  So join_room {listingId, since} leaves no gap,
 * whatever happened to the connection, to this process or to the database before. */
#include "gateway_private.h"

#include "arena.h"
#include "db.h"
#include "frame.h"
#include "jr.h"
#include "must.h"
#include "payload.h"
#include "shape.h"
#include "socketpacket.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_PAGE    200    /* events */
#define REPLAY_BACKLOG 262144 /* bytes on their way to a client before it gets the next page */
#define HELD_MAX       5000   /* events held back for one join */
#define JOINS_AT_ONCE  64     /* of one socket, still asking */

/* What stands for a sequence number in join_room: nothing, or a null to be told one. */
enum { SINCE_UNSAID = -2, SINCE_NOW = -1 };

/* A join_room that waits for its answer. */
struct join {
    struct ask       ask;
    struct join     *prev, *next;
    struct person   *person;
    char             listing[37];
    char             user_id[37]; /* "" for nobody */
    int64_t          since;       /* what the client has, or one of the above */
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

static struct join *joins; /* under way */

void
rooms_of_user(char room[static ROOMS_NAME_MAX], const char *user_id)
{
    snprintf(room, ROOMS_NAME_MAX, "user:%s", user_id);
}

static void
listing_room(char room[static ROOMS_NAME_MAX], const char *listing)
{
    snprintf(room, ROOMS_NAME_MAX, "listing:%s", listing);
}

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

void
rooms_begin(void *app, const char *nsp, const char *room)
{
    (void)app;
    (void)nsp;
    room_changes(room, +1);
}

void
rooms_end(void *app, const char *nsp, const char *room)
{
    (void)app;
    (void)nsp;
    room_changes(room, -1);
}

/* -- joining ------------------------------------------------------------------------------------ */

static void
ack_failure(struct socketio_socket *k, int64_t ack_id, enum error why, const char *sentence)
{
    char text[320];
    int  len = snprintf(text, sizeof(text), "{\"success\":false,\"error\":\"%s\",\"code\":\"%s\"}",
                        sentence ? sentence : gateway_sentence(why), gateway_code(why));

    socketio_ack(k, ack_id, text, (size_t)len);
}

static void
ack_success(struct socketio_socket *k, int64_t ack_id)
{
    static const char text[] = "{\"success\":true}";

    socketio_ack(k, ack_id, text, sizeof(text) - 1);
}

SQL(look_at_listing,
    "SELECT " SHAPE_MAY_SEE " AS may,"
    "       coalesce((SELECT max(e.id) FROM events e WHERE e.listing_id = l.id), 0) AS reached,"
    /* of no event at all, the one that comes next is the oldest */
    "       coalesce((SELECT min(e.id) FROM events e), (SELECT last_value + is_called::int FROM events_id_seq)) AS oldest,"
    "       coalesce(l.approved_at > (SELECT e.created_at FROM events e ORDER BY e.id LIMIT 1), l.approved_at IS NULL) AS all_kept"
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
        joins = j->next;
    if (j->next)
        j->next->prev = j->prev;
    free_page(j);
    for (unsigned i = 0; i < j->n_held; i++)
        frame_unref(j->held[i].frame);
    free(j->held);
    p->asks--;
    p->joins--;
    people_release(p);
    free(j);
}

/* All that was missed is sent: from here on the room takes over. */
static void
take_in(struct join *j)
{
    struct socketio_socket *k = j->person->socket;
    char                    room[ROOMS_NAME_MAX], text[128];

    listing_room(room, j->listing);
    if (!j->left && !socketio_join(k, room)) {
        ack_failure(k, j->ack_id, ERR_RATE_LIMITED, "Too many rooms.");
        return;
    }
    if (!j->left)
        socketio_set_sequence(k, room, j->reached);
    if (j->since == SINCE_UNSAID) {
        ack_success(k, j->ack_id);
    } else {
        int len = snprintf(text, sizeof(text), "{\"success\":true,\"sequence\":%lld%s}", (long long)j->reached,
                           j->since < 0  ? ""
                           : j->complete ? ",\"complete\":true"
                                         : ",\"complete\":false");
        socketio_ack(k, j->ack_id, text, (size_t)len);
    }
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

/* Joins of that person that wait for his client, not for the database, go on. */
static void
go_on(struct person *p)
{
    for (struct join *j = joins; p->joins && j; j = j->next)
        if (j->person == p && j->waits_for_drain) {
            j->waits_for_drain = false;
            asks_put(gw.asks, &j->ask);
        }
}

void
rooms_drain(struct socketio_socket *k, void *app)
{
    struct person *p = people_of(k);

    (void)app;
    if (p)
        go_on(p);
}

void
rooms_forget(struct person *p)
{
    go_on(p); /* each finds the socket gone, and ends */
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

/* listingId of the first argument, in lower case; and since. */
static bool
read_room(const struct socketio_event *e, char listing[static 37], int64_t *since)
{
    struct jr arg = {0}, from;

    *since = SINCE_UNSAID;
    (void)jr_first(e->args, e->args_len, SOCKETPACKET_MAX_DEPTH, &arg);
    if (jr_decode(jr_member(arg, "listingId"), listing, 37) != 36 || !is_uuid(listing))
        return false;
    for (int i = 0; i < 36; i++)
        if (listing[i] >= 'A' && listing[i] <= 'F')
            listing[i] = (char)(listing[i] + 32);
    from = jr_member(arg, "since");
    if (from.kind == JR_NULL)
        *since = SINCE_NOW;
    if (from.kind == JR_ABSENT || from.kind == JR_NULL)
        return true;
    char   text[32];
    size_t len = from.len < sizeof text ? from.len : 0;
    memcpy(text, from.s, len);
    text[len] = '\0';
    double n = from.kind == JR_NUMBER && len > 0 ? strtod(text, NULL) : -1;
    if (!(n >= 0 && n <= 9007199254740991. && floor(n) == n))
        return false;
    *since = (int64_t)n;
    return true;
}

static void
begin_join(struct socketio_socket *k, const char *listing, int64_t since, int64_t ack_id)
{
    struct person *p = people_of(k);
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
    j->next = joins;
    if (j->next)
        j->next->prev = j;
    joins = j;
    p->asks++;
    p->joins++;
    /* Before the look, so that nothing falls between the two. */
    feed_interest(gw.feed, PAYLOAD_TO_ROOM, listing, +1);
    asks_put(gw.asks, &j->ask);
}

static void
leave(struct socketio_socket *k, const char *listing, int64_t ack_id)
{
    char room[ROOMS_NAME_MAX];

    for (struct join *j = joins; j; j = j->next)
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

void
rooms_event(struct socketio_socket *k, void *app, const struct socketio_event *e)
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

void
rooms_tell(const struct payload *p)
{
    char room[ROOMS_NAME_MAX];

    switch (p->to) {
    case PAYLOAD_TO_ROOM:
        for (struct join *j = joins; j; j = j->next)
            if (strcmp(j->listing, p->key) == 0)
                hold(j, p);
        listing_room(room, p->key);
        socketio_send_room(gw.io, "/", room, p->frame, p->id);
        break;
    case PAYLOAD_TO_USER: /* of many listings: their numbers are in no order, and nothing is replayed */
        rooms_of_user(room, p->key);
        socketio_send_room(gw.io, "/", room, p->frame, 0);
        break;
    case PAYLOAD_TO_ADMINS:
        socketio_send_room(gw.io, "/", ROOMS_ADMINS, p->frame, 0);
        break;
    }
}
