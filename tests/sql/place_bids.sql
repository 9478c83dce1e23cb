-- place_bids: what a bid is told, what it leaves behind, and that a batch is as good as its bids one by one.
BEGIN;
\ir fixtures.inc
SELECT no_plan();

SELECT test.user('CLIENT', 'Client') AS client, test.user('VENDOR', 'V1') AS v1, test.user('VENDOR', 'V2') AS v2,
       test.user('VENDOR', 'V3') AS v3, test.user('ADMIN', 'Admin') AS admin \gset
SELECT test.listing(:'client', 2500000) AS l \gset

-- ---- bounds ----
SELECT row_eq(format('SELECT code, minimum_bid FROM test.bid(%L, %L, 99999)', :'v1', :'l'), ROW('bid_too_low'::text, 100000::bigint),
    'a first bid below the guide''s least price is too low, and told the least');
SELECT is((SELECT count(*)::int FROM bids WHERE listing_id = :'l'), 0, 'a refused bid leaves nothing');
SELECT is((test.bid(:'v1', :'l', 100000)).code, 'accepted', 'the least price opens the auction');
SELECT row_eq(format('SELECT code, minimum_bid FROM test.bid(%L, %L, 109999)', :'v2', :'l'), ROW('bid_too_low'::text, 110000::bigint),
    'a paisa below the step is too low');
SELECT is((test.bid(:'v2', :'l', 110000)).code, 'accepted', 'a whole step is enough');
SELECT is((test.bid(:'v1', :'l', 110000)).code, 'bid_too_low', 'the same amount again is too low');
SELECT results_eq(format('SELECT amount, nth, is_instant_win FROM bids WHERE listing_id = %L ORDER BY amount', :'l'),
    $$VALUES (100000::bigint, 1, false), (110000, 2, false)$$, 'accepted bids stand, numbered');
SELECT row_eq(format('SELECT highest_amount, highest_vendor, bid_count, bidder_count FROM listings WHERE id = %L', :'l'),
    ROW(110000::bigint, :'v2'::uuid, 2, 2), 'and the listing knows its highest');
SELECT is((SELECT amount FROM bids b JOIN listings l ON l.highest_bid_id = b.id WHERE l.id = :'l'), 110000::bigint, 'the highest is winning');
SELECT ok((SELECT bool_and(earlier.placed_at < later.placed_at) FROM bids earlier JOIN bids later USING (listing_id)
    WHERE earlier.amount < later.amount), 'times rise with the amounts');

-- the step reaches over the asking price: the asking price is enough
SELECT test.listing(:'client', 505000) AS near \gset
SELECT is((test.bid(:'v1', :'near', 500000)).code, 'accepted', 'close below the asking price');
SELECT row_eq(format('SELECT code, minimum_bid FROM test.bid(%L, %L, 504999)', :'v2', :'near'), ROW('bid_too_low'::text, 505000::bigint),
    'the least bid is never above the asking price');
SELECT row_eq(format('SELECT code, is_instant_win FROM test.bid(%L, %L, 505000)', :'v2', :'near'), ROW('accepted'::text, true),
    'the asking price wins, however small the step');

-- an asking price at the guide's least: the first bid wins
SELECT test.listing(:'client', 100000) AS cheap \gset
SELECT row_eq(format('SELECT code, is_instant_win FROM test.bid(%L, %L, 100000)', :'v1', :'cheap'), ROW('accepted'::text, true),
    'the least asking price is won by the least bid');
SELECT test.listing(:'client', 100000000) AS dear \gset
SELECT row_eq(format('SELECT code, is_instant_win FROM test.bid(%L, %L, 100000000)', :'v1', :'dear'), ROW('accepted'::text, true),
    'the greatest price can be bid');

-- ---- who and what ----
SELECT is((test.bid(:'v1', gen_random_uuid(), 100000)).code, 'not_found', 'an unknown listing');
SELECT is((test.bid(:'v1', test.listing(:'client', 2500000, '1 hour', 'pending'), 100000)).code, 'not_found', 'a pending one is not for vendors'' eyes');
SELECT is((test.bid(:'client', :'l', 200000)).code, 'forbidden', 'a client does not bid');
SELECT is((test.bid(:'admin', :'l', 200000)).code, 'forbidden', 'nor does an admin');
SELECT is((test.bid(:'v1', test.listing(:'client', 2500000, '-1 second'), 100000)).code, 'auction_ended',
    'after the end a bid is refused, though nobody closed the auction yet');
