-- sum_orders, update_user, recent_activity, purge: what administrators see and decide, and what is thrown away.
-- Commits, for two connections that act at once see only what is committed.
\ir fixtures.inc
SELECT no_plan();
SELECT dblink_connect(x, format('dbname=%s host=%s user=%s', current_database(), current_setting('unix_socket_directories'), current_user))
    FROM unnest('{a,b}'::text[]) x \g /dev/null

CREATE FUNCTION test.sums() RETURNS text LANGUAGE sql AS $$ SELECT sum(revenue) || ' ' || sum(fees) FROM order_sums $$;
CREATE FUNCTION test.true_sums() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(sum(final_price), 0) || ' ' || coalesce(sum(platform_fee), 0) FROM orders WHERE status <> 'cancelled' $$;

-- ---- sums of orders ----
SELECT test.user('ADMIN', 'Anna') AS admin, test.user('ADMIN', 'Bina') AS admin2, test.user('CLIENT') AS client, test.user('VENDOR') AS v1,
    test.user('VENDOR') AS v2 \gset
SELECT is(test.sums(), '0 0', 'without orders there is no revenue');
SELECT test.listing(:'client', 2500000) AS l1, test.listing(:'client', 2500050) AS l2, test.listing(:'client', 3000000, '1 ms') AS l3 \gset
SELECT test.bid(:'v1', :'l1', 2500000) \g /dev/null
SELECT is(test.sums(), '2500000 50000', 'an instant win adds its price and fee');
SELECT test.bid(:'v1', :'l2', 2500050) \g /dev/null
SELECT is(test.sums(), test.true_sums(), 'and the next');
SELECT x FROM dblink('a', format('SELECT test.listing(%L, 1000000) || '' ''', :'client')) r(x text) \gset
SELECT is((SELECT x FROM dblink('a', format('SELECT (test.bid(%L, %L, 1000000)).code', :'v1', trim(:'x'))) r(x text)), 'accepted', 'another connection sells as well');
SELECT is(test.sums(), test.true_sums(), 'which adds to a row of its own');
UPDATE orders SET status = 'picked_up' WHERE listing_id = :'l1';
SELECT is(test.sums(), test.true_sums(), 'a step of an order changes nothing');
UPDATE orders SET status = 'cancelled' WHERE listing_id = :'l1';
SELECT is(test.sums(), test.true_sums(), 'a cancelled order is taken off');
UPDATE orders SET rating_comment = 'x' WHERE listing_id = :'l1';
UPDATE orders SET status = 'cancelled' WHERE listing_id = :'l1';
SELECT is(test.sums(), test.true_sums(), 'once');
BEGIN;
DELETE FROM orders WHERE listing_id IN (:'l1', :'l2');
SELECT is(test.sums(), test.true_sums(), 'an order that is deleted is taken off, unless it was already');
ROLLBACK;
SELECT is(test.sums(), test.true_sums(), 'what is rolled back was never summed');

-- ---- people ----
SELECT is((update_user(:'admin', gen_random_uuid(), 'VENDOR', NULL, NULL, '', 'r')).code, 'not_found', 'an unknown user is not found');
SELECT row_eq(format($$SELECT d.code, (d.account).role, (d.account).name, (d.account).is_active FROM update_user(%L, %L, 'AGENT', NULL, 'New', '10.1.2.3', 'req') d$$, :'admin', :'client'),
    ROW('ok'::text, 'AGENT'::text, 'New'::text, true), 'role and name change, the rest stays');
SELECT row_eq(format('SELECT actor_id, action, target, details, ip, request_id FROM audit_log WHERE target = %L', :'client'),
    ROW(:'admin'::uuid, 'user.update'::text, :'client'::text, '{"role": {"from": "CLIENT", "to": "AGENT"}, "name": true}'::jsonb, '10.1.2.3'::text, 'req'::text),
    'the log says who changed what, and no name');
