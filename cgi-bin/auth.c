/* auth -- who somebody is: one-time passwords, tokens, sessions, and what he says of himself.
 *
 * A person proves to hold a phone by a code that reaches him over WhatsApp.  The code is known to his
 * phone alone: the database keeps a keyed hash of id, phone and code, which is of no use without the
 * key and for no other phone, and the message waits sealed in the queue.  Answers do not tell whether
 * a phone has an account, nor whether that is disabled, before its code was shown.
 *
 * An access token is only as good as its session, which every request looks up; a refresh token is
 * good once.  The races (two tries of one code, two refreshes with one token, logging out or being
 * disabled meanwhile) are held by row locks in sql/012_auth_functions.sql, where all is decided. */
#include "app.h"
#include "config.h"
#include "crypto.h"
#include "shape.h"
#include "token.h"
#include "valid.h"

#include <string.h>

enum { OTP_LIFE_S = 300, METADATA_MAX_BYTES = 16384 };

#define A_PHONE "a phone number such as +919876543210"

#define ROUTES(X) \
    X(POST,   "/auth/send-otp",        send_otp,       UNASKED,   0) \
    X(POST,   "/auth/verify-otp",      verify_otp,     UNASKED,   0) \
    X(POST,   "/auth/refresh-token",   refresh,        UNASKED,   0) \
    X(POST,   "/auth/logout",          log_out,        SIGNED_IN, 0) \
    X(GET,    "/auth/sessions",        list_sessions,  SIGNED_IN, 0) \
    X(DELETE, "/auth/sessions/{uuid}", revoke_session, SIGNED_IN, 0) \
    X(GET,    "/users/me",             show_me,        SIGNED_IN, 0) \
    X(PUT,    "/users/me",             change_me,      SIGNED_IN, 0)
ROUTES(ROUTE_PROTOTYPE)

/* ---- one-time passwords ---- */

static const char *
phone_hash(struct req *r, const char *phone)
{
    char *hash = arena_alloc(r->arena, CRYPTO_LOOKUP_TEXT_SIZE);

    db_need_keys(r);
    if (!crypto_lookup_text("phone", phone, hash))
        give_up(r, ERR_UNAVAILABLE);   /* LCOV_EXCL_LINE: db_need_keys has just seen the key */
    return hash;
}

/* Bound to phone and id, so that a code is of no use with another of either. */
static const char *
code_hash(struct req *r, const char *otp_id, const char *phone, const char *code)
{
    char *hash = arena_alloc(r->arena, CRYPTO_LOOKUP_TEXT_SIZE);

    if (!crypto_lookup_text("otp", arena_printf(r->arena, "%s:%s:%s", otp_id, phone, code), hash))
        give_up(r, ERR_UNAVAILABLE);   /* LCOV_EXCL_LINE: the phone was hashed before, under the same key */
    return hash;
}

static const char *
sealed(struct req *r, const char *field, const char *uuid, const char *plain)
{
    size_t len = strlen(plain);
    char *text = arena_alloc(r->arena, CRYPTO_SEALED_TEXT_SIZE(len));

    if (crypto_seal_text(text, field, uuid, plain, len) == 0)
        give_up(r, ERR_UNAVAILABLE);   /* LCOV_EXCL_LINE: the keys are made and loaded together */
    return text;
}

SQL(make_otp, "SELECT create_otp($1, $2, $3, $4, $5, $6) AS life");

/* POST /auth/send-otp {phone} -> the password's id; the password goes to the phone.  Alike for every
 * phone, whoever has it. */
static reply
send_otp(struct req *r)
{
    const char *phone = body_match(r, "phone", valid_phone, A_PHONE);
    if (bad_input(r))
        return refuse_input(r);
    const char *who = phone_hash(r, phone);
    if (!rate_ok(r, "send-otp", who + 2))
        return refuse_rate(r);

    char id[CRYPTO_UUID_SIZE], code[CRYPTO_OTP_SIZE];
    crypto_uuid4(id);
    crypto_otp(code);
    const struct rows *made = db_the_row(r, make_otp, id, who, code_hash(r, id, phone, code), p_int(r, OTP_LIFE_S),
                                         sealed(r, "whatsapp_queue.recipient", id, phone),
                                         sealed(r, "whatsapp_queue.secret", id, code));
    db_wake_later(r, "selliko_whatsapp");
    struct jw *j = answer(r);
    jw_str(j, "message", "A one-time password is on its way to this number over WhatsApp.");
    jw_str(j, "otpId", id);
    jw_int(j, "expiresIn", rows_int(made, 0, "life"));
    return ok(r);
}

