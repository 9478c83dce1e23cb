/* orders -- what follows the hammer: a sold phone on its way from its client to its vendor.
 *
 *     pending_pickup ──► picked_up ──► in_transit ──► delivered ──► completed
 *           └───────────────┴──────────────┴──► cancelled
 *
 * An order has three parties: the client who sells, the vendor who bought, the agent who carries.  They
 * and administrators see it; to everybody else it does not exist (404).  Client and vendor never see
 * each other's number whole: they talk through the agent. */
#include "app.h"

#include "kept.h"
#include "metrics.h"
#include "shape.h"
#include "totals.h"
#include "valid.h"

#include <math.h>

#define ROUTES(X) \
    X(GET,  "/orders",               list_orders, SIGNED_IN, 0) \
    X(GET,  "/orders/{uuid}",        show_order,  SIGNED_IN, 0) \
    X(PUT,  "/orders/{uuid}/status", move_order,  SIGNED_IN, 0) \
    X(POST, "/orders/{uuid}/rating", rate_order,  SIGNED_IN, 0)
ROUTES(ROUTE_PROTOTYPE)

#define STATUSES "pending_pickup|picked_up|in_transit|delivered|completed|cancelled"

/* ---- lists ---- */

/* One's own orders lie in three indexes, one a part; each is walked in its order and the walks are
 * merged, so that a page costs its rows however many orders an agent has had.  It takes a limit that the
 * planner can see to make it walk, so there is another statement for what lies deeper than that. */
enum { NEAR = 100 };
#define NEWEST " ORDER BY o.created_at DESC, o.id DESC"
#define NEAREST NEWEST " LIMIT 100"
#define MINE_AS(column, others, limit) \
    "(SELECT o.* FROM orders o WHERE o." column " = $1::uuid" others " {?2 AND o.status = $2 ?}" limit ")"
#define MINE(limit) \
    "  FROM (" MINE_AS("client_id", "", limit) \
    "  UNION ALL " MINE_AS("vendor_id", " AND o.client_id <> o.vendor_id", limit) \
    "  UNION ALL " MINE_AS("agent_id", " AND o.agent_id <> o.client_id AND o.agent_id <> o.vendor_id", limit) ") o"
#define ALL \
    "  FROM orders o WHERE true {?1 AND o.client_id = $1::uuid ?} {?2 AND o.vendor_id = $2::uuid ?}" \
    " {?3 AND o.agent_id = $3::uuid ?} {?4 AND o.status = $4 ?}"

/* Nearly everybody has orders in one part only, that of his role: it is walked alone, and the other two are only
 * asked whether there is anything (a fifth less work than merging with nothing, twice). */
#define AS_ONE(columns, column, other, another) \
    "SELECT " columns ", (EXISTS (SELECT FROM orders x WHERE x." other " = $1::uuid)" \
    "   OR EXISTS (SELECT FROM orders x WHERE x." another " = $1::uuid)) AS \"_version.elsewhere\"" \
    "  FROM orders o WHERE o." column " = $1::uuid {?2 AND o.status = $2 ?}" NEWEST " LIMIT $3 OFFSET $4"
