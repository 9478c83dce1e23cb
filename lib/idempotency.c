/* idempotency -- see idempotency.h. */
#include "idempotency.h"

#include "crypto.h"
#include "req_inside.h"

#define FIELD "idempotency_keys.answer"   /* bound to the user's id */

SQL(claim, "SELECT other, status, answer FROM claim_idempotency_key($1, $2, $3, $4)");
SQL(keep, "SELECT keep_idempotency_key($1, $2, $3, $4, $5, $6)");

reply
idempotency_replay(struct req *r, int status, const char *sealed)
{
    size_t len = strlen(sealed), plain_len;
    char *plain = arena_alloc(r->arena, len + 1);
    if (!db_unseal(FIELD, sealed, len, plain, &plain_len))   /* without any key they could not be read yet */
        give_up(r, crypto_keyring_newest(CRYPTO_SEAL) == 0 ? ERR_UNAVAILABLE : ERR_INTERNAL);
    return replay(r, status, plain, plain_len);
}

bool
idempotency_claim(struct req *r, const char *route, const char *hash, reply *answered)
{
    const struct rows *kept = db_row(r, claim, r->user.id, route, r->idempotency_key, hash);
    if (kept == NULL)
        return true;
    const char *answer_text = rows_text(kept, 0, "answer");
    if (rows_bool(kept, 0, "other") || answer_text == NULL)
        *answered = fail(r, ERR_IDEMPOTENCY_KEY_REUSED);
    else
        *answered = idempotency_replay(r, (int)rows_int(kept, 0, "status"), answer_text);
    return false;
}

void
idempotency_keep(struct req *r, const char *route, const char *hash, reply first)
{
    const struct req_answer *a = first.made;
    char *sealed = arena_alloc(r->arena, CRYPTO_SEALED_TEXT_SIZE(a->len));
    if (crypto_seal_text(sealed, FIELD, r->user.id, a->body, a->len) == 0)
        give_up(r, ERR_UNAVAILABLE);
    db_exec(r, keep, r->user.id, route, r->idempotency_key, hash, p_int(r, a->status), sealed);
}

reply
idempotency_refusal(struct req *r, const char *route, const char *hash, reply refusal)
{
    reply answered;
    if (r->idempotency_key == NULL || r->user.id == NULL || refusal.made->status >= 500)
        return refusal;
    struct req_answer mine = *refusal.made;   /* there is one place for an answer: the claim may use it */
    db_begin(r);
    if (!idempotency_claim(r, route, hash, &answered)) {
        struct req_answer theirs = *answered.made;
        db_commit(r);
        r->inside->answer = theirs;
        return answered;
    }
    r->inside->answer = mine;
    idempotency_keep(r, route, hash, refusal);
    db_commit(r);
    r->inside->answer = mine;
    return refusal;
}
