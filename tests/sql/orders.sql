-- move_order, rate_order, assign_agent, step_task: what follows the hammer.
BEGIN;
\ir fixtures.inc
SELECT no_plan();

SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS vendor, test.user('AGENT') AS agent, test.user('AGENT') AS second,
       test.user('ADMIN') AS admin, test.user('CLIENT') AS stranger \gset

-- An order of the client's and vendor's with the agent, in P_STATUS.
CREATE FUNCTION pg_temp.order_in(p_client uuid, p_vendor uuid, p_agent uuid, p_admin uuid, p_status text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid := (test.bid(p_vendor, test.listing(p_client, 2500000), 2500000)).order_id;
    s    text;
BEGIN
    UPDATE orders SET agent_id = p_agent WHERE id = made;
    FOREACH s IN ARRAY ARRAY['picked_up', 'in_transit', 'delivered', 'completed'] LOOP
        EXIT WHEN p_status IN ('pending_pickup', 'cancelled');
        PERFORM move_order(p_admin, made, s, NULL, NULL, '', '');
        EXIT WHEN s = p_status;
    END LOOP;
    IF p_status = 'cancelled' THEN
        PERFORM move_order(p_admin, made, 'cancelled', NULL, NULL, '', '');
    END IF;
    RETURN made;
END $$;
CREATE FUNCTION pg_temp.move(p_actor uuid, p_order uuid, p_status text) RETURNS text LANGUAGE sql AS
    $$ SELECT code FROM move_order(p_actor, p_order, p_status, NULL, NULL, '127.0.0.1', 'request') $$;

-- ---- every step of the table by whom it is, and of none but these ----
CREATE TEMP TABLE people AS SELECT * FROM (VALUES ('client', :'client'::uuid), ('vendor', :'vendor'), ('agent', :'agent'), ('admin', :'admin'), ('stranger', :'stranger')) p(part, id);
CREATE TEMP TABLE states AS SELECT unnest(ARRAY['pending_pickup', 'picked_up', 'in_transit', 'delivered', 'completed', 'cancelled']) AS s;
CREATE TEMP TABLE tried AS
    SELECT f.s AS from_status, t.s AS to_status, p.part,
           pg_temp.move(p.id, pg_temp.order_in(:'client', :'vendor', :'agent', :'admin', f.s), t.s) AS code
    FROM states f CROSS JOIN states t CROSS JOIN people p;
SELECT is((SELECT count(*)::int FROM tried), 180, 'six states, to six states, by five');
SELECT bag_eq($$SELECT from_status, to_status, part FROM tried WHERE code = 'ok'$$, $$VALUES
    ('pending_pickup', 'picked_up', 'agent'), ('pending_pickup', 'picked_up', 'admin'),
    ('picked_up', 'in_transit', 'agent'), ('picked_up', 'in_transit', 'admin'),
    ('in_transit', 'delivered', 'agent'), ('in_transit', 'delivered', 'admin'),
    ('delivered', 'completed', 'vendor'), ('delivered', 'completed', 'admin'),
    ('pending_pickup', 'cancelled', 'client'), ('pending_pickup', 'cancelled', 'vendor'), ('pending_pickup', 'cancelled', 'admin'),
    ('picked_up', 'cancelled', 'admin'), ('in_transit', 'cancelled', 'admin')$$, 'these steps are taken, no other');
SELECT is((SELECT count(*)::int FROM tried WHERE code = 'not_found'), 36, 'to a stranger there is no order');
SELECT is((SELECT count(*)::int FROM tried t WHERE part <> 'stranger' AND code = 'forbidden'
    AND EXISTS (SELECT FROM order_steps() s WHERE s.from_status = t.from_status AND s.to_status = t.to_status)), 15, 'a step of another party''s is forbidden');
SELECT is((SELECT count(*)::int FROM tried WHERE code = 'forbidden'), 15, 'and nothing else is');
SELECT is((SELECT count(*)::int FROM tried WHERE code = 'invalid_transition'), 180 - 36 - 15 - 13, 'the rest are no steps');

-- ---- what a refusal tells ----
SELECT pg_temp.order_in(:'client', :'vendor', :'agent', :'admin', 'pending_pickup') AS o \gset
CREATE FUNCTION pg_temp.allowed(p_actor uuid, p_order uuid) RETURNS text LANGUAGE sql AS
    $$ SELECT allowed FROM move_order(p_actor, p_order, 'pending_pickup', NULL, NULL, '', '') $$;
SELECT is(pg_temp.allowed(:'client', :'o'), 'cancelled', 'a client may cancel');
SELECT is(pg_temp.allowed(:'vendor', :'o'), 'cancelled', 'a vendor, too');
SELECT is(pg_temp.allowed(:'agent', :'o'), 'picked_up', 'an agent may pick up');
SELECT is(pg_temp.allowed(:'admin', :'o'), 'picked_up,cancelled', 'an administrator may do both');
SELECT is(pg_temp.allowed(:'client', pg_temp.order_in(:'client', :'vendor', :'agent', :'admin', 'in_transit')), '', 'who may do nothing hears so');

-- ---- what a step leaves ----
SELECT count(*) AS before FROM audit_log \gset
DELETE FROM notifications; DELETE FROM events; DELETE FROM whatsapp_queue;
SELECT move_order(:'agent', :'o', 'picked_up', 'box included', '{"lat": 9.5, "lng": 76}', '127.0.0.1', 'request') \g /dev/null
SELECT row_eq(format('SELECT status, updated_by, notes, location FROM order_history WHERE order_id = %L ORDER BY id DESC LIMIT 1', :'o'),
    ROW('picked_up'::text, :'agent'::uuid, 'box included'::text, '{"lat": 9.5, "lng": 76}'::jsonb), 'its history');
SELECT ok((SELECT picked_up_at BETWEEN now() AND clock_timestamp() AND delivered_at IS NULL AND completed_at IS NULL FROM orders WHERE id = :'o'), 'its time');
SELECT bag_eq('SELECT user_id, type, data ->> ''status'' FROM notifications', format('SELECT x, ''order_update''::text AS type, ''picked_up''::text AS status FROM unnest(%L::uuid[]) x', ARRAY[:'client', :'vendor', :'agent']::uuid[]), 'a notification to each party');
SELECT bag_eq('SELECT user_id, ref, data ->> ''status'' FROM events WHERE name = ''order_update''', format('SELECT x, %L::uuid AS ref, ''picked_up''::text AS status FROM unnest(%L::uuid[]) x', :'o', ARRAY[:'client', :'vendor', :'agent']::uuid[]), 'an event to each party');
SELECT bag_eq('SELECT user_id, template, params, order_id FROM whatsapp_queue', format('SELECT x, ''order_status''::text AS template, jsonb_build_array(%1$L, ''picked_up'') AS params, %1$L::uuid AS o FROM unnest(%2$L::uuid[]) x', :'o', ARRAY[:'client', :'vendor', :'agent']::uuid[]), 'a message to each party');
SELECT is((SELECT count(*)::int FROM audit_log), :before, 'a party''s step is no administrator''s action');
SELECT pg_temp.move(:'admin', :'o', 'in_transit') \g /dev/null
SELECT row_eq('SELECT actor_id, action, target, details, ip, request_id FROM audit_log ORDER BY seq DESC LIMIT 1',
    ROW(:'admin'::uuid, 'order.status'::text, :'o'::text, '{"from": "picked_up", "to": "in_transit"}'::jsonb, '127.0.0.1'::text, 'request'::text), 'an administrator''s step is in the log');
SELECT pg_temp.order_in(:'client', :'vendor', NULL, :'admin', 'pending_pickup') AS bare \gset
DELETE FROM notifications;
SELECT is(pg_temp.move(:'client', :'bare', 'cancelled'), 'ok', 'an order without an agent');
SELECT is((SELECT count(*)::int FROM notifications), 2, 'is told of to two');

-- ---- rating ----
CREATE FUNCTION pg_temp.rate(p_user uuid, p_order uuid, p_rating int) RETURNS text LANGUAGE sql AS $$ SELECT code FROM rate_order(p_user, p_order, p_rating, 'fine') $$;
SELECT is(pg_temp.rate(:'client', :'o', 5), 'invalid_state', 'not before it is delivered');
SELECT pg_temp.move(:'agent', :'o', 'delivered') \g /dev/null
SELECT is(pg_temp.rate(:'vendor', :'o', 5), 'forbidden', 'not by the vendor');
SELECT is(pg_temp.rate(:'agent', :'o', 5), 'forbidden', 'not by the agent');
SELECT is(pg_temp.rate(:'admin', :'o', 5), 'forbidden', 'not by an administrator');
SELECT is(pg_temp.rate(:'stranger', :'o', 5), 'not_found', 'a stranger finds no order');
SELECT is(pg_temp.rate(:'client', gen_random_uuid(), 5), 'not_found', 'nor anybody one that is not there');
SELECT is(pg_temp.rate(:'admin', gen_random_uuid(), 5), 'not_found', 'not an administrator either');
SELECT is(pg_temp.rate(:'client', :'o', 4), 'ok', 'by the client');
SELECT is(pg_temp.rate(:'client', :'o', 5), 'already_rated', 'once');
SELECT row_eq(format('SELECT rating, rating_comment FROM orders WHERE id = %L', :'o'), ROW(4::smallint, 'fine'::text), 'the first stands');

-- ---- assigning ----
CREATE FUNCTION pg_temp.assign(p_order uuid, p_agent uuid, p_type text DEFAULT 'pickup', p_scheduled timestamptz DEFAULT NULL, p_commission bigint DEFAULT NULL)
RETURNS TABLE (code text, state text, task uuid) LANGUAGE sql AS $$
    SELECT x.* FROM users a, orders o, assign_agent(a.id, o.listing_id, p_agent, p_type, 'high', NULL, p_scheduled, p_commission, '127.0.0.1', 'request') x
    WHERE a.role = 'ADMIN' AND o.id = p_order $$;
CREATE FUNCTION pg_temp.step(p_agent uuid, p_task uuid, p_step text, p_report jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS
    $$ SELECT code FROM step_task(p_agent, p_task, p_step, p_report) $$;

SELECT pg_temp.order_in(:'client', :'vendor', NULL, :'admin', 'pending_pickup') AS o \gset
DELETE FROM notifications; DELETE FROM events; DELETE FROM whatsapp_queue;
SELECT * FROM pg_temp.assign(:'o', :'agent', p_scheduled => '2027-01-15 09:30+05:30') \gset
SELECT is(:'code'::text, 'ok', 'a pickup is assigned');
SELECT row_eq(format('SELECT agent_id, type, priority, status, commission_amount FROM agent_tasks WHERE id = %L', :'task'),
    ROW(:'agent'::uuid, 'pickup'::text, 'high'::text, 'assigned'::text, 125000::bigint), 'it carries the order''s commission');
SELECT row_eq(format('SELECT agent_id, pickup_scheduled_at FROM orders WHERE id = %L', :'o'), ROW(:'agent'::uuid, '2027-01-15 04:00+00'::timestamptz), 'the order knows its agent and the hour');
SELECT bag_eq('SELECT user_id, type, priority, data ->> ''taskId'' FROM notifications', format('VALUES (%L::uuid, ''task_assigned'', ''high'', %L)', :'agent', :'task'), 'the agent is told');
SELECT bag_eq('SELECT name, user_id, ref FROM events WHERE name <> ''notification''', format('VALUES (''task_assigned'', %L::uuid, %L::uuid)', :'agent', :'task'), 'on his screen');
SELECT bag_eq('SELECT user_id, template, params FROM whatsapp_queue', format('SELECT %L::uuid AS u, ''order_status''::text AS template, jsonb_build_array(%L, ''pending_pickup'') AS params', :'agent', :'o'), 'and by WhatsApp');
SELECT row_eq('SELECT actor_id, action, target, details ->> ''taskId'' FROM audit_log ORDER BY seq DESC LIMIT 1',
    ROW(:'admin'::uuid, 'listing.assign_agent'::text, (SELECT listing_id::text FROM orders WHERE id = :'o'), :'task'::text), 'the log has it');
SELECT task AS replacing FROM pg_temp.assign(:'o', :'second') \gset
SELECT is((SELECT status FROM agent_tasks WHERE id = :'task'), 'failed', 'assigning again ends a task that nobody accepted');
SELECT row_eq(format('SELECT agent_id, pickup_scheduled_at FROM orders WHERE id = %L', :'o'), ROW(:'second'::uuid, '2027-01-15 04:00+00'::timestamptz), 'the latest agent is the order''s, the hour stays');
SELECT bag_eq(format('SELECT t.agent_id, t.in_charge, t.listing_id = o.listing_id AND t.client_id = o.client_id FROM agent_tasks t JOIN orders o ON o.id = order_id WHERE o.id = %L', :'o'),
    format('VALUES (%L::uuid, false, true), (%L, true, true)', :'agent', :'second'), 'each task knows its order, and whose it is now');
SELECT pg_temp.step(:'second', :'replacing', 'accept') \g /dev/null
SELECT row_eq(format('SELECT code, state FROM pg_temp.assign(%L, %L)', :'o', :'agent'), ROW('taken'::text, 'accepted'::text), 'an accepted one stays');
SELECT is((SELECT code FROM pg_temp.assign(:'o', :'agent', 'verification', NULL, 12345)), 'ok', 'a verification beside it');
SELECT is((SELECT commission_amount FROM agent_tasks WHERE order_id = :'o' AND type = 'verification'), 12345::bigint, 'with the commission that was named');
SELECT row_eq(format('SELECT code, state FROM pg_temp.assign(%L, %L, ''delivery'')', :'o', :'agent'), ROW('invalid_state'::text, 'pending_pickup'::text), 'no delivery before the pickup');
SELECT is((SELECT code FROM pg_temp.assign(:'o', :'stranger')), 'no_agent', 'only to agents');
UPDATE users SET is_active = false WHERE id = :'second';
SELECT is((SELECT code FROM pg_temp.assign(:'o', :'second', 'verification')), 'no_agent', 'only to active ones');
SELECT row_eq(format('SELECT code, state FROM assign_agent(%L, %L, %L, ''pickup'', ''high'', NULL, NULL, NULL, '''', '''')', :'admin', test.listing(:'client', 2500000), :'agent'),
    ROW('invalid_state'::text, 'live'::text), 'what is not sold has no order');
SELECT is((SELECT code FROM assign_agent(:'admin', gen_random_uuid(), :'agent', 'pickup', 'high', NULL, NULL, NULL, '', '')), 'not_found', 'a listing that is not there');

-- ---- working ----
SELECT is(pg_temp.step(:'agent', :'replacing', 'start'), 'not_found', 'a task is its agent''s');
SELECT is(pg_temp.step(:'second', :'replacing', 'accept'), 'invalid_state', 'accepted once');
SELECT is(pg_temp.step(:'second', :'replacing', 'start'), 'ok', 'started');
SELECT is(pg_temp.step(:'second', :'replacing', 'complete', '{"notes": "fine", "verificationPhotos": ["a.jpg"]}'), 'ok', 'completed');
SELECT is(pg_temp.step(:'second', :'replacing', 'fail'), 'invalid_state', 'what is completed does not fail');
SELECT row_eq(format('SELECT status, metadata, started_at >= accepted_at, completed_at >= started_at FROM agent_tasks WHERE id = %L', :'replacing'),
    ROW('completed'::text, '{"notes": "fine", "verificationPhotos": ["a.jpg"]}'::jsonb, true, true), 'with its report and times');
SELECT is((SELECT status FROM orders WHERE id = :'o'), 'picked_up', 'the order is picked up');
SELECT task AS delivery FROM pg_temp.assign(:'o', :'agent', 'delivery') \gset
SELECT pg_temp.step(:'agent', :'delivery', 'accept') \g /dev/null
DELETE FROM notifications;
SELECT is(pg_temp.step(:'agent', :'delivery', 'complete'), 'ok', 'a delivery is completed');
SELECT results_eq(format('SELECT status, updated_by FROM order_history WHERE order_id = %L ORDER BY id DESC LIMIT 2', :'o'),
    format('VALUES (''delivered'', %L::uuid), (''in_transit'', %1$L::uuid)', :'agent'), 'through in_transit');
SELECT bag_eq('SELECT user_id, data ->> ''status'' FROM notifications', format('SELECT x, ''delivered''::text AS status FROM unnest(%L::uuid[]) x', ARRAY[:'client', :'vendor', :'agent']::uuid[]), 'and told once');

SELECT pg_temp.order_in(:'client', :'vendor', NULL, :'admin', 'pending_pickup') AS o \gset
SELECT task FROM pg_temp.assign(:'o', :'agent') \gset
SELECT pg_temp.step(:'agent', :'task', 'accept') \g /dev/null
SELECT pg_temp.move(:'client', :'o', 'cancelled') \g /dev/null
SELECT row_eq(format('SELECT status, metadata ->> ''reason'' FROM agent_tasks WHERE id = %L', :'task'), ROW('failed'::text, 'The order was cancelled.'::text), 'a cancelled order ends its tasks');
SELECT is((SELECT l.status FROM listings l JOIN orders o ON o.listing_id = l.id WHERE o.id = :'o'), 'sold', 'and leaves its listing sold');


SELECT pg_temp.order_in(:'client', :'vendor', NULL, :'admin', 'pending_pickup') AS o \gset
SELECT task FROM pg_temp.assign(:'o', :'agent') \gset
UPDATE orders SET status = 'cancelled' WHERE id = :'o';   -- by hand, past the functions
SELECT row_eq(format('SELECT code, state FROM step_task(%L, %L, ''accept'', NULL)', :'agent', :'task'),
    ROW('invalid_state'::text, 'cancelled'::text), 'nobody begins a task of an order that was cancelled by whatever way');
SELECT is(pg_temp.step(:'agent', :'task', 'fail'), 'ok', 'he may give it back');

SELECT * FROM finish();
ROLLBACK;
