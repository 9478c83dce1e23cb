/* listings -- phones for sale: handing one in, the administrator's word, looking and watching.
 *
 *     pending ──approve──► live ──bid at the asking price, or the time is over──► sold | expired
 *        └─────reject────► rejected
 *
 * Everybody sees live, sold and expired ones; the others exist for their owner and administrators only
 * (404 to the rest).  What is private in a listing that all may see (IMEIs, street, bill) is masked by
 * the statement that reads it, see shape.h.  Handing in, with its photos, is listing_create.c;
 * giving a sold one's order to an agent is assignments.c. */
#include "app.h"

#include "assignments.h"
#include "listing_create.h"
#include "shape.h"
#include "totals.h"
#include "valid.h"

#define ROUTES(X) \
    X(POST,   "/listings",                     listing_create,  CLIENT, STREAMS | TAKES_KEY) \
    X(GET,    "/listings",                     list_listings,   ANYONE, CACHEABLE) \
    X(GET,    "/listings/{uuid}",              show_listing,    ANYONE, 0) \
    X(PUT,    "/listings/{uuid}/approve",      decide_listing,  ADMIN, 0) \
    X(PUT,    "/listings/{uuid}/assign-agent", assign_agent,    ADMIN, 0) \
    X(POST,   "/listings/{uuid}/watch",        watch_listing,   SIGNED_IN, 0) \
    X(DELETE, "/listings/{uuid}/watch",        unwatch_listing, SIGNED_IN, 0)

static reply list_listings(struct req *r);
static reply show_listing(struct req *r);
static reply decide_listing(struct req *r);
static reply watch_listing(struct req *r);
static reply unwatch_listing(struct req *r);

/* ---- lists ---- */

/* Two families: to the public only the public states, which have indexes of their own; to who is
 * signed in also his own (all, to an administrator). */
#define PUBLIC_ONLY "l.status IN ('live', 'sold', 'expired')"
#define LIST_FILTERS \
    " {?2 AND l.status = $2 ?} {?3 AND l.client_id = $3::uuid ?} {?4 AND l.words @@ search_words($4) ?}"
#define LIST_FROM(SEES) "  FROM listings l WHERE " SEES LIST_FILTERS
#define LIST_PAGE(SEES, ORDER) \
    "SELECT " LISTING_COLUMNS("l.whole") " FROM " SHAPE_LISTINGS("FROM (SELECT l.*" LIST_FROM(SEES) \
    " ORDER BY " ORDER " LIMIT $5 OFFSET $6) l") " ORDER BY " ORDER
#define LIST_COUNT(SEES) "(SELECT count(*) " LIST_FROM(SEES) ")"

#define ORDERS(X) \
    X("newest",        newest,  "l.submitted_at DESC, l.id DESC") \
    X("oldest",        oldest,  "l.submitted_at, l.id") \
    X("lowest-price",  lowest,  "l.asking_price, l.id") \
    X("highest-price", highest, "l.asking_price DESC, l.id DESC") \
    X("ending-soon",   ending,  "(l.status <> 'live'), l.auction_end, l.id")   /* the open ones first */