SELECT is((update_user(:'admin', :'client', NULL, NULL, NULL, '', 'r')).code, 'ok', 'nothing to change is fine');
SELECT is((SELECT count(*)::int FROM audit_log WHERE target = :'client'), 1, 'and no deed');
BEGIN;
SELECT update_user(:'admin', :'client', 'VENDOR', false, NULL, '', 'r') \g /dev/null
ROLLBACK;
SELECT is((SELECT count(*)::int FROM audit_log WHERE target = :'client'), 1, 'what was rolled back was not logged');

SELECT is((update_user(:'admin', :'admin2', NULL, false, NULL, '', 'r')).code, 'ok', 'one of two administrators can be disabled');
SELECT is((update_user(:'admin', :'admin', 'CLIENT', NULL, NULL, '', 'r')).code, 'last_admin', 'the last one cannot lose the role');
SELECT is((update_user(:'admin', :'admin', NULL, false, NULL, '', 'r')).code, 'last_admin', 'nor be disabled');
SELECT is((update_user(:'admin', :'admin', 'ADMIN', true, 'Anna K', '', 'r')).code, 'ok', 'but keep what he has');
SELECT is((update_user(:'admin2', :'admin', 'CLIENT', NULL, NULL, '', 'r')).code, 'forbidden', 'a disabled administrator decides nothing');
SELECT is((update_user(:'admin', :'admin2', 'ADMIN', true, NULL, '', 'r')).code, 'ok', 'a second one again');

-- The two remove each other at the same moment.
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (update_user(%L, %L, ''CLIENT'', NULL, NULL, '''', ''r'')).code', :'admin', :'admin2')) r(x text)), 'ok', 'the first removes the second');
SELECT ok(test.waits('b', format('SELECT (update_user(%L, %L, NULL, false, NULL, '''', ''r'')).code', :'admin2', :'admin')), 'who meanwhile removes the first waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'forbidden', 'and is no administrator any more');
SELECT is((SELECT count(*)::int FROM users WHERE role = 'ADMIN' AND is_active), 1, 'one is left');
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (update_user(%L, %L, ''VENDOR'', NULL, ''Two'', '''', ''r'')).code', :'admin', :'v1')) r(x text)), 'ok', 'somebody is given a role');
SELECT ok(NOT test.waits('b', format('SELECT (update_user(%L, %L, NULL, NULL, ''Three'', '''', ''r'')).code', :'admin', :'v2')), 'a change that takes nobody away waits for nobody');
SELECT is(test.answer('b'), 'ok', 'and is done');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null

-- ---- what is new ----
SELECT is((SELECT count(*)::int FROM recent_activity(5)), 5, 'no more than asked for');
SELECT is((SELECT count(*)::int FROM recent_activity(1000) WHERE type = 'bid_placed'), (SELECT count(*)::int FROM bids), 'every bid');
SELECT is((SELECT count(*)::int FROM recent_activity(1000) WHERE type = 'order_created'), (SELECT count(*)::int FROM orders), 'every order');
SELECT is((SELECT count(*)::int FROM recent_activity(1000) WHERE type = 'user_joined'), (SELECT count(*)::int FROM users), 'everybody who came');
UPDATE listings SET auction_end = now() - interval '1 second' WHERE id = :'l3';
SELECT close_auctions(10, test.rules()) \g /dev/null
SELECT is((SELECT message FROM recent_activity(1000) WHERE type = 'auction_expired'), 'The auction of the Apple iPhone 13 ended without bids.', 'what ended without bids');
SELECT ok((SELECT bool_and("timestamp" <= before) FROM (SELECT "timestamp", lag("timestamp") OVER () AS before FROM recent_activity(1000)) x WHERE before IS NOT NULL), 'the newest first');
SELECT is((SELECT count(*)::int FROM recent_activity(1000) WHERE type LIKE 'user_sign_in%'), 0, 'signing in is not news');

