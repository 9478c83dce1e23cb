-- Signing in: codes, sessions, refresh tokens, and the races between them.
-- Not one transaction: what is told apart here are moments.
\ir fixtures.inc
SELECT no_plan();
SET statement_timeout = '30s';

-- Hashes as the programs make them have 32 bytes; what they are made of does not matter here.
CREATE FUNCTION test.hash(p text) RETURNS bytea LANGUAGE sql AS $$ SELECT sha256(p::bytea) $$;
CREATE FUNCTION test.send(p_phone text, p_code text DEFAULT '111111', p_life_s int DEFAULT 300) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE made uuid := gen_random_uuid();
BEGIN
    PERFORM create_otp(made, test.hash(p_phone), test.hash(made || p_phone || p_code), p_life_s, '\x01', '\x02');
    RETURN made;
END $$;
CREATE FUNCTION test.verify(p_otp uuid, p_phone text, p_code text DEFAULT '111111', p_role text DEFAULT NULL,
    p_refresh text DEFAULT gen_random_uuid()::text, p_session uuid DEFAULT gen_random_uuid(), p_agent text DEFAULT 'a phone')
RETURNS text LANGUAGE sql AS $$
    SELECT outcome FROM verify_otp(p_otp, test.hash(p_phone), test.hash(p_otp || p_phone || p_code), gen_random_uuid(), '\x03',
        right(p_phone, 4), p_role, p_session, 604800, test.hash(p_refresh), 604800, p_agent, '192.0.2.1', 'request')
$$;
CREATE FUNCTION test.refresh(p_old text, p_new text, p_grace_s int DEFAULT 10) RETURNS text LANGUAGE sql AS $$
    SELECT outcome FROM use_refresh_token(test.hash(p_old), test.hash(p_new), 604800, 604800, p_grace_s, '192.0.2.1', 'request')
$$;

