/* assignments -- see assignments.h.  What is decided is decided by assign_agent() in SQL, which holds the
 * order's row: an agent who accepts at the same moment is either first, and keeps the task, or finds it
 * given away. */
#include "assignments.h"

#include "shape.h"

SQL(assign, "SELECT * FROM assign_agent($1, $2, $3, $4, $5, $6, $7::timestamptz, $8, $9, $10)");
SQL(assigned, "SELECT " TASK_COLUMNS " FROM" TASK_FROM " WHERE t.id = $1");

#define COMMISSION_MAX_PAISE INT64_C(100000000)

/* {agentId, type?, priority?, description?, scheduledAt?, commissionAmount?} -> the task.  not_found (the
 * listing, or no active agent), invalid_state. */
reply
assign_agent(struct req *r)
{
    const char *agent = body_uuid(r, "agentId");
    const char *type = body_has(r, "type") ? body_choice(r, "type", "pickup|delivery|verification") : "pickup";
    const char *priority = body_has(r, "priority") ? body_choice(r, "priority", "high|normal|low") : "normal";
    const char *description = or_null(body_lines(r, "description", 0, 1000));
    const char *scheduled = body_has(r, "scheduledAt") ? body_time(r, "scheduledAt") : NULL;
    const char *commission = NULL;
    if (body_has(r, "commissionAmount")) {
        commission = p_int(r, body_rupees(r, "commissionAmount", 0, COMMISSION_MAX_PAISE));
        if (type != NULL && strcmp(type, "pickup") == 0)
            wrong(r, "commissionAmount", "is the order's with a pickup: leave it out");
    }
    if (bad_input(r))
        return refuse_input(r);

    const struct rows *done = db_the_row(r, assign, r->user.id, r->arg[0], agent, type, priority, description, scheduled,
                                         commission, r->ip, r->id);
    const char *code = rows_text(done, 0, "code"), *state = rows_text(done, 0, "state");
    if (strcmp(code, "not_found") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such listing.");
    if (strcmp(code, "no_agent") == 0)
        return failf(r, ERR_NOT_FOUND, "There is no such active agent.");
    if (strcmp(code, "taken") == 0)
        return failf(r, ERR_INVALID_STATE, "The task is %s by its agent already.",
                     strcmp(state, "accepted") == 0 ? "accepted" : "worked on");
    if (strcmp(code, "invalid_state") == 0)
        return failf(r, ERR_INVALID_STATE, "A %s cannot be assigned: it is %s.", type, state);
    db_wake_later(r, "selliko_events");
    db_wake_later(r, "selliko_whatsapp");
    const struct rows *task = db_the_row(r, assigned, rows_text(done, 0, "task"));
    (void)shape_task_object(r->arena, answer(r), "assignment", task, 0, req_now(r));
    return ok(r);
}