/* ---- tokens ---- */

/* A session lives as long as anything that was issued for it. */
static const char *
session_life(struct req *r)
{
    int64_t access = config()->jwt_expires_s, refresh = config()->refresh_token_expires_s;

    return p_int(r, access > refresh ? access : refresh);
}

/* What a phone keeps: an access token for the account in row 0 of WHO, and the refresh token. */
static void
answer_tokens(struct req *r, const struct rows *who, const char *phone, const char *session, const char *refresh_token)
{
    struct token_claims claims = { .iat = req_now(r) };
    char access[TOKEN_MAX + 1];

    claims.exp = claims.iat + config()->jwt_expires_s;
    snprintf(claims.user_id, sizeof claims.user_id, "%s", rows_text(who, 0, "id"));
    snprintf(claims.phone, sizeof claims.phone, "%s", phone);
    snprintf(claims.role, sizeof claims.role, "%s", rows_text(who, 0, "role"));
    snprintf(claims.session_id, sizeof claims.session_id, "%s", session);
    token_make(&claims, access);
    jw_str(answer(r), "accessToken", access);
    jw_str(answer(r), "refreshToken", refresh_token);
}

SQL(judge_otp, "SELECT v.outcome AS \"_outcome\", " USER_COLUMNS_OF("(v.account)", "", USER_PHONE("(v.account)"))
               " FROM verify_otp($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) v");

/* POST /auth/verify-otp {phone, otp, otpId} -> the user and his tokens.  The first time makes him a
 * CLIENT, or what DEMO_ROLES says.  otp_invalid, otp_expired, otp_used, account_disabled. */
static reply
verify_otp(struct req *r)
{
    const char *phone = body_match(r, "phone", valid_phone, A_PHONE);
    const char *code = body_match(r, "otp", valid_otp, "six digits");
    const char *otp_id = body_uuid(r, "otpId");
    if (bad_input(r))
        return refuse_input(r);
    const char *who = phone_hash(r, phone);
    if (!rate_ok(r, "verify-otp", who + 2))
        return refuse_rate(r);

    char user[CRYPTO_UUID_SIZE], session[CRYPTO_UUID_SIZE];
    char token[TOKEN_REFRESH_SIZE], token_hash[TOKEN_REFRESH_HASH_SIZE];
    crypto_uuid7(user);
    crypto_uuid4(session);
    token_refresh_new(token);
    token_refresh_hash(token, strlen(token), token_hash);
    const struct rows *v = db_the_row(r, judge_otp, otp_id, who, code_hash(r, otp_id, phone, code), user,
                                      sealed(r, "users.phone", user, phone), phone + strlen(phone) - 4,
                                      config_demo_role(phone), session, session_life(r), token_hash,
                                      p_int(r, config()->refresh_token_expires_s), r->user_agent, r->ip, r->id);
    const char *outcome = rows_text(v, 0, "_outcome");
    if (strcmp(outcome, "otp_expired") == 0)
        return fail(r, ERR_OTP_EXPIRED);
    if (strcmp(outcome, "otp_used") == 0)
        return fail(r, ERR_OTP_USED);
    if (strcmp(outcome, "account_disabled") == 0)
        return fail(r, ERR_ACCOUNT_DISABLED);
    if (strcmp(outcome, "ok") != 0)
        return fail(r, ERR_OTP_INVALID);
    jw_object(answer(r), "user");
    (void)rows_members(answer(r), v, 0);
    jw_end(answer(r));
    answer_tokens(r, v, phone, session, token);
    return ok(r);
}

SQL(rotate, "SELECT t.outcome AS \"_outcome\", t.session_id AS \"_session\", " USER_COLUMNS_OF("(t.account)", "", USER_PHONE("(t.account)"))
            " FROM use_refresh_token($1, $2, $3, $4, $5, $6, $7) t");

