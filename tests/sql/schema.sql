-- The second net: constraints and triggers, by the names of their rules.
BEGIN;
\ir fixtures.inc
SELECT no_plan();

SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS vendor, test.user('AGENT') AS agent \gset
SELECT test.listing(:'client', 2500000) AS l \gset
SELECT (test.bid(:'vendor', :'l', 1000000)).bid_id AS bid \gset

-- What may not be written down, and the rule that says so.
CREATE TEMP TABLE net (sql text, rule text);
INSERT INTO net VALUES
    ($$UPDATE users SET role = 'ANONYMOUS'$$, 'role_known'),
    ($$UPDATE users SET name = ''$$, 'name_length'),
    ($$UPDATE users SET phone_hash = (SELECT phone_hash FROM users LIMIT 1)$$, 'one_account_per_phone'),
    ($$INSERT INTO otps (id, phone_hash, code_hash, expires_at, attempts) VALUES (gen_random_uuid(), '', '', now(), 6)$$, 'five_tries'),
    ($$UPDATE listings SET asking_price = 99999$$, 'price_bounds'),
    ($$UPDATE listings SET asking_price = 100000001$$, 'price_bounds'),
    ($$UPDATE listings SET battery_health = 0$$, 'battery_percent'),
    ($$UPDATE listings SET battery_health = 101$$, 'battery_percent'),
    ($$UPDATE listings SET photo_count = 3$$, 'four_to_six_photos'),
    ($$UPDATE listings SET photo_count = 7$$, 'four_to_six_photos'),
    ($$UPDATE listings SET condition = 'good'$$, 'condition_known'),
    ($$UPDATE listings SET pickup_time = 'night'$$, 'pickup_time_known'),
    ($$UPDATE listings SET pincode = '68200'$$, 'pincode_digits'),
    ($$UPDATE listings SET pincode = E'682001\n'$$, 'pincode_digits'),
    ($$UPDATE listings SET brand = repeat('x', 101)$$, 'brand_length'),
    ($$UPDATE listings SET description = repeat('x', 5001)$$, 'description_length'),
    ($$UPDATE listings SET bill_ext = 'gif'$$, 'bill_type_known'),
    ($$UPDATE listings SET imei2_hash = imei1_hash, imei2_sealed = '', imei2_last4 = ''$$, 'imeis_differ'),
    ($$UPDATE listings SET imei2_hash = 'x'$$, 'imei2_whole'),
    ($$UPDATE listings SET auction_end = NULL$$, 'an_auction_ends'),
    ($$UPDATE listings SET highest_amount = NULL$$, 'highest_bid_whole'),
    ($$UPDATE listings SET highest_bid_id = NULL, highest_amount = NULL, highest_vendor = NULL, highest_at = NULL, bid_count = 0$$,
        'the highest bid of a listing only rises'),
    ($$UPDATE listings SET highest_amount = highest_amount - 1$$, 'the highest bid of a listing only rises'),
    ($$UPDATE listings SET highest_vendor = NULL$$, 'highest_bid_whole'),
    ($$UPDATE listings SET highest_bid_id = gen_random_uuid()$$, 'highest_bid_exists'),
    ($$UPDATE listings SET status = 'expired'$$, 'expired_without_bids'),
    ($$UPDATE listings SET status = 'pending'$$, 'a live listing is sold or expires'),
    ($$UPDATE listings SET status = 'rejected', rejection_reason = 'x'$$, 'a live listing is sold or expires'),
    ($$UPDATE bids SET amount = amount + 1$$, 'a bid is not changed'),
    ($$INSERT INTO bids (listing_id, vendor_id, amount, nth, alias, placed_at) SELECT listing_id, vendor_id, amount, 2, alias, now() FROM bids$$, 'one_bid_per_amount'),
    ($$INSERT INTO bids (listing_id, vendor_id, amount, nth, alias, placed_at) SELECT listing_id, vendor_id, 100000001, 2, alias, now() FROM bids$$, 'bid_bounds'),
    ($$INSERT INTO bids (listing_id, vendor_id, amount, nth, alias, placed_at) SELECT listing_id, gen_random_uuid(), 1100000, 2, alias, now() FROM bids$$, 'a_bidder_bids'),
    ($$DELETE FROM users$$, 'a person is disabled, not deleted'),
    ($$UPDATE audit_log SET action = 'x'$$, NULL),   -- there is no row
    ($$INSERT INTO idempotency_keys (user_id, route, key, body_hash, status, answer) SELECT id, 'r', 'k', '', 500, '' FROM users LIMIT 1$$, 'only_answers_below_500'),
    ($$INSERT INTO idempotency_keys (user_id, route, key, body_hash, status) SELECT id, 'r', 'k', '', 200 FROM users LIMIT 1$$, 'answer_or_outcome'),
    ($$INSERT INTO idempotency_keys (user_id, route, key, body_hash, status, answer) SELECT id, 'r', '', '', 200, '' FROM users LIMIT 1$$, 'key_length');
