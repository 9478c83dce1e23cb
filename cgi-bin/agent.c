/* agent -- what an agent has to do: his tasks, and working on them.
 *
 *     assigned ──accept──► accepted ──start──► in_progress ──complete──► completed
 *         │                   ├──────────complete────────────────────────┘
 *         └───────────────────┴──────────────────┴──fail──► failed
 *
 * A task is on an order (a pickup from the client, a delivery to the vendor, a verification between), and
 * completing the first two moves the order on.  An administrator may give a task that nobody has accepted to
 * another agent: accepting and giving away at the same moment, one of the two hears that he came late,
 * because both hold the order's row (014_order_functions.sql).  Days are those of Kerala. */
#include "app.h"

#include "fileurl.h"
#include "kept.h"
#include "shape.h"
#include "store.h"


#define ROUTES(X) \
    X(GET, "/agent/tasks",                 list_tasks,    AGENT, 0) \
    X(PUT, "/agent/tasks/{uuid}/accept",   accept_task,   AGENT, 0) \
    X(PUT, "/agent/tasks/{uuid}/start",    start_task,    AGENT, 0) \
    X(PUT, "/agent/tasks/{uuid}/complete", complete_task, AGENT, 0) \
    X(PUT, "/agent/tasks/{uuid}/fail",     fail_task,     AGENT, 0)
ROUTES(ROUTE_PROTOTYPE)

static struct store *store;

/* ---- looking ---- */

#define MIDNIGHT(day) "((" day ")::timestamp AT TIME ZONE 'Asia/Kolkata')"

#define TASKS(columns) \
    "SELECT " columns " FROM" TASK_FROM " WHERE t.agent_id = $1::uuid" \
    " {?2 AND t.status = $2 ?} {?3 AND t.priority = $3 ?}" \
    " {?4 AND t.assigned_at >= " MIDNIGHT("$4::date") " AND t.assigned_at < " MIDNIGHT("$4::date + 1") " ?}" \
    " ORDER BY t.assigned_at DESC, t.id DESC LIMIT $5 OFFSET $6"
SQL(tasks, TASKS(TASK_VERSION ", " TASK_COLUMNS));
SQL(tasks_versions, TASKS(TASK_VERSION));
SQL(sums,   /* over all of his tasks, whatever the filters; (SELECT …): midnight is found once, not for each task */
    "SELECT coalesce(sum(t.commission_amount), 0)::bigint AS commission,"
    "       count(*) FILTER (WHERE t.completed_at >="
    "           (SELECT " MIDNIGHT("(now() AT TIME ZONE 'Asia/Kolkata')::date") ")) AS today"
    "  FROM agent_tasks t WHERE t.agent_id = $1::uuid AND t.status = 'completed'");

/* The tasks in ROWS as elements of the open array, kept under KEY. */
static void
write_tasks(struct req *r, const struct rows *rows, const char *key, int64_t now)
{
    struct jw *j = answer(r);
    size_t from;
    bool whole = true;
    (void)jw_text(j, &from);
    for (int i = 0; i < rows->n; i++)
        whole &= shape_task_object(r->arena, j, NULL, rows, i, now);
    if (whole)
        kept_put(r->arena, key, rows, j, from);
}

