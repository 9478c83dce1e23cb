-- Sixty notifications a client of the table sold: the same in both schemas.
INSERT INTO notifications (user_id, type, priority, title, message, data, is_read, read_at, created_at)
    SELECT c.client_id, 'bid_placed', 'normal', 'New bid', 'Somebody bid ' || g || ' on your phone',
        jsonb_build_object('listingId', gen_random_uuid(), 'amount', g), g % 3 > 0, CASE WHEN g % 3 > 0 THEN now() END,
        now() - make_interval(mins => g)
    FROM (SELECT DISTINCT client_id FROM sold) c, generate_series(1, 60) g;
