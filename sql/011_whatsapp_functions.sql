-- How a queued message gets to WhatsApp once, although a sender may be killed between any two steps.
--
--   queued --take--> sending --mark--> sending, posted_at --POST--> sent | failed | queued again
--
-- take_messages() gives rows to one sender; nothing has left the house.  mark_messages() is committed
-- immediately before the POST and is the only way to it.  A row that was taken but never marked can
-- therefore be given to another sender at any time: whoever took it first cannot mark it any more.
-- A marked row whose sender died is the one case where nobody can know whether the API accepted the
-- message, for the API offers no key by which it would recognise a second POST.  Such a row rests
-- until its lease is over (longer than any POST may take) and is then judged by recover_message():
--
--   a status webhook came for that person since    it was sent; the webhook's id is the message's
--   an OTP                                         failed: two codes confuse more than none
--   any other message                              sent again: told twice is better than not at all
--
-- The same holds for a POST that timed out in a sender that lives (outcome 'unknown').
--
-- Senders are known by a number, for which each holds an advisory lock while it is connected; that is
-- how the others see at once that one is gone.  Locks are taken in one order: the pace row '' (which
-- everybody who takes holds), paces of persons, queue rows (SKIP LOCKED), notifications by id.

ALTER TABLE whatsapp_queue
    ADD phone_hash bytea,        -- whom the spacing is for
    ADD worker     int,          -- the sender that has it
    ADD posted_at  timestamptz,  -- marked: its POST begins now
    ADD log_at     bigint;       -- development: where in whatsapp.log its line begins

CREATE INDEX whatsapp_queue_due_otps ON whatsapp_queue (next_at, id)
    WHERE status = 'queued' AND template = 'otp_verification';
CREATE INDEX whatsapp_queue_otps_by_phone ON whatsapp_queue (phone_hash)
    WHERE status = 'queued' AND template = 'otp_verification';

-- When the next message may go: to the person with that phone hash, and '' for all together.
-- What is lost in a crash is six seconds of patience.
CREATE UNLOGGED TABLE whatsapp_pace (
    who     bytea       PRIMARY KEY,
    next_at timestamptz NOT NULL,
    tail_at timestamptz             -- until when his messages that wait have lined up
) WITH (fillfactor = 50);