/* GET /agent/tasks ?status&priority&date -> his tasks, the newest first, and what he has earned. */
static reply
list_tasks(struct req *r)
{
    const char *status = query_has(r, "status")
        ? query_choice(r, "status", "assigned|accepted|in_progress|completed|failed") : NULL;
    const char *priority = query_has(r, "priority") ? query_choice(r, "priority", "high|normal|low") : NULL;
    const char *date = query_has(r, "date") ? query_date(r, "date") : NULL;
    struct page page = in_page(r);
    const char *limit = query_has(r, "limit") ? page.limit_text : "100";
    const char *offset = query_has(r, "limit") ? page.offset_text : p_int(r, (page.page - 1) * 100);
    if (bad_input(r))
        return refuse_input(r);

    const char *const param[] = { r->user.id, status, priority, date, limit, offset };
    const char *key = arena_printf(r->arena, "tasks %s %s %s %s %s %s%s", r->user.id, or_dash(status), or_dash(priority),
                                   or_dash(date), limit, offset, kept_while(r));
    int64_t now = req_now(r);   /* not in an hour before the key's */
    const struct kept *kept = kept_find(r->arena, key);
    int sums_ticket = db_queue(r, sums, r->user.id);
    const struct rows *rows = db_rows_(r, kept != NULL ? &tasks_versions : &tasks, param, 6);
    const struct rows *sum = db_queued(r, sums_ticket);
    struct jw *j = answer(r);
    jw_array(j, "tasks");
    if (kept != NULL && kept_is(r, key, kept, rows))
        kept_write(j, kept);
    else
        write_tasks(r, kept != NULL ? db_rows_(r, &tasks, param, 6) : rows, key, now);
    jw_end(j);
    jw_rupees(j, "totalCommission", rows_int(sum, 0, "commission"));
    jw_int(j, "completedToday", rows_int(sum, 0, "today"));
    return ok(r);
}

/* ---- working ---- */

SQL(step, "SELECT * FROM step_task($1, $2, $3, $4::jsonb)");
SQL(task, "SELECT " TASK_COLUMNS ", t.commission_amount AS \"_commission\" FROM" TASK_FROM " WHERE t.id = $1");

/* Take STEP on the task; its row afterwards, or NULL and in *REFUSAL why not. */
static const struct rows *
take_step(struct req *r, const char *name, const char *report, reply *refusal)
{
    const struct rows *done = db_the_row(r, step, r->user.id, r->arg[0], name, report);
    const char *code = rows_text(done, 0, "code");
    if (strcmp(code, "ok") == 0) {
        db_wake_later(r, "selliko_events");
        db_wake_later(r, "selliko_whatsapp");
        return db_the_row(r, task, r->arg[0]);
    }
    const char *state = rows_text(done, 0, "state");
    *refusal = strcmp(code, "not_found") == 0 ? failf(r, ERR_NOT_FOUND, "There is no such task.")
             : strcmp(state, "cancelled") == 0 ? failf(r, ERR_INVALID_STATE, "The task's order was cancelled.")
             : failf(r, ERR_INVALID_STATE, "The task is %s.", strcmp(state, "in_progress") == 0 ? "in progress" : state);
    return NULL;
}

static reply
step_answer(struct req *r, const char *name, const char *report)
{
    reply refusal;
    const struct rows *row = take_step(r, name, report, &refusal);
    if (row == NULL)
        return refusal;
    (void)shape_task_object(r->arena, answer(r), "task", row, 0, req_now(r));
    return ok(r);
}

/* PUT /agent/tasks/:id/accept -> the task.  not_found, invalid_state. */
static reply
accept_task(struct req *r)
{
    return step_answer(r, "accept", NULL);
}

/* PUT /agent/tasks/:id/start -> the task.  not_found, invalid_state. */
static reply
start_task(struct req *r)
{
    return step_answer(r, "start", NULL);
}

/* PUT /agent/tasks/:id/fail {reason} -> the task.  not_found, invalid_state. */
static reply
fail_task(struct req *r)
{
    const char *reason = body_lines(r, "reason", 1, 500);
    if (bad_input(r))
        return refuse_input(r);
    struct jw *j = jw_new(r->arena);
    jw_object(j, NULL);
    jw_str(j, "reason", reason);
    jw_end(j);
    return step_answer(r, "fail", jw_text(j, NULL));
}

/* ---- completing ---- */

enum { PHOTOS_MAX = 20, PHOTO_URL_MAX = 2000 };

/* A photo of a report: what POST /files/verification stored, and for which order. */
struct proof {
    const char *order_id, *name;
};

/* The proof that URL names, signed by us (perhaps hours ago: a day's photos are sent at its end), NULL
 * when it is none. */
