-- The second net under the rules that a constraint of one row cannot hold.  The conditions stand in
-- WHEN clauses, which cost next to nothing where they do not hold.

-- TG_ARGV[0] says which rule was broken.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- (After the update, as whatever looks before it costs every bid a second lock of the row.)
CREATE TRIGGER highest_bid_rises AFTER UPDATE OF highest_amount ON listings FOR EACH ROW
    WHEN (new.highest_amount IS NULL AND old.highest_amount IS NOT NULL OR new.highest_amount <= old.highest_amount)
    EXECUTE FUNCTION refuse_change('the highest bid of a listing only rises');

CREATE TRIGGER ended_is_ended AFTER UPDATE OF status ON listings FOR EACH ROW
    WHEN (old.status IN ('rejected', 'sold', 'expired') AND new.status <> old.status)
    EXECUTE FUNCTION refuse_change('a rejected, sold or expired listing stays so');

CREATE TRIGGER no_way_back_to_pending AFTER UPDATE OF status ON listings FOR EACH ROW
    WHEN (old.status = 'live' AND new.status NOT IN ('live', 'sold', 'expired'))
    EXECUTE FUNCTION refuse_change('a live listing is sold or expires');

CREATE TRIGGER bids_are_final BEFORE UPDATE OF listing_id, vendor_id, amount, placed_at ON bids FOR EACH ROW
    EXECUTE FUNCTION refuse_change('a bid is not changed');

CREATE TRIGGER prices_are_final BEFORE UPDATE OF listing_id, bid_id, client_id, vendor_id, final_price,
    agent_commission, platform_fee, commission_rate ON orders FOR EACH ROW
    EXECUTE FUNCTION refuse_change('an order''s parties and prices are not changed');

CREATE TRIGGER order_status_moves_forward BEFORE UPDATE OF status ON orders FOR EACH ROW
    WHEN (new.status <> old.status AND NOT (
        old.status = 'pending_pickup' AND new.status IN ('picked_up', 'cancelled')
        OR old.status = 'picked_up' AND new.status IN ('in_transit', 'cancelled')
        OR old.status = 'in_transit' AND new.status IN ('delivered', 'cancelled')
        OR old.status = 'delivered' AND new.status = 'completed'))
    EXECUTE FUNCTION refuse_change('an order''s status moves along its path');

CREATE TRIGGER task_status_moves_forward BEFORE UPDATE OF status ON agent_tasks FOR EACH ROW
    WHEN (new.status <> old.status AND NOT (
        old.status = 'assigned' AND new.status IN ('accepted', 'failed')
        OR old.status = 'accepted' AND new.status IN ('in_progress', 'completed', 'failed')
        OR old.status = 'in_progress' AND new.status IN ('completed', 'failed')))
    EXECUTE FUNCTION refuse_change('a task''s status moves along its path');

CREATE TRIGGER audit_log_is_final BEFORE UPDATE OF seq, id, created_at, action, target, details, ip, request_id ON audit_log FOR EACH ROW
    EXECUTE FUNCTION refuse_change('the audit log is only added to');
CREATE TRIGGER audit_log_stays BEFORE DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change('the audit log is only added to');

CREATE TRIGGER people_stay BEFORE DELETE ON users FOR EACH ROW
    EXECUTE FUNCTION refuse_change('a person is disabled, not deleted');

-- A pending or live listing claims its IMEIs; when it ends they are free again.
CREATE FUNCTION claim_imeis() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- In one order for everybody: two listings with the same two numbers crosswise, sent at once, would
    -- wait for each other, and one sender hear of a deadlock instead of a duplicate.
    INSERT INTO listing_imeis (imei_hash, listing_id)
        SELECT h, new.id FROM unnest(ARRAY[new.imei1_hash, new.imei2_hash]) h WHERE h IS NOT NULL ORDER BY h;
    RETURN NULL;
END $$;

CREATE FUNCTION release_imeis() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM listing_imeis WHERE listing_id = new.id;
    RETURN NULL;
END $$;

CREATE TRIGGER open_listing_claims_imeis AFTER INSERT ON listings FOR EACH ROW
    WHEN (new.status IN ('pending', 'live')) EXECUTE FUNCTION claim_imeis();
