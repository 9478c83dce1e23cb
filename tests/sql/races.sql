-- Two at the same moment, each on a connection of its own.  What a lock holds together comes apart
-- here when the lock is taken away: a waits in its open transaction until b has asked.
\ir fixtures.inc
SELECT no_plan();
SET statement_timeout = '30s';   -- who waits where nobody should would wait for ever

SELECT format('host=%s dbname=%s user=%s', current_setting('unix_socket_directories'), current_database(), current_user) AS here \gset
SELECT dblink_connect('a', :'here'), dblink_connect('b', :'here') \g /dev/null

SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS v1, test.user('VENDOR') AS v2 \gset
SELECT test.session(:'v1'), test.session(:'v2') \g /dev/null

-- ---- two bids of the same amount ----
SELECT test.listing(:'client', 2500000) AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (test.bid(%L, %L, 200000)).code', :'v1', :'l')) r(x text)), 'accepted', 'one bids');
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 200000)).code', :'v2', :'l')), 'the other waits for him');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'bid_too_low', 'and is judged on what he left');
SELECT is((SELECT bid_count FROM listings WHERE id = :'l'), 1, 'one bid');

-- ---- two instant wins ----
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (test.bid(%L, %L, 2500000)).code', :'v1', :'l')) r(x text)), 'accepted', 'one wins instantly');
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 2600000)).code', :'v2', :'l')), 'the other waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'auction_ended', 'and hears that it ended');
SELECT is((SELECT count(*)::int FROM orders WHERE listing_id = :'l'), 1, 'one order');

-- ---- a winner who takes it back (his transaction fails) ----
SELECT test.listing(:'client', 2500000) AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (test.bid(%L, %L, 2500000)).code', :'v1', :'l')) r(x text)), 'accepted', 'one wins');
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 2500000)).code', :'v2', :'l')), 'the other waits');
SELECT dblink_exec('a', 'ROLLBACK') \g /dev/null
SELECT is(test.answer('b'), 'accepted', 'and wins when the first came to nothing');
SELECT is((SELECT vendor_id FROM orders WHERE listing_id = :'l'), :'v2'::uuid, 'the order is his');

-- ---- a bid and the closing ----
SELECT test.listing(:'client', 2500000, '0.6 seconds') AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (test.bid(%L, %L, 200000)).code', :'v1', :'l')) r(x text)), 'accepted', 'a last bid, in time');
SELECT pg_sleep(0.7) \g /dev/null
SELECT is(close_auctions(10, test.rules()), 0, 'the closer does not wait for who holds the listing');
SELECT is((SELECT status FROM listings WHERE id = :'l'), 'live', 'nor closes over his head');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(close_auctions(10, test.rules()), 1, 'the next run closes it');
SELECT is((SELECT vendor_id FROM orders WHERE listing_id = :'l'), :'v1'::uuid, 'and the last bid has it');

SELECT test.listing(:'client', 2500000, '0.6 seconds') AS l \gset
SELECT test.bid(:'v1', :'l', 200000) \g /dev/null
SELECT pg_sleep(0.7), dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', 'SELECT close_auctions(10, test.rules())::text') r(x text)), '1', 'a closer at work');
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 2500000)).code', :'v2', :'l')), 'a late bid waits');
SELECT is(close_auctions(10, test.rules()), 0, 'a second closer finds nothing');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'auction_ended', 'the bid was late');
SELECT row_eq(format('SELECT count(*)::int, min(vendor_id::text) FROM orders WHERE listing_id = %L', :'l'), ROW(1, :'v1'::text), 'one order');
SELECT is((SELECT count(*)::int FROM notifications WHERE type = 'auction_won' AND data ->> 'listingId' = :'l'), 1, 'one set of notifications');

-- a bid that waited across the end is judged when its turn comes, not when it came
SELECT test.listing(:'client', 2500000, '0.6 seconds') AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT * FROM dblink('a', format('SELECT 1 FROM listings WHERE id = %L FOR NO KEY UPDATE', :'l')) r(x int) \g /dev/null
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 200000)).code', :'v2', :'l')), 'a bid before the end waits over it');
SELECT pg_sleep(0.3), dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'auction_ended', 'and comes too late');

-- ---- an extension that the closer has not seen ----
SELECT test.listing(:'client', 2500000, '0.6 seconds') AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (test.bid(%L, %L, 200000, p_rules => test.rules(10000, ''1 minute''))).code', :'v1', :'l')) r(x text)), 'accepted',
    'a bid extends the auction');
