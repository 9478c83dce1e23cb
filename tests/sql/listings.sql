-- What happens to a listing besides bids: it is made, looked at, watched, decided upon; and what is kept
-- under an Idempotency-Key.
BEGIN;
\ir fixtures.inc
SELECT no_plan();

SELECT test.user('CLIENT', 'Owner') AS owner, test.user('CLIENT') AS stranger, test.user('VENDOR') AS vendor, test.user('ADMIN') AS admin \gset

-- ---- made ----
CREATE FUNCTION pg_temp.form(p_client uuid, p_imei1 text, p_imei2 text DEFAULT NULL, p_over jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', gen_random_uuid(), 'client_id', p_client, 'brand', 'Apple', 'model', 'iPhone 13', 'storage', '128GB',
        'color', 'Blue', 'condition', 'Good', 'imei1_sealed', '\x00', 'imei1_hash', p_imei1::bytea::text, 'imei1_last4', '2345',
        'imei2_sealed', CASE WHEN p_imei2 IS NOT NULL THEN '\x00' END, 'imei2_hash', p_imei2::bytea::text, 'imei2_last4', CASE WHEN p_imei2 IS NOT NULL THEN '6789' END,
        'battery_health', 88, 'asking_price', 4500000, 'description', 'Clean.', 'photo_count', 4, 'has_warranty', false, 'street_sealed', '\x00',
        'city', 'Kochi', 'state', 'Kerala', 'pincode', '682001', 'pickup_time', 'morning', 'metadata', '{"contactName": "Anu"}'::jsonb) || p_over
$$;
SELECT pg_temp.form(:'owner', 'a', 'b') AS form \gset
SELECT is(create_listing(:'form'), 'ok', 'a listing is made');
SELECT row_eq(format('SELECT status, client_id, asking_price, metadata, bid_count, auction_end, approved_at FROM listings WHERE id = %L', (:'form'::jsonb) ->> 'id'),
    ROW('pending'::text, :'owner'::uuid, 4500000::bigint, '{"contactName": "Anu"}'::jsonb, 0, NULL::timestamptz, NULL::timestamptz), 'pending, and nothing else');
SELECT is((SELECT count(*)::int FROM events WHERE name = 'listing_submitted' AND ref = ((:'form'::jsonb) ->> 'id')::uuid AND user_id IS NULL), 1, 'the admins hear of it');
SELECT is(create_listing(pg_temp.form(:'stranger', 'b')), 'duplicate_imei', 'an IMEI of an open listing is taken');
SELECT is((SELECT count(*)::int FROM listings WHERE client_id = :'stranger'), 0, 'and nothing stays of the attempt');
SELECT is((SELECT count(*)::int FROM events WHERE name = 'listing_submitted'), 1, 'no event either');
SELECT throws_ok(format('SELECT create_listing(%L)', pg_temp.form(:'owner', 'e') || jsonb_build_object('id', (:'form'::jsonb) ->> 'id')), '23505', NULL,
    'an id that is taken is our mistake, and no duplicate of a phone');
SELECT is(create_listing(pg_temp.form(:'stranger', 'c') || '{"status": "live", "auction_end": "2030-01-01", "highest_amount": 5, "approved_at": "2020-01-01"}'), 'ok',
    'a form that says it is live');
SELECT is((SELECT status FROM listings WHERE client_id = :'stranger'), 'pending', 'is not');
SELECT throws_ok(format('SELECT create_listing(%L)', pg_temp.form(:'owner', 'd') || '{"photo_count": 3}'), '23514', NULL, 'what the program should have refused is refused here');

-- ---- looked at ----
CREATE FUNCTION pg_temp.views(p_listing uuid) RETURNS bigint LANGUAGE sql AS $$ SELECT views FROM listing_counts WHERE listing_id = p_listing $$;
SELECT test.listing(:'owner', 4500000) AS live, test.listing(:'owner', 4500000, '1 hour', 'pending') AS pending \gset
SELECT count_view(:'stranger', :'live'), count_view(NULL, :'live'), count_view(:'admin', :'live') \g /dev/null
SELECT is(pg_temp.views(:'live'), 3::bigint, 'a stranger, nobody in particular and an admin are counted');
SELECT count_view(:'owner', :'live') \g /dev/null
SELECT is(pg_temp.views(:'live'), 3::bigint, 'the owner is not');
SELECT count_view(:'stranger', :'pending'), count_view(NULL, :'pending') \g /dev/null
SELECT is(pg_temp.views(:'pending'), 0::bigint, 'nobody looks at what he may not see');

-- ---- watched ----
SELECT is(watch_listing(:'stranger', :'live', true), 1::bigint, 'one watches');
SELECT is(watch_listing(:'stranger', :'live', true), 1::bigint, 'twice is once');
SELECT is(watch_listing(:'vendor', :'live', true), 2::bigint, 'two watch');
SELECT is(watch_listing(:'stranger', :'live', false), 1::bigint, 'one stops');
SELECT is(watch_listing(:'stranger', :'live', false), 1::bigint, 'twice is once');
SELECT is(watch_listing(:'stranger', :'pending', true), NULL, 'there is nothing to watch for who may not see it');
SELECT is(watch_listing(:'owner', :'pending', true), 1::bigint, 'but for its owner');
SELECT is(watch_listing(:'owner', gen_random_uuid(), true), NULL, 'nor where there is no listing');

