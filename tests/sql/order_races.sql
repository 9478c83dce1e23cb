-- Two at the same moment on one order, each on a connection of its own: whoever holds the order's row is
-- first, the other is judged on what he left.
\ir fixtures.inc
SELECT no_plan();
SET statement_timeout = '30s';   -- who waits where nobody should would wait for ever

SELECT format('host=%s dbname=%s user=%s', current_setting('unix_socket_directories'), current_database(), current_user) AS here \gset
SELECT dblink_connect('a', :'here'), dblink_connect('b', :'here') \g /dev/null

SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS vendor, test.user('AGENT') AS agent, test.user('AGENT') AS second,
       test.user('ADMIN') AS admin \gset
CREATE FUNCTION test.an_order(p_client uuid, p_vendor uuid, p_agent uuid) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid := (test.bid(p_vendor, test.listing(p_client, 2500000), 2500000)).order_id;
BEGIN
    UPDATE orders SET agent_id = p_agent WHERE id = made;
    RETURN made;
END $$;
CREATE FUNCTION test.move(p_actor uuid, p_order uuid, p_status text) RETURNS text LANGUAGE sql AS
    $$ SELECT code FROM move_order(p_actor, p_order, p_status, NULL, NULL, '', '') $$;
CREATE FUNCTION test.assign(p_order uuid, p_agent uuid) RETURNS text LANGUAGE sql AS $$
    SELECT x.code FROM users a, orders o, assign_agent(a.id, o.listing_id, p_agent, 'pickup', 'normal', NULL, NULL, NULL, '', '') x
    WHERE a.role = 'ADMIN' AND o.id = p_order $$;
-- One's latest task of the order.
CREATE FUNCTION test.step(p_agent uuid, p_order uuid, p_step text) RETURNS text LANGUAGE sql AS $$
    SELECT x.code FROM step_task(p_agent, (SELECT id FROM agent_tasks WHERE order_id = p_order AND agent_id = p_agent
                                           ORDER BY assigned_at DESC LIMIT 1), p_step, NULL) x $$;

