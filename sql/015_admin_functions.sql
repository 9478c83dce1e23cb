-- What administrators look at and decide besides listings and orders, and what is thrown away in time.
--
-- The dashboard is asked often and over tables that grow for ever, so nothing in it counts what is over:
-- waiting listings, open tasks, unassigned orders and live auctions have partial indexes, sums of orders
-- are kept as they change (below), and the newest of each kind are read from the end of an index.

CREATE INDEX agent_tasks_open ON agent_tasks (agent_id) WHERE status IN ('assigned', 'accepted', 'in_progress');
CREATE INDEX agent_tasks_failed ON agent_tasks (agent_id) WHERE status = 'failed';
CREATE INDEX orders_rated ON orders (agent_id) INCLUDE (rating) WHERE rating IS NOT NULL;
CREATE INDEX audit_log_deeds ON audit_log (seq DESC) WHERE action NOT IN ('user.sign_in', 'session.token_reused');

-- Parts of names are searched for in three-letter pieces.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX users_by_name_part ON users USING gin (name gin_trgm_ops);

-- ---- sums of the orders that are not cancelled ----

-- Kept in sixteen rows, each connection adding to its own, so that two auctions which end at the same
-- moment seldom wait for each other.  A transaction touches one row, and last of all that it locks.
CREATE TABLE order_sums (
    part    int    PRIMARY KEY,
    revenue bigint NOT NULL DEFAULT 0,
    fees    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO order_sums (part) SELECT generate_series(0, 15);
UPDATE order_sums SET revenue = o.revenue, fees = o.fees
    FROM (SELECT coalesce(sum(final_price), 0) AS revenue, coalesce(sum(platform_fee), 0) AS fees
          FROM orders WHERE status <> 'cancelled') o
    WHERE part = 0;

-- All that a statement adds at once, as auctions that end together do.
CREATE FUNCTION sum_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE order_sums SET revenue = order_sums.revenue + n.revenue, fees = order_sums.fees + n.fees
        FROM (SELECT sum(final_price) AS revenue, sum(platform_fee) AS fees FROM made WHERE status <> 'cancelled') n
        WHERE part = pg_backend_pid() % 16 AND n.revenue IS NOT NULL;
    RETURN NULL;
END $$;

CREATE FUNCTION take_order_off() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE order_sums SET revenue = revenue - old.final_price, fees = fees - old.platform_fee
        WHERE part = pg_backend_pid() % 16;
    RETURN NULL;
END $$;

CREATE TRIGGER new_orders_are_summed AFTER INSERT ON orders REFERENCING NEW TABLE AS made FOR EACH STATEMENT
    EXECUTE FUNCTION sum_orders();
CREATE TRIGGER cancelled_order_is_taken_off AFTER UPDATE OF status ON orders FOR EACH ROW
    WHEN (new.status = 'cancelled' AND old.status <> 'cancelled') EXECUTE FUNCTION take_order_off();
CREATE TRIGGER lost_order_is_taken_off AFTER DELETE ON orders FOR EACH ROW
    WHEN (old.status <> 'cancelled') EXECUTE FUNCTION take_order_off();

-- ---- people ----

-- Change a user's role, state or name (null: as it is): ok, not_found, forbidden (the administrator is
-- none any more), last_admin.  Whoever may take an administrator away holds one lock for all, so of the
-- last two, who remove each other at the same moment, one stays.
CREATE FUNCTION update_user(p_admin uuid, p_user uuid, p_role text, p_active boolean, p_name text, p_ip text, p_request text,
    OUT code text, OUT account users) LANGUAGE plpgsql AS $$
DECLARE
    u       users;
    changes jsonb := '{}';
BEGIN
    IF p_role <> 'ADMIN' OR NOT p_active THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('the last admin', 0));
        -- Who was judged before the wait may have lost the right in it.
        IF NOT EXISTS (SELECT FROM users WHERE id = p_admin AND role = 'ADMIN' AND is_active) THEN
            code := 'forbidden';
            RETURN;
        END IF;
    END IF;
    SELECT * INTO u FROM users WHERE id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        code := 'not_found';
        RETURN;
    END IF;
    IF u.role = 'ADMIN' AND u.is_active AND (p_role <> 'ADMIN' OR NOT p_active)
       AND NOT EXISTS (SELECT FROM users WHERE role = 'ADMIN' AND is_active AND id <> p_user) THEN
        code := 'last_admin';
        RETURN;
    END IF;
    code := 'ok';
    UPDATE users SET role = coalesce(p_role, role), is_active = coalesce(p_active, is_active), name = coalesce(p_name, name)
        WHERE id = p_user RETURNING * INTO account;
    IF p_role IS NOT NULL THEN
        changes := changes || jsonb_build_object('role', jsonb_build_object('from', u.role, 'to', p_role));
    END IF;
    IF p_active IS NOT NULL THEN
        changes := changes || jsonb_build_object('isActive', jsonb_build_object('from', u.is_active, 'to', p_active));
    END IF;
    IF p_name IS NOT NULL THEN
        changes := changes || jsonb_build_object('name', u.name <> p_name);   -- that it changed, not what it is
    END IF;
    IF changes <> '{}' THEN
        PERFORM audit(p_admin, 'user.update', p_user::text, changes, p_ip, p_request);
    END IF;
END $$;

-- ---- what is new ----