SELECT is(test.broken(sql), rule, sql) FROM net;

-- ---- states ----
SELECT test.listing(:'client', 2500000, '1 hour', 'pending') AS p \gset
SELECT is(test.broken(format('UPDATE listings SET status = ''rejected'' WHERE id = %L', :'p')), 'a_rejection_says_why', 'a rejection says why');
SELECT is(test.broken(format('UPDATE listings SET status = ''live'' WHERE id = %L', :'p')), 'an_auction_ends', 'a live listing has an end');
UPDATE listings SET status = 'rejected', rejection_reason = 'blurred' WHERE id = :'p';
SELECT is(test.broken(format('UPDATE listings SET status = ''pending'' WHERE id = %L', :'p')), 'a rejected, sold or expired listing stays so', 'rejected stays so');

-- ---- IMEIs ----
SELECT test.listing(:'client', 2500000, '1 hour', 'pending', 'one', 'two') AS imei \gset
SELECT is(test.broken(format('SELECT test.listing(%L, 2500000, ''1 hour'', ''pending'', %L, %L)', :'client', a, b)), 'one_open_listing_per_imei',
    format('an IMEI of an open listing is taken (%s)', what))
    FROM (VALUES ('one', 'three', 'first by first'), ('two', 'three', 'second by first'), ('three', 'one', 'first by second'), ('three', 'two', 'second by second')) x(a, b, what);
SELECT is(test.broken(format('SELECT test.listing(%L, 2500000, ''1 hour'', ''pending'', ''three'', ''four'')', :'client')), NULL, 'others are free');
UPDATE listings SET status = 'rejected', rejection_reason = 'x' WHERE id = :'imei';
SELECT is(test.broken(format('SELECT test.listing(%L, 2500000, ''1 hour'', ''live'', ''two'', ''one'')', :'client')), NULL, 'a rejected listing lets go of both');

-- ---- orders ----
SELECT is(test.broken(format('UPDATE listings SET status = ''sold'' WHERE id = %L', test.listing(:'client', 2500000))), 'sold_to_somebody', 'sold without a bid is not sold');
SELECT settle_listing(:'l', test.rules()) AS o \gset
SELECT is(test.broken('INSERT INTO orders (listing_id, bid_id, client_id, vendor_id, final_price, commission_rate, agent_commission, platform_fee)
    SELECT listing_id, bid_id, client_id, vendor_id, 1, 0, 0, 0 FROM orders'), 'one_order_per_listing', 'one order a listing');
SELECT is(test.broken('UPDATE orders SET final_price = 1'), 'an order''s parties and prices are not changed', 'a price is final');
SELECT is(test.broken('UPDATE orders SET rating = 5, rated_at = now()'), 'rated_once_delivered', 'rated once delivered');
SELECT is(test.broken(format('UPDATE orders SET status = %L', s)), 'an order''s status moves along its path', format('pending_pickup does not become %s', s))
    FROM unnest(ARRAY['in_transit', 'delivered', 'completed']) s;
SELECT is(test.broken(format('UPDATE orders SET status = %L', s)), NULL, format('then %s', s)) FROM unnest(ARRAY['picked_up', 'in_transit', 'delivered']) s;
SELECT is(test.broken('UPDATE orders SET status = ''cancelled'''), 'an order''s status moves along its path', 'what is delivered is not cancelled');
SELECT is(test.broken('UPDATE orders SET status = ''completed'''), NULL, 'then completed');

-- ---- tasks ----
INSERT INTO agent_tasks (agent_id, order_id, type, description) VALUES (:'agent', :'o', 'pickup', 'x');
SELECT is(test.broken(format('INSERT INTO agent_tasks (agent_id, order_id, type, description) VALUES (%L, %L, ''pickup'', ''x'')', :'agent', :'o')),
    'one_open_task_per_order_and_type', 'an open task of a kind is one agent''s');
SELECT is(test.broken('UPDATE agent_tasks SET status = ''completed'''), 'a task''s status moves along its path', 'a task is accepted before it is completed');
SELECT is(test.broken(format('UPDATE agent_tasks SET status = %L', s)), NULL, format('then %s', s)) FROM unnest(ARRAY['accepted', 'in_progress', 'failed']) s;
SELECT is(test.broken('UPDATE agent_tasks SET status = ''accepted'''), 'a task''s status moves along its path', 'what failed has failed');

-- ---- the audit log ----
INSERT INTO audit_log (actor_id, action, target) SELECT id, 'user.update', 'x' FROM users LIMIT 1;
SELECT is(test.broken(sql), 'the audit log is only added to', format('the audit log is only added to: %s', sql))
    FROM (VALUES ($$UPDATE audit_log SET action = 'x'$$), ($$UPDATE audit_log SET created_at = now()$$), ($$UPDATE audit_log SET request_id = 'x'$$),
                 ($$DELETE FROM audit_log$$), ($$TRUNCATE audit_log$$)) x(sql);

SELECT * FROM finish();
ROLLBACK;