SELECT pg_sleep(0.7), dblink_exec('a', 'COMMIT') \g /dev/null
SELECT close_auctions(10, test.rules()) \g /dev/null
SELECT is((SELECT status FROM listings WHERE id = :'l'), 'live', 'which is not closed at its first end');

-- ---- one idempotency key, twice at once ----
SELECT test.listing(:'client', 2500000) AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT x AS first FROM dblink('a', format('SELECT (test.bid(%L, %L, 200000, ''k'')).bid_id::text', :'v1', :'l')) r(x text) \gset
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 200000, ''k'')).bid_id::text', :'v1', :'l')), 'the same request waits for the first');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), :'first', 'and gets its answer');
-- also when the first names another listing, where no row lock is shared
SELECT test.listing(:'client', 2500000) AS m \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT * FROM dblink('a', format('SELECT (test.bid(%L, %L, 300000, ''other'', ''first'')).code', :'v1', :'l')) r(x text) \g /dev/null
SELECT ok(test.waits('b', format('SELECT (test.bid(%L, %L, 300000, ''other'', ''second'')).code', :'v1', :'m')), 'another body waits, too');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'idempotency_key_reused', 'and is refused');

-- ---- batches that name the same rows in opposite order do not wait for each other for ever ----
SELECT test.listing(:'client', 90000000) AS l, test.listing(:'client', 90000000) AS m \gset
CREATE PROCEDURE test.bidding(p_vendors uuid[], p_listings uuid[], p_from bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 150 LOOP
        PERFORM test.batch(p_vendors, p_listings, ARRAY[p_from + i * 100000, p_from + i * 100000], ARRAY['x' || i, 'y' || i], p_max => 1000000);
        COMMIT;
    END LOOP;
END $$;
SELECT dblink_send_query('a', format('CALL test.bidding(%L, %L, 100000)', ARRAY[:'v1', :'v2']::uuid[], ARRAY[:'l', :'m']::uuid[])) \g /dev/null
SELECT dblink_send_query('b', format('CALL test.bidding(%L, %L, 150000)', ARRAY[:'v2', :'v1']::uuid[], ARRAY[:'m', :'l']::uuid[])) \g /dev/null
SELECT isnt(test.answer('a'), '40P01', 'a: no deadlock');
SELECT isnt(test.answer('b'), '40P01', 'b: no deadlock');
SELECT ok((SELECT bool_and(l.bid_count = x.n AND l.highest_amount = x.top AND x.n = x.last AND l.bid_count > 100) FROM listings l,
    LATERAL (SELECT count(*), max(amount), max(nth) FROM bids b WHERE b.listing_id = l.id) x(n, top, last) WHERE l.id IN (:'l', :'m')), 'the sums are right');
SELECT is((SELECT count(*)::int FROM bids a JOIN bids b USING (listing_id) WHERE listing_id IN (:'l', :'m') AND a.nth = b.nth + 1
    AND (a.amount <= b.amount OR a.placed_at <= b.placed_at)), 0, 'amounts and times rise together');

-- ---- two listings with the same two IMEIs, crosswise ----
CREATE FUNCTION test.crosswise(p_round int, p_swap boolean) RETURNS text LANGUAGE sql AS $$
    SELECT test.listing((SELECT id FROM users WHERE role = 'CLIENT' LIMIT 1), 2500000, '1 hour', 'pending',
        CASE WHEN p_swap THEN 'right' ELSE 'left' END || p_round, CASE WHEN p_swap THEN 'left' ELSE 'right' END || p_round)::text $$;
CREATE PROCEDURE test.crossing(p_swap boolean) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 400 LOOP
        BEGIN
            PERFORM test.crosswise(i, p_swap);
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
        COMMIT;
    END LOOP;
END $$;
SELECT dblink_send_query('a', 'CALL test.crossing(false)'), dblink_send_query('b', 'CALL test.crossing(true)') \g /dev/null
SELECT isnt(test.answer('a'), '40P01', 'a: the second is a duplicate, not a deadlock');
SELECT isnt(test.answer('b'), '40P01', 'b: the second is a duplicate, not a deadlock');
SELECT is((SELECT count(*)::int FROM listing_imeis WHERE imei_hash LIKE 'left%'), 400, 'each pair is claimed once');

-- ---- the total of the live listings, while they come and go, some of them taken back, and are moved over ----
CREATE PROCEDURE test.coming_and_going(p_client uuid, p_base int) LANGUAGE plpgsql AS $$
DECLARE
    l uuid;
BEGIN
    FOR i IN 1 .. 200 LOOP
        l := test.listing(p_client, 100000 + (p_base + i) % 7 * 30000);
        IF i % 3 = 0 THEN
            ROLLBACK;
            CONTINUE;
        END IF;
        COMMIT;
        BEGIN   -- a subtransaction that comes to nothing
            UPDATE listings SET asking_price = asking_price + 100000, condition = 'Poor' WHERE id = l;
            IF i % 2 = 0 THEN
                RAISE EXCEPTION 'taken back';
            END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
        IF i % 4 <> 0 THEN
            UPDATE listings SET status = 'expired' WHERE id = l;
        END IF;
        INSERT INTO live_changes SELECT '', -1, 'Good', (-1) ^ n FROM generate_series(1, 500) n;   -- so many are moved
        PERFORM fold_live_changes();
        IF i % 5 = 0 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
    END LOOP;
END $$;
SELECT dblink_send_query('a', format('CALL test.coming_and_going(%L, 0)', :'client')),
       dblink_send_query('b', format('CALL test.coming_and_going(%L, 3)', :'client')) \g /dev/null
CREATE TABLE test.totals (looks int, wrong int);
DO $$
DECLARE
    looks int := 0;
    wrong int := 0;
BEGIN
    WHILE dblink_is_busy('a') = 1 OR dblink_is_busy('b') = 1 OR looks = 0 LOOP   -- each look is of one snapshot
        looks := looks + 1;
        IF EXISTS (SELECT FROM (VALUES (NULL, NULL::bigint, NULL::bigint), ('Poor', NULL, NULL), ('Good', 130000, 220000)) f(c, low, high)
                   WHERE live_total('apple', c, low, high) IS DISTINCT FROM (SELECT count(*) FROM listings x
                       WHERE status = 'live' AND auction_end > now() AND brand = 'Apple' AND (c IS NULL OR x.condition = c)
                         AND (low IS NULL OR asking_price >= low) AND (high IS NULL OR asking_price <= high))) THEN
            wrong := wrong + 1;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    INSERT INTO test.totals VALUES (looks, wrong);
END $$;
SELECT is(test.answer('a'), 'CALL', 'a: nothing fails');
SELECT is(test.answer('b'), 'CALL', 'b: nothing fails');
SELECT cmp_ok((SELECT looks FROM test.totals), '>', 5, 'while they come and go the total is looked at');
SELECT is((SELECT wrong FROM test.totals), 0, 'at no moment is the total another one than the number');
SELECT cmp_ok((SELECT count(*) FROM live_counts WHERE step >= 0), '>', 0::bigint, 'and something was moved over');

-- ---- two administrators ----
SELECT test.user('ADMIN') AS admin \gset
SELECT test.listing(:'client', 2500000, '1 hour', 'pending') AS l \gset
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT is((SELECT x FROM dblink('a', format('SELECT (decide_listing(%L, %L, true, NULL, 24, '''', '''')).code', :'admin', :'l')) r(x text)), 'ok', 'one approves');
SELECT ok(test.waits('b', format('SELECT (decide_listing(%L, %L, false, ''x'', 24, '''', '''')).code', :'admin', :'l')), 'the other waits');
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), 'invalid_state', 'and hears that it is decided');