-- ---- comparing ----
SELECT ok(hashes_equal(test.hash('a'), test.hash('a')), 'equal hashes are equal');
SELECT ok(NOT hashes_equal(test.hash('a'), set_byte(test.hash('a'), n, get_byte(test.hash('a'), n) # 1)),
    format('a bit in byte %s tells hashes apart', n)) FROM (VALUES (0), (15), (31)) x(n);
SELECT ok(NOT hashes_equal('\x', '\x'), 'what is no hash equals nothing');

-- ---- codes ----
SELECT test.send('+910000000001') AS otp \gset
SELECT is((SELECT count(*)::int FROM whatsapp_queue WHERE seal_id = :'otp' AND template = 'otp_verification'), 1, 'a code goes into the queue');
SELECT ok((SELECT q.expires_at = o.expires_at FROM whatsapp_queue q JOIN otps o ON o.id = q.seal_id WHERE o.id = :'otp'), 'and ends with the code');
SELECT is(test.verify(gen_random_uuid(), '+910000000001'), 'otp_invalid', 'an unknown id is invalid');
SELECT is(test.verify(:'otp', '+910000000002'), 'otp_invalid', 'another phone is invalid');
SELECT is((SELECT attempts FROM otps WHERE id = :'otp'), 0, 'and is no try of this one');
SELECT is(test.verify(:'otp', '+910000000001', '222222'), 'otp_invalid', 'a wrong code is invalid');
SELECT is((SELECT attempts FROM otps WHERE id = :'otp'), 1, 'and counts');
SELECT is(test.verify(:'otp', '+910000000001', p_refresh => 'r1', p_session => '00000000-0000-4000-8000-000000000001'), 'ok', 'the right one signs in');
SELECT is(test.verify(:'otp', '+910000000001'), 'otp_used', 'once');

SELECT results_eq($$SELECT name, role, is_active, last_login IS NOT NULL FROM users WHERE phone_hash = test.hash('+910000000001')$$,
    $$VALUES ('User 0001', 'CLIENT', true, true)$$, 'the first sign-in makes a CLIENT named after his number''s end');
SELECT results_eq($$SELECT user_agent, revoked_at IS NULL FROM sessions WHERE id = '00000000-0000-4000-8000-000000000001'$$,
    $$VALUES ('a phone', true)$$, 'and a session');
SELECT results_eq($$SELECT action, ip, details ->> 'first' FROM audit_log WHERE details ->> 'sessionId' = '00000000-0000-4000-8000-000000000001'$$,
    $$VALUES ('user.sign_in', '192.0.2.1', 'true')$$, 'and stands in the audit log');

SELECT is(test.verify(test.send('+910000000001'), '+910000000001', p_role => 'ADMIN'), 'ok', 'he signs in again');
SELECT is((SELECT role FROM users WHERE phone_hash = test.hash('+910000000001')), 'CLIENT', 'and stays what he is');
SELECT is((SELECT details ->> 'first' FROM audit_log WHERE action = 'user.sign_in' ORDER BY seq DESC LIMIT 1), 'false', 'not for the first time');
SELECT is(test.verify(test.send('+910000000003'), '+910000000003', p_role => 'VENDOR'), 'ok', 'a demonstration''s phone signs in');
SELECT is((SELECT role FROM users WHERE phone_hash = test.hash('+910000000003')), 'VENDOR', 'in its role');

SELECT test.send('+910000000001') AS otp \gset
SELECT is(test.verify(:'otp', '+910000000001', '222222'), 'otp_invalid', format('wrong try %s', n)) FROM generate_series(1, 5) n;
SELECT is(test.verify(:'otp', '+910000000001'), 'otp_invalid', 'five wrong tries kill a code');
SELECT is(test.verify(:'otp', '+910000000001', '222222'), 'otp_invalid', 'a sixth changes nothing');

SELECT test.send('+910000000001') AS older, test.send('+910000000004') AS foreign_one \gset
SELECT test.send('+910000000001') AS newer \gset
SELECT is(test.verify(:'older', '+910000000001'), 'otp_invalid', 'a newer code voids the one before');
SELECT is(test.verify(:'newer', '+910000000001'), 'ok', 'and is good itself');
SELECT is(test.verify(:'foreign_one', '+910000000004'), 'ok', 'that of another phone stays good');
SELECT is(test.verify(test.send('+910000000001', p_life_s => 0), '+910000000001'), 'otp_expired', 'a code ends');
SELECT is(test.verify(test.send('+910000000001', p_life_s => 0), '+910000000001', '222222'), 'otp_expired', 'for wrong tries too');

-- ---- disabled ----
SELECT test.send('+910000000001') AS otp \gset
UPDATE users SET is_active = false WHERE phone_hash = test.hash('+910000000001');
SELECT is(test.verify(:'otp', '+910000000001', '222222'), 'otp_invalid', 'who does not have the code does not hear that the account is disabled');
SELECT is(test.verify(:'otp', '+910000000001'), 'account_disabled', 'who has it does');
SELECT is(test.verify(:'otp', '+910000000001'), 'otp_used', 'and has used it');
SELECT count(*) AS queued FROM whatsapp_queue \gset
SELECT test.send('+910000000001') AS otp \gset
SELECT ok(EXISTS (SELECT FROM otps WHERE id = :'otp'), 'a disabled phone gets an id as any other');
SELECT is((SELECT count(*) FROM whatsapp_queue), :queued::bigint, 'but nothing is sent');
UPDATE users SET is_active = true WHERE phone_hash = test.hash('+910000000001');

-- ---- refresh tokens ----
SELECT is(test.refresh('nobody''s', 'x'), 'invalid', 'an unknown token is invalid');
SELECT is(test.refresh('r1', 'r2'), 'ok', 'a token is exchanged');
SELECT is(test.refresh('r1', 'r3'), 'ok', 'used again within the grace it gets another pair');
SELECT is(test.refresh('r2', 'r4'), 'ok', 'and the first pair is good');
SELECT is((SELECT count(*)::int FROM refresh_tokens WHERE session_id = '00000000-0000-4000-8000-000000000001'), 4, 'each is kept as a hash');
SELECT is(test.refresh('r1', 'x', 0), 'reused', 'later it is theft');
SELECT is((SELECT revoked_at IS NOT NULL FROM sessions WHERE id = '00000000-0000-4000-8000-000000000001'), true, 'and the session is over');
SELECT is((SELECT count(*)::int FROM audit_log WHERE action = 'session.token_reused'), 1, 'which stands in the audit log');
SELECT is(test.refresh(t, 'x'), 'invalid', format('so %s is of no use', t)) FROM (VALUES ('r3'), ('r4'), ('r1')) x(t);

SELECT is(test.verify(test.send('+910000000005'), '+910000000005', p_refresh => 's1', p_session => '00000000-0000-4000-8000-000000000005'), 'ok', 'another signs in');
UPDATE sessions SET expires_at = now() + interval '1 hour' WHERE id = '00000000-0000-4000-8000-000000000005';
SELECT is(test.refresh('s1', 's2'), 'ok', 'refreshing');
SELECT ok((SELECT expires_at > now() + interval '6 days' FROM sessions WHERE id = '00000000-0000-4000-8000-000000000005'), 'makes the session live on');
UPDATE refresh_tokens SET expires_at = now() WHERE hash = test.hash('s2');
SELECT is(test.refresh('s2', 'x'), 'invalid', 'a token ends');
UPDATE refresh_tokens SET expires_at = now() + interval '1 day' WHERE hash = test.hash('s2');
UPDATE users SET is_active = false WHERE phone_hash = test.hash('+910000000005');
SELECT is(test.refresh('s2', 'x'), 'account_disabled', 'a disabled account gets none');
UPDATE users SET is_active = true WHERE phone_hash = test.hash('+910000000005');
SELECT is(test.refresh('s2', 's3'), 'ok', 'and its token was not used up by asking');
UPDATE sessions SET expires_at = now() WHERE id = '00000000-0000-4000-8000-000000000005';
SELECT is(test.refresh('s3', 'x'), 'invalid', 'a session that ended is not revived');

-- ---- at the same moment ----
SELECT format('host=%s dbname=%s user=%s', current_setting('unix_socket_directories'), current_database(), current_user) AS here \gset
SELECT dblink_connect('a', :'here'), dblink_connect('b', :'here') \g /dev/null
CREATE FUNCTION test.first(p_sql text) RETURNS text LANGUAGE sql AS $$ SELECT x FROM dblink('a', p_sql) AS r(x text) $$;

SELECT test.send('+910000000006') AS otp \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is(test.first(format('SELECT test.verify(%L, %L)', :'otp', '+910000000006')), 'ok', 'one uses a code');
SELECT ok(test.waits('b', format('SELECT test.verify(%L, %L)', :'otp', '+910000000006')), 'another, with the same, waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'otp_used', 'and hears that it was used');

SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT test.first('SELECT test.send(''+910000000006'')::text') AS older \gset
SELECT ok(test.waits('b', 'SELECT test.send(''+910000000006'')::text'), 'of two codes for a phone one is made after the other');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT test.answer('b') AS newer \gset
SELECT is(test.verify(:'older', '+910000000006'), 'otp_invalid', 'the older is void');
SELECT is(test.verify(:'newer', '+910000000006'), 'ok', 'the newer is good');

SELECT test.send('+910000000006') AS otp \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT dblink_exec('a', 'UPDATE users SET is_active = false WHERE phone_hash = test.hash(''+910000000006'')') \g /dev/null
SELECT ok(test.waits('b', format('SELECT test.verify(%L, %L)', :'otp', '+910000000006')), 'who is being disabled waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'account_disabled', 'and does not slip in');

SELECT is(test.verify(test.send('+910000000007'), '+910000000007', p_refresh => 'p1', p_session => '00000000-0000-4000-8000-000000000007'), 'ok', 'signed in');
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is(test.first('SELECT test.refresh(''p1'', ''p2'')'), 'ok', 'one exchanges a token');
SELECT ok(test.waits('b', 'SELECT test.refresh(''p1'', ''p3'')'), 'another, with the same, waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'ok', 'and gets a pair of its own');
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is(test.first('SELECT test.refresh(''p2'', ''p4'', 0)'), 'ok', 'without a grace, one exchanges a token');
SELECT ok(test.waits('b', 'SELECT test.refresh(''p2'', ''p5'', 0)'), 'another waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'reused', 'and is a thief');

SELECT is(test.verify(test.send('+910000000007'), '+910000000007', p_refresh => 'q1', p_session => '00000000-0000-4000-8000-000000000008'), 'ok', 'signed in again');
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT dblink_exec('a', 'UPDATE sessions SET revoked_at = now() WHERE id = ''00000000-0000-4000-8000-000000000008''') \g /dev/null
SELECT ok(test.waits('b', 'SELECT test.refresh(''q1'', ''q2'')'), 'a refresh waits for a logout');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'invalid', 'and finds the session gone');

SELECT * FROM finish();
