-- The WhatsApp queue: who gets which row when, what becomes of it, and what a webhook may change.
\ir fixtures.inc
SELECT no_plan();

CREATE FUNCTION test.message(p_user uuid, p_template text DEFAULT 'order_status', p_listing uuid DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    WITH n AS (INSERT INTO notifications (user_id, type, priority, title, message)
               VALUES (p_user, 'order_update', 'high', 'T', 'M') RETURNING id)
    INSERT INTO whatsapp_queue (user_id, notification_id, template, params, listing_id)
        SELECT p_user, id, p_template, '["a", "b"]', p_listing FROM n RETURNING id
$$;
CREATE FUNCTION test.otp(p_phone bytea DEFAULT NULL, p_life interval DEFAULT '5 minutes') RETURNS bigint LANGUAGE sql AS $$
    SELECT queue_otp(gen_random_uuid(), '\x01', '\x02', clock_timestamp() + p_life, p_phone)
$$;
CREATE FUNCTION test.take(p_worker int DEFAULT 1, p_limit int DEFAULT 32, p_rate int DEFAULT 0, p_spacing interval DEFAULT '0',
    p_lease interval DEFAULT '30 seconds', p_live boolean DEFAULT true) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(id ORDER BY n) FILTER (WHERE id IS NOT NULL), '{}')
        FROM take_messages(p_worker, p_limit, p_lease, p_live, p_rate, p_spacing) WITH ORDINALITY AS t(id, a, b, c, d, e, f, g, h, i, wait_ms, n)
