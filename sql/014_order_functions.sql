-- What follows the hammer: an order's way from its client to its vendor, and the agents' tasks on it.
--
-- Locks are taken in one order by everybody: the order's row first, then its tasks.  Whoever moves an
-- order, gives out a task or works on one holds the order's row, so of two who act at the same moment
-- the second is judged on what the first one left.  Every change stands in one transaction with its
-- history, its notifications, its events and, when an administrator did it, its line in the audit log.

-- The history as the API writes it stands in the order, so that a page of orders costs its rows and no
-- more; order_history is the record, and whoever adds to it adds to both.  (An order is made with its first
-- line: writing the row again in the transaction that made it, foreign keys and all, was a third of an auction's end.)
ALTER TABLE orders ADD COLUMN status_history json NOT NULL DEFAULT '[]';

CREATE FUNCTION write_status_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET status_history = (rtrim(status_history::text, ']') || CASE status_history::text WHEN '[]' THEN '' ELSE ',' END
            || history_line(new.status, new.created_at, new.updated_by, new.notes, new.location) || ']')::json
        WHERE id = new.order_id;
    RETURN NULL;
END $$;

CREATE TRIGGER history_is_written AFTER INSERT ON order_history FOR EACH ROW
    WHEN (new.status <> 'pending_pickup') EXECUTE FUNCTION write_status_history();
CREATE TRIGGER history_is_final BEFORE UPDATE ON order_history FOR EACH ROW
    EXECUTE FUNCTION refuse_change('an order''s history is only added to');

CREATE FUNCTION know_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT o.listing_id, o.client_id, (o.agent_id = new.agent_id) IS TRUE
        INTO STRICT new.listing_id, new.client_id, new.in_charge FROM orders o WHERE o.id = new.order_id;
    RETURN new;
END $$;
CREATE TRIGGER task_knows_its_order BEFORE INSERT ON agent_tasks FOR EACH ROW EXECUTE FUNCTION know_order();

CREATE FUNCTION change_agent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE agent_tasks SET in_charge = (agent_id = new.agent_id) IS TRUE
        WHERE order_id = new.id AND in_charge <> (agent_id = new.agent_id) IS TRUE;
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_know_the_agent AFTER UPDATE OF agent_id ON orders FOR EACH ROW
    WHEN (new.agent_id IS DISTINCT FROM old.agent_id) EXECUTE FUNCTION change_agent();

-- The sums of an agent's list are taken from this alone.
CREATE INDEX agent_tasks_completed ON agent_tasks (agent_id, completed_at) INCLUDE (commission_amount)
    WHERE status = 'completed';

-- The steps that exist, and whose they are (party null: nobody's but an administrator's, who may do all).
CREATE FUNCTION order_steps() RETURNS TABLE (from_status text, to_status text, party text) LANGUAGE sql IMMUTABLE AS $$
    VALUES ('pending_pickup', 'picked_up',  'agent'),
           ('picked_up',      'in_transit', 'agent'),
           ('in_transit',     'delivered',  'agent'),
           ('delivered',      'completed',  'vendor'),
           ('pending_pickup', 'cancelled',  'client'),
           ('pending_pickup', 'cancelled',  'vendor'),
           ('picked_up',      'cancelled',  NULL),
           ('in_transit',     'cancelled',  NULL)
$$;

-- What the parties of an order whose row the caller has locked are told of its status.
CREATE FUNCTION tell_order(p_order uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    o      orders;
    device text;
    title  text;
    says   text;
    party  uuid;
BEGIN
    SELECT * INTO STRICT o FROM orders WHERE id = p_order;
    SELECT brand || ' ' || model INTO STRICT device FROM listings WHERE id = o.listing_id;
    title := CASE o.status WHEN 'picked_up' THEN 'Picked up' WHEN 'in_transit' THEN 'On its way'
             WHEN 'delivered' THEN 'Delivered' WHEN 'completed' THEN 'Order completed' ELSE 'Order cancelled' END;
    says := CASE o.status WHEN 'picked_up' THEN 'The ' || device || ' was picked up.'
            WHEN 'in_transit' THEN 'The ' || device || ' is on its way.'
            WHEN 'delivered' THEN 'The ' || device || ' was delivered.'
            WHEN 'completed' THEN 'The order of the ' || device || ' is completed.'
            ELSE 'The order of the ' || device || ' was cancelled.' END;
    FOREACH party IN ARRAY array_remove(ARRAY[o.client_id, o.vendor_id, o.agent_id], NULL) LOOP
        INSERT INTO events (name, user_id, ref, data)
            VALUES ('order_update', party, o.id, jsonb_build_object('status', o.status, 'message', says));
        PERFORM notify_user(party, 'order_update', CASE o.status WHEN 'cancelled' THEN 'high' ELSE 'normal' END,
            title, says, jsonb_build_object('listingId', o.listing_id, 'orderId', o.id, 'status', o.status),
            'order_status', jsonb_build_array(o.id, o.status), o.listing_id, o.id);
    END LOOP;
END $$;

-- One step of an order whose row the caller has locked: its time, its history.  A cancelled order ends
-- the tasks that were open on it.
CREATE FUNCTION step_order(p_order uuid, p_status text, p_actor uuid, p_notes text DEFAULT NULL, p_location jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET status = p_status,
            picked_up_at = CASE p_status WHEN 'picked_up' THEN clock_timestamp() ELSE picked_up_at END,
            delivered_at = CASE p_status WHEN 'delivered' THEN clock_timestamp() ELSE delivered_at END,
            completed_at = CASE p_status WHEN 'completed' THEN clock_timestamp() ELSE completed_at END
        WHERE id = p_order;
    INSERT INTO order_history (order_id, status, updated_by, notes, location)
        VALUES (p_order, p_status, p_actor, p_notes, p_location);
    IF p_status = 'cancelled' THEN
        UPDATE agent_tasks SET status = 'failed', failed_at = clock_timestamp(),
                               metadata = metadata || '{"reason": "The order was cancelled."}'
            WHERE order_id = p_order AND status IN ('assigned', 'accepted', 'in_progress');
    END IF;
END $$;

-- PUT /orders/:id/status.  ok, not_found (also for a stranger), invalid_transition (with the statuses to
-- which this caller may move it now, separated by commas), forbidden (a step, but not his).
CREATE FUNCTION move_order(p_actor uuid, p_order uuid, p_status text, p_notes text, p_location jsonb, p_ip text, p_request text,
    OUT code text, OUT state text, OUT allowed text) LANGUAGE plpgsql AS $$
DECLARE
    o     orders;
    admin boolean := (SELECT role = 'ADMIN' FROM users WHERE id = p_actor) IS TRUE;
    parts text[];
BEGIN
    SELECT * INTO o FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    parts := array_remove(ARRAY[CASE WHEN o.client_id = p_actor THEN 'client' END,
                                CASE WHEN o.vendor_id = p_actor THEN 'vendor' END,
                                CASE WHEN o.agent_id = p_actor THEN 'agent' END], NULL);
    IF o.id IS NULL OR NOT (admin OR cardinality(parts) > 0) THEN
        code := 'not_found';
        RETURN;
    END IF;
    state := o.status;
    IF NOT EXISTS (SELECT FROM order_steps() WHERE from_status = o.status AND to_status = p_status) THEN
        code := 'invalid_transition';
        allowed := (SELECT coalesce(string_agg(s.to_status, ',' ORDER BY s.to_status = 'cancelled'), '')
                    FROM (SELECT DISTINCT to_status FROM order_steps()
                          WHERE from_status = o.status AND (admin OR party = ANY (parts))) s);
    ELSIF NOT EXISTS (SELECT FROM order_steps() WHERE from_status = o.status AND to_status = p_status
                      AND (admin OR party = ANY (parts))) THEN
        code := 'forbidden';
    ELSE
        code := 'ok';
        PERFORM step_order(p_order, p_status, p_actor, p_notes, p_location);
        PERFORM tell_order(p_order);
        IF admin THEN
            PERFORM audit(p_actor, 'order.status', p_order::text, jsonb_build_object('from', o.status, 'to', p_status), p_ip, p_request);
        END IF;
    END IF;
END $$;

-- POST /orders/:id/rating, by the client, once.  ok, not_found, forbidden, invalid_state, already_rated.
CREATE FUNCTION rate_order(p_user uuid, p_order uuid, p_rating int, p_comment text, OUT code text, OUT state text)
LANGUAGE plpgsql AS $$
DECLARE
    o orders;
BEGIN
    SELECT * INTO o FROM orders WHERE id = p_order FOR NO KEY UPDATE;
    state := o.status;
    IF o.client_id = p_user THEN
        code := CASE WHEN o.rating IS NOT NULL THEN 'already_rated'
                     WHEN o.status NOT IN ('delivered', 'completed') THEN 'invalid_state' ELSE 'ok' END;
    ELSIF o.id IS NOT NULL AND (p_user IN (o.vendor_id, o.agent_id)
                                OR (SELECT role = 'ADMIN' FROM users WHERE id = p_user)) THEN
        code := 'forbidden';
    ELSE
        code := 'not_found';
    END IF;
    IF code = 'ok' THEN
        UPDATE orders SET rating = p_rating, rating_comment = p_comment, rated_at = clock_timestamp() WHERE id = p_order;
    END IF;
END $$;

-- PUT /listings/:id/assign-agent: a task for an agent on a sold listing's order.  A task of that type that
-- nobody has accepted yet makes room and fails.  ok (with the task), not_found, no_agent, invalid_state
-- (with the listing's or order's state), taken (with the state of the task that stands in the way).
CREATE FUNCTION assign_agent(p_admin uuid, p_listing uuid, p_agent uuid, p_type text, p_priority text, p_description text,
    p_scheduled timestamptz, p_commission bigint, p_ip text, p_request text, OUT code text, OUT state text, OUT task uuid)
LANGUAGE plpgsql AS $$
DECLARE
    l      listings;
    o      orders;
    former agent_tasks;
    device text;
    says   text;
BEGIN
    SELECT * INTO l FROM listings WHERE id = p_listing;
    IF NOT FOUND THEN
        code := 'not_found';
        RETURN;
    END IF;
    PERFORM FROM users WHERE id = p_agent AND role = 'AGENT' AND is_active;
    IF NOT FOUND THEN
        code := 'no_agent';
        RETURN;
    END IF;
    SELECT * INTO o FROM orders WHERE listing_id = p_listing FOR NO KEY UPDATE;
    state := coalesce(o.status, l.status);
    IF o.status IS NULL OR NOT (p_type IN ('pickup', 'verification') AND o.status = 'pending_pickup'
                                OR p_type = 'delivery' AND o.status IN ('picked_up', 'in_transit')) THEN
        code := 'invalid_state';
        RETURN;
    END IF;
    SELECT * INTO former FROM agent_tasks
        WHERE order_id = o.id AND type = p_type AND status IN ('assigned', 'accepted', 'in_progress') FOR NO KEY UPDATE;
    IF former.status IN ('accepted', 'in_progress') THEN
        code := 'taken';
        state := former.status;
        RETURN;
    END IF;

    code := 'ok';
    IF former.id IS NOT NULL THEN
        UPDATE agent_tasks SET status = 'failed', failed_at = clock_timestamp(),
                               metadata = metadata || '{"reason": "The task was assigned anew."}'
            WHERE id = former.id;
    END IF;
    device := l.brand || ' ' || l.model;
    says := CASE p_type WHEN 'pickup' THEN 'Pick up the ' || device || ' from the client in ' || l.city || '.'
            WHEN 'delivery' THEN 'Deliver the ' || device || ' to the vendor.'
            ELSE 'Verify the ' || device || ' with the client in ' || l.city || '.' END;
    INSERT INTO agent_tasks (agent_id, order_id, type, priority, description, scheduled_at, commission_amount)
        VALUES (p_agent, o.id, p_type, p_priority, coalesce(p_description, says), p_scheduled,
                CASE p_type WHEN 'pickup' THEN o.agent_commission ELSE coalesce(p_commission, 0) END)
        RETURNING id INTO task;
    UPDATE orders SET agent_id = p_agent,
                      pickup_scheduled_at = CASE p_type WHEN 'pickup' THEN coalesce(p_scheduled, pickup_scheduled_at)
                                                        ELSE pickup_scheduled_at END
        WHERE id = o.id;
    INSERT INTO events (name, user_id, ref) VALUES ('task_assigned', p_agent, task);
    PERFORM notify_user(p_agent, 'task_assigned', p_priority, 'New task', says,
        jsonb_build_object('listingId', l.id, 'orderId', o.id, 'taskId', task),
        'order_status', jsonb_build_array(o.id, o.status), l.id, o.id);
    PERFORM audit(p_admin, 'listing.assign_agent', p_listing::text,
        jsonb_build_object('agentId', p_agent, 'orderId', o.id, 'taskId', task, 'type', p_type), p_ip, p_request);
END $$;

-- PUT /agent/tasks/:id/accept|start|complete|fail by its agent.  P_REPORT becomes part of the task's
-- metadata (notes, verificationPhotos; reason).  ok, not_found, invalid_state (with the task's state, or
-- 'cancelled' of its order).
--
--     assigned ──accept──► accepted ──start──► in_progress ──complete──► completed
--         │                   ├───────────complete──────────────────────────┘
--         └───────────────────┴──────────────────┴──fail──► failed
CREATE FUNCTION step_task(p_agent uuid, p_task uuid, p_step text, p_report jsonb, OUT code text, OUT state text)
LANGUAGE plpgsql AS $$
DECLARE
    o orders;
    t agent_tasks;
BEGIN
    code := 'not_found';
    SELECT * INTO o FROM orders
        WHERE id = (SELECT order_id FROM agent_tasks WHERE id = p_task AND agent_id = p_agent) FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO STRICT t FROM agent_tasks WHERE id = p_task FOR NO KEY UPDATE;
    state := t.status;
    IF NOT (CASE p_step WHEN 'accept' THEN t.status = 'assigned'
                        WHEN 'start' THEN t.status = 'accepted'
                        WHEN 'complete' THEN t.status IN ('accepted', 'in_progress')
                        WHEN 'fail' THEN t.status IN ('assigned', 'accepted', 'in_progress') END) THEN
        code := 'invalid_state';
        RETURN;
    ELSIF p_step <> 'fail' AND o.status = 'cancelled' THEN
        code := 'invalid_state';
        state := o.status;
        RETURN;
    END IF;

    code := 'ok';
    UPDATE agent_tasks SET
            status = CASE p_step WHEN 'accept' THEN 'accepted' WHEN 'start' THEN 'in_progress'
                                 WHEN 'complete' THEN 'completed' ELSE 'failed' END,
            accepted_at = CASE p_step WHEN 'accept' THEN clock_timestamp() ELSE accepted_at END,
            started_at = CASE p_step WHEN 'start' THEN clock_timestamp() ELSE started_at END,
            completed_at = CASE p_step WHEN 'complete' THEN clock_timestamp() ELSE completed_at END,
            failed_at = CASE p_step WHEN 'fail' THEN clock_timestamp() ELSE failed_at END,
            metadata = metadata || coalesce(p_report, '{}')
        WHERE id = p_task;
    IF p_step = 'complete' THEN   -- what was done already by PUT /orders/:id/status stays as it is
        IF t.type = 'pickup' AND o.status = 'pending_pickup' THEN
            PERFORM step_order(o.id, 'picked_up', p_agent);
            PERFORM tell_order(o.id);
        ELSIF t.type = 'delivery' AND o.status IN ('picked_up', 'in_transit') THEN
            IF o.status = 'picked_up' THEN
                PERFORM step_order(o.id, 'in_transit', p_agent);   -- two steps, told as one
            END IF;
            PERFORM step_order(o.id, 'delivered', p_agent);
            PERFORM tell_order(o.id);
        END IF;
    END IF;
END $$;