SELECT is((test.bid(:'v2', :'cheap', 100000)).code, 'auction_ended', 'a sold listing has ended');
SELECT test.listing(:'v1', 2500000) AS own \gset
SELECT is((test.bid(:'v1', :'own', 200000)).code, 'forbidden', 'nobody drives up his own price');
SELECT test.session(:'v3') AS s3 \gset
UPDATE sessions SET revoked_at = now() WHERE id = :'s3';
SELECT is((SELECT code FROM place_bids(ARRAY[:'s3'::uuid], ARRAY[:'v3'::uuid], ARRAY[:'l'::uuid], '{300000}', '{null}', '{null}', '{r}', test.rules(), 0, 60)),
    'unauthenticated', 'a revoked session does not bid');
UPDATE sessions SET revoked_at = NULL WHERE id = :'s3';
SELECT is((SELECT code FROM place_bids(ARRAY[:'s3'::uuid], ARRAY[:'v1'::uuid], ARRAY[:'l'::uuid], '{300000}', '{null}', '{null}', '{r}', test.rules(), 0, 60)),
    'unauthenticated', 'nor one of somebody else');
UPDATE users SET is_active = false WHERE id = :'v3';
SELECT is((test.bid(:'v3', :'l', 300000)).code, 'account_disabled', 'a disabled vendor does not bid');
UPDATE users SET is_active = true WHERE id = :'v3';

-- ---- aliases ----
SELECT is((SELECT count(DISTINCT alias)::int FROM bidders WHERE listing_id = :'l'), 2, 'a bidder''s alias is his alone in a listing');
SELECT test.bid(:'v1', :'l', 120000) \g /dev/null
SELECT is((SELECT count(DISTINCT alias)::int FROM bids WHERE listing_id = :'l' AND vendor_id = :'v1'), 1, 'and stays');
SELECT ok((SELECT bool_and(alias BETWEEN 10000 AND 99999) FROM bids), 'five digits');
DO $$
DECLARE l uuid := test.listing((SELECT id FROM users WHERE name = 'Client'), 90000000);
BEGIN
    FOR i IN 1 .. 60 LOOP PERFORM test.bid(test.user('VENDOR', 'crowd'), l, 100000 + i * 10000); END LOOP;
END $$;
SELECT is((SELECT count(DISTINCT alias)::int FROM bidders WHERE listing_id = (SELECT listing_id FROM bids GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)), 60,
    'sixty bidders have sixty aliases');

-- ---- who is told ----
SELECT test.user('CLIENT', 'Quiet') AS owner \gset
SELECT test.listing(:'owner', 2500000) AS t \gset
SELECT test.bid(:'v1', :'t', 1000000) \g /dev/null
SELECT results_eq(format('SELECT type, message FROM notifications WHERE user_id = %L', :'owner'),
    $$VALUES ('bid_placed', 'Your Apple iPhone 13 has a bid of ₹10,000.')$$, 'the client hears of a bid');
SELECT is((SELECT count(*)::int FROM notifications WHERE data ->> 'listingId' = :'t' AND type = 'outbid'), 0, 'a first bid outbids nobody');
SELECT test.bid(:'v2', :'t', 1010000) \g /dev/null
SELECT results_eq(format('SELECT user_id, type FROM notifications WHERE data ->> ''listingId'' = %L AND type = ''outbid''', :'t'),
    format('VALUES (%L::uuid, ''outbid'')', :'v1'), 'the vendor outbid hears it');
SELECT test.bid(:'v2', :'t', 1020000) \g /dev/null
SELECT is((SELECT count(*)::int FROM notifications WHERE data ->> 'listingId' = :'t' AND type = 'outbid'), 1, 'who raises his own bid is not told that he was outbid');
SELECT results_eq(format('SELECT template, params FROM whatsapp_queue WHERE listing_id = %L AND user_id = %L', :'t', :'owner'),
    $$VALUES ('bid_placed', '["Apple iPhone 13", "₹10,200"]'::jsonb)$$, 'three bids are one message to the client, with the newest amount');