-- ---- one auction that cannot be closed ----
SELECT test.listing(:'admin2', 2500000, '1 ms') AS bad, test.listing(:'admin2', 2500000, '1 ms') AS good \gset
CREATE FUNCTION test.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
CREATE TRIGGER broken BEFORE UPDATE OF status ON listings FOR EACH ROW WHEN (new.model = 'broken') EXECUTE FUNCTION test.fail();
UPDATE listings SET model = 'broken' WHERE id = :'bad';
UPDATE listings SET auction_end = now() - interval '1 second' WHERE id IN (:'bad', :'good');
SET client_min_messages = error;
SELECT is(close_auctions(10, test.rules()), 1, 'one that cannot be closed does not keep the others open');
RESET client_min_messages;
SELECT is((SELECT array_agg(status ORDER BY id = :'bad') FROM listings WHERE id IN (:'bad', :'good')), '{expired,live}', 'and stays as it was');
DROP TRIGGER broken ON listings;

-- ---- what is thrown away ----
SELECT test.session(:'v1') AS old_session, test.session(:'v1') AS young_session \gset
UPDATE sessions SET expires_at = now() - interval '25 hours' WHERE id = :'old_session';
INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES ('\x01', :'old_session', now()), ('\x02', :'young_session', now() - interval '25 hours'),
    ('\x03', :'young_session', now() - interval '23 hours');
INSERT INTO otps (id, phone_hash, code_hash, expires_at) SELECT gen_random_uuid(), '\x01', '\x02', now() - n * interval '1 hour' FROM generate_series(22, 27) n;
INSERT INTO idempotency_keys (user_id, route, key, body_hash, status, answer, created_at) SELECT :'v1', 'r', n::text, '\x', 200, '\x', now() - n * interval '1 hour' FROM generate_series(23, 28) n;
INSERT INTO rate_limits VALUES ('old', 1, now() - interval '2 minutes'), ('young', 1, now() + interval '1 minute');
DELETE FROM events;
INSERT INTO events (name, created_at) SELECT 'x', now() - n * interval '1 hour' FROM generate_series(29, 20, -1) n;
DELETE FROM whatsapp_queue;
INSERT INTO whatsapp_queue (user_id, template, status, finished_at, created_at) VALUES (:'v1', 'order_status', 'sent', now() - interval '8 days', now()),
    (:'v1', 'order_status', 'failed', now() - interval '8 days', now()), (:'v1', 'order_status', 'sent', now() - interval '6 days', now()),
    (:'v1', 'order_status', 'queued', NULL, now() - interval '30 days');
SELECT row_eq('SELECT * FROM purge(2)', ROW(2, 1, 1, 2, 1, 2, 2), 'no more of a kind than asked for');
SELECT row_eq('SELECT * FROM purge(100)', ROW(2, 0, 0, 2, 0, 4, 0), 'then the rest');
SELECT row_eq('SELECT * FROM purge(100)', ROW(0, 0, 0, 0, 0, 0, 0), 'then there is nothing');
SELECT is((SELECT count(*)::int FROM refresh_tokens), 1, 'a session''s tokens go with it');
SELECT is((SELECT array_agg(expires_at > now() ORDER BY 1) FROM sessions WHERE user_id = :'v1'), (SELECT array_agg(true) FROM sessions WHERE user_id = :'v1'), 'living sessions stay');
SELECT is((SELECT min(created_at) FROM events) > now() - interval '25 hours', true, 'events of a day stay');
SELECT is((SELECT count(*)::int FROM whatsapp_queue), 2, 'so does what is not sent yet, however old');
INSERT INTO events (name, created_at) VALUES ('x', now() - interval '2 days');
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', 'SELECT events::text FROM purge(100)') r(x text)), '1', 'a purge at work');
SELECT is((SELECT events FROM purge(100)), 0, 'a second one does not wait for it');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null

SELECT * FROM finish();