#define ORDER_SQL(word, name, order) \
    SQL(public_##name, LIST_PAGE(PUBLIC_ONLY, order)); \
    SQL(seen_##name, LIST_PAGE(SHAPE_MAY_SEE, order));
ORDERS(ORDER_SQL)
SQL(public_total, "SELECT " LIST_COUNT(PUBLIC_ONLY) " AS count WHERE $1::uuid IS NULL OR true");
SQL(seen_total,   /* one part for each index: what one may see, as one condition, has none */
    "SELECT CASE WHEN " SHAPE_IS_ADMIN " THEN " LIST_COUNT("true")
    "  ELSE " LIST_COUNT(PUBLIC_ONLY) " + " LIST_COUNT("l.client_id = $1::uuid AND NOT (" PUBLIC_ONLY ")") " END AS count");

/* GET /listings ?status&clientId&searchQuery&sortBy: what the caller may see of them. */
static reply
list_listings(struct req *r)
{
    const char *status = query_has(r, "status")
        ? query_choice(r, "status", "pending|approved|rejected|live|sold|expired") : NULL;
    const char *client = query_has(r, "clientId") ? query_uuid(r, "clientId") : NULL;
    const char *search = or_null(query_text(r, "searchQuery", 0, 200));
    const char *sort = query_has(r, "sortBy")
        ? query_choice(r, "sortBy", "newest|oldest|lowest-price|highest-price|ending-soon") : "newest";
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);

    struct sql *statement = NULL;
    bool signed_in = r->user.id != NULL;
#define ORDER_CHOICE(word, name, order) \
    if (strcmp(sort, word) == 0) \
        statement = signed_in ? &seen_##name : &public_##name;
    ORDERS(ORDER_CHOICE)
    const char *const param[] = { r->user.id, status, client, search, page.limit_text, page.offset_text };
    const struct rows *rows = db_rows_(r, statement, param, 6);
    struct jw *j = answer(r);
    jw_array(j, "listings");
    for (int i = 0; i < rows->n; i++)
        shape_listing_object(j, NULL, rows, i, SHAPE_LISTED, req_now(r));
    jw_end(j);
    const char *key = arena_printf(r->arena, "listings %s|%s|%s|%s", or_dash(r->user.id), or_dash(status),
                                   or_dash(client), totals_part(r, search));
    answer_pagination(r, &page, totals_of(r, &page, rows->n, key, signed_in ? &seen_total : &public_total, param, 4));
    return ok(r);
}

/* ---- one ---- */

SQL(viewed, "SELECT count_view($1, $2)");
SQL(one, "SELECT " LISTING_COLUMNS("l.whole") " FROM " SHAPE_LISTINGS("FROM listings l WHERE l.id = $2 AND " SHAPE_MAY_SEE));
SQL(its_bids,   /* amounts rise with time in a listing: the highest first is the newest first */
    "SELECT " BID_COLUMNS("b.vendor_id = $1::uuid OR " SHAPE_IS_ADMIN)
    "  FROM bids b JOIN listings l ON l.id = b.listing_id WHERE b.listing_id = $2"
    " ORDER BY b.amount DESC LIMIT 100");

/* GET /listings/:id -> the listing, its bids, the highest of them.  Counts a look, not the owner's
 * and not that of a HEAD. */
static reply
show_listing(struct req *r)
{
    const char *id = r->arg[0], *viewer = r->user.id;
    if (!r->is_head)
        (void)db_queue(r, viewed, viewer, id);
    int bids_ticket = db_queue(r, its_bids, viewer, id);
    const struct rows *listing = db_row(r, one, viewer, id);
    if (listing == NULL)
        return failf(r, ERR_NOT_FOUND, "There is no such listing.");
    const struct rows *bids = db_queued(r, bids_ticket);
    struct jw *j = answer(r);
    shape_listing_object(j, "listing", listing, 0, SHAPE_ALONE, req_now(r));
    rows_json(j, "bids", bids);
    if (bids->n > 0) {
        jw_object(j, "currentHighestBid");
        (void)rows_members(j, bids, 0);
        jw_end(j);
    } else {
        jw_null(j, "currentHighestBid");
    }
    return ok(r);
}

reply
listing_answer(struct req *r, const char *id, reply (*how)(struct req *r))
{
    const struct rows *listing = db_the_row(r, one, req_user(r)->id, id);
    shape_listing_object(answer(r), "listing", listing, 0, SHAPE_ALONE, req_now(r));
    return how(r);
}

/* ---- the administrator's word ---- */

SQL(decide, "SELECT * FROM decide_listing($1, $2, $3, $4, $5, $6, $7)");

/* PUT /listings/:id/approve {approved, rejectionReason?, auctionDurationHours?} -> the listing.
 * not_found, invalid_state. */
static reply
decide_listing(struct req *r)
{
    bool approved = body_bool(r, "approved");
    const char *reason = NULL, *hours = "24";
    if (!approved && !bad_input(r))
        reason = body_lines(r, "rejectionReason", 1, 500);
    if (approved && body_has(r, "auctionDurationHours")) {
        hours = body_decimal(r, "auctionDurationHours", 3, 30, false);   /* a third of an hour has many digits */
        double h = hours != NULL ? strtod(hours, NULL) : 1;   /* the bounds only; SQL takes the digits */
        if (!(h > 0 && h <= 168))
            wrong(r, "auctionDurationHours", "must be above 0 and at most 168");
    }
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *done = db_the_row(r, decide, r->user.id, r->arg[0], p_bool(approved), reason, hours, r->ip, r->id);
    const char *code = rows_text(done, 0, "code");
    if (strcmp(code, "not_found") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such listing.");
    if (strcmp(code, "invalid_state") == 0)
        return failf(r, ERR_INVALID_STATE, "The listing is not pending but %s.", rows_text(done, 0, "state"));
    db_wake_later(r, "selliko_events");
    return listing_answer(r, r->arg[0], ok);
}

/* ---- watching ---- */

SQL(watch, "SELECT watch_listing($1, $2, $3) AS watchers");

static reply
set_watching(struct req *r, bool on)
{
    const struct rows *done = db_the_row(r, watch, r->user.id, r->arg[0], p_bool(on));
    if (rows_null(done, 0, "watchers"))
        return failf(r, ERR_NOT_FOUND, "There is no such listing.");
    jw_bool(answer(r), "watching", on);
    jw_int(answer(r), "watcherCount", rows_int(done, 0, "watchers"));
    return ok(r);
}

/* POST and DELETE /listings/:id/watch -> watching, watcherCount.  not_found. */
static reply
watch_listing(struct req *r)
{
    return set_watching(r, true);
}

static reply
unwatch_listing(struct req *r)
{
    return set_watching(r, false);
}

APP_INIT("listings", ROUTES, listing_create_init)