#define AS(name, column, other, another) \
    SQL(as_##name, AS_ONE(ORDER_VERSION ", " ORDER_COLUMNS, column, other, another)); \
    SQL(as_##name##_versions, AS_ONE(ORDER_VERSION, column, other, another))
AS(client, "client_id", "vendor_id", "agent_id");
AS(vendor, "vendor_id", "client_id", "agent_id");
AS(agent, "agent_id", "client_id", "vendor_id");

static const struct part {
    const char *role;
    struct sql *page, *versions;
} parts[] = {
    { "CLIENT", &as_client, &as_client_versions },
    { "VENDOR", &as_vendor, &as_vendor_versions },
    { "AGENT",  &as_agent,  &as_agent_versions },
};

SQL(my_page, "SELECT " ORDER_COLUMNS MINE(NEAREST) NEWEST " LIMIT $3 OFFSET $4");
SQL(my_deep_page, "SELECT " ORDER_COLUMNS MINE("") NEWEST " LIMIT $3 OFFSET $4");
SQL(my_total, "SELECT count(*) " MINE(""));
SQL(all_page, "SELECT " ORDER_COLUMNS ALL NEWEST " LIMIT $5 OFFSET $6");
SQL(all_total, "SELECT count(*) " ALL);

/* The caller's own orders as elements of the open array: how many there are, -1 when he is an administrator. */
static int
write_mine(struct req *r, const struct page *page, const char *const *mine)
{
    const struct part *part = NULL;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(r->user.claimed, parts[i].role) == 0)
            part = &parts[i];
    const char *key = arena_printf(r->arena, "orders %s %s %s %s %s%s", mine[0], r->user.claimed, or_dash(mine[1]),
                                   mine[2], mine[3], kept_while(r));
    const struct kept *kept = part != NULL ? kept_find(r->arena, key) : NULL;
    struct jw *j = answer(r);

    const struct rows *rows = kept != NULL ? db_rows_(r, part->versions, mine, 4) : NULL;
    if (rows != NULL && r->user.role != ROLE_ADMIN && kept_is(r, key, kept, rows)) {
        kept_write(j, kept);
        return rows->n;
    }
    if (part != NULL && r->user.role != ROLE_ADMIN)
        rows = db_rows_(r, part->page, mine, 4);
    bool all = part != NULL && rows->n > 0 && !rows_bool(rows, 0, "_version.elsewhere");
    if (!all && r->user.role != ROLE_ADMIN)
        rows = db_rows_(r, page->page * page->limit <= NEAR ? &my_page : &my_deep_page, mine, 4);
    if (r->user.role == ROLE_ADMIN)
        return -1;
    size_t from;
    (void)jw_text(j, &from);
    rows_elements(j, rows);
    if (all)
        kept_put(r->arena, key, rows, j, from);
    return rows->n;
}

/* GET /orders ?clientId&vendorId&agentId&status: those in which the caller has a part, all to an
 * administrator.  Naming somebody else is forbidden. */
static reply
list_orders(struct req *r)
{
    bool others = false;
    const char *client = query_party(r, "clientId", &others);
    const char *vendor = query_party(r, "vendorId", &others);
    const char *agent = query_party(r, "agentId", &others);
    const char *status = query_has(r, "status") ? query_choice(r, "status", STATUSES) : NULL;
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);
    if (others && req_user(r)->role != ROLE_ADMIN)
        return fail(r, ERR_FORBIDDEN);

    /* Who names himself gets his own by that.  Else the role decides, which is known once the first
     * statement is back: most are no administrators, so theirs is asked first. */
    const char *const all[] = { client, vendor, agent, status, page.limit_text, page.offset_text };
    const char *const mine[] = { r->user.id, status, page.limit_text, page.offset_text };
    struct jw *j = answer(r);
    jw_array(j, "orders");
    bool only_mine = client == NULL && vendor == NULL && agent == NULL && r->user.role != ROLE_ADMIN;
    int n = only_mine ? write_mine(r, &page, mine) : -1;
    if (n < 0) {
        only_mine = false;
        const struct rows *rows = db_rows_(r, &all_page, all, 6);
        rows_elements(j, rows);
        n = rows->n;
    }
    jw_end(j);
    const char *key = arena_printf(r->arena, "orders %s %s %s %s %s", only_mine ? r->user.id : "-", or_dash(client),
                                   or_dash(vendor), or_dash(agent), or_dash(status));
    answer_pagination(r, &page, totals_of(r, &page, n, key, only_mine ? &my_total : &all_total,
                                          only_mine ? mine : all, only_mine ? 2 : 4));
    return ok(r);
}

/* ---- one ---- */

#define IS_PARTY "($1::uuid IN (o.client_id, o.vendor_id, o.agent_id) OR " SHAPE_IS_ADMIN ")"

SQL(order, "SELECT " ORDER_COLUMNS " FROM orders o WHERE o.id = $2::uuid AND " IS_PARTY);
SQL(its_listing,
    "SELECT " LISTING_COLUMNS("l.whole")
    "  FROM " SHAPE_LISTINGS("FROM orders o JOIN listings l ON l.id = o.listing_id WHERE o.id = $2::uuid AND " IS_PARTY));
SQL(its_people,
    "SELECT p.part AS \"_part\","
    USER_COLUMNS_SEEN("u", "",
        "CASE WHEN p.part = 'agent' OR $1::uuid IN (u.id, o.agent_id) OR " SHAPE_IS_ADMIN
        " THEN " USER_PHONE("u") " ELSE " USER_PHONE_MASKED("u") " END",
        "CASE WHEN u.id = $1::uuid OR " SHAPE_IS_ADMIN " THEN u.metadata ELSE '{}' END")
    "  FROM orders o CROSS JOIN LATERAL (VALUES ('client', o.client_id), ('vendor', o.vendor_id),"
    "       ('agent', o.agent_id)) AS p(part, id) JOIN users u ON u.id = p.id"
    " WHERE o.id = $2::uuid AND " IS_PARTY);

static void
write_person(struct jw *j, const struct rows *people, const char *part)
{
    for (int i = 0; i < people->n; i++)
        if (strcmp(rows_text(people, i, "_part"), part) == 0) {
            jw_object(j, part);
            (void)rows_members(j, people, i);
            jw_end(j);
            return;
        }
    jw_null(j, part);   /* no agent yet */
}

/* GET /orders/:id -> the order, its listing, its people as the caller may see them. */
static reply
show_order(struct req *r)
{
    const char *me = r->user.id, *id = r->arg[0];
    int listing_ticket = db_queue(r, its_listing, me, id);
    int people_ticket = db_queue(r, its_people, me, id);
    const struct rows *found = db_row(r, order, me, id);
    const struct rows *listing = db_queued(r, listing_ticket);
    if (found == NULL || listing->n == 0)   /* (the agent may be changed between the two) */
        return failf(r, ERR_NOT_FOUND, "There is no such order.");
    struct jw *j = answer(r);
    jw_object(j, "order");
    (void)rows_members(j, found, 0);
    jw_end(j);
    shape_listing_object(j, "listing", listing, 0, SHAPE_ALONE, req_now(r));
    const struct rows *people = db_queued(r, people_ticket);
    write_person(j, people, "client");
    write_person(j, people, "vendor");
    write_person(j, people, "agent");
    return ok(r);
}