SELECT results_eq(format('SELECT name FROM events WHERE listing_id = %L ORDER BY id', :'t'), $$VALUES ('new_bid'), ('new_bid'), ('new_bid')$$,
    'each bid is an event of the room');
SELECT ok((SELECT count(*) = 3 AND bool_and(e.ref = b.id) FROM (SELECT ref, row_number() OVER (ORDER BY id) AS n FROM events WHERE listing_id = :'t') e
    JOIN bids b ON b.listing_id = :'t' AND b.nth = e.n), 'in the order of the bids');

-- ---- an instant win ----
SELECT test.user('CLIENT', 'Seller') AS seller, test.user('VENDOR', 'Loser') AS loser, test.user('VENDOR', 'Winner') AS winner \gset
SELECT test.listing(:'seller', 2500050) AS w \gset
SELECT test.bid(:'loser', :'w', 1000000) \g /dev/null
SELECT * FROM test.bid(:'winner', :'w', 2500050) \gset won_
SELECT is(:'won_code' || :'won_is_instant_win', 'acceptedt', 'the asking price wins at once');
SELECT row_eq(format('SELECT id, client_id, vendor_id, final_price, commission_rate, agent_commission, platform_fee, status FROM orders WHERE listing_id = %L', :'w'),
    ROW(:'won_order_id'::uuid, :'seller'::uuid, :'winner'::uuid, 2500050::bigint, 5::numeric, 125003::bigint, 50001::bigint, 'pending_pickup'::text),
    'the answer names the order, which has its prices, half-up');
SELECT is((SELECT status FROM listings WHERE id = :'w'), 'sold', 'the listing is sold');
SELECT results_eq(format('SELECT type FROM notifications WHERE user_id = %L ORDER BY type', :'seller'),
    $$VALUES ('bid_placed'), ('bid_placed'), ('order_update')$$, 'the client hears of both bids and the order');
SELECT results_eq(format('SELECT type FROM notifications WHERE user_id = %L', :'loser'), $$VALUES ('auction_lost')$$,
    'the loser hears auction_lost in place of outbid');
SELECT results_eq(format('SELECT type FROM notifications WHERE user_id = %L', :'winner'), $$VALUES ('auction_won')$$, 'the winner that he won');
SELECT results_eq(format('SELECT name FROM events WHERE listing_id = %L ORDER BY id', :'w'),
    $$VALUES ('new_bid'), ('new_bid'), ('auction_won'), ('auction_ended')$$, 'the room hears the bid before the end');
SELECT results_eq(format('SELECT status, updated_by FROM order_history WHERE order_id = %L', :'won_order_id'),
    format($$VALUES ('pending_pickup', %L::uuid)$$, :'winner'), 'the order''s history begins with the vendor who won instantly');
SELECT is((test.bid(:'loser', :'w', 2600000)).code, 'auction_ended', 'who comes later is told that it ended');

-- ---- batches ----
SELECT test.listing(:'client', 2500000) AS b1, test.listing(:'client', 2500000) AS b2 \gset
SELECT results_eq(format('SELECT n, code, minimum_bid FROM test.batch(%L, %L, %L)',
        ARRAY[:'v1', :'v2', :'v3', :'v1', :'v2']::uuid[], ARRAY[:'b1', :'b1', :'b2', :'b1', gen_random_uuid()]::uuid[],
        '{200000,205000,300000,210000,100000}'),
    $$VALUES (1, 'accepted', NULL::bigint), (2, 'bid_too_low', 210000), (3, 'accepted', NULL), (4, 'accepted', NULL), (5, 'not_found', NULL)$$,
    'each bid of a batch is judged on what the ones before it left');
SELECT row_eq(format('SELECT highest_amount, bid_count, bidder_count FROM listings WHERE id = %L', :'b1'), ROW(210000::bigint, 2, 1), 'and counted once');
SELECT is((SELECT count(DISTINCT alias)::int FROM bids WHERE listing_id = :'b1'), 1, 'a vendor has one alias, also when both bids came in one batch');
SELECT is((SELECT count(*)::int FROM notifications WHERE type = 'outbid' AND data ->> 'listingId' = :'b1'), 0, 'and is not outbid by himself');
SELECT test.listing(:'client', 500000) AS b3 \gset
SELECT results_eq(format('SELECT code, is_instant_win, order_id IS NOT NULL FROM test.batch(%L, %L, %L)',
        ARRAY[:'v1', :'v2', :'v3', :'v1']::uuid[], array_fill(:'b3'::uuid, ARRAY[4]), '{200000,500000,500000,900000}'),
    $$VALUES ('accepted', false, false), ('accepted', true, true), ('auction_ended', NULL, false), ('auction_ended', NULL, false)$$,
    'two instant wins in one batch: the first wins, the second hears the end');
