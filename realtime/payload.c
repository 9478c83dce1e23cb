#include "payload.h"

#include "arena.h"
#include "db.h"
#include "frame.h"
#include "jw.h"
#include "must.h"
#include "shape.h"
#include "socketio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A bid as the room sees it: by alias, and as the highest, which it was when it was placed. */
#define ROOM_COLUMNS \
    "e.id AS _id, e.name AS _name, e.listing_id AS _listing, e.data AS _data, b.nth AS _nth," \
    " b.amount AS _amount, 'Selliko Bid #' || b.alias AS _alias," \
    " b.id, b.listing_id AS \"listingId\", 'Selliko Bid #' || b.alias AS \"vendorId\"," \
    " b.amount AS \"amount:rupees\", b.is_instant_win AS \"isInstantWin\", true AS \"isWinning\"," \
    " b.placed_at AS \"timestamp\", b.metadata"

SQL(room_events, "SELECT " ROOM_COLUMNS " FROM events e LEFT JOIN bids b ON b.id = e.ref"
                 " WHERE e.id = ANY ($1::bigint[]) AND e.listing_id IS NOT NULL AND e.user_id IS NULL"
                 "   AND e.name <> 'listing_submitted' ORDER BY e.id");

SQL(room_since, "SELECT " ROOM_COLUMNS " FROM events e LEFT JOIN bids b ON b.id = e.ref"
                " WHERE e.listing_id = $1::uuid AND e.id > $2::bigint AND e.user_id IS NULL"
                "   AND e.name <> 'listing_submitted' ORDER BY e.id LIMIT $3::int");

SQL(notification_events, "SELECT e.id AS _id, e.user_id AS _user, " NOTIFICATION_COLUMNS
                         " FROM events e JOIN notifications n ON n.id = e.ref"
                         " WHERE e.id = ANY ($1::bigint[]) AND e.name = 'notification' ORDER BY e.id");

SQL(task_events, "SELECT e.id AS _id, e.user_id AS _user, " TASK_COLUMNS " FROM" TASK_FROM
                 " JOIN events e ON e.ref = t.id"
                 " WHERE e.id = ANY ($1::bigint[]) AND e.name = 'task_assigned' ORDER BY e.id");

/* Kinds are told apart by payload_kind, which each of these conditions repeats for its part. */

/* What needs no look at another table. */
SQL(plain_events, "SELECT e.id AS _id, e.name AS _name, e.user_id AS _user, e.ref AS _ref, e.data AS _data"
                  " FROM events e WHERE e.id = ANY ($1::bigint[]) AND (e.user_id IS NOT NULL"
                  "   AND e.name NOT IN ('notification', 'task_assigned') OR e.name = 'system_alert')"
                  " ORDER BY e.id");

/* From Rs 50,000 up an admin should look soon. */
#define PRIORITY_FROM_PAISE "5000000"
SQL(submitted_events, "SELECT e.id AS _id, l.asking_price >= " PRIORITY_FROM_PAISE " AS _soon, " LISTING_COLUMNS("true")
                      " FROM events e JOIN listings l ON l.id = e.ref"
                      " WHERE e.id = ANY ($1::bigint[]) AND e.name = 'listing_submitted' ORDER BY e.id");

enum payload_to
payload_to(const char *name, const char *user_id)
{
    if (strcmp(name, "listing_submitted") == 0 || strcmp(name, "system_alert") == 0)
        return PAYLOAD_TO_ADMINS;
    return user_id ? PAYLOAD_TO_USER : PAYLOAD_TO_ROOM;
}

enum payload_kind
payload_kind(const char *name, const char *user_id)
{
    if (strcmp(name, "listing_submitted") == 0)
        return PAYLOAD_SUBMITTED;
    if (strcmp(name, "notification") == 0)
        return PAYLOAD_NOTIFICATION;
    if (strcmp(name, "task_assigned") == 0)
        return PAYLOAD_TASK;
    return payload_to(name, user_id) == PAYLOAD_TO_ROOM ? PAYLOAD_ROOM : PAYLOAD_PLAIN;
}

/* ["name",{…  and …}] or …},sequence]: between them the payload's members are written. */
static struct jw *
open_event(struct arena *a, const char *name)
{
    struct jw *j = jw_new(a);

    jw_array(j, NULL);
    jw_str(j, NULL, name);
    jw_object(j, NULL);
    return j;
}

static void
close_event(struct jw *j, enum payload_to to, const char *key, int64_t id, struct payload **list, int *n)
{
    size_t len;

    jw_end(j);
    if (to == PAYLOAD_TO_ROOM)
        jw_int(j, NULL, id);
    jw_end(j);
    const char *text = jw_text(j, &len);
    if ((*n & (*n - 1)) == 0)
        *list = must_resize(*list, (size_t)(*n ? *n * 2 : 1) * sizeof(**list));
    struct payload *p = &(*list)[(*n)++];
    *p = (struct payload){.id = id, .to = to, .frame = socketio_frame("/", text, len)};
    if (key)
        snprintf(p->key, sizeof(p->key), "%s", key);
}

