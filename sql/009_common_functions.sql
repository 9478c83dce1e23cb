-- What all areas use: who is asking, how often he may, how money reads, and telling people.

-- ₹1,24,950 (and ₹1,24,950.50): paise as people in India read them.  (STABLE as to_char() is: called more, it
-- would not be inlined but parsed and planned anew by each statement.)
CREATE FUNCTION money_text(paise bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT '₹' || to_char(paise / 100, 'FM99,99,99,99,99,99,990')
        || CASE WHEN paise % 100 = 0 THEN '' ELSE '.' || to_char(paise % 100, 'FM00') END
$$;

-- Rupees as the API writes them: 25000, 25000.5
CREATE FUNCTION rupees(paise bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT trim_scale(paise / 100.0)
$$;

-- A time as the API writes it: 2026-11-22T10:11:12.345Z
CREATE FUNCTION iso_time(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- A line of an order's history as the API writes it (by nobody: the auction itself).
CREATE FUNCTION history_line(status text, at timestamptz, by uuid, notes text, location jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('status', status, 'timestamp', iso_time(at), 'updatedBy', coalesce(by::text, 'system'),
                              'notes', notes, 'location', location)
$$;

-- The fee or commission on a price, half-up to the paisa.
CREATE FUNCTION share_of(paise bigint, percent numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(paise * percent / 100)::bigint
$$;

-- Raised before the statement that follows it in a pipeline, so that a bad session aborts it:
-- SK401 no such living session, SK403 account disabled, SK40F not one of the roles (null: any).
CREATE FUNCTION session_check(p_session uuid, p_user uuid, p_roles text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found_role text;
    active     boolean;
    stale      boolean;
BEGIN
    SELECT u.role, u.is_active, s.last_used_at < now() - interval '1 minute'
        INTO found_role, active, stale
        FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL AND s.expires_at > now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no living session' USING ERRCODE = 'SK401';
    ELSIF NOT active THEN
        RAISE EXCEPTION 'account disabled' USING ERRCODE = 'SK403';
    ELSIF p_roles IS NOT NULL AND found_role <> ALL (p_roles) THEN
        RAISE EXCEPTION 'role not allowed' USING ERRCODE = 'SK40F';
    END IF;
    IF stale AND NOT pg_is_in_recovery() THEN   -- lastUsedAt is good to a minute, and costs a write a minute
        UPDATE sessions SET last_used_at = now() WHERE id = p_session;
    END IF;
    RETURN found_role;
END $$;

-- Count one hit in a fixed window that opens with its first hit.  HITS above P_MAX: refused.
CREATE FUNCTION rate_hit(p_key text, p_max int, p_window int, OUT hits int, OUT reset_s int) LANGUAGE sql AS $$
    INSERT INTO rate_limits AS r (key, hits, resets_at)
        VALUES (p_key, 1, clock_timestamp() + make_interval(secs => p_window))
        ON CONFLICT (key) DO UPDATE SET
            -- (excluded's end tells one and the same "now" to both)
            hits = CASE WHEN r.resets_at <= excluded.resets_at - make_interval(secs => p_window) THEN 1
                        ELSE least(r.hits + 1, p_max + 1) END,
            resets_at = CASE WHEN r.resets_at <= excluded.resets_at - make_interval(secs => p_window) THEN excluded.resets_at
                             ELSE r.resets_at END
        RETURNING r.hits, greatest(1, ceil(extract(epoch FROM r.resets_at - clock_timestamp())))::int
$$;

-- Tell one person, unless he has muted that type: the notification, its event, and (with a template,
-- when he has WhatsApp on) its message in the queue.
CREATE FUNCTION notify_user(p_user uuid, p_type text, p_priority text, p_title text, p_message text, p_data jsonb,
    p_template text DEFAULT NULL, p_params jsonb DEFAULT '[]', p_listing uuid DEFAULT NULL, p_order uuid DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    whatsapp boolean;
    told     uuid := gen_random_uuid();
BEGIN
    SELECT whatsapp_enabled AND is_active INTO whatsapp
        FROM users WHERE id = p_user AND NOT p_type = ANY (muted_types);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO notifications (id, user_id, type, priority, title, message, data)
        VALUES (told, p_user, p_type, p_priority, p_title, p_message, p_data);
    INSERT INTO events (name, user_id, ref) VALUES ('notification', p_user, told);
    IF whatsapp AND p_template IS NOT NULL THEN
        INSERT INTO whatsapp_queue (user_id, notification_id, template, params, listing_id, order_id)
            VALUES (p_user, told, p_template, p_params, p_listing, p_order)
            ON CONFLICT (user_id, listing_id) WHERE status = 'queued' AND template = 'bid_placed'
            DO UPDATE SET notification_id = excluded.notification_id, params = excluded.params;
    END IF;
END $$;

-- What the word search looks for: all words in any order, the last one as a beginning.
CREATE FUNCTION search_words(p_text text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT plainto_tsquery('simple', coalesce(substring(t FROM '^(.*)\s\S+$'), ''))
        && to_tsquery('simple', '''' || replace(replace(substring(t FROM '(\S+)$'), '\', '\\'), '''', '''''') || ''':*')
        FROM (SELECT btrim(p_text, E' \t\r\n\f') AS t) x
$$;