SELECT is((SELECT count(*)::int FROM orders WHERE listing_id = :'b3'), 1, 'one order');
SELECT results_eq(format('SELECT type FROM notifications WHERE user_id = %L AND data ->> ''listingId'' = %L', :'v1', :'b3'),
    $$VALUES ('auction_lost')$$, 'who was beaten in the same batch is told so once');
SELECT is((SELECT count(*)::int FROM test.batch('{}', '{}', '{}')), 0, 'an empty batch is nothing');

-- ---- idempotency keys ----
SELECT test.listing(:'client', 2500000) AS i \gset
SELECT * FROM test.bid(:'v1', :'i', 200000, 'key-1') \gset first_
SELECT * FROM test.bid(:'v1', :'i', 200000, 'key-1') \gset again_
SELECT is(:'again_bid_id' || :'again_placed_at' || :'again_request_id' || :'again_code',
    :'first_bid_id' || :'first_placed_at' || :'first_request_id' || :'first_code', 'the same key and body: the first answer again');
SELECT is((SELECT count(*)::int FROM bids WHERE listing_id = :'i'), 1, 'and no second bid');
SELECT is((test.bid(:'v1', :'i', 300000, 'key-1', 'other body')).code, 'idempotency_key_reused', 'another body is refused');
SELECT is((test.bid(:'v2', :'i', 300000, 'key-1')).code, 'accepted', 'another vendor''s key is another key');
SELECT is((test.bid(:'v1', :'i', 300000, 'key-2')).code, 'bid_too_low', 'a refusal');
SELECT is((test.bid(:'v1', :'i', 300000, 'key-2')).minimum_bid, 310000::bigint, 'is an answer, and is given again');
SELECT test.bid(:'v2', :'i', 400000) \g /dev/null
SELECT is((test.bid(:'v1', :'i', 300000, 'key-2')).minimum_bid, 310000::bigint, 'as it was, though the price has moved');
SELECT * FROM test.bid(:'v3', :'i', 2500000, 'win') \gset win_
SELECT * FROM test.bid(:'v3', :'i', 2500000, 'win') \gset winagain_
SELECT is(:'winagain_order_id' || :'winagain_is_instant_win', :'win_order_id' || 't', 'an instant win is answered again with its order');
UPDATE idempotency_keys SET created_at = now() - interval '24 hours' WHERE key = 'win';
SELECT is((test.bid(:'v3', :'i', 2500000, 'win')).code, 'auction_ended', 'after 24 hours the key is new');
SELECT is((test.bid(:'v3', :'i', 2500000, 'win')).code, 'auction_ended', 'and keeps its new answer');
SELECT results_eq(format('SELECT code FROM test.batch(%L, %L, %L, %L)', ARRAY[:'v1', :'v1', :'v2']::uuid[], array_fill(:'b1'::uuid, ARRAY[3]),
        '{400000,400000,500000}', '{same,same,same}'), $$VALUES ('accepted'), ('again'), ('accepted')$$,
    'the same key twice in a batch: the second is to be asked anew');
INSERT INTO idempotency_keys (user_id, route, key, body_hash, status, answer) VALUES (:'v1', 'POST /bids', 'kept', 'body', 400, '\x0102');
SELECT row_eq(format('SELECT code, stored_status, stored FROM test.bid(%L, %L, 1000000, ''kept'')', :'v1', :'b1'),
    ROW('stored'::text, 400, '\x0102'::bytea), 'an answer that was not a bid''s is handed out as it was kept');