/* POST /auth/refresh-token {refreshToken} -> a new pair.  refresh_token_invalid, refresh_token_reused
 * (and the session is over), account_disabled. */
static reply
refresh(struct req *r)
{
    const char *token = body_text(r, "refreshToken", 1, 512);
    if (bad_input(r))
        return refuse_input(r);
    char hash[TOKEN_REFRESH_HASH_SIZE], fresh[TOKEN_REFRESH_SIZE], fresh_hash[TOKEN_REFRESH_HASH_SIZE];
    if (!token_refresh_hash(token, strlen(token), hash))
        return fail(r, ERR_REFRESH_TOKEN_INVALID);
    token_refresh_new(fresh);
    token_refresh_hash(fresh, strlen(fresh), fresh_hash);

    const struct rows *t = db_the_row(r, rotate, hash, fresh_hash, p_int(r, config()->refresh_token_expires_s),
                                      session_life(r), p_int(r, config()->refresh_reuse_grace_s), r->ip, r->id);
    const char *outcome = rows_text(t, 0, "_outcome");
    if (strcmp(outcome, "reused") == 0)
        return fail(r, ERR_REFRESH_TOKEN_REUSED);
    if (strcmp(outcome, "account_disabled") == 0)
        return fail(r, ERR_ACCOUNT_DISABLED);
    if (strcmp(outcome, "ok") != 0)
        return fail(r, ERR_REFRESH_TOKEN_INVALID);
    const char *phone = rows_sealed(r->arena, t, 0, "phone");
    if (phone == NULL)
        give_up(r, ERR_INTERNAL);
    answer_tokens(r, t, phone, rows_text(t, 0, "_session"), fresh);
    return ok(r);
}

/* ---- sessions ---- */

SQL(end_session, "UPDATE sessions SET revoked_at = clock_timestamp()"
                 " WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now() RETURNING id");

/* POST /auth/logout -> this session is over, for both kinds of token, from the next request on. */
static reply
log_out(struct req *r)
{
    db_exec(r, end_session, r->user.session_id, r->user.id);
    return ok(r);
}

SQL(living_sessions,
    "SELECT id, created_at AS \"createdAt\", last_used_at AS \"lastUsedAt\", user_agent AS \"userAgent\", id = $2 AS current"
    " FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()"
    " ORDER BY last_used_at DESC, id LIMIT 100");

/* GET /auth/sessions -> where the user is signed in, the last used first. */
static reply
list_sessions(struct req *r)
{
    rows_json(answer(r), "sessions", db_rows(r, living_sessions, r->user.id, r->user.session_id));
    return ok(r);
}

/* DELETE /auth/sessions/:id -> one of one's own sessions is over, this one too when it is named. */
static reply
revoke_session(struct req *r)
{
    if (db_row(r, end_session, r->arg[0], r->user.id) == NULL)
        return fail(r, ERR_NOT_FOUND);
    return ok(r);
}

/* ---- oneself ---- */

static reply
answer_me(struct req *r, const struct rows *me)
{
    jw_object(answer(r), "user");
    (void)rows_members(answer(r), me, 0);
    jw_end(answer(r));
    return ok(r);
}

SQL(me, "SELECT " USER_COLUMNS " FROM users u WHERE u.id = $1");

/* GET /users/me -> the user. */
static reply
show_me(struct req *r)
{
    return answer_me(r, db_the_row(r, me, r->user.id));
}

SQL(change, "UPDATE users u SET name = coalesce($2, u.name), metadata = coalesce($3::jsonb, u.metadata)"
            " WHERE u.id = $1 RETURNING " USER_COLUMNS);

/* PUT /users/me {name?, metadata?} -> the user.  What is left out stays; metadata is replaced whole. */
static reply
change_me(struct req *r)
{
    const char *name = body_has(r, "name") ? body_text(r, "name", 1, 100) : NULL;
    const char *metadata = body_has(r, "metadata") ? body_object(r, "metadata", METADATA_MAX_BYTES) : NULL;
    if (bad_input(r))
        return refuse_input(r);
    return answer_me(r, db_the_row(r, change, r->user.id, name, metadata));
}

APP("auth", ROUTES)