-- Statuses that came before the answer that names their message was recorded.
CREATE UNLOGGED TABLE whatsapp_early (
    message_id text        PRIMARY KEY,
    phone_hash bytea,
    status     text        NOT NULL,
    error_code int,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX whatsapp_early_by_phone ON whatsapp_early (phone_hash);

CREATE SEQUENCE whatsapp_workers AS int CYCLE;

-- 'wapq': the first half of the advisory locks by which senders show that they live.
CREATE FUNCTION whatsapp_lock_class() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 2002874481';

-- Put an OTP into the queue.  P_SEAL_ID is the row id that both sealed values are bound to, as
-- whatsapp_queue.recipient (the phone, +919876543210) and whatsapp_queue.secret (the code).  With
-- P_PHONE_HASH an older code that still waits for the same phone, void by now, is not sent any more,
-- and the messages that follow keep their distance.  The caller wakes the sender after its commit
-- (NOTIFY selliko_whatsapp).
CREATE FUNCTION queue_otp(p_seal_id uuid, p_recipient bytea, p_secret bytea, p_expires timestamptz,
                          p_phone_hash bytea DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    UPDATE whatsapp_queue SET status = 'failed', finished_at = clock_timestamp(), secret = NULL,
                              error = 'replaced by a newer one'
        WHERE phone_hash = p_phone_hash AND status = 'queued' AND template = 'otp_verification';
    INSERT INTO whatsapp_queue (seal_id, recipient, secret, template, expires_at, phone_hash)
        VALUES (p_seal_id, p_recipient, p_secret, 'otp_verification', p_expires, p_phone_hash)
        RETURNING id
$$;

-- Tell the administrators, at most once an hour for each NAME.  True when they are told now: wake
-- selliko_events.
CREATE FUNCTION whatsapp_alert(p_name text, p_code int, p_message text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO service_state AS s (name, value) VALUES (p_name, jsonb_build_object('code', p_code))
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()
        WHERE s.updated_at < now() - interval '1 hour';
    IF FOUND THEN
        INSERT INTO events (name, data)
            VALUES ('system_alert', jsonb_build_object('type', 'error', 'message', p_message));
    END IF;
    RETURN FOUND;
END $$;

-- Give up to P_LIMIT messages that may be sent now to the sender P_WORKER, OTPs first.  P_RATE is the
-- messages a second of all senders together, P_SPACING the time between two messages to one person
-- (0: no such limit); an OTP does not wait for the latter, for somebody sits before a form, but
-- others wait for it.  P_LIVE is false when messages only go to the development log: nothing stops them
-- then, and no person's phone needs sparing, but the stream is paced as it would be in production.
--
-- When less was given than is due (because of the rate, or because too many were too soon for their
-- persons), a last row with a null id says in WAIT_MS when to ask again: not sooner than 40 ms, in which
-- several fall due, for a message that travels alone costs as many commits as a dozen together.
CREATE FUNCTION take_messages(p_worker int, p_limit int, p_lease interval, p_live boolean, p_rate int, p_spacing interval)
RETURNS TABLE (id bigint, template text, params jsonb, recipient text, user_phone text, secret text,
               agent_phone text, wanted boolean, attempts int, log_at bigint, wait_ms int)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    at       timestamptz;
    tat      timestamptz;     -- when the paced stream of all messages may go on
    step     interval;
    room     int := p_limit;
    taken    bigint[] := '{}';
    looked   int := 0;        -- at so many, no more in one call: bids may wait for a row that is held here
    most     int := 4 * p_limit;
    n        int;
    stop     jsonb;
    q        record;
    free_at  timestamptz;
BEGIN
    -- Losing this commit in a crash of the database is harmless: mark_messages() waits for its own.
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO whatsapp_pace (who, next_at) VALUES ('', now()) ON CONFLICT DO NOTHING;
    SELECT next_at INTO tat FROM whatsapp_pace WHERE who = '' FOR UPDATE;
    at := clock_timestamp();

    IF p_live THEN
        SELECT value INTO stop FROM service_state WHERE name = 'whatsapp_queue' FOR UPDATE;
        IF FOUND THEN    -- stopped: one message now and then shows whether it was mended
            IF (stop ->> 'probeAt')::timestamptz > at THEN
                RETURN;
            END IF;
            room := least(room, 1);
        END IF;
    END IF;
    IF p_live OR p_rate > 0 THEN
        IF p_rate > 0 THEN
            -- An even stream with at most 50 ms of it at once, six hundredths slower than allowed: no
            -- second, wherever it begins, sees more than P_RATE.
            step := interval '1 second' * 1.06 / p_rate;
            tat := greatest(tat, at - greatest(interval '50 milliseconds', step));
            room := least(room, floor(extract(epoch FROM at - tat) / extract(epoch FROM step))::int);
        ELSIF tat > at THEN   -- the API asked for a pause
            room := 0;
        END IF;
        IF room <= 0 THEN
            RETURN QUERY SELECT NULL::bigint, NULL::text, NULL::jsonb, NULL::text, NULL::text, NULL::text, NULL::text,
                NULL::boolean, NULL::int, NULL::bigint,
                greatest(40, ceil(1000 * extract(epoch FROM tat + coalesce(step, interval '0') - at)))::int;
            RETURN;
        END IF;
    END IF;

    FOR q IN SELECT w.id, w.phone_hash FROM whatsapp_queue w
             WHERE w.status = 'queued' AND w.template = 'otp_verification' AND w.next_at <= at AND w.expires_at > at
             ORDER BY w.next_at, w.id LIMIT room FOR UPDATE SKIP LOCKED
    LOOP
        taken := taken || q.id;
        IF q.phone_hash IS NOT NULL AND p_live AND p_spacing > interval '0' THEN
            INSERT INTO whatsapp_pace AS p (who, next_at) VALUES (q.phone_hash, at + p_spacing)
                ON CONFLICT (who) DO UPDATE SET next_at = greatest(p.next_at, excluded.next_at);
        END IF;
    END LOOP;
    room := room - cardinality(taken);

    WHILE room > 0 AND looked < most LOOP
        n := 0;
        FOR q IN SELECT w.id, u.phone_hash, w.phone_hash IS NOT NULL AS waited FROM whatsapp_queue w JOIN users u ON u.id = w.user_id
                 WHERE w.status = 'queued' AND w.template <> 'otp_verification' AND w.next_at <= at AND w.id <> ALL (taken)
                 ORDER BY w.next_at, w.id LIMIT room FOR UPDATE OF w SKIP LOCKED
        LOOP
            n := n + 1;
            IF p_live AND p_spacing > interval '0' THEN
                INSERT INTO whatsapp_pace AS p (who, next_at) VALUES (q.phone_hash, at + p_spacing)
                    ON CONFLICT (who) DO UPDATE SET next_at = excluded.next_at WHERE p.next_at <= at;
                IF NOT FOUND THEN
                    -- Too soon for that person: it goes behind those that have lined up, or, when it had
                    -- and its turn was a moment late, to the next one.
                    UPDATE whatsapp_pace p SET tail_at = greatest(p.next_at, CASE WHEN q.waited THEN p.tail_at ELSE p.tail_at + p_spacing END)
                        WHERE p.who = q.phone_hash
                        RETURNING CASE WHEN q.waited THEN p.next_at ELSE p.tail_at END INTO free_at;
                    UPDATE whatsapp_queue w SET next_at = free_at, phone_hash = q.phone_hash WHERE w.id = q.id;
                    CONTINUE;
                END IF;
            END IF;
            UPDATE whatsapp_queue w SET phone_hash = q.phone_hash WHERE w.id = q.id AND w.phone_hash IS DISTINCT FROM q.phone_hash;
            taken := taken || q.id;
            room := room - 1;
        END LOOP;
        EXIT WHEN n = 0;
        looked := looked + n;
    END LOOP;

    IF (p_live OR p_rate > 0) AND cardinality(taken) > 0 THEN
        IF p_rate > 0 THEN
            UPDATE whatsapp_pace SET next_at = tat + step * cardinality(taken) WHERE who = '';
        END IF;
        IF stop IS NOT NULL THEN
            UPDATE service_state SET updated_at = at, value = value || jsonb_build_object(
                    'probeSeconds', least(60, 2 * (stop ->> 'probeSeconds')::int),
                    'probeAt', at + make_interval(secs => least(60, 2 * (stop ->> 'probeSeconds')::int)))
                WHERE name = 'whatsapp_queue';
        END IF;
    END IF;
    RETURN QUERY
        WITH mine AS (
            UPDATE whatsapp_queue w SET status = 'sending', worker = p_worker, lease_until = at + p_lease, posted_at = NULL
            WHERE w.id = ANY (taken)
            RETURNING w.*
        )
        SELECT m.id, m.template, m.params, m.seal_id::text || m.recipient::text, u.id::text || u.phone_sealed::text,
               m.seal_id::text || m.secret::text,
               (SELECT a.id::text || a.phone_sealed::text FROM orders o JOIN users a ON a.id = o.agent_id WHERE o.id = m.order_id),
               coalesce(u.is_active AND u.whatsapp_enabled, true), m.attempts, m.log_at, NULL::int
        FROM mine m LEFT JOIN users u ON u.id = m.user_id
        ORDER BY array_position(taken, m.id);
    IF cardinality(taken) < p_limit AND (looked >= most OR p_rate > 0 AND room <= 0) THEN
        RETURN QUERY SELECT NULL::bigint, NULL::text, NULL::jsonb, NULL::text, NULL::text, NULL::text, NULL::text,
            NULL::boolean, NULL::int, NULL::bigint, greatest(40, ceil(1000 * extract(epoch FROM coalesce(step, interval '0'))))::int;
    END IF;
END $$;

-- The last word before the POSTs: these rows are P_WORKER's and begin now.  Only what is returned may be
-- sent; MS_LEFT is the time until an OTP expires (null: no end).  P_LOG_AT says where each line will
-- begin when they are written to the development log, null otherwise.
CREATE FUNCTION mark_messages(p_worker int, p_ids bigint[], p_lease interval, p_log_at bigint[])
RETURNS TABLE (id bigint, attempt int, ms_left int) LANGUAGE sql AS $$
    UPDATE whatsapp_queue w SET posted_at = clock_timestamp(), lease_until = clock_timestamp() + p_lease,
                                attempts = w.attempts + 1, log_at = x.log_at
        FROM unnest(p_ids, p_log_at) AS x(id, log_at)
        WHERE w.id = x.id AND w.worker = p_worker AND w.status = 'sending' AND w.posted_at IS NULL
          AND (w.expires_at IS NULL OR w.expires_at > clock_timestamp())
        RETURNING w.id, w.attempts, (1000 * extract(epoch FROM w.expires_at - clock_timestamp()))::int
$$;

-- The API accepted these.  ATTEMPT is mark_messages()'s: an answer that comes after the row was judged
-- unknown is still the truth about that attempt, as long as no other one was begun.  Returns how many
-- were recorded; RESUMED says that the queue was stopped and goes on.
CREATE FUNCTION finish_sent(p_ids bigint[], p_attempts int[], p_message_ids text[], OUT recorded int, OUT resumed boolean)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    told  uuid[];
    ids   text[];
    since timestamptz;
BEGIN
    WITH done AS (
        UPDATE whatsapp_queue q SET status = 'sent', finished_at = clock_timestamp(), message_id = x.message_id,
                                    worker = NULL, lease_until = NULL, secret = NULL, error = NULL, error_code = NULL
            FROM unnest(p_ids, p_attempts, p_message_ids) AS x(id, attempt, message_id)
            WHERE q.id = x.id AND q.attempts = x.attempt AND q.status <> 'sent'
            RETURNING q.notification_id, x.message_id, q.posted_at
    )
    SELECT count(*), array_agg(d.notification_id) FILTER (WHERE d.notification_id IS NOT NULL),
           array_agg(d.message_id) FILTER (WHERE d.notification_id IS NOT NULL), max(d.posted_at)
        INTO recorded, told, ids, since FROM done d;

    IF told IS NOT NULL THEN
        PERFORM FROM notifications n WHERE n.id = ANY (told) ORDER BY n.id FOR NO KEY UPDATE;
        -- An id that another notification has already (an API that is not Meta's) is left out.
        UPDATE notifications n SET sent_via_whatsapp = true, whatsapp_status = 'sent',
                whatsapp_message_id = CASE WHEN x.nth = 1 AND NOT EXISTS
                    (SELECT FROM notifications o WHERE o.whatsapp_message_id = x.message_id AND o.id <> x.id) THEN x.message_id END
            FROM (SELECT u.id, u.message_id, row_number() OVER (PARTITION BY u.message_id ORDER BY u.id) AS nth
                  FROM unnest(told, ids) AS u(id, message_id)) x
            WHERE n.id = x.id;
    END IF;

    -- A message that was posted since the queue stopped, and arrived: it goes on.
    resumed := false;
    DELETE FROM service_state s WHERE s.name = 'whatsapp_queue' AND (s.value ->> 'since')::timestamptz < since;
    IF FOUND THEN
        resumed := true;
        INSERT INTO events (name, data) VALUES ('system_alert',
            '{"type": "info", "message": "WhatsApp messages are being sent again."}');
    END IF;
END $$;

-- What became of a row that is not 'sent'.  P_OUTCOME:
--   retry      it was not accepted; again after P_DELAY seconds
--   paced      the same, and nothing goes to that person before
--   throttled  the same, and nothing goes to anybody before
--   unknown    it may have been accepted: an OTP fails, another message is sent again after P_DELAY
--   stop       nothing can be sent until somebody mends the account: the queue stops
--   failed     it will never be sent
-- A message that is older than a day and was tried ten times, and an OTP that expires before its next
-- turn, fail as well.  Returns what the row is now (queued, failed; null: it was not P_ATTEMPT's any
-- more) and whether the administrators were told.
CREATE FUNCTION finish_message(p_id bigint, p_attempt int, p_outcome text, p_code int, p_error text, p_delay float8,
                               OUT result text, OUT alerted boolean) LANGUAGE plpgsql AS $$
DECLARE
    q        whatsapp_queue;
    again_at timestamptz := clock_timestamp() + make_interval(secs => p_delay);
    failed   boolean := p_outcome = 'failed';
    why      text := p_error;
BEGIN
    alerted := false;
    IF p_outcome = 'paced' THEN
        INSERT INTO whatsapp_pace AS p (who, next_at)
            SELECT w.phone_hash, again_at FROM whatsapp_queue w WHERE w.id = p_id AND w.phone_hash IS NOT NULL
            ON CONFLICT (who) DO UPDATE SET next_at = greatest(p.next_at, excluded.next_at);
    ELSIF p_outcome = 'throttled' THEN
        UPDATE whatsapp_pace p SET next_at = greatest(p.next_at, again_at) WHERE p.who = '';
    END IF;
    SELECT * INTO q FROM whatsapp_queue w
        WHERE w.id = p_id AND w.attempts = p_attempt AND w.status = 'sending' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF p_outcome = 'stop' THEN
        again_at := clock_timestamp();
        INSERT INTO service_state (name, value) VALUES ('whatsapp_queue', jsonb_build_object('stopped', true,
                'code', p_code, 'reason', p_error, 'since', clock_timestamp(),
                'probeAt', clock_timestamp() + interval '5 seconds', 'probeSeconds', 5))
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            alerted := true;
            INSERT INTO events (name, data) VALUES ('system_alert', jsonb_build_object('type', 'error', 'message',
                'WhatsApp messages wait in the queue: ' || p_error || coalesce(' (code ' || p_code || ')', '') || '.'));
        END IF;
    ELSIF p_outcome = 'failed' AND p_code BETWEEN 132000 AND 132999 THEN
        alerted := whatsapp_alert('whatsapp_template:' || q.template, p_code,
            'WhatsApp refused the template ' || q.template || ': ' || p_error || ' (code ' || p_code || ').');
    ELSIF p_outcome = 'unknown' AND q.template = 'otp_verification' THEN
        failed := true;
    END IF;
    IF NOT failed AND again_at >= q.expires_at THEN
        failed := true;
        why := concat_ws(': ', 'expired', p_error);
    ELSIF NOT failed AND again_at > q.created_at + interval '1 day' AND p_attempt >= 10 AND p_outcome <> 'stop' THEN
        failed := true;
        why := concat_ws(': ', 'given up after a day', p_error);
    END IF;

    IF NOT failed THEN
        BEGIN
            UPDATE whatsapp_queue w SET status = 'queued', worker = NULL, lease_until = NULL, posted_at = NULL,
                    next_at = again_at, error_code = p_code, error = why
                WHERE w.id = p_id;
            result := 'queued';
            RETURN;
        EXCEPTION WHEN unique_violation THEN   -- meanwhile the person has a newer one of the same kind
            why := 'replaced by a newer one';
        END;
    END IF;
    UPDATE whatsapp_queue w SET status = 'failed', worker = NULL, lease_until = NULL, secret = NULL,
            finished_at = clock_timestamp(), error_code = p_code, error = why
        WHERE w.id = p_id;
    IF failed THEN
        UPDATE notifications n SET whatsapp_status = 'failed' WHERE n.id = q.notification_id AND n.whatsapp_status IS NULL;
    END IF;
    result := 'failed';
END $$;

-- Judge one row that a sender left behind (see above); how it was judged, or null when there is none.
-- One a transaction, so that waiting for a bid that replaces a message cannot become waiting in a circle.
CREATE FUNCTION recover_message(p_worker int) RETURNS text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    q     record;
    early whatsapp_early;
    r     record;
BEGIN
    FOR q IN SELECT w.* FROM whatsapp_queue w WHERE w.status = 'sending'
             AND (w.lease_until <= clock_timestamp() OR w.posted_at IS NULL AND w.worker <> p_worker)
             ORDER BY w.lease_until FOR UPDATE SKIP LOCKED
    LOOP
        -- Getting the dead sender's lock proves that it is dead; it is ours until the end of the transaction.
        CONTINUE WHEN q.lease_until > clock_timestamp()
                  AND NOT pg_try_advisory_xact_lock(whatsapp_lock_class(), q.worker);
        IF q.posted_at IS NULL THEN
            SELECT * INTO r FROM finish_message(q.id, q.attempts, 'retry', NULL, NULL, 0);
            RETURN 'never posted: ' || r.result;
        ELSIF q.log_at IS NOT NULL THEN   -- whoever takes it looks into the log
            SELECT * INTO r FROM finish_message(q.id, q.attempts, 'retry', NULL, NULL, 0);
            RETURN 'perhaps logged: ' || r.result;
        END IF;
        DELETE FROM whatsapp_early e WHERE e.message_id = (
            SELECT x.message_id FROM whatsapp_early x WHERE x.phone_hash = q.phone_hash AND x.created_at >= q.posted_at
            ORDER BY x.created_at LIMIT 1)
            RETURNING * INTO early;
        IF FOUND THEN
            PERFORM finish_sent(ARRAY[q.id], ARRAY[q.attempts], ARRAY[early.message_id]);
            PERFORM whatsapp_status(ARRAY[early.message_id], ARRAY[early.status], ARRAY[early.error_code], NULL);
            RETURN 'sent, says a webhook';
        END IF;
        SELECT * INTO r FROM finish_message(q.id, q.attempts, 'unknown', NULL, 'the sender ended before the answer came', 0);
        RETURN 'outcome unknown: ' || r.result;
    END LOOP;
    RETURN NULL;
END $$;

-- What has to happen now and then: OTPs whose time is over are not sent any more, early statuses find
-- their messages, old ones and old paces go.
CREATE FUNCTION sweep_messages() RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    e whatsapp_early;
BEGIN
    UPDATE whatsapp_queue w SET status = 'failed', finished_at = clock_timestamp(), secret = NULL, error = concat_ws(': ', 'expired', w.error)
        WHERE w.id IN (SELECT x.id FROM whatsapp_queue x WHERE x.status = 'queued' AND x.template = 'otp_verification'
                       AND x.expires_at <= now() FOR UPDATE SKIP LOCKED);
    FOR e IN DELETE FROM whatsapp_early x
             WHERE x.created_at < now() - interval '10 minutes'
                OR EXISTS (SELECT FROM notifications n WHERE n.whatsapp_message_id = x.message_id) RETURNING *
    LOOP
        PERFORM whatsapp_status(ARRAY[e.message_id], ARRAY[e.status], ARRAY[e.error_code], NULL);
    END LOOP;
    DELETE FROM whatsapp_pace WHERE who <> '' AND greatest(next_at, tail_at) < now() - interval '1 minute';
END $$;

-- Statuses only move forward, in whatever order they come: sent < failed < delivered < read (a message
-- that was delivered has not failed).
CREATE FUNCTION whatsapp_rank(status text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_position('{sent,failed,delivered,read}', status), 0)
$$;

-- Record the statuses of a webhook, any number, ids in any order and more than once; how many
-- notifications changed.  Unknown ids are ignored, except while an answer is being waited for:
-- then they may be of that message, and are kept for some minutes.  P_PHONES: keyed hashes of the
-- recipients, or null.
CREATE FUNCTION whatsapp_status(p_ids text[], p_statuses text[], p_codes int[], p_phones bytea[]) RETURNS int LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    changed    int := 0;
    waiting    boolean;
    ids        text[];
    states     text[];
    codes      int[];
    phones     bytea[];
    due        uuid[];     -- notifications that move forward
    new_ids    text[];     -- the statuses of messages that nobody knows (yet)
    new_states text[];
    new_codes  int[];
    new_phones bytea[];
    bad        int;
BEGIN
    -- Asked first: when no answer is being waited for now, every message that has an id is seen below.
    waiting := p_phones IS NOT NULL
        AND EXISTS (SELECT FROM whatsapp_queue q WHERE q.status = 'sending' AND q.posted_at IS NOT NULL);
    SELECT array_agg(b.id), array_agg(b.status), array_agg(b.code), array_agg(b.phone) INTO ids, states, codes, phones
        FROM (SELECT DISTINCT ON (x.id) x.id, x.status, x.code, x.phone
              FROM unnest(p_ids, p_statuses, p_codes, p_phones) AS x(id, status, code, phone)
              WHERE whatsapp_rank(x.status) > 0
              ORDER BY x.id, whatsapp_rank(x.status) DESC) b;
    IF ids IS NULL THEN
        RETURN 0;
    ELSIF p_phones IS NOT NULL THEN
        -- Meta wants its answer soon, and nothing is decided by a status that a crash of the database loses.
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    SELECT array_agg(n.id) FILTER (WHERE whatsapp_rank(x.status) > whatsapp_rank(n.whatsapp_status)),
           array_agg(x.id) FILTER (WHERE n.id IS NULL), array_agg(x.status) FILTER (WHERE n.id IS NULL),
           array_agg(x.code) FILTER (WHERE n.id IS NULL), array_agg(x.phone) FILTER (WHERE n.id IS NULL)
        INTO due, new_ids, new_states, new_codes, new_phones
        FROM unnest(ids, states, codes, phones) AS x(id, status, code, phone)
        LEFT JOIN notifications n ON n.whatsapp_message_id = x.id;
    IF due IS NOT NULL THEN
        PERFORM FROM notifications n WHERE n.id = ANY (due) ORDER BY n.id FOR NO KEY UPDATE;
        UPDATE notifications n SET whatsapp_status = x.status
            FROM unnest(ids, states) AS x(id, status)
            WHERE n.whatsapp_message_id = x.id AND whatsapp_rank(x.status) > whatsapp_rank(n.whatsapp_status);
        GET DIAGNOSTICS changed = ROW_COUNT;
    END IF;

    -- Not found above, though perhaps recorded since then: the sweep brings both together.  There are never
    -- more than some dozens of them; what comes by the thousand is not ours.
    IF waiting AND new_ids IS NOT NULL THEN
        INSERT INTO whatsapp_early AS e (message_id, phone_hash, status, error_code)
            SELECT x.id, x.phone, x.status, x.code
            FROM unnest(new_ids[:1000], new_states[:1000], new_codes[:1000], new_phones[:1000]) AS x(id, status, code, phone)
            ORDER BY x.id
            ON CONFLICT (message_id) DO UPDATE SET status = excluded.status, error_code = excluded.error_code
            WHERE whatsapp_rank(excluded.status) > whatsapp_rank(e.status);
    END IF;

    SELECT x.code INTO bad FROM unnest(codes) AS x(code)
        WHERE x.code IN (368, 131031, 131042, 131048) OR x.code BETWEEN 132000 AND 132999 LIMIT 1;
    IF FOUND AND changed > 0 THEN
        PERFORM whatsapp_alert('whatsapp_webhook:' || bad, bad, 'WhatsApp reports that messages failed (code ' || bad || ').');
    END IF;
    RETURN changed;
END $$;