$$;
CREATE FUNCTION test.mark(p_worker int, p_ids bigint[], p_lease interval DEFAULT '30 seconds', p_log_at bigint DEFAULT NULL) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM mark_messages(p_worker, p_ids, p_lease, array_fill(p_log_at, ARRAY[cardinality(p_ids)]))
$$;
-- Taken and marked: its POST is on the way.
CREATE FUNCTION test.posted(p_id bigint, p_worker int DEFAULT 1, p_lease interval DEFAULT '30 seconds', p_log_at bigint DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM test.take(p_worker, p_lease => p_lease);
    PERFORM test.mark(p_worker, ARRAY[p_id], p_lease, p_log_at);
    RETURN p_id;
END $$;
CREATE FUNCTION test.row(p_id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', status, attempts, error_code, error) FROM whatsapp_queue WHERE id = p_id
$$;
CREATE FUNCTION test.note(p_id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', n.sent_via_whatsapp, n.whatsapp_message_id, n.whatsapp_status)
        FROM whatsapp_queue q JOIN notifications n ON n.id = q.notification_id WHERE q.id = p_id
$$;
CREATE FUNCTION test.clear() RETURNS void LANGUAGE sql AS $$
    DELETE FROM whatsapp_queue; DELETE FROM whatsapp_pace; DELETE FROM whatsapp_early; DELETE FROM events; DELETE FROM service_state
$$;

SELECT test.user('CLIENT') AS u1, test.user('VENDOR') AS u2, test.user('VENDOR') AS u3 \gset

-- ---- taking ----
SELECT test.message(:'u1') AS m1, test.message(:'u2') AS m2, test.otp() AS o1 \gset
SELECT is(test.take(1, 2), ARRAY[:o1, :m1]::bigint[], 'an OTP goes before what waits longer, the rest in its order');
SELECT is(test.take(2), ARRAY[:m2]::bigint[], 'a row is given to one sender only');
SELECT is(test.mark(2, ARRAY[:m1, :m2]::bigint[]), ARRAY[:m2]::bigint[], 'nobody marks what another sender has');
SELECT is(test.mark(2, ARRAY[:m2]::bigint[]), '{}', 'nor what he has marked before');
SELECT is(test.row(:m2), 'sending 1', 'marking counts the attempt');
SELECT test.clear() \g /dev/null

SELECT test.otp('\x11') AS o1, test.otp('\x22') AS o2, test.otp('\x11') AS o3 \gset
SELECT is(test.take(), ARRAY[:o2, :o3]::bigint[], 'a newer OTP for the same phone replaces one that still waits');
SELECT is((SELECT secret FROM whatsapp_queue WHERE id = :o1), NULL, 'whose secret is gone');
SELECT test.clear() \g /dev/null
SELECT test.otp(NULL, '-1 second') AS o1, test.otp(NULL, '100 milliseconds') AS o2 \gset
SELECT is(test.take(), ARRAY[:o2]::bigint[], 'an expired OTP is not taken');
SELECT pg_sleep(0.15) \g /dev/null
SELECT is(test.mark(1, ARRAY[:o2]::bigint[]), '{}', 'one that expired since is not marked');
SELECT sweep_messages() \g /dev/null
SELECT is(test.row(:o1), 'failed 0 expired', 'the sweep ends it');
SELECT test.clear() \g /dev/null

-- ---- pace ----
SELECT test.message(:'u1') AS a, test.message(:'u1') AS b, test.message(:'u1') AS c, test.message(:'u2') AS d \gset
SELECT is(test.take(p_spacing => '0.3 s'), ARRAY[:a, :d]::bigint[], 'one message at a time to one person, the others are not held up');
SELECT ok((SELECT next_at FROM whatsapp_queue WHERE id = :c) > (SELECT next_at + interval '0.29 s' FROM whatsapp_queue WHERE id = :b), 'his messages line up');
SELECT is(test.take(p_spacing => '0.3 s'), '{}', 'too soon');
SELECT pg_sleep(0.31) \g /dev/null
SELECT is(test.take(p_spacing => '0.3 s'), ARRAY[:b]::bigint[], 'then the next one goes');
SELECT is(test.take(p_live => false, p_spacing => '0.3 s'), '{}', 'the third waits for its turn');
SELECT test.clear() \g /dev/null

SELECT count(test.message(:'u1')) FROM generate_series(1, 500) \g /dev/null
SELECT test.message(:'u2') AS d \gset
SELECT is(cardinality(test.take(p_spacing => '1 s')), 1, 'many messages of one person');
SELECT ok((SELECT count(*) BETWEEN 100 AND 200 FROM whatsapp_queue WHERE next_at > clock_timestamp()), 'do not hold the queue''s rows for long: some at a time line up');
SELECT test.take(p_spacing => '1 s'), test.take(p_spacing => '1 s'), test.take(p_spacing => '1 s') \g /dev/null
SELECT is((SELECT status FROM whatsapp_queue WHERE id = :d), 'sending', 'and the others get their turn');
SELECT ok((SELECT max(next_at) > clock_timestamp() + interval '490 s' AND count(DISTINCT next_at) = 499 FROM whatsapp_queue WHERE status = 'queued'), 'each has a second of its own');
SELECT is((SELECT array_agg(id ORDER BY next_at) FROM whatsapp_queue WHERE status = 'queued'), (SELECT array_agg(id ORDER BY id) FROM whatsapp_queue WHERE status = 'queued'), 'in their order');
SELECT test.clear() \g /dev/null

SELECT phone_hash::text AS hash FROM users WHERE id = :'u1' \gset
SELECT test.message(:'u1') AS a, test.otp(:'hash') AS o \gset
SELECT is(test.take(p_spacing => '6 s'), ARRAY[:o]::bigint[], 'a message waits for an OTP to the same person');
SELECT test.otp(:'hash') AS o2 \gset
SELECT is(test.take(p_spacing => '6 s'), ARRAY[:o2]::bigint[], 'an OTP waits for nothing');
SELECT test.clear() \g /dev/null

SELECT count(test.message(test.user('CLIENT'))) FROM generate_series(1, 100) \g /dev/null
CREATE FUNCTION test.pace() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    n    int := 0;
    till timestamptz := clock_timestamp() + interval '1 second';
BEGIN
    WHILE clock_timestamp() < till LOOP
        n := n + cardinality(test.take(p_limit => 32, p_rate => 40));
        PERFORM pg_sleep(0.003);
    END LOOP;
    RETURN n;
END $$;
SELECT ok(test.pace() BETWEEN 10 AND 40, 'a second sees no more than the rate');
SELECT ok((SELECT wait_ms BETWEEN 5 AND 60 AND id IS NULL FROM take_messages(1, 32, '1 s', true, 40, '0') ORDER BY wait_ms LIMIT 1), 'who asks too soon hears when to come');
SELECT test.clear() \g /dev/null

-- ---- answers ----
SELECT test.posted(test.message(:'u1')) AS m \gset
SELECT is(finish_sent(ARRAY[:m]::bigint[], '{1}', '{wamid.A}'), ROW(1, false), 'an accepted message is recorded');
SELECT is(test.note(:m), 't wamid.A sent', 'and its notification says so');
SELECT is(finish_sent(ARRAY[:m]::bigint[], '{1}', '{wamid.A}'), ROW(0, false), 'once');
SELECT test.posted(test.message(:'u2')) AS m \gset
SELECT is(finish_sent(ARRAY[:m]::bigint[], '{1}', '{wamid.A}'), ROW(1, false), 'an id that is taken stops nothing');
SELECT is(test.note(:m), 't sent', 'it is only left out');

SELECT test.posted(test.message(:'u2')) AS m \gset
SELECT is((finish_message(:m, 1, 'retry', 131000, 'temporary', 60)).result, 'queued', 'a temporary failure is tried again');
SELECT ok((SELECT next_at > now() + interval '55 seconds' FROM whatsapp_queue WHERE id = :m), 'after its delay');
SELECT is((finish_message(:m, 1, 'failed', 1, 'late', 0)).result, NULL, 'a second answer to the same attempt changes nothing');
SELECT is(finish_sent(ARRAY[:m]::bigint[], '{1}', '{wamid.B}'), ROW(1, false), 'unless it says that the message arrived');
SELECT test.posted(test.message(:'u2')) AS m \gset
SELECT is(finish_message(:m, 1, 'failed', 131026, 'undeliverable', 0), ROW('failed'::text, false), 'a permanent failure');
SELECT is(test.row(:m) || ', ' || test.note(:m), 'failed 1 131026 undeliverable, f failed', 'is kept in row and notification');
SELECT test.posted(test.message(:'u2')) AS m \gset
UPDATE whatsapp_queue SET created_at = now() - interval '25 hours', attempts = 10 WHERE id = :m;
SELECT is((finish_message(:m, 10, 'retry', 131000, 'temporary', 60)).result, 'failed', 'after a day of trying it is given up');
SELECT test.posted(test.otp()) AS m \gset
SELECT is((finish_message(:m, 1, 'retry', 131000, 'temporary', 400)).result, 'failed', 'an OTP is not kept beyond its life');
SELECT is((SELECT secret FROM whatsapp_queue WHERE id = :m), NULL, 'nor its secret');
SELECT test.posted(test.otp()) AS m \gset
SELECT is((finish_message(:m, 1, 'unknown', NULL, 'timed out', 1)).result, 'failed', 'an OTP that may have arrived is not sent again');
SELECT test.posted(test.message(:'u2')) AS m \gset
SELECT is((finish_message(:m, 1, 'unknown', NULL, 'timed out', 1)).result, 'queued', 'another message is');
SELECT test.clear() \g /dev/null

-- ---- bid_placed, replaced ----
SELECT gen_random_uuid() AS l \gset
SELECT test.posted(test.message(:'u1', 'bid_placed', :'l')) AS old \gset
SELECT test.message(:'u1', 'bid_placed', :'l') AS new \gset
SELECT isnt(:old, :new, 'what is being sent is not replaced');
SELECT is((finish_message(:old, 1, 'retry', 2, 'temporary', 1)).result, 'failed', 'when it fails the newer one is enough');
SELECT is(test.row(:old), 'failed 1 2 replaced by a newer one', 'and it says so');
SELECT is(test.note(:old), 'f', 'which is no failure');
SELECT test.clear() \g /dev/null

-- ---- stopping ----
SELECT test.message(:'u1') AS a, test.message(:'u2') AS b, test.message(:'u3') AS c \gset
SELECT test.take() \g /dev/null
SELECT test.mark(1, ARRAY[:a, :b]::bigint[]) \g /dev/null
SELECT is(finish_message(:a, 1, 'stop', 190, 'the access token is not valid', 0), ROW('queued'::text, true), 'a refused token stops the queue');
SELECT is(finish_message(:b, 1, 'stop', 190, 'the access token is not valid', 0), ROW('queued'::text, false), 'and is told once');
SELECT is((SELECT string_agg(data ->> 'message', '|') FROM events WHERE name = 'system_alert'),
    'WhatsApp messages wait in the queue: the access token is not valid (code 190).', 'to the admins');
SELECT is(test.take(2), '{}', 'nothing is taken while it is stopped');
UPDATE service_state SET value = value || jsonb_build_object('probeAt', now() - interval '1 second') WHERE name = 'whatsapp_queue';
SELECT is(test.take(2), ARRAY[:a]::bigint[], 'but one message at times, as a probe');
SELECT is(test.take(2), '{}', 'only one');
SELECT test.mark(2, ARRAY[:a]::bigint[]) \g /dev/null
SELECT is(finish_message(:a, 2, 'stop', 190, 'the access token is not valid', 0), ROW('queued'::text, false), 'refused again: it stays so');
SELECT is((SELECT (value ->> 'probeSeconds')::int FROM service_state WHERE name = 'whatsapp_queue'), 10, 'and the next probe comes later');
UPDATE service_state SET value = value || jsonb_build_object('probeAt', now() - interval '1 second') WHERE name = 'whatsapp_queue';
SELECT test.posted(:b) \g /dev/null
SELECT is(finish_sent(ARRAY[:b]::bigint[], '{2}', '{wamid.R}'), ROW(1, true), 'a probe that arrives lets it go on');
SELECT is(test.take(2), ARRAY[:a]::bigint[], 'and nothing was lost');
SELECT test.mark(1, ARRAY[:c]::bigint[]) \g /dev/null
SELECT is((finish_message(:c, 1, 'failed', 132001, 'no such template', 0)).alerted, true, 'a refused template is told');
SELECT test.posted(test.message(:'u1')) AS m \gset
SELECT is((finish_message(:m, 1, 'failed', 132001, 'no such template', 0)).alerted, false, 'but not with each message');
SELECT test.clear() \g /dev/null
SELECT test.message(:'u1') AS a, test.message(:'u2') AS b \gset
SELECT test.take() \g /dev/null
SELECT test.mark(1, ARRAY[:a, :b]::bigint[]) \g /dev/null
SELECT finish_message(:a, 1, 'stop', 190, 'x', 0) \g /dev/null
SELECT is((finish_sent(ARRAY[:b]::bigint[], '{1}', '{wamid.S}')).resumed, false, 'what was on the way when it stopped does not start it again');
SELECT test.clear() \g /dev/null
SELECT test.posted(test.message(:'u1')) AS a, test.message(:'u2') AS b \gset
SELECT take_messages(1, 0, '1 s', true, 0, '0') \g /dev/null
SELECT finish_message(:a, 1, 'throttled', 130429, 'slower', 60) \g /dev/null
SELECT is(test.take(), '{}', 'when the API asks for a pause, nothing goes to anybody');
SELECT test.clear() \g /dev/null
SELECT test.posted(test.message(:'u1')) AS a, test.message(:'u2') AS b \gset
SELECT finish_message(:a, 1, 'paced', 131056, 'too many to this person', 60) \g /dev/null
SELECT is(test.take(p_spacing => '6 s'), ARRAY[:b]::bigint[], 'too many to one person holds up him alone');
SELECT test.clear() \g /dev/null

-- ---- senders that died ----  (no session holds a lock for 7; for 8 another session does)
SELECT dblink_connect('living', format('host=%s dbname=%s user=%s', current_setting('unix_socket_directories'), current_database(), current_user)) \g /dev/null
SELECT * FROM dblink('living', 'SELECT pg_advisory_lock(whatsapp_lock_class(), 8)::text') AS t(x text) \g /dev/null
SELECT test.message(:'u1') AS a \gset
SELECT test.take(7) \g /dev/null
SELECT is(recover_message(1), 'never posted: queued', 'what a dead sender took but never marked comes back at once');
SELECT is(test.row(:a), 'queued 0', 'as if nothing had been');
SELECT test.take(8) \g /dev/null
SELECT is(recover_message(1), NULL, 'a living sender keeps what it has');
SELECT test.mark(8, ARRAY[:a]::bigint[], '0 s') \g /dev/null
SELECT is(recover_message(1), 'outcome unknown: queued', 'until its lease is over');
SELECT test.posted(:a, 7) \g /dev/null
SELECT is(recover_message(1), NULL, 'what a dead sender posted rests until its lease is over');
SELECT test.clear() \g /dev/null
SELECT test.posted(test.otp(), 7, '0 s') AS o \gset
SELECT is(recover_message(1), 'outcome unknown: failed', 'an OTP that may have been sent is not sent again');
SELECT test.posted(test.otp(), 7, '0 s', 100) AS o \gset
SELECT is(recover_message(1), 'perhaps logged: queued', 'where the development log can tell it is asked');
SELECT is((SELECT log_at FROM take_messages(1, 32, '1 s', false, 0, '0')), 100::bigint, 'at the place where the line would be');
SELECT test.clear() \g /dev/null
SELECT test.posted(test.message(:'u1'), 7, '0 s') AS a \gset
SELECT whatsapp_status('{wamid.U}', '{delivered}', '{null}', ARRAY[(SELECT phone_hash FROM users WHERE id = :'u1')]) \g /dev/null
SELECT is(recover_message(1), 'sent, says a webhook', 'a webhook about an unknown message to that person says that it arrived');
SELECT is(test.row(:a) || ', ' || test.note(:a), 'sent 1, t wamid.U delivered', 'under that id');
SELECT test.clear() \g /dev/null

-- ---- statuses ----
SELECT test.posted(test.message(:'u1')) AS a \gset
SELECT is(whatsapp_status('{wamid.E}', '{delivered}', '{null}', '{null}'), 0, 'a status before its answer is recorded');
SELECT finish_sent(ARRAY[:a]::bigint[], '{1}', '{wamid.E}') \g /dev/null
SELECT sweep_messages() \g /dev/null
SELECT is(test.note(:a), 't wamid.E delivered', 'is not lost');
SELECT is((SELECT count(*)::int FROM whatsapp_early), 0, 'and not kept');
SELECT is(whatsapp_status('{wamid.E,x,wamid.E}', '{sent,read,failed}', '{null,null,131026}', '{null,null,null}'), 0, 'statuses do not go back, unknown ids are nothing');
SELECT is((SELECT count(*)::int FROM whatsapp_early), 0, 'nor kept while no answer is awaited');
SELECT is(whatsapp_status('{wamid.E,wamid.E}', '{read,sent}', '{null,null}', NULL), 1, 'of several the furthest counts');
SELECT is(whatsapp_status('{wamid.E,wamid.E}', '{read,sent}', '{null,null}', NULL), 0, 'again: nothing changes');
SELECT test.clear() \g /dev/null
SELECT test.posted(test.message(:'u1')) AS a, test.posted(test.message(:'u2')) AS b, test.posted(test.message(:'u3')) AS c \gset
SELECT finish_sent(ARRAY[:a, :b, :c]::bigint[], '{1,1,1}', '{wamid.1,wamid.2,wamid.3}') \g /dev/null
SELECT is(whatsapp_status('{wamid.1}', '{failed}', '{131026}', NULL), 1, 'a message that was sent may fail');
SELECT is((SELECT count(*)::int FROM events WHERE name = 'system_alert'), 0, 'which is told to nobody where it is that one phone''s fault');
SELECT is(whatsapp_status('{wamid.2}', '{failed}', '{131048}', NULL), 1, 'another one failed');
SELECT is((SELECT string_agg(data ->> 'message', '|') FROM events WHERE name = 'system_alert'),
    'WhatsApp reports that messages failed (code 131048).', 'for a reason that all have in common, which administrators hear');
SELECT whatsapp_status('{wamid.2}', '{failed}', '{131048}', NULL), whatsapp_status('{wamid.3}', '{failed}', '{131048}', NULL) \g /dev/null
SELECT is((SELECT count(*)::int FROM events WHERE name = 'system_alert'), 1, 'but not with each message');
SELECT is((SELECT string_agg(test_status, ' ' ORDER BY n) FROM (
    SELECT n, (SELECT (array_agg(s ORDER BY whatsapp_rank(s) DESC))[1] FROM unnest(o) s) AS test_status
    FROM (VALUES (1, '{sent,failed}'::text[]), (2, '{failed,delivered}'), (3, '{read,delivered}')) x(n, o)) y),
    'failed delivered read', 'failed only while not delivered, in any order');
SELECT is(whatsapp_status('{a}', '{deleted}', '{null}', NULL), 0, 'a word that is no status of ours is nothing');
SELECT * FROM finish();