/* ---- moving it on ---- */

/* A coordinate: a member of the object LOCATION within ±BOUND degrees, as JSON text. */
static const char *
read_degrees(struct req *r, struct jr location, const char *member, double bound)
{
    struct jr v = jr_member(location, member);
    double degrees = NAN;
    char text[24];
    if (v.kind == JR_NUMBER)
        degrees = strtod(v.s, NULL);
    else if (v.kind == JR_STRING && jr_decode(v, text, sizeof text) < sizeof text
             && valid_decimal(text, strlen(text), 3, 15, true))
        degrees = strtod(text, NULL);
    if (!(degrees >= -bound && degrees <= bound))   /* false for NaN, too */
        wrong(r, arena_printf(r->arena, "location.%s", member),
              arena_printf(r->arena, "must be a number from -%g to %g", bound, bound));
    const char *written = arena_printf(r->arena, "%.15g", degrees);   /* as people do, where that is all of it */
    return strtod(written, NULL) == degrees ? written : arena_printf(r->arena, "%.17g", degrees);
}

static const char *
read_location(struct req *r)
{
    struct jr o = body_json(r, "location");
    if (o.kind == JR_ABSENT)
        return NULL;
    if (o.kind != JR_OBJECT) {
        wrong(r, "location", "must be an object with lat and lng");
        return NULL;
    }
    const char *lat = read_degrees(r, o, "lat", 90), *lng = read_degrees(r, o, "lng", 180);
    return arena_printf(r->arena, "{\"lat\": %s, \"lng\": %s}", lat, lng);
}

static reply
order_answer(struct req *r)
{
    const struct rows *now = db_the_row(r, order, r->user.id, r->arg[0]);
    jw_object(answer(r), "order");
    (void)rows_members(answer(r), now, 0);
    jw_end(answer(r));
    return ok(r);
}

static reply
refuse_transition(struct req *r, const char *from, const char *to, const char *allowed)
{
    struct jw *j = error_extra(r);
    jw_array(j, "allowed");
    for (const char *s = allowed; *s != '\0'; s += s[0] == ',') {
        size_t len = strcspn(s, ",");
        jw_strn(j, NULL, s, len);
        s += len;
    }
    jw_end(j);
    return failf(r, ERR_INVALID_TRANSITION, "An order that is %s cannot become %s.", from, to);
}

SQL(move, "SELECT * FROM move_order($1, $2, $3, $4, $5::jsonb, $6, $7)");

/* PUT /orders/:id/status {status, notes?, location?} -> the order.  not_found, invalid_transition (a step
 * that does not exist, with those that the caller may take), forbidden (a step that is another's). */
static reply
move_order(struct req *r)
{
    const char *status = body_choice(r, "status", STATUSES);
    const char *notes = or_null(body_lines(r, "notes", 0, 1000));
    const char *location = read_location(r);
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *done = db_the_row(r, move, r->user.id, r->arg[0], status, notes, location, r->ip, r->id);
    const char *code = rows_text(done, 0, "code");
    if (strcmp(code, "not_found") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such order.");
    if (strcmp(code, "forbidden") == 0)
        return fail(r, ERR_FORBIDDEN);
    if (strcmp(code, "invalid_transition") == 0)
        return refuse_transition(r, rows_text(done, 0, "state"), status, rows_text(done, 0, "allowed"));
    if (strcmp(status, "completed") == 0)
        metrics_add(METRICS_ORDERS_COMPLETED, 1);
    db_wake_later(r, "selliko_events");
    db_wake_later(r, "selliko_whatsapp");
    return order_answer(r);
}

SQL(rate, "SELECT * FROM rate_order($1, $2, $3, $4)");

/* POST /orders/:id/rating {rating, comment?} by its client -> the order.  not_found, forbidden, invalid_state. */
static reply
rate_order(struct req *r)
{
    int64_t rating = body_int(r, "rating", 1, 5);
    const char *comment = or_null(body_lines(r, "comment", 0, 1000));
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *done = db_the_row(r, rate, r->user.id, r->arg[0], p_int(r, rating), comment);
    const char *code = rows_text(done, 0, "code");
    if (strcmp(code, "not_found") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such order.");
    if (strcmp(code, "forbidden") == 0)
        return fail(r, ERR_FORBIDDEN);
    if (strcmp(code, "already_rated") == 0)
        return failf(r, ERR_INVALID_STATE, "The order was rated already.");
    if (strcmp(code, "invalid_state") == 0)
        return failf(r, ERR_INVALID_STATE, "The order is not delivered but %s.", rows_text(done, 0, "state"));
    return order_answer(r);
}

APP("orders", ROUTES)