-- The P_LIMIT newest things that happened, of every kind.
CREATE FUNCTION recent_activity(p_limit int) RETURNS TABLE (type text, message text, "timestamp" timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        (SELECT 'listing_submitted', l.brand || ' ' || l.model || ' was handed in for ' || money_text(l.asking_price) || '.',
                l.submitted_at
         FROM listings l ORDER BY l.submitted_at DESC, l.id DESC LIMIT p_limit)
        UNION ALL
        (SELECT 'bid_placed', money_text(b.amount) || ' was bid on the ' || l.brand || ' ' || l.model || '.', b.placed_at
         FROM (SELECT * FROM bids ORDER BY placed_at DESC, id DESC LIMIT p_limit) b JOIN listings l ON l.id = b.listing_id)
        UNION ALL   -- of the latest that ended, those that were sold show as orders
        (SELECT 'auction_expired', 'The auction of the ' || l.brand || ' ' || l.model || ' ended without bids.', l.auction_end
         FROM (SELECT * FROM listings WHERE (status <> 'live') AND auction_end <= now()
               ORDER BY auction_end DESC, id DESC LIMIT p_limit) l WHERE l.status = 'expired')
        UNION ALL
        (SELECT CASE h.status WHEN 'pending_pickup' THEN 'order_created' ELSE 'order_status' END,
                CASE h.status WHEN 'pending_pickup'
                     THEN l.brand || ' ' || l.model || ' was sold for ' || money_text(o.final_price) || '.'
                     ELSE 'The order of the ' || l.brand || ' ' || l.model || ' is '
                          || CASE h.status WHEN 'picked_up' THEN 'picked up' WHEN 'in_transit' THEN 'on its way' ELSE h.status END
                          || '.' END,
                h.created_at
         FROM (SELECT * FROM order_history ORDER BY id DESC LIMIT p_limit) h
         JOIN orders o ON o.id = h.order_id JOIN listings l ON l.id = o.listing_id)
        UNION ALL
        (SELECT 'user_joined', u.name || ' joined.', u.created_at
         FROM users u ORDER BY u.created_at DESC, u.id DESC LIMIT p_limit)
        UNION ALL
        (SELECT CASE a.action WHEN 'listing.approve' THEN 'listing_approved' WHEN 'listing.reject' THEN 'listing_rejected'
                     WHEN 'listing.assign_agent' THEN 'agent_assigned' WHEN 'user.update' THEN 'user_updated'
                     WHEN 'user.add' THEN 'user_added'
                     ELSE replace(a.action, '.', '_') END,
                coalesce(u.name, 'The operator')
                || CASE a.action WHEN 'listing.approve' THEN ' approved a listing.' WHEN 'listing.reject' THEN ' rejected a listing.'
                        WHEN 'listing.assign_agent' THEN ' assigned an agent.' WHEN 'user.update' THEN ' changed a user.'
                        WHEN 'user.add' THEN ' added a user.'
                        ELSE ': ' || a.action || '.' END,
                a.created_at
         FROM (SELECT * FROM audit_log WHERE action NOT IN ('user.sign_in', 'session.token_reused')
               ORDER BY seq DESC LIMIT p_limit) a LEFT JOIN users u ON u.id = a.actor_id
         WHERE a.action <> 'order.status')   -- shows as the order's
    ) x (type, message, at) ORDER BY at DESC LIMIT p_limit
$$;

-- ---- what is over ----

-- Throw away up to P_LIMIT rows of each kind that nobody needs any more; how many of each.  Codes and
-- tokens stay a day beyond their end, for the difference between "expired" and "wrong" is worth telling.
-- Rows that somebody holds are left to the next run; those that we hold stay where they are (ctid), which
-- needs no second look-up and leaves no plan to chance.
CREATE FUNCTION purge(p_limit int, OUT codes int, OUT sessions int, OUT tokens int, OUT keys int, OUT rates int,
    OUT events int, OUT messages int) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM otps WHERE ctid = ANY (ARRAY(SELECT ctid FROM otps
        WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS codes = ROW_COUNT;
    DELETE FROM refresh_tokens WHERE ctid = ANY (ARRAY(SELECT ctid FROM refresh_tokens
        WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS tokens = ROW_COUNT;
    DELETE FROM sessions WHERE ctid = ANY (ARRAY(SELECT ctid FROM sessions
        WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS sessions = ROW_COUNT;
    DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys
        WHERE created_at < now() - interval '25 hours' ORDER BY created_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS keys = ROW_COUNT;
    DELETE FROM rate_limits WHERE ctid = ANY (ARRAY(SELECT ctid FROM rate_limits
        WHERE resets_at < now() - interval '1 minute' ORDER BY resets_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS rates = ROW_COUNT;
    -- (The lowest numbers are the oldest ones, which saves an index by age at each bid.)
    DELETE FROM events WHERE ctid = ANY (ARRAY(SELECT ctid FROM events
        WHERE id IN (SELECT id FROM events ORDER BY id LIMIT p_limit)
          AND created_at < now() - interval '1 day' FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS events = ROW_COUNT;
    DELETE FROM whatsapp_queue WHERE ctid = ANY (ARRAY(SELECT ctid FROM whatsapp_queue
        WHERE status IN ('sent', 'failed') AND finished_at < now() - interval '7 days' ORDER BY finished_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS messages = ROW_COUNT;
END $$;