CREATE TRIGGER ended_listing_releases_imeis AFTER UPDATE OF status ON listings FOR EACH ROW
    WHEN (new.status IN ('rejected', 'sold', 'expired')) EXECUTE FUNCTION release_imeis();

-- No generated column: that is computed anew at each update of a table that has triggers like those below,
-- whatever was changed, and took a fifth of a bid.
CREATE TRIGGER words_follow BEFORE INSERT OR UPDATE OF brand, model, description ON listings FOR EACH ROW
    EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', brand, model, description);

-- ---- what is kept beside a listing ----

CREATE FUNCTION count_from_zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO listing_counts (listing_id) VALUES (new.id);
    RETURN NULL;
END $$;
CREATE TRIGGER listing_has_counts AFTER INSERT ON listings FOR EACH ROW EXECUTE FUNCTION count_from_zero();

CREATE FUNCTION count_watcher() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE listing_counts SET watchers = watchers + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
        WHERE listing_id = CASE TG_OP WHEN 'INSERT' THEN new.listing_id ELSE old.listing_id END;
    RETURN NULL;
END $$;
CREATE TRIGGER watchers_are_counted AFTER INSERT OR DELETE ON watchers FOR EACH ROW EXECUTE FUNCTION count_watcher();

CREATE FUNCTION next_edition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.edition := old.edition + 1;
    RETURN new;
END $$;
-- A bid names none of these, and the end only when it moves it.
CREATE TRIGGER listing_says_something_else BEFORE UPDATE OF client_id, brand, model, storage, color, condition,
    imei1_last4, imei2_last4, battery_health, asking_price, description, photo_count, bill_ext, has_warranty, warranty_type,
    warranty_expiry, city, state, pincode, pickup_time, status, submitted_at, approved_at, approved_by, rejection_reason,
    metadata ON listings FOR EACH ROW EXECUTE FUNCTION next_edition();
CREATE TRIGGER listing_ends_later BEFORE UPDATE OF auction_end ON listings FOR EACH ROW
    WHEN (new.auction_end IS DISTINCT FROM old.auction_end) EXECUTE FUNCTION next_edition();

CREATE FUNCTION follow_live_listing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.status = 'live' THEN
        INSERT INTO live_listings (listing_id, approved_at, auction_end, asking_price, condition, brand_key)
            VALUES (new.id, new.approved_at, new.auction_end, new.asking_price, new.condition, new.brand_key)
            ON CONFLICT (listing_id) DO UPDATE SET approved_at = excluded.approved_at, auction_end = excluded.auction_end,
                asking_price = excluded.asking_price, condition = excluded.condition, brand_key = excluded.brand_key;
    ELSE
        DELETE FROM live_listings WHERE listing_id = new.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER live_listing_appears AFTER INSERT ON listings FOR EACH ROW
    WHEN (new.status = 'live') EXECUTE FUNCTION follow_live_listing();
CREATE TRIGGER live_listing_changes AFTER UPDATE OF status, approved_at, auction_end, asking_price, condition, brand ON listings
    FOR EACH ROW WHEN ((old.status = 'live' OR new.status = 'live')
        AND (new.status, new.approved_at, new.auction_end, new.asking_price, new.condition, new.brand)
            IS DISTINCT FROM (old.status, old.approved_at, old.auction_end, old.asking_price, old.condition, old.brand))
    EXECUTE FUNCTION follow_live_listing();

-- The step of live_counts that a price is in.
CREATE FUNCTION price_step(paise bigint) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT (paise / 50000)::int $$;

CREATE FUNCTION count_live_listing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO live_changes VALUES ('', price_step(old.asking_price), old.condition, -1),
                                        (old.brand_key, price_step(old.asking_price), old.condition, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO live_changes VALUES ('', price_step(new.asking_price), new.condition, 1),
                                        (new.brand_key, price_step(new.asking_price), new.condition, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER live_listing_is_counted AFTER INSERT OR DELETE ON live_listings FOR EACH ROW
    EXECUTE FUNCTION count_live_listing();
CREATE TRIGGER live_listing_is_counted_anew AFTER UPDATE ON live_listings FOR EACH ROW
    WHEN ((new.asking_price, new.condition, new.brand_key) IS DISTINCT FROM (old.asking_price, old.condition, old.brand_key))
    EXECUTE FUNCTION count_live_listing();
