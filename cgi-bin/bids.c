/* bids -- what vendors offer on live auctions (the marketplace in which they look for them is market.c).
 *
 * Two vendors may press the button in the same millisecond.  place_bids() in SQL locks the listing's
 * row before it judges, so the second one is told that the price moved, never that he had won; and
 * because a commit costs far more than a bid, the bids that are waiting at one moment go into one
 * transaction (batch.h).  The price of that: a batch that fails as a whole is tried again bid by bid.
 *
 * An amount that reaches the asking price wins at once: bid, sale, order and messages are one
 * transaction.  Amounts are paise; the auction's end is judged by the database's clock alone. */
#include "app.h"

#include "batch.h"
#include "config.h"
#include "crypto.h"
#include "encoding.h"
#include "idempotency.h"
#include "log.h"
#include "market.h"
#include "metrics.h"
#include "money.h"
#include "shape.h"
#include "totals.h"

#define ROUTES(X) \
    X(POST, "/bids",        place_bid,   VENDOR, TAKES_KEY) \
    X(GET,  "/bids",        list_bids,   CLIENT | VENDOR | ADMIN, 0) \
    X(GET,  "/marketplace", marketplace, ANYONE, CACHEABLE)

static reply place_bid(struct req *r);
static reply list_bids(struct req *r);

/* The accepted bid as its vendor sees it.  It is rendered from the row that place_bids gave, which is
 * also what an idempotency key keeps, so that a replayed answer is the first one to the letter. */
static reply
tell_accepted(struct req *r, const struct batch_bid *b)
{
    struct jw *j = answer(r);
    bool instant = rows_bool(b->rows, b->row, "isInstantWin");
    bool winning = rows_bool(b->rows, b->row, "isWinning");
    jw_object(j, "bid");
    (void)rows_members(j, b->rows, b->row);
    jw_object(j, "metadata");
    jw_end(j);
    jw_end(j);
    jw_bool(j, "isInstantWin", instant);
    jw_str(j, "orderId", rows_text(b->rows, b->row, "_order_id"));
    jw_str(j, "message", instant ? "You won: the phone is yours at your price."
                         : winning ? "Your bid is the highest."
                                   : "Your bid was accepted, but another one has topped it already.");
    return created(r);
}

static reply
tell_too_low(struct req *r, const struct batch_bid *b)
{
    int64_t minimum = rows_int(b->rows, b->row, "_minimum_bid");
    char people[MONEY_PEOPLE_SIZE];
    (void)money_people(minimum, people);
    jw_rupees(error_extra(r), "minimumBid", minimum);
    return failf(r, ERR_BID_TOO_LOW, "The bid is too low: it must be at least %s.", people);
}

static const char *
body_hash(struct req *r)
{
    size_t len;
    const char *body = req_body(r, &len);
    uint8_t hash[32];
    char hex[65];
    crypto_sha256(body, len, hash);
    (void)encoding_hex(hex, hash, sizeof hash);
    return arena_printf(r->arena, "\\x%s", hex);
}