-- ---- one key for two forms at once ----
SELECT dblink_exec('a', 'BEGIN') \g /dev/null
SELECT * FROM dblink('a', format('SELECT count(*) FROM claim_idempotency_key(%L, ''POST /listings'', ''form'', ''body'')', :'client')) r(x int) \g /dev/null
SELECT ok(test.waits('b', format('SELECT status::text FROM claim_idempotency_key(%L, ''POST /listings'', ''form'', ''body'')', :'client')), 'who comes while the first is under way waits');
SELECT * FROM dblink('a', format('SELECT keep_idempotency_key(%L, ''POST /listings'', ''form'', ''body'', 201, ''\x01'')::text', :'client')) r(x text) \g /dev/null
SELECT dblink_exec('a', 'COMMIT') \g /dev/null
SELECT is(test.answer('b'), '201', 'and gets its answer');

-- ---- a limit hit by two at once ----
CREATE PROCEDURE test.hitting() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 200 LOOP
        PERFORM rate_hit('shared', 1000, 3600);
        COMMIT;
    END LOOP;
END $$;
SELECT dblink_send_query('a', 'CALL test.hitting()'), dblink_send_query('b', 'CALL test.hitting()') \g /dev/null
SELECT test.answer('a'), test.answer('b') \g /dev/null
SELECT is((SELECT hits FROM rate_limits WHERE key = 'shared'), 400, 'no hit is lost');

SELECT dblink_disconnect('a'), dblink_disconnect('b') \g /dev/null
SELECT * FROM finish();
