-- backup-rules.sql -- what is true of every sound database of this service, a rule a row with the number
-- of rows that break it.  selliko-backup --verify and selliko-restore ask it of a restored database; it
-- may be asked of a living one as well.

SELECT rule, broken FROM (
    SELECT 'a sold listing has one order' AS rule,
           (SELECT count(*) FROM listings l WHERE l.status = 'sold'
                AND (SELECT count(*) FROM orders o WHERE o.listing_id = l.id) <> 1) AS broken
    UNION ALL SELECT 'an order is of a sold listing, its seller, its winning bid, that bid''s bidder and amount',
           (SELECT count(*) FROM orders o LEFT JOIN listings l ON l.id = o.listing_id LEFT JOIN bids b ON b.id = o.bid_id
                WHERE (l.status = 'sold' AND l.client_id = o.client_id AND l.highest_bid_id = o.bid_id
                       AND b.listing_id = o.listing_id AND b.vendor_id = o.vendor_id AND b.amount = o.final_price) IS NOT TRUE)
    UNION ALL SELECT 'the winning bid of a listing is its highest, and the listing says so',
           (SELECT count(*) FROM listings l
                LEFT JOIN LATERAL (SELECT * FROM bids b WHERE b.listing_id = l.id ORDER BY amount DESC LIMIT 1) b ON true
                WHERE (l.highest_bid_id, l.highest_amount, l.highest_vendor, l.highest_at)
                      IS DISTINCT FROM (b.id, b.amount, b.vendor_id, b.placed_at))
    UNION ALL SELECT 'a listing counts its bids and bidders',
           (SELECT count(*) FROM listings l
                WHERE bid_count <> (SELECT count(*) FROM bids b WHERE b.listing_id = l.id)
                   OR bidder_count <> (SELECT count(DISTINCT vendor_id) FROM bids b WHERE b.listing_id = l.id))
    UNION ALL SELECT 'later bids are higher',
           (SELECT count(*) FROM (SELECT placed_at < lag(placed_at) OVER (PARTITION BY listing_id ORDER BY amount) AS earlier
                                  FROM bids) b WHERE earlier)
    UNION ALL SELECT 'an agent''s commission is its share of the price',
           (SELECT count(*) FROM orders WHERE agent_commission <> share_of(final_price, commission_rate))
    UNION ALL SELECT 'an order''s state is the last of its history',
           (SELECT count(*) FROM orders o WHERE o.status IS DISTINCT FROM
                (SELECT h.status FROM order_history h WHERE h.order_id = o.id ORDER BY h.id DESC LIMIT 1))
    UNION ALL SELECT 'the sums of orders are those of the orders',
           (SELECT count(*) FROM (SELECT sum(revenue) AS revenue, sum(fees) AS fees FROM order_sums) s,
                (SELECT coalesce(sum(final_price), 0) AS revenue, coalesce(sum(platform_fee), 0) AS fees
                 FROM orders WHERE status <> 'cancelled') o
                WHERE s.revenue <> o.revenue OR s.fees <> o.fees)
    UNION ALL SELECT 'pending and live listings, and no others, hold their IMEIs',
           (SELECT count(*) FROM
                (SELECT id, h FROM listings, unnest(ARRAY[imei1_hash, imei2_hash]) h
                     WHERE status IN ('pending', 'live') AND h IS NOT NULL) l
                FULL JOIN listing_imeis i ON i.listing_id = l.id AND i.imei_hash = l.h
                WHERE l.id IS NULL OR i.listing_id IS NULL)
    UNION ALL SELECT 'the key of each sealed phone is in the keyring',
           (SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT FROM encryption_keys k
                WHERE k.purpose = 'seal' AND k.version = ('x' || encode(substr(u.phone_sealed, 1, 4), 'hex'))::bit(32)::int))
    UNION ALL SELECT 'the database says which migrations it has seen',
           (SELECT (count(*) = 0)::int FROM schema_migrations)
) rules ORDER BY broken DESC, rule;
