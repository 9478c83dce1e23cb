-- check.sql -- what is true of every sound database of this service: a rule a row, the number of rows that
-- break it and the first of those.  It only reads.  `sellikoctl check` asks it of a living database,
-- selliko-backup --verify and selliko-restore of a restored one, tests/faults/auction of one under fire.
--
-- It is no migration: a rule may be sharpened, and is then asked of older databases as well.  What is thrown
-- away after a while (events, finished messages, keys) or may have been refused (muted notifications) is
-- only held to be there at most once.

SELECT rule, cardinality(broken) AS broken, array_to_string(broken[1:5], ', ') AS which FROM (

    -- bids
    SELECT 'the amounts of a listing''s bids rise with their times and numbers' AS rule,
           ARRAY(SELECT b.id::text FROM
                    (SELECT id, nth, row_number() OVER w AS nth_is, placed_at, lag(placed_at) OVER w AS before
                     FROM bids WINDOW w AS (PARTITION BY listing_id ORDER BY amount)) b
                 WHERE b.nth <> b.nth_is OR b.placed_at <= b.before) AS broken
    UNION ALL SELECT 'no bid is placed at or after the auction''s end',
           ARRAY(SELECT b.id::text FROM bids b JOIN listings l ON l.id = b.listing_id
                 WHERE l.auction_end IS NULL OR b.placed_at >= l.auction_end)
    UNION ALL SELECT 'a bid wins instantly when it reaches the asking price, and is the last one',
           ARRAY(SELECT b.id::text FROM bids b JOIN listings l ON l.id = b.listing_id
                 WHERE b.is_instant_win <> (b.amount >= l.asking_price)
                    OR b.is_instant_win AND (l.status <> 'sold' OR l.highest_bid_id <> b.id))
    UNION ALL SELECT 'nobody bids on what he sells himself',
           ARRAY(SELECT b.id::text FROM bids b JOIN listings l ON l.id = b.listing_id WHERE b.vendor_id = l.client_id)
    UNION ALL SELECT 'a bidder has one alias in a listing, and nobody else has it',
           ARRAY(SELECT DISTINCT b.listing_id::text FROM bids b
                     LEFT JOIN bidders x ON x.listing_id = b.listing_id AND x.vendor_id = b.vendor_id
                     WHERE x.alias IS DISTINCT FROM b.alias
                 UNION SELECT listing_id::text FROM bidders GROUP BY listing_id, alias HAVING count(*) > 1)
    UNION ALL SELECT 'the winning bid of a listing is its highest, and the listing says so',
           ARRAY(SELECT l.id::text FROM listings l
                     LEFT JOIN LATERAL (SELECT * FROM bids b WHERE b.listing_id = l.id ORDER BY amount DESC LIMIT 1) b ON true
                 WHERE (l.highest_bid_id, l.highest_amount, l.highest_vendor, l.highest_at)
                       IS DISTINCT FROM (b.id, b.amount, b.vendor_id, b.placed_at))
    UNION ALL SELECT 'a listing counts its bids and bidders',
           ARRAY(SELECT l.id::text FROM listings l
                 WHERE bid_count <> (SELECT count(*) FROM bids b WHERE b.listing_id = l.id)
                    OR bidder_count <> (SELECT count(DISTINCT vendor_id) FROM bids b WHERE b.listing_id = l.id)
                    OR bidder_count <> (SELECT count(*) FROM bidders b WHERE b.listing_id = l.id))

    UNION ALL SELECT 'the live listings are told apart as they are',
           ARRAY(SELECT coalesce(l.id, x.listing_id)::text FROM (SELECT * FROM listings WHERE status = 'live') l
                     FULL JOIN live_listings x ON x.listing_id = l.id
                 WHERE (l.approved_at, l.auction_end, l.asking_price, l.condition, l.brand_key)
                       IS DISTINCT FROM (x.approved_at, x.auction_end, x.asking_price, x.condition, x.brand_key))
    UNION ALL SELECT 'the live listings are counted by brand, price and condition',
           ARRAY(SELECT concat_ws(' ', x.brand_key, x.step, x.condition)
                 FROM (SELECT b AS brand_key, price_step(asking_price) AS step, condition, count(*) AS n
                       FROM live_listings, unnest(ARRAY['', brand_key]) b GROUP BY 1, 2, 3) x
                     FULL JOIN (SELECT brand_key, step, condition, sum(n) AS n
                                FROM (SELECT * FROM live_counts UNION ALL SELECT * FROM live_changes) c GROUP BY 1, 2, 3) c
                     USING (brand_key, step, condition)
                 WHERE coalesce(x.n, 0) <> coalesce(c.n, 0))
    UNION ALL SELECT 'a listing counts its watchers',
           ARRAY(SELECT l.id::text FROM listings l LEFT JOIN listing_counts c ON c.listing_id = l.id
                 WHERE c.watchers IS DISTINCT FROM (SELECT count(*) FROM watchers w WHERE w.listing_id = l.id))

    -- sales and orders
    UNION ALL SELECT 'a sold listing has one order, another listing none',
           ARRAY(SELECT l.id::text FROM listings l
                 WHERE (SELECT count(*) FROM orders o WHERE o.listing_id = l.id) <> (l.status = 'sold')::int)
    UNION ALL SELECT 'an order is of a sold listing, its seller, its winning bid, that bid''s bidder and amount',
           ARRAY(SELECT o.id::text FROM orders o LEFT JOIN listings l ON l.id = o.listing_id LEFT JOIN bids b ON b.id = o.bid_id
                 WHERE (l.status = 'sold' AND l.client_id = o.client_id AND l.highest_bid_id = o.bid_id
                        AND b.listing_id = o.listing_id AND b.vendor_id = o.vendor_id AND b.amount = o.final_price) IS NOT TRUE)
    UNION ALL SELECT 'a phone is sold at its auction''s end, or before it by an instant win alone',
           ARRAY(SELECT o.id::text FROM orders o JOIN listings l ON l.id = o.listing_id JOIN bids b ON b.id = o.bid_id
                 WHERE o.created_at < l.auction_end AND NOT b.is_instant_win)
    UNION ALL SELECT 'an agent''s commission is its share of the price',
           ARRAY(SELECT id::text FROM orders WHERE agent_commission <> share_of(final_price, commission_rate))
    UNION ALL SELECT 'an order''s state is the last of its history, which begins with pending_pickup, once, and stands in the order too',
           ARRAY(SELECT o.id::text FROM orders o
                     LEFT JOIN LATERAL (SELECT (array_agg(h.status ORDER BY h.id))[1] AS first,
                                               (array_agg(h.status ORDER BY h.id DESC))[1] AS last,
                                               json_agg(h.status ORDER BY h.id)::text AS statuses,
                                               count(*) FILTER (WHERE h.status = 'pending_pickup') AS begun
                                        FROM order_history h WHERE h.order_id = o.id) h ON true
                 WHERE (h.last = o.status AND h.first = 'pending_pickup' AND h.begun = 1
                        AND h.statuses = (SELECT json_agg(s ->> 'status' ORDER BY n)::text
                                          FROM json_array_elements(o.status_history) WITH ORDINALITY x(s, n))) IS NOT TRUE)
    UNION ALL SELECT 'a task says of its order what is so',
           ARRAY(SELECT t.id::text FROM agent_tasks t JOIN orders o ON o.id = t.order_id
                 WHERE (t.listing_id, t.client_id, t.in_charge) IS DISTINCT FROM (o.listing_id, o.client_id, (o.agent_id = t.agent_id) IS TRUE))
    UNION ALL SELECT 'the sums of orders are those of the orders',
           ARRAY(SELECT s.revenue || ' and ' || s.fees FROM
                     (SELECT sum(revenue) AS revenue, sum(fees) AS fees FROM order_sums) s,
                     (SELECT coalesce(sum(final_price), 0) AS revenue, coalesce(sum(platform_fee), 0) AS fees
                      FROM orders WHERE status <> 'cancelled') o
                 WHERE s.revenue <> o.revenue OR s.fees <> o.fees)

    -- what people are told
    UNION ALL SELECT 'nobody is told twice of the same bid or end',
           ARRAY(SELECT min(id::text) FROM notifications
                 WHERE type IN ('bid_placed', 'outbid', 'auction_won', 'auction_lost', 'auction_expired', 'auction_ending')
                   AND data ? 'listingId'
                 GROUP BY user_id, type, data ->> 'listingId', data ->> 'bidId' HAVING count(*) > 1)
    UNION ALL SELECT 'nobody is told of a bid or an end that is none, or that is not his',
           ARRAY(SELECT n.id::text FROM notifications n
                     LEFT JOIN listings l ON l.id = (n.data ->> 'listingId')::uuid
                     LEFT JOIN bids b ON b.id = (n.data ->> 'bidId')::uuid
                     LEFT JOIN bids before ON before.listing_id = b.listing_id AND before.nth = b.nth - 1
                 WHERE n.data ? 'listingId'
                   AND CASE n.type WHEN 'bid_placed' THEN n.user_id = l.client_id AND b.listing_id = l.id
                                   WHEN 'outbid' THEN b.listing_id = l.id AND before.vendor_id = n.user_id
                                   WHEN 'auction_won' THEN l.status = 'sold' AND n.user_id = l.highest_vendor
                                   WHEN 'auction_lost' THEN l.status = 'sold' AND n.user_id <> l.highest_vendor
                                        AND EXISTS (SELECT FROM bidders x WHERE x.listing_id = l.id AND x.vendor_id = n.user_id)
                                   WHEN 'auction_expired' THEN l.status = 'expired' AND n.user_id = l.client_id
                                   ELSE true END IS NOT TRUE)
    UNION ALL SELECT 'whom a notification or a message is for is there, and the notification of a message, too',
           ARRAY(SELECT n.id::text FROM notifications n WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = n.user_id)
                 UNION ALL SELECT q.id::text FROM whatsapp_queue q
                     WHERE q.user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = q.user_id)
                        OR q.notification_id IS NOT NULL AND NOT EXISTS (SELECT FROM notifications n WHERE n.id = q.notification_id))
    UNION ALL SELECT 'a notification has one message at most, to the same person',
           ARRAY(SELECT min(q.id)::text FROM whatsapp_queue q WHERE notification_id IS NOT NULL GROUP BY notification_id HAVING count(*) > 1
                 UNION ALL SELECT q.id::text FROM whatsapp_queue q JOIN notifications n ON n.id = q.notification_id
                     WHERE q.user_id <> n.user_id)
    UNION ALL SELECT 'a bid, an end and a notification are announced once at most',
           ARRAY(SELECT min(id)::text FROM events WHERE name IN ('new_bid', 'auction_won', 'notification') GROUP BY name, ref HAVING count(*) > 1
                 UNION ALL SELECT min(id)::text FROM events WHERE name = 'auction_ended' GROUP BY listing_id HAVING count(*) > 1)

    -- keys, IMEIs, sealed fields, migrations
    UNION ALL SELECT 'a bid is kept under one Idempotency-Key at most, and is as its answer says',
           ARRAY(SELECT k.key FROM (SELECT *, count(*) OVER (PARTITION BY outcome ->> 'bid_id') AS of_this_bid FROM idempotency_keys
                                    WHERE outcome ->> 'code' = 'accepted') k
                     LEFT JOIN bids b ON b.id = (k.outcome ->> 'bid_id')::uuid
                 WHERE k.of_this_bid > 1
                    OR (b.vendor_id, b.listing_id, b.amount, b.placed_at) IS DISTINCT FROM
                       (k.user_id, (k.outcome ->> 'listing_id')::uuid, (k.outcome ->> 'amount')::bigint, (k.outcome ->> 'placed_at')::timestamptz))
    UNION ALL SELECT 'pending and live listings, and no others, hold their IMEIs',
           ARRAY(SELECT coalesce(l.id, i.listing_id)::text FROM
                     (SELECT id, h FROM listings, unnest(ARRAY[imei1_hash, imei2_hash]) h
                          WHERE status IN ('pending', 'live') AND h IS NOT NULL) l
                     FULL JOIN listing_imeis i ON i.listing_id = l.id AND i.imei_hash = l.h
                 WHERE l.id IS NULL OR i.listing_id IS NULL)
    UNION ALL SELECT 'the key of each sealed phone is in the keyring',
           ARRAY(SELECT u.id::text FROM users u WHERE NOT EXISTS (SELECT FROM encryption_keys k
                 WHERE k.purpose = 'seal' AND k.version = ('x' || encode(substr(u.phone_sealed, 1, 4), 'hex'))::bit(32)::int))
    UNION ALL SELECT 'the database says which migrations it has seen',
           ARRAY(SELECT 'none' FROM schema_migrations HAVING count(*) = 0)
) rules ORDER BY cardinality(broken) DESC, rule;
