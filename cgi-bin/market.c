/* market -- the auctions that are on, as vendors look through them.
 *
 * The most asked of all pages, so it is made of two parts.  A statement chooses the rows and says what bids
 * and looks change: price, counts, minutes left, and each listing's edition.  What a listing says of itself,
 * to all alike, is a fragment that this process keeps (fragment.h); one that it lacks, or has in another
 * edition, it asks for.  Together they are what the database says now; only the total may be two seconds old.
 *
 * Owners and administrators see more in a listing than the others do: those rows are asked for each time. */
#include "market.h"

#include "arena.h"
#include "fragment.h"
#include "money.h"
#include "shape.h"
#include "totals.h"

/* ---- choosing ---- */

/* Four ways to a page; a statement each for each order and, by its braces, for each set of filters.
 *
 * FRONT, for words that few listings have, and for the first pages of all or of a brand: along an index of
 * listings, whose rows are fetched anyway.
 *
 * WORDS, for words that many have: in the order's index, looking at each listing's words on the way.  (As a function's
 * argument they have no index: all that have a common word were fetched and sorted, 5 ms of 20,000 against 0.2.)
 *
 * WALK, for filters that many listings pass, and for pages further back: along an index of live_listings,
 * which holds all that is filtered by, so that of listings only the page's own rows are fetched.  "+ 0"
 * keeps the planner, which knows no values, from sorting all that are in a price range (17 ms for half the
 * market); a walk by price is narrowed by the range.
 *
 * FEW, for filters that few listings pass: a walk would look at the whole market for them.  They are found
 * by the best index for the filters, and sorted ("+" keeps the planner from walking). */
#define HAS_WORDS "l.words @@ search_words($2)"
#define READS_WORDS "ts_match_vq(l.words, (SELECT search_words($2)))"
#define FRONT_WHERE(price, words) \
    "  FROM listings l WHERE l.status = 'live' AND l.auction_end > now()" \
    " {?2 AND " words " ?} {?3 AND l.brand_key = lower($3) ?} {?4 AND l.condition = $4 ?}" \
    " {?5 AND " price " >= $5::bigint ?} {?6 AND " price " <= $6::bigint ?}"
#define LIVE_WHERE(price) \
    "  FROM live_listings l WHERE l.auction_end > now() AND $2::text IS NULL" \
    " {?3 AND l.brand_key = lower($3) ?} {?4 AND l.condition = $4 ?}" \
    " {?5 AND " price " >= $5::bigint ?} {?6 AND " price " <= $6::bigint ?}"

#define ROW \
    "SELECT l.id AS _id, l.edition AS _edition, (l.client_id = $1::uuid) IS TRUE AS _own," \
    " l.highest_amount AS \"currentBid:rupees\", l.bid_count AS \"totalBids\"," \
    " ceil(date_part('epoch', l.auction_end - now()) / 60)::int AS \"timeLeft\"," \
    " c.views, c.watchers AS \"watcherCount\""
#define COUNTS " JOIN listing_counts c ON c.listing_id = l.id"
/* The second limit tells the planner what it cannot know of the first: that a page is short, so that what
 * is joined to it is looked up by key. */
#define PAGE(from, order) "(SELECT * FROM (SELECT l.*" from " ORDER BY " order " LIMIT $7 OFFSET $8) l LIMIT 100)"

#define FRONT(price, words, by, down) \
    ROW " FROM " PAGE(FRONT_WHERE(price, words), "l." by down ", l.id" down) " l" COUNTS " ORDER BY l." by down ", l.id" down
#define LIVE(where, by, key, down) \
    ROW " FROM " PAGE(where, key down ", l.listing_id" down) " m JOIN listings l ON l.id = m.listing_id" COUNTS \
    " ORDER BY m." by down ", m.listing_id" down

