-- The second net under the rules that a constraint of one row cannot hold.  The conditions stand in
-- WHEN clauses, which cost next to nothing where they do not hold.

-- TG_ARGV[0] says which rule was broken.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER highest_bid_rises BEFORE UPDATE OF highest_amount ON listings FOR EACH ROW
    WHEN (new.highest_amount IS NULL AND old.highest_amount IS NOT NULL OR new.highest_amount <= old.highest_amount)
    EXECUTE FUNCTION refuse_change('the highest bid of a listing only rises');

CREATE TRIGGER ended_is_ended BEFORE UPDATE OF status ON listings FOR EACH ROW
    WHEN (old.status IN ('rejected', 'sold', 'expired') AND new.status <> old.status)
    EXECUTE FUNCTION refuse_change('a rejected, sold or expired listing stays so');

CREATE TRIGGER no_way_back_to_pending BEFORE UPDATE OF status ON listings FOR EACH ROW
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

CREATE TRIGGER audit_log_is_final BEFORE UPDATE OF created_at, action, target, details, ip ON audit_log FOR EACH ROW
    EXECUTE FUNCTION refuse_change('the audit log is only added to');

-- A pending or live listing claims its IMEIs; when it ends they are free again.
CREATE FUNCTION claim_imeis() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- In one order for everybody: two listings with the same two numbers crosswise, sent at once, would
    -- wait for each other, and one sender hear of a deadlock instead of a duplicate.
    INSERT INTO listing_imeis (imei_hash, listing_id)
        SELECT h, new.id FROM unnest(ARRAY[new.imei1_hash, new.imei2_hash]) h WHERE h IS NOT NULL ORDER BY h;
    INSERT INTO listing_views (listing_id) VALUES (new.id);
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
