-- Thirty orders a client, two thirds of them on their way or delivered; fifty tasks an agent; sixty notifications a
-- client.  :agents is an array of agents' ids.  (peer.sql does the same to another schema.)
SET client_min_messages = error;
BEGIN;
CREATE TEMP TABLE sold AS
    SELECT gen_random_uuid() AS order_id, id, client_id, highest_bid_id, highest_vendor, highest_amount, k, k % 3 AS way,
           CASE WHEN k <= 50 * cardinality(:'agents'::uuid[]) THEN (:'agents'::uuid[])[1 + (k - 1) / 50] END AS agent
    FROM (SELECT *, row_number() OVER (ORDER BY n, client_id) AS k
          FROM (SELECT l.*, row_number() OVER (PARTITION BY client_id ORDER BY id) AS n FROM listings l
                WHERE status = 'live' AND highest_bid_id IS NOT NULL) l WHERE n <= 30) l;
UPDATE listings SET status = 'sold' WHERE id IN (SELECT id FROM sold);
INSERT INTO orders (id, listing_id, bid_id, client_id, vendor_id, agent_id, final_price, commission_rate, agent_commission,
        platform_fee, status, created_at, picked_up_at, delivered_at, status_history)
    SELECT order_id, id, highest_bid_id, client_id, highest_vendor, agent, highest_amount, 5, share_of(highest_amount, 5),
        share_of(highest_amount, 2), (ARRAY['pending_pickup', 'in_transit', 'delivered'])[1 + way], now() - make_interval(mins => k::int),
        CASE WHEN way > 0 THEN now() END, CASE WHEN way > 1 THEN now() END,
        json_build_array(history_line('pending_pickup', now(), NULL, NULL, NULL))
    FROM sold;
INSERT INTO order_history (order_id, status, updated_by)
    SELECT order_id, s.status, CASE WHEN s.n > 1 THEN coalesce(agent, client_id) END
    FROM sold CROSS JOIN unnest(ARRAY['pending_pickup', 'picked_up', 'in_transit', 'delivered']) WITH ORDINALITY s(status, n)
    WHERE s.n <= CASE way WHEN 0 THEN 1 ELSE way + 2 END ORDER BY order_id, s.n;
INSERT INTO agent_tasks (agent_id, order_id, type, priority, description, status, assigned_at, accepted_at, completed_at,
        commission_amount)
    SELECT agent, order_id, 'pickup', 'normal', 'Pickup of a phone', CASE way WHEN 0 THEN 'assigned' ELSE 'completed' END,
        now() - make_interval(mins => k::int), CASE WHEN way > 0 THEN now() END, CASE WHEN way > 0 THEN now() END,
        share_of(highest_amount, 5)
    FROM sold WHERE agent IS NOT NULL;
\ir notifications.sql
COMMIT;
VACUUM ANALYZE;
