-- Where signing in is decided.  What the caller must hear is a word in the result, never an exception,
-- so that what was counted (a wrong try) or revoked (a stolen token) is committed with it.
--
-- Locks are taken in one order: otp or session, then user.  A session's row is the lock for all of its
-- refresh tokens.

-- Equal keyed hashes, in a time that does not depend on where they differ: the exclusive-or of all
-- bits is counted, and counting does not stop early as = does on bytea.  (Whoever guesses codes does
-- not know the key either, so he could not choose the hash that is compared.)
CREATE FUNCTION hashes_equal(a bytea, b bytea) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT octet_length(a) = 32 AND octet_length(b) = 32
        AND bit_count(('x' || encode(a, 'hex'))::bit(256) # ('x' || encode(b, 'hex'))::bit(256)) = 0
$$;

-- A new code for a phone: it voids those before it, and its message is queued.  P_ID is also the id to
-- which P_RECIPIENT and P_SECRET are sealed.
--
-- To a disabled account nothing is sent, but the asker must not learn that, not by the time it takes
-- either: the same rows are written, and then the message's is taken back.
CREATE FUNCTION create_otp(p_id uuid, p_phone_hash bytea, p_code_hash bytea, p_life_s int,
                           p_recipient bytea, p_secret bytea) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    ends     timestamptz;
    disabled boolean;
BEGIN
    -- Of two requests at once neither sees the other's code; so one waits, or both codes would be good.
    PERFORM pg_advisory_xact_lock(hashtextextended('otp:' || encode(p_phone_hash, 'hex'), 0));
    ends := clock_timestamp() + make_interval(secs => p_life_s);
    UPDATE otps SET voided_at = clock_timestamp()
        WHERE phone_hash = p_phone_hash AND used_at IS NULL AND voided_at IS NULL;
    INSERT INTO otps (id, phone_hash, code_hash, created_at, expires_at)
        VALUES (p_id, p_phone_hash, p_code_hash, clock_timestamp(), ends);
    disabled := EXISTS (SELECT FROM users WHERE phone_hash = p_phone_hash AND NOT is_active);
    BEGIN
        PERFORM queue_otp(p_id, p_recipient, p_secret, ends, p_phone_hash);
        IF disabled THEN
            RAISE EXCEPTION 'take it back' USING ERRCODE = 'SK000';
        END IF;
    EXCEPTION WHEN SQLSTATE 'SK000' THEN
        NULL;
    END;
    RETURN p_life_s;
END $$;

-- Judge a code and, when it is right, sign in: outcome ok, otp_invalid (wrong, killed by five wrong
-- tries, voided by a newer one, unknown, another phone's), otp_expired, otp_used, account_disabled.
--
-- The code's row is locked while it is judged, so of two requests with one code one signs in and the
-- other hears otp_used, and no wrong try goes uncounted.  The account's row is locked from its look-up
-- to the end: whoever disables it meanwhile comes before (and is obeyed) or after (and session_check
-- refuses the session that was made).  P_USER, P_PHONE_SEALED, P_LAST4 and P_ROLE are for a phone that
-- has no account yet; should another transaction make it first, that one is taken.
CREATE FUNCTION verify_otp(p_id uuid, p_phone_hash bytea, p_code_hash bytea,
                           p_user uuid, p_phone_sealed bytea, p_last4 text, p_role text,
                           p_session uuid, p_session_s int, p_refresh_hash bytea, p_refresh_s int,
                           p_user_agent text, p_ip text, p_request_id text,
                           OUT outcome text, OUT account users) LANGUAGE plpgsql AS $$
DECLARE
    code  otps;
    who   users;
    first boolean;
    at    timestamptz;
BEGIN
    SELECT * INTO code FROM otps WHERE id = p_id AND phone_hash = p_phone_hash FOR UPDATE;
    at := clock_timestamp();   -- after the wait for the lock
    outcome := CASE
        WHEN code.id IS NULL THEN 'otp_invalid'
        WHEN code.used_at IS NOT NULL THEN 'otp_used'
        WHEN code.voided_at IS NOT NULL OR code.attempts >= 5 THEN 'otp_invalid'
        WHEN code.expires_at <= at THEN 'otp_expired'
        WHEN NOT hashes_equal(code.code_hash, p_code_hash) THEN 'wrong'
        ELSE 'ok' END;
    IF outcome = 'wrong' THEN
        UPDATE otps SET attempts = attempts + 1 WHERE id = p_id;
        outcome := 'otp_invalid';
    END IF;
    IF outcome <> 'ok' THEN
        RETURN;
    END IF;
    UPDATE otps SET used_at = at WHERE id = p_id;

    INSERT INTO users (id, phone_hash, phone_sealed, phone_last4, name, role)
        VALUES (p_user, p_phone_hash, p_phone_sealed, p_last4, 'User ' || p_last4, coalesce(p_role, 'CLIENT'))
        ON CONFLICT (phone_hash) DO NOTHING;
    first := FOUND;
    SELECT * INTO STRICT who FROM users WHERE phone_hash = p_phone_hash FOR NO KEY UPDATE;
    IF NOT who.is_active THEN
        outcome := 'account_disabled';
        RETURN;
    END IF;
    UPDATE users SET last_login = at WHERE id = who.id RETURNING * INTO who;
    INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, user_agent)
        VALUES (p_session, who.id, at, at, at + make_interval(secs => p_session_s), nullif(p_user_agent, ''));
    INSERT INTO refresh_tokens (hash, session_id, created_at, expires_at)
        VALUES (p_refresh_hash, p_session, at, at + make_interval(secs => p_refresh_s));
    INSERT INTO audit_log (actor_id, action, target, details, ip, request_id)
        VALUES (who.id, 'user.sign_in', who.id, jsonb_build_object('sessionId', p_session, 'first', first), p_ip, p_request_id);
    account := who;
END $$;

-- Exchange a refresh token: outcome ok (P_NEW_HASH is good now), invalid, reused, account_disabled.
--
-- The session's row is locked first, so what happens to one session happens one after another:
--   two refreshes with one token   the second finds it used a moment ago: within the grace it gets a
--                                  pair as well (two tabs, a lost answer), later it is theft
--   a refresh and a logout         the refresh comes first and its tokens die with the session, or it
--                                  finds the session revoked
-- A token that is used again after the grace revokes the session: one of the two who had it stole it,
-- and nobody can tell which.  The account is only read: one disabled this moment gets tokens that
-- session_check refuses.
CREATE FUNCTION use_refresh_token(p_hash bytea, p_new_hash bytea, p_refresh_s int, p_session_s int, p_grace_s int,
                                  p_ip text, p_request_id text,
                                  OUT outcome text, OUT session_id uuid, OUT account users) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held  uuid;
    s     sessions;
    token refresh_tokens;
    who   users;
    at    timestamptz;
BEGIN
    SELECT session_id INTO held FROM refresh_tokens WHERE hash = p_hash;
    SELECT * INTO s FROM sessions WHERE id = held FOR NO KEY UPDATE;
    at := clock_timestamp();   -- after the wait for the lock
    SELECT * INTO token FROM refresh_tokens WHERE hash = p_hash;   -- as the one before us left it
    SELECT * INTO who FROM users WHERE id = s.user_id;
    session_id := s.id;
    IF token.hash IS NULL OR s.revoked_at IS NOT NULL OR s.expires_at <= at OR token.expires_at <= at THEN
        outcome := 'invalid';
    ELSIF token.used_at + make_interval(secs => p_grace_s) <= at THEN
        UPDATE sessions SET revoked_at = at WHERE id = s.id;
        INSERT INTO audit_log (actor_id, action, target, details, ip, request_id)
            VALUES (s.user_id, 'session.token_reused', s.id, '{}', p_ip, p_request_id);
        outcome := 'reused';
    ELSIF NOT who.is_active THEN
        outcome := 'account_disabled';
    ELSE
        UPDATE refresh_tokens SET used_at = at WHERE hash = p_hash AND used_at IS NULL;
        INSERT INTO refresh_tokens (hash, session_id, created_at, expires_at)
            VALUES (p_new_hash, s.id, at, at + make_interval(secs => p_refresh_s));
        UPDATE sessions SET last_used_at = at, expires_at = at + make_interval(secs => p_session_s) WHERE id = s.id;
        outcome := 'ok';
        account := who;
    END IF;
END $$;