/* The members of a JSON object that the database keeps, into the open one. */
static void
data_members(struct jw *j, const char *data)
{
    size_t len = data ? strlen(data) : 0;

    if (len > 2 && data[0] == '{')
        jw_members(j, data + 1, len - 2);
}

/* -- a listing's room --------------------------------------------------------------------------- */

static void
room_event(struct arena *a, const struct rows *rows, int i, struct payload **list, int *n)
{
    const char *name = rows_text(rows, i, "_name"), *listing = rows_text(rows, i, "_listing");
    bool        bid = strcmp(name, "new_bid") == 0, won = strcmp(name, "auction_won") == 0;

    if ((bid || won) && rows_null(rows, i, "_nth"))
        return;
    struct jw *j = open_event(a, name);
    jw_str(j, "listingId", listing);
    if (bid || won) {
        jw_object(j, bid ? "bid" : "winningBid");
        rows_members(j, rows, i);
        jw_end(j);
    }
    if (bid) {
        jw_rupees(j, "newHighestBid", rows_int(rows, i, "_amount"));
        jw_int(j, "totalBids", rows_int(rows, i, "_nth"));
    } else if (won)
        jw_str(j, "winner", rows_text(rows, i, "_alias"));
    else
        data_members(j, rows_text(rows, i, "_data"));
    close_event(j, PAYLOAD_TO_ROOM, listing, rows_int(rows, i, "_id"), list, n);
}

int
payload_of_listing(struct db *db, struct arena *a, const char *listing, int64_t since, int limit,
                   struct payload **list, int *n, int64_t *last, int *more)
{
    const struct rows *rows = db_run(db, a, room_since, listing, arena_printf(a, "%lld", (long long)since),
                                     arena_printf(a, "%d", limit));

    if (!rows)
        return -1;
    *last = since;
    *more = rows->n == limit;
    for (int i = 0; i < rows->n; i++) {
        room_event(a, rows, i, list, n);
        *last = rows_int(rows, i, "_id");
    }
    return 0;
}

/* -- persons and admins ------------------------------------------------------------------------- */

static void
notification_event(struct arena *a, const struct rows *rows, int i, struct payload **list, int *n)
{
    struct jw *j = open_event(a, "notification");

    jw_object(j, "notification");
    rows_members(j, rows, i);
    jw_end(j);
    close_event(j, PAYLOAD_TO_USER, rows_text(rows, i, "_user"), rows_int(rows, i, "_id"), list, n);
}

static void
task_event(struct arena *a, const struct rows *rows, int i, struct payload **list, int *n)
{
    struct jw *j = open_event(a, "task_assigned");

    shape_task_object(a, j, "task", rows, i, (int64_t)time(NULL));
    jw_str(j, "priority", rows_text(rows, i, "priority"));
    close_event(j, PAYLOAD_TO_USER, rows_text(rows, i, "_user"), rows_int(rows, i, "_id"), list, n);
}

static void
submitted_event(struct arena *a, const struct rows *rows, int i, struct payload **list, int *n)
{
    struct jw *j = open_event(a, "listing_submitted");

    shape_listing_object(j, "listing", rows, i, SHAPE_ALONE, (int64_t)time(NULL));
    jw_bool(j, "priority", rows_bool(rows, i, "_soon"));
    close_event(j, PAYLOAD_TO_ADMINS, NULL, rows_int(rows, i, "_id"), list, n);
}

static void
plain_event(struct arena *a, const struct rows *rows, int i, struct payload **list, int *n)
{
    const char *name = rows_text(rows, i, "_name"), *user = rows_text(rows, i, "_user");
    struct jw  *j = open_event(a, name);

    if (strcmp(name, "order_update") == 0)
        jw_str(j, "orderId", rows_text(rows, i, "_ref"));
    data_members(j, rows_text(rows, i, "_data"));
    close_event(j, payload_to(name, user), user, rows_int(rows, i, "_id"), list, n);
}

/* -- all of one kind ---------------------------------------------------------------------------- */

int
payload_of_events(struct db *db, struct arena *a, enum payload_kind kind, const char *ids,
                  struct payload **list, int *n)
{
    static const struct {
        struct sql *sql;
        void (*write)(struct arena *, const struct rows *, int, struct payload **, int *);
    } kinds[PAYLOAD_KINDS] = {
        [PAYLOAD_ROOM] = {&room_events, room_event},
        [PAYLOAD_NOTIFICATION] = {&notification_events, notification_event},
        [PAYLOAD_TASK] = {&task_events, task_event},
        [PAYLOAD_SUBMITTED] = {&submitted_events, submitted_event},
        [PAYLOAD_PLAIN] = {&plain_events, plain_event},
    };
    const struct rows *rows = db_query(db, a, kinds[kind].sql, &ids, 1);

    if (!rows)
        return -1;
    for (int i = 0; i < rows->n; i++)
        kinds[kind].write(a, rows, i, list, n);
    return 0;
}