#define ORDERS(X) \
    X("newest",        newest,  "l.asking_price + 0", "approved_at",  "l.approved_at + interval '0'", " DESC") \
    X("ending-soon",   ending,  "l.asking_price + 0", "auction_end",  "l.auction_end + interval '0'", "") \
    X("lowest-price",  lowest,  "l.asking_price",     "asking_price", "l.asking_price + 0",           "") \
    X("highest-price", highest, "l.asking_price",     "asking_price", "l.asking_price + 0",           " DESC")
#define ORDER_SQL(word, name, price, by, key, down) \
    SQL(name##_front, FRONT(price, HAS_WORDS, by, down)); \
    SQL(name##_words, FRONT(price, READS_WORDS, by, down)); \
    SQL(name##_walk, LIVE(LIVE_WHERE(price), by, "l." by, down)); \
    SQL(name##_few, LIVE(LIVE_WHERE("l.asking_price"), by, key, down));
ORDERS(ORDER_SQL)

SQL(words_total, "SELECT count(*)" FRONT_WHERE("l.asking_price", HAS_WORDS) " AND ($1::uuid IS NULL OR true)");
SQL(counted_total, "SELECT live_total($1, $2, $3::bigint, $4::bigint) AS count");   /* the same parameters from brand on */

enum way { FRONT_WAY, WORDS_WAY, WALK_WAY, FEW_WAY };

static struct sql *
statement_for(const char *order, enum way way)
{
#define ORDER_CHOICE(word, name, price, by, key, down) \
    if (strcmp(order, word) == 0) \
        return way == FRONT_WAY ? &name##_front : way == WORDS_WAY ? &name##_words : way == WALK_WAY ? &name##_walk : &name##_few;
    ORDERS(ORDER_CHOICE)
    abort();   /* LCOV_EXCL_LINE: marketplace() has refused every other word */
}

/* ---- what listings say of themselves ---- */

SQL(says,
    "SELECT " LISTING_SAYS("l.whole") ", l.edition AS _edition, l.whole AS _whole"
    "  FROM (SELECT l.*, (l.client_id = $1::uuid OR " SHAPE_IS_ADMIN ") IS TRUE AS whole, w.n"
    "          FROM unnest($2::uuid[]) WITH ORDINALITY w(id, n) JOIN listings l ON l.id = w.id OFFSET 0) l"
    " ORDER BY l.n");

/* Row I, when it is one that reads alike for everybody and is kept. */
static bool
write_kept(struct req *r, struct jw *j, const struct rows *rows, int i, struct fragment_key key)
{
    key.id = rows_text(rows, i, "_id");
    key.edition = rows_int(rows, i, "_edition");
    if (r->user.role == ROLE_ADMIN || rows_bool(rows, i, "_own") || !fragment_open(j, &key))
        return false;
    (void)rows_members(j, rows, i);
    jw_end(j);
    return true;
}

/* Row I with what row K of SAID says, which is kept for the others. */
static void
write_fresh(struct req *r, struct jw *j, const struct rows *rows, int i, const struct rows *said, int k,
            struct fragment_key key)
{
    key.id = rows_text(said, k, "id");
    key.edition = rows_int(said, k, "_edition");
    struct jw *one = jw_new(r->arena);
    size_t len;
    jw_object(one, NULL);
    shape_listing(one, said, k, SHAPE_LISTED, key.hour * 3600);   /* URLs are cut to the hour */
    const char *members = jw_text(one, &len) + 1;
    if (!rows_bool(said, k, "_whole"))
        fragment_keep(&key, members, len - 1);
    jw_object(j, NULL);
    jw_members(j, members, len - 1);
    (void)rows_members(j, rows, i);
    jw_end(j);
}

static const char *
ids_from(struct req *r, const struct rows *rows, int i)
{
    char *list = arena_alloc(r->arena, (size_t)(rows->n - i) * 37 + 2), *p = list;
    for (*p++ = '{'; i < rows->n; i++) {
        memcpy(p, rows_text(rows, i, "_id"), 36);
        p += 36;
        *p++ = ',';
    }
    p[-1] = '}';
    *p = '\0';
    return list;
}

/* The rows, read in EPOCH or later, as "listings".  From the first one on that is not kept all are asked for, in one
 * statement. */
static void
write_listings(struct req *r, const struct rows *rows, uint64_t epoch)
{
    struct jw *j = answer(r);
    const struct fragment_key now = { .hour = req_now(r) / 3600, .epoch = epoch };
    int i = 0;
    jw_array(j, "listings");
    while (i < rows->n && epoch == db_epoch() && write_kept(r, j, rows, i, now))
        i++;
    if (i < rows->n) {
        const struct rows *said = db_rows(r, says, r->user.id, ids_from(r, rows, i));
        for (int k = 0; i < rows->n && k < said->n; i++) {
            if (strcmp(rows_text(rows, i, "_id"), rows_text(said, k, "id")) != 0)
                continue;   /* LCOV_EXCL_LINE: it was deleted this moment, which the service does with no listing */
            if (strcmp(rows_text(said, k, "status"), "live") == 0)   /* it may have been sold this moment */
                write_fresh(r, j, rows, i, said, k, now);
            k++;
        }
    }
    jw_end(j);
}

/* ---- the page ---- */

/* So few are sorted sooner than the market is walked for them. */
enum { FEW_ROWS = 1000, FRONT_ROWS = 60 };

#define ALL_KEY "market -|-|-|-|-"

/* Whether this page is found sooner by looking at the words of one listing after another than by fetching all that
 * have them, at half the price a listing.  By the last totals: where one is not known, somebody soon counts it. */
static bool
has_common_words(const char *key, const struct page *page)
{
    int64_t total = totals_last(key), all = totals_last(ALL_KEY);
    return total > 0 && all > 0 && (double)page->page * (double)page->limit * (double)all * 2 < (double)total * (double)total;
}

/* GET /marketplace ?search&brand&condition&minPrice&maxPrice&sortBy: live and not ended only. */
reply
marketplace(struct req *r)
{
    const char *search = or_null(query_text(r, "search", 0, 200));
    const char *brand = or_null(query_text(r, "brand", 0, 100));
    const char *condition = query_has(r, "condition") ? query_choice(r, "condition", "Excellent|Good|Fair|Poor") : NULL;
    const char *min = query_has(r, "minPrice") ? p_int(r, query_rupees(r, "minPrice", 0, MONEY_MAX_PAISE)) : NULL;
    const char *max = query_has(r, "maxPrice") ? p_int(r, query_rupees(r, "maxPrice", 0, MONEY_MAX_PAISE)) : NULL;
    const char *sort = query_has(r, "sortBy")
        ? query_choice(r, "sortBy", "newest|ending-soon|lowest-price|highest-price") : "newest";
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);

    const char *const param[] = { r->user.id, search, brand, condition, min, max, page.limit_text, page.offset_text };
    const char *key = arena_printf(r->arena, "market %s|%s|%s|%s|%s", totals_part(r, search), totals_part(r, brand),
                                   or_dash(condition), or_dash(min), or_dash(max));
    struct sql *count = search != NULL ? &words_total : &counted_total;
    const char *const *by = search != NULL ? param : param + 2;
    int n_by = search != NULL ? 6 : 4;
    bool newest = strcmp(sort, "newest") == 0, filtered = condition != NULL || min != NULL || max != NULL;
    enum way way = FRONT_WAY;
    if (search == NULL && (filtered || (brand != NULL && !newest)))
        way = totals_count(r, key, count, by, n_by) <= FEW_ROWS ? FEW_WAY : WALK_WAY;
    else if (search != NULL && has_common_words(key, &page))
        way = WORDS_WAY;
    else if (search == NULL && page.page * page.limit > FRONT_ROWS)
        way = WALK_WAY;

    uint64_t epoch = db_epoch();
    const struct rows *rows = db_rows_(r, statement_for(sort, way), param, 8);
    write_listings(r, rows, epoch);
    answer_pagination(r, &page, totals_of(r, &page, rows->n, key, count, by, n_by));
    return ok(r);
}
