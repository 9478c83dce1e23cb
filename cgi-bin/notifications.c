/* notifications -- what people were told, and what they want to be told.
 *
 * Notifications are written in the transaction of what they tell of (notify_user() in SQL); here they
 * are read, marked and wished away.  What Meta tells of the same messages is webhooks.c. */
#include "app.h"

#include "kept.h"
#include "shape.h"
#include "webhooks.h"

#define ROUTES(X) \
    X(GET, "/notifications",               list_notifications, SIGNED_IN, 0) \
    X(PUT, "/notifications/{uuid}/read",   mark_read,          SIGNED_IN, 0) \
    X(PUT, "/notifications/mark-all-read", mark_all_read,      SIGNED_IN, 0) \
    X(GET, "/notifications/preferences",   show_preferences,   SIGNED_IN, 0) \
    X(PUT, "/notifications/preferences",   set_preferences,    SIGNED_IN, 0) \
    WEBHOOK_ROUTES(X)

static reply list_notifications(struct req *r);
static reply mark_read(struct req *r);
static reply mark_all_read(struct req *r);
static reply show_preferences(struct req *r);
static reply set_preferences(struct req *r);

/* ---- the list ---- */

#define NOTIFICATION_VERSION "n.id AS \"_version.id\", n.xmin AS \"_version.notification\""
#define LIST(columns, only) \
    "SELECT " columns " FROM notifications n WHERE n.user_id = $1::uuid" only \
    " {?2 AND n.type = $2 ?} ORDER BY n.created_at DESC, n.id DESC LIMIT $3 OFFSET $4"
SQL(all, LIST(NOTIFICATION_VERSION ", " NOTIFICATION_COLUMNS, ""));
SQL(all_versions, LIST(NOTIFICATION_VERSION, ""));
SQL(unread, LIST(NOTIFICATION_VERSION ", " NOTIFICATION_COLUMNS, " AND NOT n.is_read"));
SQL(unread_versions, LIST(NOTIFICATION_VERSION, " AND NOT n.is_read"));
SQL(unread_count, "SELECT count(*) FROM notifications WHERE user_id = $1 AND NOT is_read");

/* A page, of all columns or of versions alone, and how many are unread in all. */
static const struct rows *
look(struct req *r, struct sql *page, const char *const *param, int64_t *unread_in_all)
{
    int count = db_queue(r, unread_count, r->user.id);
    const struct rows *rows = db_rows_(r, page, param, 4);
    *unread_in_all = rows_int(db_queued(r, count), 0, "count");
    return rows;
}

/* GET /notifications ?unreadOnly&type&page&limit: the newest first, and how many are unread in all. */
static reply
list_notifications(struct req *r)
{
    bool unread_only = query_has(r, "unreadOnly") && query_bool(r, "unreadOnly");
    const char *type = query_has(r, "type") ? query_choice(r, "type", NOTIFICATION_TYPES) : NULL;
    struct page page = in_page(r);
    if (bad_input(r))
        return refuse_input(r);

    const char *const param[] = { r->user.id, type, page.limit_text, page.offset_text };
    const char *key = arena_printf(r->arena, "notifications %s %d %s %s %s%s", r->user.id, unread_only, or_dash(type),
                                   page.limit_text, page.offset_text, kept_while(r));
    const struct kept *kept = kept_find(r->arena, key);
    struct sql *whole = unread_only ? &unread : &all, *versions = unread_only ? &unread_versions : &all_versions;
    int64_t count;
    const struct rows *rows = look(r, kept != NULL ? versions : whole, param, &count);
    struct jw *j = answer(r);
    jw_array(j, "notifications");
    if (kept != NULL && kept_is(r, key, kept, rows)) {
        kept_write(j, kept);
    } else {
        size_t from;
        (void)jw_text(j, &from);
        if (kept != NULL)
            rows = look(r, whole, param, &count);
        rows_elements(j, rows);
        kept_put(r->arena, key, rows, j, from);
    }
    jw_end(j);
    jw_int(j, "unreadCount", count);
    return ok(r);
}

/* ---- marking ---- */

SQL(read_one,
    "WITH mine AS (SELECT id FROM notifications WHERE id = $2 AND user_id = $1),"
    " marked AS (UPDATE notifications n SET is_read = true, read_at = now() FROM mine WHERE n.id = mine.id AND NOT n.is_read)"
    " SELECT id FROM mine");

