-- What happens to a listing besides bids: looks, watchers, the administrator's word.

-- Every admin action leaves a line, in its own transaction.
CREATE FUNCTION audit(p_actor uuid, p_action text, p_target text, p_details jsonb, p_ip text, p_request text)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO audit_log (actor_id, action, target, details, ip, request_id)
        VALUES (p_actor, p_action, p_target, p_details, nullif(p_ip, ''), p_request)
$$;

-- Count a look at a listing that the viewer (null: anonymous) may see and does not own.  Losing one in a
-- crash is no harm, so nobody waits for the disk.
CREATE FUNCTION count_view(p_viewer uuid, p_listing uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- For the whole transaction: a SET clause of the function would be over before the commit that waits.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE listing_counts v SET views = views + 1 FROM listings l
        WHERE l.id = p_listing AND v.listing_id = l.id AND l.client_id IS DISTINCT FROM p_viewer
          AND (l.status IN ('live', 'sold', 'expired')
               OR (SELECT u.role = 'ADMIN' FROM users u WHERE u.id = p_viewer) IS TRUE);
END $$;

-- Watch (or stop watching) what one may see; the number of watchers then, null when there is no such listing.
CREATE FUNCTION watch_listing(p_user uuid, p_listing uuid, p_on boolean) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM listings l WHERE l.id = p_listing
        AND (l.status IN ('live', 'sold', 'expired') OR l.client_id = p_user
             OR (SELECT u.role = 'ADMIN' FROM users u WHERE u.id = p_user))
        FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_on THEN
        INSERT INTO watchers (listing_id, user_id) VALUES (p_listing, p_user) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM watchers WHERE listing_id = p_listing AND user_id = p_user;
    END IF;
    RETURN (SELECT count(*) FROM watchers WHERE listing_id = p_listing);
END $$;

-- The administrator's decision on a pending listing: live from now on for P_HOURS, or rejected.  ok,
-- not_found, invalid_state (with the state it is in).  The row is locked, so of two administrators who
-- decide at once the second hears that it is decided.
CREATE FUNCTION decide_listing(p_admin uuid, p_listing uuid, p_approved boolean, p_reason text, p_hours numeric,
    p_ip text, p_request text, OUT code text, OUT state text) LANGUAGE plpgsql AS $$
DECLARE
    l listings;
BEGIN
    SELECT * INTO l FROM listings WHERE id = p_listing FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        code := 'not_found';
        RETURN;
    END IF;
    state := l.status;
    IF l.status <> 'pending' THEN
        code := 'invalid_state';
        RETURN;
    END IF;
    code := 'ok';
    IF p_approved THEN
        UPDATE listings SET status = 'live', approved_at = now(), approved_by = p_admin,
                            auction_end = now() + p_hours * interval '1 hour'
            WHERE id = p_listing;
        PERFORM notify_user(l.client_id, 'listing_approved', 'normal', 'Your listing is live',
            'Vendors can bid on your ' || l.brand || ' ' || l.model || ' now.', jsonb_build_object('listingId', l.id));
        PERFORM audit(p_admin, 'listing.approve', p_listing::text, jsonb_build_object('hours', p_hours), p_ip, p_request);
    ELSE
        UPDATE listings SET status = 'rejected', rejection_reason = p_reason WHERE id = p_listing;
        PERFORM notify_user(l.client_id, 'listing_rejected', 'normal', 'Your listing was not accepted',
            'Your ' || l.brand || ' ' || l.model || ' was not accepted: ' || p_reason,
            jsonb_build_object('listingId', l.id, 'reason', p_reason));
        PERFORM audit(p_admin, 'listing.reject', p_listing::text, jsonb_build_object('reason', p_reason), p_ip, p_request);
    END IF;
END $$;

-- A listing with its photos already stored, as one JSON object (the form's fields, sealed where they
-- must be, see listing_create.c); ok or duplicate_imei.  Two forms with one IMEI at the same moment: the
-- claim's primary key lets one of them through.
CREATE FUNCTION create_listing(p jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    broken text;
BEGIN
    INSERT INTO listings (id, client_id, brand, model, storage, color, condition, imei1_sealed, imei1_hash, imei1_last4,
            imei2_sealed, imei2_hash, imei2_last4, battery_health, asking_price, description, photo_count, bill_ext,
            has_warranty, warranty_type, warranty_expiry, street_sealed, landmark_sealed, city, state, pincode,
            pickup_time, metadata)
        SELECT x.id, x.client_id, x.brand, x.model, x.storage, x.color, x.condition, x.imei1_sealed, x.imei1_hash,
            x.imei1_last4, x.imei2_sealed, x.imei2_hash, x.imei2_last4, x.battery_health, x.asking_price, x.description,
            x.photo_count, x.bill_ext, x.has_warranty, x.warranty_type, x.warranty_expiry, x.street_sealed,
            x.landmark_sealed, x.city, x.state, x.pincode, x.pickup_time, x.metadata
        FROM jsonb_populate_record(NULL::listings, p) x;
    INSERT INTO events (name, ref) VALUES ('listing_submitted', (p ->> 'id')::uuid);
    RETURN 'ok';
EXCEPTION WHEN unique_violation THEN
    GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
    IF broken = 'one_open_listing_per_imei' THEN
        RETURN 'duplicate_imei';
    END IF;
    RAISE;
END $$;

-- Claim a key until the transaction ends (who comes meanwhile waits here): no row when it is new, else
-- what was kept under it: whether that was for another body, and its sealed answer behind the user's id.
CREATE FUNCTION claim_idempotency_key(p_user uuid, p_route text, p_key text, p_hash bytea)
RETURNS TABLE (other boolean, status int, answer text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(p_user || p_key, 0));
    RETURN QUERY SELECT x.body_hash <> p_hash, x.status, x.user_id || x.answer::text FROM idempotency_keys x
        WHERE x.user_id = p_user AND x.route = p_route AND x.key = p_key AND x.created_at > now() - interval '24 hours';
END $$;

CREATE FUNCTION keep_idempotency_key(p_user uuid, p_route text, p_key text, p_hash bytea, p_status int, p_answer bytea)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO idempotency_keys AS x (user_id, route, key, body_hash, status, answer)
        VALUES (p_user, p_route, p_key, p_hash, p_status, p_answer)
        ON CONFLICT (user_id, route, key) DO UPDATE   -- the former one is older than a day
        SET body_hash = excluded.body_hash, status = excluded.status, answer = excluded.answer,
            outcome = NULL, created_at = now()
$$;

-- ---- how many are live ----

-- Live listings that have not ended, of a brand, in a condition, from a price to a price (null: any): the steps
-- that lie within the prices, what does of the steps at their ends, less those that are over and not closed
-- yet.  All of it is read as of one moment, so it is exact.
CREATE FUNCTION live_total(p_brand text, p_condition text, p_min bigint, p_max bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    b      text   := lower(p_brand);
    low    bigint := least(coalesce(p_min, 0), 1000000000);    -- (no listing costs that much)
    high   bigint := least(p_max, 1000000000) + 1;
    first  int    := price_step(low + 49999);   -- the first step that lies within,
    past   int    := price_step(high);          -- and the first that does not any more
    bottom bigint := least(high, first * 50000::bigint);
    top    bigint := greatest(bottom, past * 50000::bigint);
BEGIN
    -- ("+ 0" and "||" leave the planner the one index that is meant.)
    RETURN (SELECT coalesce(sum(c.n), 0) FROM (SELECT * FROM live_counts UNION ALL SELECT * FROM live_changes) c
             WHERE c.brand_key = coalesce(b, '') AND c.step >= first AND c.step < past
               AND (p_condition IS NULL OR c.condition = p_condition))
         + (SELECT count(*) FROM live_listings l WHERE l.asking_price >= low AND l.asking_price < bottom
               AND (p_condition IS NULL OR l.condition = p_condition) AND (b IS NULL OR l.brand_key || '' = b))
         + (SELECT count(*) FROM live_listings l WHERE l.asking_price >= top AND l.asking_price < high
               AND (p_condition IS NULL OR l.condition = p_condition) AND (b IS NULL OR l.brand_key || '' = b))
         - (SELECT count(*) FROM live_listings l WHERE l.auction_end <= now()
               AND (p_min IS NULL OR l.asking_price + 0 >= p_min) AND (p_max IS NULL OR l.asking_price + 0 <= p_max)
               AND (p_condition IS NULL OR l.condition = p_condition) AND (b IS NULL OR l.brand_key || '' = b));
END $$;

-- Move what has changed into the counts; how many rows.  Those of transactions that are under way are not
-- seen and stay, and who comes while another does it leaves it to him.
CREATE FUNCTION fold_live_changes() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moved bigint;
BEGIN
    -- Few are added up sooner than moved.
    IF (SELECT count(*) FROM (SELECT FROM live_changes LIMIT 1000) x) < 1000
       OR NOT pg_try_advisory_xact_lock(hashtextextended('fold_live_changes', 0)) THEN
        RETURN 0;
    END IF;
    WITH taken AS (
        DELETE FROM live_changes RETURNING *
    ), sums AS (
        SELECT brand_key, step, condition, sum(n) AS n FROM taken GROUP BY 1, 2, 3 HAVING sum(n) <> 0
    ), kept AS (
        INSERT INTO live_counts AS c SELECT * FROM sums
        ON CONFLICT (brand_key, step, condition) DO UPDATE SET n = c.n + excluded.n
    )
    SELECT count(*) INTO moved FROM taken;
    DELETE FROM live_counts WHERE n = 0;
    RETURN moved;
END $$;
