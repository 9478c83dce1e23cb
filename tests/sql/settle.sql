-- settle_listing, close_auctions, remind_endings: how an auction ends, once.
BEGIN;
\ir fixtures.inc
SELECT no_plan();

SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS v1, test.user('VENDOR') AS v2, test.user('CLIENT') AS watcher \gset
CREATE FUNCTION pg_temp.over(p_listing uuid) RETURNS void LANGUAGE sql AS
    $$ UPDATE listings SET auction_end = now() WHERE id = p_listing $$;

-- ---- closing ----
SELECT test.listing(:'client', 2500000) AS a, test.listing(:'client', 2500000) AS b, test.listing(:'client', 2500000) AS later \gset
SELECT test.bid(:'v1', :'a', 1000000) \g /dev/null
SELECT test.bid(:'v2', :'a', 1010000) \g /dev/null
SELECT is(close_auctions(100, test.rules()), 0, 'nothing is due');
SELECT pg_temp.over(:'a') \g /dev/null
SELECT pg_temp.over(:'b') \g /dev/null
SELECT is(close_auctions(100, test.rules()), 2, 'both are closed at their end');
SELECT is(close_auctions(100, test.rules()), 0, 'once');
SELECT is((SELECT status FROM listings WHERE id = :'a'), 'sold', 'one with bids is sold');
SELECT row_eq(format('SELECT vendor_id, final_price, agent_commission, platform_fee, commission_rate FROM orders WHERE listing_id = %L', :'a'),
    ROW(:'v2'::uuid, 1010000::bigint, 50500::bigint, 20200::bigint, 5::numeric), 'to the highest bid');
SELECT is((SELECT status FROM listings WHERE id = :'b'), 'expired', 'one without expires');
SELECT is((SELECT status FROM listings WHERE id = :'later'), 'live', 'one whose time has not come is left');
SELECT is((SELECT count(*)::int FROM notifications WHERE type = 'auction_expired' AND user_id = :'client'), 1, 'the client hears that it expired');
SELECT is((SELECT count(*)::int FROM notifications WHERE type = 'auction_won' AND user_id = :'v2'), 1, 'the winner that he won');
SELECT is((SELECT count(*)::int FROM notifications WHERE type = 'auction_lost' AND user_id = :'v1'), 1, 'the loser that he lost');
SELECT is((SELECT count(*)::int FROM notifications WHERE type = 'order_update' AND user_id = :'client'), 1, 'the client that it is sold');
SELECT results_eq(format('SELECT user_id, params FROM whatsapp_queue WHERE template = ''order_status'' ORDER BY user_id = %L', :'client'),
    format('SELECT x, jsonb_build_array(o.id, ''pending_pickup'') FROM orders o, unnest(%L::uuid[]) x', ARRAY[:'v2', :'client']::uuid[]),
    'winner and client get a message with the whole order id');
SELECT results_eq(format('SELECT user_id FROM events WHERE name = ''order_update'' ORDER BY id'), format('VALUES (%L::uuid), (%L::uuid)', :'client', :'v2'),
    'both parties'' screens hear of the order');
SELECT results_eq(format('SELECT name, data ->> ''status'' FROM events WHERE listing_id = %L', :'b'), $$VALUES ('auction_ended', 'expired')$$, 'the room hears of an expiry');
SELECT results_eq(format('SELECT name FROM events WHERE listing_id = %L AND name <> ''new_bid'' ORDER BY id', :'a'),
    $$VALUES ('auction_won'), ('auction_ended')$$, 'the room hears of the winner, then of the end');
SELECT is((SELECT count(*)::int FROM settle_listings(ARRAY[:'a', :'b']::uuid[], test.rules())), 0, 'of ended ones none is ended again');
SELECT is(settle_listing(:'a', test.rules()), NULL, 'settling again does nothing');
SELECT is((SELECT count(*)::int FROM orders), 1, 'there is one order');
SELECT is((SELECT count(*)::int FROM listing_imeis WHERE listing_id IN (:'a', :'b')), 0, 'an ended listing lets go of its IMEIs');

SELECT pg_temp.over(test.listing(:'client', 2500000)) FROM generate_series(1, 5) \g /dev/null
SELECT is(close_auctions(2, test.rules()), 2, 'a run ends no more than it is told to');
SELECT is(close_auctions(100, test.rules()), 3, 'the next one the rest');

-- ---- the notice before the end ----
SELECT test.listing(:'client', 2500000, '20 minutes') AS soon, test.listing(:'client', 2500000, '2 hours') AS far \gset
UPDATE listings SET auction_end = now() + interval '20 minutes' WHERE id = :'soon';
SELECT test.bid(:'v1', :'soon', 1000000) \g /dev/null
INSERT INTO watchers (listing_id, user_id) VALUES (:'soon', :'watcher'), (:'soon', :'v1'), (:'far', :'watcher');
SELECT is(remind_endings(100, '30 minutes'), 1, 'an auction that ends within the notice is told of');
SELECT is(remind_endings(100, '30 minutes'), 0, 'once');
SELECT results_eq(format('SELECT user_id FROM notifications WHERE type = ''auction_ending'' ORDER BY user_id = %L', :'watcher'),
    format('VALUES (%L::uuid), (%L::uuid)', :'v1', :'watcher'), 'to bidders and watchers, and to him who is both once');
SELECT ok((SELECT (data ->> 'timeLeft')::int = 1200 FROM events WHERE name = 'auction_ending'), 'the room hears how many seconds are left');
SELECT test.bid(:'v2', :'soon', 1010000, p_rules => test.rules(10000, '3 hours')) \g /dev/null
UPDATE listings SET auction_end = now() + interval '10 minutes' WHERE id = :'soon';
SELECT is(remind_endings(100, '30 minutes'), 0, 'an extended auction is not told of again');
UPDATE listings SET auction_end = now() - interval '1 second' WHERE id = :'far';
SELECT is(remind_endings(100, '30 minutes'), 0, 'nor is one that is over');

SELECT * FROM finish();
ROLLBACK;