/* PUT /notifications/:id/read.  not_found.  Twice is once. */
static reply
mark_read(struct req *r)
{
    if (db_row(r, read_one, r->user.id, r->arg[0]) == NULL)
        return failf(r, ERR_NOT_FOUND, "There is no such notification.");
    return ok(r);
}

/* Locked in the order in which the WhatsApp sender and its webhook lock them. */
SQL(read_all,
    "WITH mine AS MATERIALIZED (SELECT id FROM notifications WHERE user_id = $1 AND NOT is_read ORDER BY id FOR NO KEY UPDATE),"
    " marked AS (UPDATE notifications n SET is_read = true, read_at = now() FROM mine WHERE n.id = mine.id RETURNING n.id)"
    " SELECT count(*) AS marked FROM marked");

/* PUT /notifications/mark-all-read -> markedCount. */
static reply
mark_all_read(struct req *r)
{
    const struct rows *done = db_the_row(r, read_all, r->user.id);
    jw_int(answer(r), "markedCount", rows_int(done, 0, "marked"));
    return ok(r);
}

/* ---- preferences ---- */

#define TYPES "string_to_array('" NOTIFICATION_TYPES "', '|')"
#define PREFERENCES \
    "u.whatsapp_enabled AS \"preferences.whatsapp\"," \
    " (SELECT json_object_agg(t, NOT t = ANY (u.muted_types)) FROM unnest(" TYPES ") t) AS \"preferences.types\""
SQL(preferences, "SELECT " PREFERENCES " FROM users u WHERE u.id = $1");
SQL(prefer,   /* of two at once the second goes on from what the first one left */
    "UPDATE users u SET whatsapp_enabled = coalesce($2, whatsapp_enabled), muted_types = ARRAY(SELECT t FROM unnest(" TYPES ") t"
    "   WHERE CASE WHEN t = ANY ($3::text[]) THEN false WHEN t = ANY ($4::text[]) THEN true ELSE t = ANY (muted_types) END)"
    " WHERE id = $1 RETURNING " PREFERENCES);

/* GET /notifications/preferences -> whatsapp, types. */
static reply
show_preferences(struct req *r)
{
    (void)rows_members(answer(r), db_the_row(r, preferences, r->user.id), 0);
    return ok(r);
}

static bool
is_type(const char *name)
{
    static const char types[] = "|" NOTIFICATION_TYPES "|";
    size_t len = strlen(name);
    for (const char *p = types; len > 0 && strchr(name, '|') == NULL && (p = strstr(p, name)) != NULL; p++)
        if (p[-1] == '|' && p[len] == '|')
            return true;
    return false;
}

/* PUT /notifications/preferences {whatsapp?, types?: {<type>: boolean}} -> both.  What is left out stays. */
static reply
set_preferences(struct req *r)
{
    const char *whatsapp = body_has(r, "whatsapp") ? p_bool(body_bool(r, "whatsapp")) : NULL;
    struct jr types = body_json(r, "types");
    const char *wanted = "", *unwanted = "";
    if (types.kind != JR_ABSENT && types.kind != JR_OBJECT)
        wrong(r, "types", "must be an object");
    for (struct jr_walk w = jr_walk(types); types.kind == JR_OBJECT && jr_next(&w);) {
        const char *name = jr_text(r->arena, w.name, NULL);
        if (!is_type(name))
            wrong(r, "types", "must hold types of notifications only");
        else if (w.value.kind != JR_BOOL)
            wrong(r, arena_printf(r->arena, "types.%s", name), "must be true or false");
        else if (jr_true(w.value))
            wanted = arena_printf(r->arena, "%s%s%s", wanted, *wanted != '\0' ? "," : "", name);
        else
            unwanted = arena_printf(r->arena, "%s%s%s", unwanted, *unwanted != '\0' ? "," : "", name);
    }
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *kept = db_the_row(r, prefer, r->user.id, whatsapp, arena_printf(r->arena, "{%s}", wanted),
                                         arena_printf(r->arena, "{%s}", unwanted));
    (void)rows_members(answer(r), kept, 0);
    return ok(r);
}

APP("notifications", ROUTES)
