/* admin -- what an administrator sees of the business, and what he decides about people.
 *
 * (Approving listings is in listings.c, giving out tasks in agent.c.)  Every deed leaves a line in the audit
 * log, in its own transaction.  An account's state and role are the database's, looked at on every
 * request, so disabling somebody needs no more than a flag to take effect at once. */
#include "app.h"

#include "crypto.h"
#include "shape.h"
#include "totals.h"
#include "valid.h"

#include <ctype.h>
#include <string.h>

#define ROUTES(X) \
    X(GET, "/admin/dashboard",        show_dashboard,   ADMIN, 0) \
    X(GET, "/admin/listings/pending", pending_listings, ADMIN, 0) \
    X(GET, "/admin/agents/available", available_agents, ADMIN, 0) \
    X(GET, "/admin/users",            list_users,       ADMIN, 0) \
    X(PUT, "/admin/users/{uuid}",     update_user,      ADMIN, 0) \
    X(GET, "/admin/audit-log",        show_audit_log,   ADMIN, 0)
ROUTES(ROUTE_PROTOTYPE)

/* ---- the dashboard ---- */

#define OPEN_TASKS "(SELECT count(*) FROM agent_tasks t WHERE t.agent_id = u.id" \
                   " AND t.status IN ('assigned', 'accepted', 'in_progress'))"
#define AVAILABLE "u.role = 'AGENT' AND u.is_active AND " OPEN_TASKS " < 5"

SQL(metrics,
    "SELECT (SELECT count(*) FROM listings WHERE status = 'pending') AS \"metrics.pendingReviews\","
    " (SELECT count(*) FROM users u WHERE " AVAILABLE ") AS \"metrics.availableAgents\","
    " live_total(NULL, NULL, NULL, NULL) AS \"metrics.activeListings\","
    " (SELECT count(*) FROM orders WHERE status = 'pending_pickup' AND agent_id IS NULL) AS \"metrics.pendingAssignments\","
    " s.revenue AS \"metrics.totalRevenue:rupees\", s.fees AS \"metrics.platformFees:rupees\""
    " FROM (SELECT sum(revenue)::bigint AS revenue, sum(fees)::bigint AS fees FROM order_sums) s");
SQL(activity, "SELECT * FROM recent_activity(20)");

/* GET /admin/dashboard -> metrics, recentActivity. */
static reply
show_dashboard(struct req *r)
{
    int ticket = db_queue(r, metrics);
    const struct rows *news = db_rows(r, activity);
    (void)rows_members(answer(r), db_queued(r, ticket), 0);
    rows_json(answer(r), "recentActivity", news);
    return ok(r);
}

/* ---- work that waits, and those who do it ---- */

SQL(pending, "SELECT " LISTING_COLUMNS("true") " FROM listings l WHERE l.status = 'pending'"
             " ORDER BY l.submitted_at, l.id LIMIT $1 OFFSET $2");

/* GET /admin/listings/pending ?page&limit (100): the oldest first. */
static reply
pending_listings(struct req *r)
{
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);
    if (!query_has(r, "limit")) {
        page.limit_text = "100";
        page.offset_text = p_int(r, (page.page - 1) * 100);
    }
    const struct rows *rows = db_rows(r, pending, page.limit_text, page.offset_text);
    jw_array(answer(r), "listings");
    for (int i = 0; i < rows->n; i++)
        shape_listing_object(answer(r), NULL, rows, i, SHAPE_LISTED, req_now(r));
    jw_end(answer(r));
    return ok(r);
}

/* All figures are of index entries alone.  The rate is of the tasks that were finished, well or not. */
SQL(agents,
    "SELECT " USER_COLUMNS ", o.n AS \"activeTasks\","
    " CASE WHEN d.n + f.n = 0 THEN 0 ELSE round(100.0 * d.n / (d.n + f.n), 1) END AS \"completionRate\","
    " d.earned AS \"totalEarnings:rupees\", g.mean AS rating"
    " FROM users u"
    " CROSS JOIN LATERAL (SELECT " OPEN_TASKS " AS n) o"
    " CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(sum(t.commission_amount), 0)::bigint AS earned FROM agent_tasks t"
    "   WHERE t.agent_id = u.id AND t.status = 'completed') d"
    " CROSS JOIN LATERAL (SELECT count(*) AS n FROM agent_tasks t WHERE t.agent_id = u.id AND t.status = 'failed') f"
    " CROSS JOIN LATERAL (SELECT coalesce(round(avg(x.rating), 2), 0) AS mean FROM orders x"
    "   WHERE x.agent_id = u.id AND x.rating IS NOT NULL) g"
    " WHERE u.role = 'AGENT' AND u.is_active AND o.n < 5 ORDER BY o.n, u.created_at, u.id");

/* GET /admin/agents/available: those who can take another task, the least busy first. */
static reply
available_agents(struct req *r)
{
    rows_json(answer(r), "agents", db_rows(r, agents));
    return ok(r);
}

/* ---- people ---- */

#define USERS_FROM " FROM users u WHERE true {?1 AND u.role = $1 ?} {?2 AND u.phone_hash = $2::bytea ?}" \
                   " {?3 AND u.name ILIKE $3 ?} {?4 AND (u.phone_last4 = $4 OR strpos(u.name, $4) > 0) ?}"
SQL(users_page, "SELECT " USER_COLUMNS USERS_FROM " ORDER BY u.created_at DESC, u.id DESC LIMIT $5 OFFSET $6");
SQL(users_total, "SELECT count(*)" USERS_FROM);