/* POST /bids {listingId, amount} -> the bid.  not_found, auction_ended, bid_too_low, rate_limited. */
static reply
place_bid(struct req *r)
{
    const char *listing = body_uuid(r, "listingId");
    int64_t paise = body_rupees(r, "amount", PRICE_MIN_PAISE, PRICE_MAX_PAISE);
    const char *hash = r->idempotency_key != NULL ? body_hash(r) : NULL;
    if (bad_input(r))
        return idempotency_refusal(r, "POST /bids", hash, refuse_input(r));

    struct batch_bid b = { .listing = listing, .paise = paise, .body_hash = hash };
    batch_place(r, &b);
    rate_headers(r, "bids", (int)rows_int(b.rows, b.row, "_hits"), (int)rows_int(b.rows, b.row, "_reset_s"));
    const char *first = rows_text(b.rows, b.row, "_request_id");
    if (first != NULL)
        r->id = arena_strdup(r->arena, first);   /* a replayed answer carries the request id of the first one */

    const char *code = rows_text(b.rows, b.row, "_code");
    if (strcmp(code, "accepted") == 0) {
        metrics_add(METRICS_BIDS_PLACED, 1);
        return tell_accepted(r, &b);
    }
    if (strcmp(code, "bid_too_low") == 0)
        return tell_too_low(r, &b);
    if (strcmp(code, "auction_ended") == 0)
        return fail(r, ERR_AUCTION_ENDED);
    if (strcmp(code, "not_found") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such listing.");
    if (strcmp(code, "rate_limited") == 0)
        return refuse_rate(r);
    if (strcmp(code, "stored") == 0)   /* a refusal of input was kept under this key */
        return idempotency_replay(r, (int)rows_int(b.rows, b.row, "_stored_status"), rows_text(b.rows, b.row, "_stored"));
    if (strcmp(code, "idempotency_key_reused") == 0)
        return fail(r, ERR_IDEMPOTENCY_KEY_REUSED);
    if (strcmp(code, "unauthenticated") == 0)
        return failf(r, ERR_UNAUTHENTICATED, "The session has ended. Please sign in.");
    if (strcmp(code, "account_disabled") == 0)
        return fail(r, ERR_ACCOUNT_DISABLED);
    if (strcmp(code, "forbidden") == 0)
        return fail(r, ERR_FORBIDDEN);
    log_error("place_bids gave an unknown code", log_s("code", code));
    give_up(r, ERR_INTERNAL);
}

/* ---- looking ---- */

#define BID_STATUS \
    "CASE WHEN l.status = 'live' THEN 'active' WHEN l.status = 'sold' AND l.highest_bid_id = b.id THEN 'won' ELSE 'lost' END"
#define BIDS_FROM \
    "  FROM bids b JOIN listings l ON l.id = b.listing_id WHERE true" \
    " {?2 AND b.vendor_id = $2::uuid ?} {?3 AND l.client_id = $3::uuid ?} {?4 AND b.listing_id = $4::uuid ?}" \
    " {?5 AND $5 = " BID_STATUS " ?}" \
    " {?6 AND EXISTS (SELECT FROM orders o WHERE o.listing_id = l.id AND o.agent_id = $6::uuid) ?}"

SQL(bids_page,
    "SELECT " BID_COLUMNS("b.vendor_id = $1::uuid OR " SHAPE_IS_ADMIN) ", " BID_STATUS " AS status,"
    LISTING_SUMMARY_COLUMNS BIDS_FROM " ORDER BY b.placed_at DESC, b.id DESC LIMIT $7 OFFSET $8");
SQL(bids_total, "SELECT count(*) " BIDS_FROM " AND ($1::uuid IS NULL OR true)");

/* GET /bids ?vendorId&clientId&agentId&listingId&status: a vendor's own, those on a client's listings, all
 * to an administrator (an agent's: on listings whose order is his).  Naming somebody else is forbidden. */
static reply
list_bids(struct req *r)
{
    bool others = false;
    const char *vendor = query_party(r, "vendorId", &others);
    const char *client = query_party(r, "clientId", &others);
    const char *agent = query_party(r, "agentId", &others);
    const char *listing = query_has(r, "listingId") ? query_uuid(r, "listingId") : NULL;
    const char *status = query_has(r, "status") ? query_choice(r, "status", "active|won|lost") : NULL;
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);

    const struct user *me = req_user(r);
    if (others && me->role != ROLE_ADMIN)
        return fail(r, ERR_FORBIDDEN);
    if (me->role == ROLE_VENDOR)
        vendor = me->id;
    else if (me->role == ROLE_CLIENT)
        client = me->id;
    const struct rows *rows = db_rows(r, bids_page, me->id, vendor, client, listing, status, agent,
                                      page.limit_text, page.offset_text);
    rows_json(answer(r), "bids", rows);
    const char *key = arena_printf(r->arena, "bids %s %s %s %s %s", or_dash(vendor), or_dash(client), or_dash(listing),
                                   or_dash(status), or_dash(agent));
    answer_pagination(r, &page, totals(r, &page, rows->n, key, bids_total, me->id, vendor, client, listing, status, agent));
    return ok(r);
}

static void
begin(void)
{
    batch_init(config()->batchers);
}

APP_INIT("bids", ROUTES, begin)