-- ---- the rate limit ----
SELECT test.user('VENDOR', 'Eager') AS eager \gset
SELECT test.listing(:'client', 2500000) AS r \gset
SELECT is((test.bid(:'eager', :'r', 100000, p_max => 3)).hits, 1, 'a bid is a hit');
SELECT is((test.bid(:'eager', :'r', 100000, p_max => 3)).code, 'bid_too_low', 'so is a refused one');
SELECT is((test.bid(:'eager', gen_random_uuid(), 100000, p_max => 3)).code, 'not_found', 'and one for nothing');
SELECT row_eq(format('SELECT code, hits FROM test.bid(%L, %L, 200000, p_max => 3)', :'eager', :'r'), ROW('rate_limited'::text, 4), 'the fourth is one too many');
SELECT ok((test.bid(:'eager', :'r', 200000, p_max => 3)).reset_s BETWEEN 1 AND 60, 'and told when to come again');
SELECT is((SELECT bid_count FROM listings WHERE id = :'r'), 1, 'it changed nothing');
SELECT is((test.bid(:'eager', :'r', 200000, 'limited', p_max => 3)).code, 'rate_limited', 'with a key, too');
SELECT is((test.bid(:'eager', :'r', 200000, 'limited', p_max => 0)).code, 'accepted', 'which the refusal did not use up');
SELECT test.user('VENDOR', 'Batch') AS many \gset
SELECT results_eq(format('SELECT code FROM test.batch(%L, %L, %L, NULL, test.rules(), 2)', array_fill(:'many'::uuid, ARRAY[4]), array_fill(:'r'::uuid, ARRAY[4]),
        '{300000,310000,320000,330000}'), $$VALUES ('accepted'), ('accepted'), ('rate_limited'), ('rate_limited')$$, 'the limit holds within a batch');

-- ---- anti-sniping ----
SELECT test.listing(:'client', 2500000, '1 minute') AS e, test.listing(:'client', 2500000, '10 minutes') AS far \gset
SELECT test.bid(:'v1', :'far', 200000, p_rules => test.rules(10000, '5 minutes')) \g /dev/null
SELECT ok((SELECT auction_end < clock_timestamp() + interval '10 minutes' FROM listings WHERE id = :'far'), 'a bid far from the end leaves it');
SELECT * FROM test.bid(:'v1', :'e', 200000, p_rules => test.rules(10000, '5 minutes')) \gset e_
SELECT is((SELECT auction_end FROM listings WHERE id = :'e'), :'e_placed_at'::timestamptz + interval '5 minutes',
    'a bid close to the end tops the remaining time up');
SELECT test.bid(:'v2', :'e', 200000, p_rules => test.rules(10000, '9 minutes')) \g /dev/null
SELECT is((SELECT auction_end FROM listings WHERE id = :'e'), :'e_placed_at'::timestamptz + interval '5 minutes', 'a refused one does not');
SELECT test.listing(:'client', 2500000, '1 minute') AS off \gset
SELECT auction_end AS before FROM listings WHERE id = :'off' \gset
SELECT test.bid(:'v1', :'off', 200000) \g /dev/null
SELECT is((SELECT auction_end FROM listings WHERE id = :'off'), :'before'::timestamptz, 'it is off by default');
SELECT test.bid(:'v2', :'off', 2500000, p_rules => test.rules(10000, '5 minutes')) \g /dev/null
SELECT is((SELECT auction_end FROM listings WHERE id = :'off'), :'before'::timestamptz, 'an instant win does not extend what it ends');

-- ---- muted and silent people ----
SELECT test.user('CLIENT', 'Muted') AS muted \gset
UPDATE users SET muted_types = '{bid_placed}' WHERE id = :'muted';
SELECT test.bid(:'v1', test.listing(:'muted', 2500000), 200000) \g /dev/null
SELECT is((SELECT count(*)::int FROM notifications WHERE user_id = :'muted'), 0, 'a muted type is not made at all');
UPDATE users SET muted_types = '{}', whatsapp_enabled = false WHERE id = :'muted';
SELECT test.bid(:'v1', test.listing(:'muted', 2500000), 200000) \g /dev/null
SELECT is((SELECT count(*)::int FROM notifications WHERE user_id = :'muted'), 1, 'without WhatsApp: in the app');
SELECT is((SELECT count(*)::int FROM whatsapp_queue WHERE user_id = :'muted'), 0, 'only');

SELECT * FROM finish();
ROLLBACK;