/* The keyed hash of TEXT when it is a whole phone number: ten digits, with or without +91 before them (a
 * plus that was not escaped is a blank), blanks and dashes within.  Else NULL. */
static const char *
phone_hash(struct req *r, const char *text)
{
    char digits[16] = "+91";
    size_t n = 3;
    if (*text == '+')
        text++;
    for (; *text != '\0'; text++) {
        if (*text == ' ' || *text == '-')
            continue;
        if (!isdigit((unsigned char)*text) || n == sizeof digits - 1)
            return NULL;
        digits[n++] = *text;
    }
    digits[n] = '\0';
    if (n == 15 && strncmp(digits + 3, "91", 2) == 0)
        memmove(digits + 3, digits + 5, 11);
    if (!valid_phone(digits))
        return NULL;
    db_need_keys(r);
    char *hash = arena_alloc(r->arena, CRYPTO_LOOKUP_TEXT_SIZE);
    if (!crypto_lookup_text("phone", digits, hash))
        give_up(r, ERR_UNAVAILABLE);
    return hash;
}

/* The last four digits of a number, when TEXT is these, or a masked number (+91******3210).  Else NULL. */
static const char *
last_four(const char *text)
{
    const char *star = strrchr(text, '*'), *four = star != NULL ? star + 1 : text;
    return strlen(four) == 4 && strspn(four, "0123456789") == 4 ? four : NULL;
}

/* TEXT as a pattern that finds it anywhere. */
static const char *
containing(struct req *r, const char *text)
{
    char *out = arena_alloc(r->arena, 2 * strlen(text) + 3), *p = out;
    *p++ = '%';
    for (; *text != '\0'; text++) {
        if (strchr("%_\\", *text) != NULL)
            *p++ = '\\';
        *p++ = *text;
    }
    memcpy(p, "%", 2);
    return out;
}

/* GET /admin/users ?role&search&page&limit: the newest first. */
static reply
list_users(struct req *r)
{
    const char *role = query_has(r, "role") ? query_choice(r, "role", "CLIENT|VENDOR|AGENT|ADMIN") : NULL;
    const char *search = or_null(query_text(r, "search", 0, 100));
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);

    const char *phone = search != NULL ? phone_hash(r, search) : NULL;
    const char *four = search != NULL && phone == NULL ? last_four(search) : NULL;
    const char *name = search != NULL && phone == NULL && four == NULL ? containing(r, search) : NULL;
    const struct rows *rows = db_rows(r, users_page, role, phone, name, four, page.limit_text, page.offset_text);
    rows_json(answer(r), "users", rows);
    const char *key = arena_printf(r->arena, "users %s|%s|%s|%s", or_dash(role), or_dash(phone), or_dash(four), or_dash(name));
    answer_pagination(r, &page, totals(r, &page, rows->n, key, users_total, role, phone, name, four));
    return ok(r);
}

SQL(update, "SELECT d.code AS _code, " USER_COLUMNS_OF("(d.account)", "user.", USER_PHONE("(d.account)"))
            " FROM update_user($1, $2, $3, $4, $5, $6, $7) d");

/* PUT /admin/users/:id {role?, isActive?, name?} -> the user.  not_found, invalid_state. */
static reply
update_user(struct req *r)
{
    const char *role = body_has(r, "role") ? body_choice(r, "role", "CLIENT|VENDOR|AGENT|ADMIN") : NULL;
    const char *active = body_has(r, "isActive") ? p_bool(body_bool(r, "isActive")) : NULL;
    const char *name = body_has(r, "name") ? body_text(r, "name", 1, 100) : NULL;
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *done = db_the_row(r, update, r->user.id, r->arg[0], role, active, name, r->ip, r->id);
    const char *code = rows_text(done, 0, "_code");
    if (strcmp(code, "not_found") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such user.");
    if (strcmp(code, "forbidden") == 0)
        return fail(r, ERR_FORBIDDEN);
    if (strcmp(code, "last_admin") == 0)
        return failf(r, ERR_INVALID_STATE, "The last active administrator cannot be removed.");
    (void)rows_members(answer(r), done, 0);
    return ok(r);
}

/* ---- who did what ---- */

#define AUDIT_FROM " FROM audit_log a WHERE true {?1 AND a.action = $1 ?} {?2 AND a.actor_id = $2::uuid ?}"
SQL(audit_page,
    "SELECT a.id, a.actor_id AS \"actorId\", a.action, a.target, a.details, a.ip, a.created_at AS \"timestamp\""
    AUDIT_FROM " ORDER BY a.seq DESC LIMIT $3 OFFSET $4");
SQL(audit_total, "SELECT count(*)" AUDIT_FROM);

/* GET /admin/audit-log ?action&actorId&page&limit: the newest first. */
static reply
show_audit_log(struct req *r)
{
    const char *action = query_has(r, "action") ? query_text(r, "action", 1, 100) : NULL;
    const char *actor = query_has(r, "actorId") ? query_uuid(r, "actorId") : NULL;
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *rows = db_rows(r, audit_page, action, actor, page.limit_text, page.offset_text);
    rows_json(answer(r), "entries", rows);
    const char *key = arena_printf(r->arena, "audit %s|%s", totals_part(r, action), or_dash(actor));
    answer_pagination(r, &page, totals(r, &page, rows->n, key, audit_total, action, actor));
    return ok(r);
}

APP("admin", ROUTES)
