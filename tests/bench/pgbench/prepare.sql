-- Numbered live listings with room below their asking price, numbered vendors with a session each.
DROP TABLE IF EXISTS bench_listings, bench_vendors;
CREATE TABLE bench_listings AS SELECT row_number() OVER (ORDER BY id)::int AS k, id FROM listings
    WHERE status = 'live' AND asking_price - coalesce(highest_amount, 0) > 500000;
ALTER TABLE bench_listings ADD PRIMARY KEY (k);
CREATE TABLE bench_vendors AS SELECT row_number() OVER (ORDER BY u.id)::int AS k, u.id,
    (SELECT s.id FROM sessions s WHERE s.user_id = u.id ORDER BY s.expires_at DESC LIMIT 1) AS session
    FROM users u WHERE u.role = 'VENDOR' AND EXISTS (SELECT FROM sessions s WHERE s.user_id = u.id);
ALTER TABLE bench_vendors ADD PRIMARY KEY (k);
ANALYZE bench_listings, bench_vendors;