-- ---- decided ----
SELECT is((decide_listing(:'admin', gen_random_uuid(), true, NULL, 24, '10.0.0.1', 'r')).code, 'not_found', 'no listing, nothing to decide');
SELECT is((decide_listing(:'admin', :'pending', true, NULL, 0.5, '10.0.0.1', 'r1')).code, 'ok', 'approved');
SELECT row_eq(format('SELECT status, approved_by, auction_end - approved_at, rejection_reason FROM listings WHERE id = %L', :'pending'),
    ROW('live'::text, :'admin'::uuid, interval '30 minutes', NULL::text), 'it is live at once, for the asked hours');
SELECT row_eq(format('SELECT code, state FROM decide_listing(%L, %L, false, ''x'', 24, '''', ''r2'')', :'admin', :'pending'), ROW('invalid_state'::text, 'live'::text),
    'what is decided is decided');
SELECT is((SELECT count(*)::int FROM notifications WHERE user_id = :'owner' AND type = 'listing_approved'), 1, 'the owner hears it');
SELECT test.listing(:'owner', 4500000, '1 hour', 'pending', 'imei') AS rejected \gset
SELECT is((decide_listing(:'admin', :'rejected', false, 'Blurred', 24, '10.0.0.1', 'r3')).code, 'ok', 'rejected');
SELECT row_eq(format('SELECT status, rejection_reason, approved_by, auction_end FROM listings WHERE id = %L', :'rejected'),
    ROW('rejected'::text, 'Blurred'::text, NULL::uuid, NULL::timestamptz), 'with its reason');
SELECT is((SELECT data ->> 'reason' FROM notifications WHERE user_id = :'owner' AND type = 'listing_rejected'), 'Blurred', 'which the owner hears');
SELECT is((SELECT count(*)::int FROM listing_imeis WHERE listing_id = :'rejected'), 0, 'and its IMEI is free');
SELECT results_eq($$SELECT action, ip, request_id FROM audit_log ORDER BY seq$$,
    $$VALUES ('listing.approve', '10.0.0.1', 'r1'), ('listing.reject', '10.0.0.1', 'r3')$$, 'the audit log says who decided what from where, and nothing of what was not decided');

-- ---- kept beside a listing ----
SELECT test.listing(:'owner', 4500000) AS beside, test.listing(:'owner', 4500000, '1 hour', 'pending') AS waiting \gset
SELECT watch_listing(:'stranger', :'beside', true), watch_listing(:'vendor', :'beside', true), watch_listing(:'vendor', :'waiting', true) \g /dev/null
SELECT is((SELECT watchers FROM listing_counts WHERE listing_id = :'beside'), 2, 'watchers are counted');
DELETE FROM watchers WHERE listing_id = :'beside';
SELECT is((SELECT watchers FROM listing_counts WHERE listing_id = :'beside'), 0, 'however they go');

CREATE FUNCTION pg_temp.live(p_listing uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', asking_price, condition, brand_key, (auction_end = (SELECT auction_end FROM listings WHERE id = p_listing))::text)
        FROM live_listings WHERE listing_id = p_listing $$;
-- The totals of the market for all sorts of filters, by the sums and one by one.
CREATE FUNCTION pg_temp.wrong_totals() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', b, c, low, high, live_total(b, c, low, high), x.n)
    FROM unnest(ARRAY[NULL, 'apple', 'PEAR', 'nothing']) b, unnest(ARRAY[NULL, 'Good', 'Fair']) c,
         unnest(ARRAY[NULL, 0, 4400000, 4400001, 4449999, 4450000, 4500000, 100000000000000]) low,
         unnest(ARRAY[NULL, 0, 4399999, 4400000, 4449999, 4450000, 4500001, 100000000000000]) high,
    LATERAL (SELECT count(*) AS n FROM listings WHERE status = 'live' AND auction_end > now() AND (b IS NULL OR brand_key = lower(b))
                 AND (c IS NULL OR condition = c) AND (low IS NULL OR asking_price >= low) AND (high IS NULL OR asking_price <= high)) x
    WHERE live_total(b, c, low, high) <> x.n $$;
CREATE FUNCTION pg_temp.edition(p_listing uuid) RETURNS int LANGUAGE sql AS $$ SELECT edition FROM listings WHERE id = p_listing $$;
SELECT is(pg_temp.live(:'beside'), '4500000 Good apple true', 'a live listing is among the live ones');
SELECT is(pg_temp.live(:'waiting'), NULL, 'a pending one is not');
SELECT decide_listing(:'admin', :'waiting', true, NULL, 24, '10.0.0.1', 'r4') \g /dev/null
SELECT is(pg_temp.live(:'waiting'), '4500000 Good apple true', 'until it is approved');
SELECT cmp_ok(pg_temp.edition(:'waiting'), '>', 0, 'which it then says of itself');
SELECT pg_temp.edition(:'beside') AS edition \gset
SELECT (test.bid(:'vendor', :'beside', 1000000)).code \g /dev/null
SELECT is(pg_temp.edition(:'beside'), :edition, 'a bid changes nothing of what a listing says');
UPDATE listings SET auction_end = auction_end + interval '1 minute' WHERE id = :'beside';
SELECT is(pg_temp.edition(:'beside'), :edition + 1, 'a later end does');
SELECT is(pg_temp.live(:'beside'), '4500000 Good apple true', 'and the live ones know it');
UPDATE listings SET brand = 'Pear', asking_price = 4400000, condition = 'Fair' WHERE id = :'beside';
SELECT is(pg_temp.live(:'beside'), '4400000 Fair pear true', 'as they know whatever else changes');
SELECT is(pg_temp.edition(:'beside'), :edition + 2, 'which is one more edition');
SELECT is_empty('SELECT pg_temp.wrong_totals()', 'and the totals of the market, whatever it is filtered by');
SELECT count(*) AS changes FROM live_changes \gset
SELECT is(fold_live_changes(), 0::bigint, 'a few changes are not moved');
SELECT results_eq('SELECT count(*), count(*) > 0 FROM live_changes', format('VALUES (%s::bigint, true)', :changes), 'but left where they are');
INSERT INTO live_changes SELECT brand_key, step, condition, n FROM live_changes, generate_series(1, 1000);
INSERT INTO live_changes SELECT brand_key, step, condition, -sum(n) * 1000 / 1001 FROM live_changes GROUP BY 1, 2, 3;
SELECT cmp_ok(fold_live_changes(), '>', 1000::bigint, 'changes are moved into the counts when they are many');
SELECT is((SELECT count(*)::int FROM live_changes), 0, 'all of them');
SELECT is((SELECT count(*)::int FROM live_counts WHERE n <= 0), 0, 'and no count is kept of what is not there');
SELECT is_empty('SELECT pg_temp.wrong_totals()', 'which changes no total');
UPDATE listings SET auction_end = now() - interval '1 second' WHERE id = :'waiting';
SELECT is_empty('SELECT pg_temp.wrong_totals()', 'nor does an end that nobody has seen to yet spoil one');
SELECT settle_listing(:'beside', test.rules()) \g /dev/null
SELECT is_empty('SELECT pg_temp.wrong_totals()', 'nor a sale');
SELECT is(pg_temp.live(:'beside'), NULL, 'what is sold is not live');
SELECT settle_listing(:'waiting', test.rules()) \g /dev/null
SELECT is(pg_temp.live(:'waiting'), NULL, 'nor is what has expired');
SELECT is((SELECT count(*)::int FROM information_schema.columns c WHERE table_name = 'listings'
               AND column_name <> ALL ('{id,imei1_sealed,imei1_hash,imei2_sealed,imei2_hash,street_sealed,landmark_sealed,ending_sent_at,highest_bid_id,highest_amount,highest_vendor,highest_at,bid_count,bidder_count,alias_seed,edition,brand_key,words}'::text[])
               AND column_name <> 'auction_end'
               AND NOT EXISTS (SELECT FROM information_schema.triggered_update_columns t
                               WHERE t.event_object_table = 'listings' AND t.trigger_name = 'listing_says_something_else' AND t.event_object_column = c.column_name)),
    0, 'a new column of a listing is of its editions, or named here as one that nobody sees');

-- ---- kept answers ----
SELECT is((SELECT count(*)::int FROM claim_idempotency_key(:'owner', 'POST /listings', 'k', 'body')), 0, 'a new key');
SELECT keep_idempotency_key(:'owner', 'POST /listings', 'k', 'body', 201, '\x01') \g /dev/null
SELECT results_eq(format('SELECT other, status, answer FROM claim_idempotency_key(%L, ''POST /listings'', ''k'', ''body'')', :'owner'),
    format('VALUES (false, 201, %L::text)', :'owner' || '\x01'), 'the same body: the answer that was kept');
SELECT is((SELECT other FROM claim_idempotency_key(:'owner', 'POST /listings', 'k', 'another')), true, 'another body is told apart');
SELECT is((SELECT count(*)::int FROM claim_idempotency_key(:'stranger', 'POST /listings', 'k', 'body')), 0, 'another person''s key is another key');
SELECT is((SELECT count(*)::int FROM claim_idempotency_key(:'owner', 'POST /bids', 'k', 'body')), 0, 'as is one of another route');
UPDATE idempotency_keys SET created_at = now() - interval '24 hours' WHERE key = 'k';
SELECT is((SELECT count(*)::int FROM claim_idempotency_key(:'owner', 'POST /listings', 'k', 'body')), 0, 'after a day it is new');
SELECT keep_idempotency_key(:'owner', 'POST /listings', 'k', 'new body', 400, '\x02') \g /dev/null
SELECT is((SELECT status FROM claim_idempotency_key(:'owner', 'POST /listings', 'k', 'new body')), 400, 'and takes another answer');

SELECT * FROM finish();
ROLLBACK;
