\set k random(1, 12000)
\set v random(1, 50)
SELECT p.code FROM bench_listings b JOIN listings l ON l.id = b.id, bench_vendors v,
    LATERAL place_bids(ARRAY[v.session], ARRAY[v.id], ARRAY[l.id], ARRAY[coalesce(l.highest_amount, 90000) + 10000],
        ARRAY[NULL::text], ARRAY[NULL::bytea], ARRAY[NULL::text], '(10000,0,2,5)', 0, 0) p
    WHERE b.k = :k AND v.k = :v;