-- A takes P_FIRST and waits in his open transaction until B, with P_SECOND, waits for him.
CREATE FUNCTION test.race(p_first text, p_second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    first  text;
    waited boolean;
BEGIN
    PERFORM dblink_exec('a', 'BEGIN');
    SELECT x INTO first FROM dblink('a', p_first) r(x text);
    waited := test.waits('b', p_second);
    PERFORM dblink_exec('a', 'COMMIT');
    RETURN first || CASE WHEN waited THEN ', ' ELSE ', at once ' END || test.answer('b');
END $$;

SELECT test.an_order(:'client', :'vendor', :'agent') AS o \gset
SELECT is(test.race(format('SELECT test.move(%L, %L, ''picked_up'')', :'agent', :'o'), format('SELECT test.move(%L, %L, ''cancelled'')', :'client', :'o')),
    'ok, forbidden', 'picked up while the client cancels: he hears that he may not any more');
SELECT test.an_order(:'client', :'vendor', :'agent') AS o \gset
SELECT is(test.race(format('SELECT test.move(%L, %L, ''cancelled'')', :'client', :'o'), format('SELECT test.move(%L, %L, ''picked_up'')', :'agent', :'o')),
    'ok, invalid_transition', 'cancelled while the agent picks up');
SELECT test.an_order(:'client', :'vendor', :'agent') AS o \gset
SELECT is(test.race(format('SELECT test.move(%L, %L, ''picked_up'')', :'agent', :'o'), format('SELECT test.move(%L, %L, ''picked_up'')', :'admin', :'o')),
    'ok, invalid_transition', 'the same step twice');
SELECT is((SELECT count(*)::int FROM order_history WHERE order_id = :'o'), 2, 'stands once in the history');
SELECT is((SELECT count(*)::int FROM notifications WHERE data ->> 'orderId' = :'o' AND data ->> 'status' = 'picked_up'), 3, 'and is told of once');

SELECT test.an_order(:'client', :'vendor', NULL) AS o \gset
SELECT test.assign(:'o', :'agent') \g /dev/null
SELECT is(test.race(format('SELECT test.step(%L, %L, ''accept'')', :'agent', :'o'), format('SELECT test.assign(%L, %L)', :'o', :'second')),
    'ok, taken', 'accepted while it is given away');
SELECT is(test.race(format('SELECT test.step(%L, %L, ''complete'')', :'agent', :'o'), format('SELECT test.move(%L, %L, ''picked_up'')', :'admin', :'o')),
    'ok, invalid_transition', 'completed while an administrator moves the order');
SELECT test.an_order(:'client', :'vendor', NULL) AS o \gset
SELECT test.assign(:'o', :'agent') \g /dev/null
SELECT is(test.race(format('SELECT test.assign(%L, %L)', :'o', :'second'), format('SELECT test.step(%L, %L, ''accept'')', :'agent', :'o')),
    'ok, invalid_state', 'given away while it is accepted');
SELECT is(test.race(format('SELECT test.move(%L, %L, ''cancelled'')', :'vendor', :'o'), format('SELECT test.step(%L, %L, ''accept'')', :'second', :'o')),
    'ok, invalid_state', 'cancelled while it is accepted');
SELECT test.an_order(:'client', :'vendor', NULL) AS o \gset
SELECT is(test.race(format('SELECT test.assign(%L, %L)', :'o', :'agent'), format('SELECT test.assign(%L, %L)', :'o', :'second')),
    'ok, ok', 'two administrators assign: the second replaces the first');
SELECT is((SELECT string_agg(status, ',' ORDER BY assigned_at) FROM agent_tasks WHERE order_id = :'o'), 'failed,assigned', 'so that one task is open');
SELECT test.step(:'second', :'o', 'accept') \g /dev/null
SELECT is(test.race(format('SELECT test.step(%L, %L, ''complete'')', :'second', :'o'), format('SELECT test.step(%L, %L, ''fail'')', :'second', :'o')),
    'ok, invalid_state', 'completed while it fails');
SELECT is(test.race(format('SELECT test.move(%L, %L, ''in_transit'')', :'second', :'o'), format('SELECT test.step(%L, %L, ''complete'')', :'second', :'o')),
    'ok, invalid_state', 'and completed once');

SELECT test.move(:'admin', :'o', 'delivered') \g /dev/null
SELECT is(test.race(format('SELECT code FROM rate_order(%L, %L, 5, NULL)', :'client', :'o'), format('SELECT code FROM rate_order(%L, %L, 1, NULL)', :'client', :'o')),
    'ok, already_rated', 'rated twice at once: the first counts');

-- ---- everybody at once on the same few orders: nobody waits for ever ----
CREATE TABLE test.few AS SELECT test.an_order(:'client', :'vendor', NULL) AS id FROM generate_series(1, 40);
CREATE PROCEDURE test.busy(p_agent uuid, p_admin uuid, p_down boolean) LANGUAGE plpgsql AS $$
DECLARE
    o uuid;
BEGIN
    FOR o IN SELECT id FROM test.few ORDER BY CASE WHEN p_down THEN id END DESC, id LOOP
        PERFORM test.assign(o, p_agent);
        COMMIT;
        PERFORM test.step(p_agent, o, 'accept');
        COMMIT;
        PERFORM test.step(p_agent, o, 'complete');
        COMMIT;
        PERFORM test.move(p_admin, o, 'cancelled');
        COMMIT;
    END LOOP;
END $$;
SELECT dblink_send_query('a', format('CALL test.busy(%L, %L, false)', :'agent', :'admin')),
       dblink_send_query('b', format('CALL test.busy(%L, %L, true)', :'second', :'admin')) \g /dev/null
SELECT is(test.answer('a'), 'CALL', 'a: no deadlock');
SELECT is(test.answer('b'), 'CALL', 'b: no deadlock');
SELECT is((SELECT count(*)::int FROM orders WHERE id IN (SELECT id FROM test.few) AND status <> 'cancelled'), 0, 'all are cancelled in the end');
SELECT is((SELECT count(*)::int FROM agent_tasks WHERE order_id IN (SELECT id FROM test.few) AND status IN ('assigned', 'accepted', 'in_progress')), 0, 'and no task is left open');

SELECT dblink_disconnect('a'), dblink_disconnect('b') \g /dev/null
SELECT * FROM finish();