static const struct proof *
proof_of(struct req *r, const char *url)
{
    static const char folder[] = "/files/verification/";
    const char *path = shape_url_path(url);
    if (path == NULL || strncmp(path, folder, sizeof folder - 1) != 0)
        return NULL;
    size_t len = strcspn(path, "?");
    const char *plain = arena_memdup0(r->arena, path, len);
    if (path[len] == '\0' || fileurl_verify(plain, path + len + 1, req_now(r)) == FILEURL_BAD)
        return NULL;
    const char *order_id = plain + sizeof folder - 1, *slash = strchr(order_id, '/');
    bool there;
    if (slash == NULL)
        return NULL;
    if (store_look(store, plain + strlen("/files/"), &there) == STORE_FAILED)
        give_up(r, ERR_UNAVAILABLE);
    if (!there)
        return NULL;
    struct proof *p = arena_alloc(r->arena, sizeof *p);
    *p = (struct proof){ .order_id = arena_memdup0(r->arena, order_id, (size_t)(slash - order_id)), .name = slash + 1 };
    return p;
}

/* verificationPhotos: at most PHOTOS_MAX proofs into PROOF, their number. */
static int
read_proofs(struct req *r, const struct proof *proof[PHOTOS_MAX])
{
    struct jr list = body_json(r, "verificationPhotos");
    if (list.kind == JR_ABSENT)
        return 0;
    if (list.kind != JR_ARRAY || jr_count(list) > PHOTOS_MAX) {
        wrong(r, "verificationPhotos", "must be a list of at most 20 URLs");
        return 0;
    }
    int n = 0;
    for (struct jr_walk w = jr_walk(list); jr_next(&w); n++) {
        const char *url = jr_text(r->arena, w.value, NULL);
        proof[n] = strlen(url) <= PHOTO_URL_MAX ? proof_of(r, url) : NULL;
        if (proof[n] == NULL)
            wrong(r, arena_printf(r->arena, "verificationPhotos[%d]", n),
                  "must be a URL that POST /files/verification answered");
    }
    return n;
}

SQL(order_of, "SELECT order_id FROM agent_tasks WHERE id = $1 AND agent_id = $2");

/* PUT /agent/tasks/:id/complete {notes?, verificationPhotos?} -> the task and what it earned.  Moves the
 * order on.  not_found, invalid_state. */
static reply
complete_task(struct req *r)
{
    const struct proof *proof[PHOTOS_MAX];
    const char *notes = or_null(body_lines(r, "notes", 0, 1000));
    int n = read_proofs(r, proof);
    if (bad_input(r))
        return refuse_input(r);
    if (n > 0) {
        const struct rows *its = db_row(r, order_of, r->arg[0], r->user.id);
        if (its == NULL)
            return failf(r, ERR_NOT_FOUND, "There is no such task.");
        for (int i = 0; i < n; i++)
            if (strcmp(proof[i]->order_id, rows_text(its, 0, "order_id")) != 0)
                wrong(r, arena_printf(r->arena, "verificationPhotos[%d]", i), "must be a photo of this order");
        if (bad_input(r))
            return refuse_input(r);
    }
    struct jw *j = jw_new(r->arena);
    jw_object(j, NULL);
    if (notes != NULL)
        jw_str(j, "notes", notes);
    if (n > 0) {
        jw_array(j, "verificationPhotos");
        for (int i = 0; i < n; i++)
            jw_str(j, NULL, proof[i]->name);
        jw_end(j);
    }
    jw_end(j);

    reply refusal;
    const struct rows *row = take_step(r, "complete", jw_text(j, NULL), &refusal);
    if (row == NULL)
        return refusal;
    (void)shape_task_object(r->arena, answer(r), "task", row, 0, req_now(r));
    jw_rupees(answer(r), "commissionEarned", rows_int(row, 0, "_commission"));
    return ok(r);
}

static void
begin(void)
{
    if (store_open_configured(&store) != STORE_OK)
        exit(1);
}

APP_INIT("agent", ROUTES, begin)
