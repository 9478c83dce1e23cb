-- Where an auction is decided.  A bid, the clock and an instant win all end it in settle_listings();
-- whoever calls that has locked the listings' rows, and a row's status says whether it happened.
--
-- Locks are taken in one order by everybody, so that no two batches wait for each other:
-- idempotency keys (sorted), rate limits (by vendor), listings (by id); what is written under a
-- listing's lock (bidders, bids, its queued messages) needs no order of its own.

-- End the auctions of live listings: each is sold to its highest bid (sold_as is the order) or expires (null).
-- To a listing that is not live any more nothing happens, and it is not returned.  A statement a table, as
-- many of them may end in the same second.
CREATE FUNCTION settle_listings(p_listings uuid[], p_rules auction_rules) RETURNS TABLE (ended uuid, sold_as uuid)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    r        record;
    n        int := 0;
    e_id     uuid[] := '{}';
    e_client uuid[] := '{}';
    e_device text[] := '{}';
    e_bid    uuid[] := '{}';
    e_vendor uuid[] := '{}';
    e_amount bigint[] := '{}';
    e_price  text[] := '{}';
    e_order  uuid[] := '{}';
    e_at     timestamptz[] := '{}';
    e_by     uuid[] := '{}';    -- an instant win is the vendor's doing
BEGIN
    FOR r IN UPDATE listings SET status = CASE WHEN highest_bid_id IS NULL THEN 'expired' ELSE 'sold' END
             WHERE id = ANY (p_listings) AND status = 'live'
             RETURNING id, client_id, brand || ' ' || model AS device, highest_bid_id, highest_vendor, highest_amount,
                       (SELECT b.vendor_id FROM bids b WHERE b.id = highest_bid_id AND b.is_instant_win) AS winner
    LOOP
        n := n + 1;
        e_id[n] := r.id;               e_client[n] := r.client_id;       e_device[n] := r.device;
        e_bid[n] := r.highest_bid_id;  e_vendor[n] := r.highest_vendor;  e_amount[n] := r.highest_amount;
        e_price[n] := money_text(r.highest_amount);                      e_at[n] := clock_timestamp();
        e_by[n] := r.winner;
        e_order[n] := CASE WHEN r.highest_bid_id IS NOT NULL THEN gen_random_uuid() END;
    END LOOP;
    IF n = 0 THEN
        RETURN;
    END IF;

    INSERT INTO orders (id, listing_id, bid_id, client_id, vendor_id, final_price, commission_rate,
                        agent_commission, platform_fee, created_at, status_history)
        SELECT e.made, e.id, e.bid, e.client, e.vendor, e.amount, p_rules.commission_percent,
               share_of(e.amount, p_rules.commission_percent), share_of(e.amount, p_rules.fee_percent), e.at,
               json_build_array(history_line('pending_pickup', e.at, e.by, NULL, NULL))
        FROM unnest(e_id, e_client, e_bid, e_vendor, e_amount, e_order, e_at, e_by)
          AS e(id, client, bid, vendor, amount, made, at, by)
        WHERE e.made IS NOT NULL;
    INSERT INTO order_history (order_id, status, created_at, updated_by)
        SELECT e.made, 'pending_pickup', e.at, e.by
        FROM unnest(e_order, e_at, e_by) AS e(made, at, by) WHERE e.made IS NOT NULL;
    INSERT INTO events (name, listing_id, user_id, ref, data)
        SELECT x.* FROM unnest(e_id, e_client, e_device, e_bid, e_vendor, e_price, e_order)
                     AS e(id, client, device, bid, vendor, price, made),
        LATERAL (
            SELECT 'auction_won', e.id, NULL::uuid, e.bid, NULL::jsonb WHERE e.made IS NOT NULL
            UNION ALL
            SELECT 'auction_ended', e.id, NULL, NULL,
                   jsonb_build_object('status', CASE WHEN e.made IS NULL THEN 'expired' ELSE 'sold' END)
            UNION ALL
            SELECT 'order_update', NULL, party, e.made, jsonb_build_object('status', 'pending_pickup', 'message',
                                                                           e.device || ' was sold for ' || e.price)
            FROM unnest(ARRAY[e.client, e.vendor]) party WHERE e.made IS NOT NULL
        ) x;

    WITH e AS MATERIALIZED (
        SELECT *, jsonb_build_object('listingId', e.id, 'orderId', e.made, 'amount', rupees(e.amount)) AS details
        FROM unnest(e_id, e_client, e_device, e_vendor, e_amount, e_price, e_order)
          AS e(id, client, device, vendor, amount, price, made)
    ), told AS MATERIALIZED (
        SELECT gen_random_uuid() AS id, x.*, u.whatsapp_enabled AND u.is_active AS whatsapp
        FROM (
            SELECT e.vendor AS usr, 'auction_won' AS type, 'high' AS priority, 'You won the auction' AS title,
                   'You won the ' || e.device || ' for ' || e.price || '.' AS message, e.details, e.made, e.id AS listing
            FROM e WHERE e.made IS NOT NULL
            UNION ALL
            SELECT e.client, 'order_update', 'high', 'Your phone is sold',
                   'Your ' || e.device || ' was sold for ' || e.price || '.', e.details, e.made, e.id
            FROM e WHERE e.made IS NOT NULL
            UNION ALL
            SELECT b.vendor_id, 'auction_lost', 'normal', 'Auction lost',
                   'The ' || e.device || ' went to another vendor for ' || e.price || '.',
                   jsonb_build_object('listingId', e.id), NULL, e.id
            FROM e JOIN bidders b ON b.listing_id = e.id AND b.vendor_id <> e.vendor
            WHERE e.made IS NOT NULL
            UNION ALL
            SELECT e.client, 'auction_expired', 'normal', 'Auction ended without bids',
                   'Nobody bid on your ' || e.device || '.', jsonb_build_object('listingId', e.id), NULL, e.id
            FROM e WHERE e.made IS NULL
        ) x
        JOIN users u ON u.id = x.usr
        WHERE NOT x.type = ANY (u.muted_types)
    ), noted AS (
        INSERT INTO notifications (id, user_id, type, priority, title, message, data)
        SELECT t.id, t.usr, t.type, t.priority, t.title, t.message, t.details FROM told t
    ), announced AS (
        INSERT INTO events (name, user_id, ref) SELECT 'notification', t.usr, t.id FROM told t
    )
    INSERT INTO whatsapp_queue (user_id, notification_id, template, params, listing_id, order_id)
        SELECT t.usr, t.id, 'order_status', jsonb_build_array(t.made, 'pending_pickup'), t.listing, t.made
        FROM told t WHERE t.whatsapp AND t.made IS NOT NULL;

    RETURN QUERY SELECT e.id, e.made FROM unnest(e_id, e_order) AS e(id, made);
END $$;

-- One of them: its order, null when it expired or is not live any more.
CREATE FUNCTION settle_listing(p_listing uuid, p_rules auction_rules) RETURNS uuid LANGUAGE sql AS $$
    SELECT sold_as FROM settle_listings(ARRAY[p_listing], p_rules)
$$;

-- End up to P_LIMIT auctions whose time is over; how many were ended.  Rows that somebody else holds
-- are skipped, not waited for: the holder is another closer, or a bid, after which the next run comes.
-- They are ended together; where that fails, each in a transaction of its own within this one, so that one
-- that cannot be (a broken rule, a bug) does not keep the others open: it stays live, and the server's log
-- says why.
CREATE FUNCTION close_auctions(p_limit int, p_rules auction_rules) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    due  uuid[] := ARRAY(SELECT id FROM listings WHERE status = 'live' AND auction_end <= now()
                         ORDER BY auction_end, id LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
    one  uuid;
    done int := 0;
BEGIN
    BEGIN
        RETURN (SELECT count(*) FROM settle_listings(due, p_rules));
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    FOREACH one IN ARRAY due LOOP
        BEGIN
            PERFORM settle_listings(ARRAY[one], p_rules);
            done := done + 1;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'listing % cannot be closed: %', one, SQLERRM;
        END;
    END LOOP;
    RETURN done;
END $$;

-- Tell bidders and watchers, once an auction, that it ends within P_NOTICE; how many were told of.
CREATE FUNCTION remind_endings(p_limit int, p_notice interval) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    l    record;
    who  uuid;
    done int := 0;
BEGIN
    FOR l IN SELECT id, brand || ' ' || model AS device, auction_end FROM listings
             WHERE status = 'live' AND ending_sent_at IS NULL
               AND auction_end > now() AND auction_end <= now() + p_notice
             ORDER BY auction_end LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        UPDATE listings SET ending_sent_at = now() WHERE id = l.id;
        INSERT INTO events (name, listing_id, data) VALUES ('auction_ending', l.id,
            jsonb_build_object('timeLeft', ceil(extract(epoch FROM l.auction_end - now()))::int));
        FOR who IN SELECT vendor_id FROM bidders WHERE listing_id = l.id
                   UNION SELECT user_id FROM watchers WHERE listing_id = l.id ORDER BY 1
        LOOP
            PERFORM notify_user(who, 'auction_ending', 'high', 'Auction ending soon',
                'The auction of the ' || l.device || ' ends soon.',
                jsonb_build_object('listingId', l.id, 'auctionEndTime', iso_time(l.auction_end)));
        END LOOP;
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;

-- What one vendor hears.  code: accepted, unauthenticated, account_disabled, forbidden, not_found,
-- auction_ended, bid_too_low, rate_limited, idempotency_key_reused, stored (an answer of another kind
-- was given under this key: stored_status, stored), again (another bid of this batch has the same key:
-- to be asked anew).  hits and reset_s are the rate limit's; request_id that of a replayed answer.
CREATE TYPE bid_answer AS (
    n int, code text, bid_id uuid, listing_id uuid, vendor_id uuid, amount bigint, is_instant_win boolean,
    is_winning boolean, placed_at timestamptz, order_id uuid, minimum_bid bigint, hits int, reset_s int, request_id text,
    stored_status int, stored bytea);

-- Place all the bids that are waiting at one moment, in the order given, in one transaction: an array
-- in for each property, a row out for each bid.  First all listings are locked, then every bid is judged
-- on what the ones before it left (in variables, no table is touched), then all is written, a
-- statement a table.  p_rate_max 0: no rate limit.  p_ids: three a bid, for it and the notifications to the
-- seller and to whom it topped; ids that rise with time, as the programs make them, go to the end of the
-- tables' indexes, and those that are made here, when it is null, go anywhere.
CREATE FUNCTION place_bids(p_session uuid[], p_vendor uuid[], p_listing uuid[], p_amount bigint[],
    p_key text[], p_hash bytea[], p_request text[], p_rules auction_rules, p_rate_max int, p_rate_window int,
    p_ids uuid[] DEFAULT NULL)
RETURNS SETOF bid_answer LANGUAGE plpgsql
-- The arrays are short and every table is reached by its key: nothing is won by planning again.
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    total      int := cardinality(p_listing);
    i          int;
    j          int;
    k          int;
    r          record;
    code       text[] := array_fill(NULL::text, ARRAY[total]);
    hits       int[] := array_fill(0, ARRAY[total]);
    reset_s    int[] := array_fill(0, ARRAY[total]);
    minimum    bigint[] := array_fill(NULL::bigint, ARRAY[total]);
    bid_at     int[] := array_fill(NULL::int, ARRAY[total]);      -- which accepted bid it became
    alias      int[] := array_fill(NULL::int, ARRAY[total]);
    outcomes   jsonb[] := array_fill(NULL::jsonb, ARRAY[total]);  -- replayed from an earlier request
    a          bid_answer;
    -- the locked listings
    l_id       uuid[] := '{}';
    l_client   uuid[] := '{}';
    l_device   text[] := '{}';
    l_status   text[] := '{}';
    l_end      timestamptz[] := '{}';
    l_asking   bigint[] := '{}';
    l_highest  bigint[] := '{}';
    l_leader   uuid[] := '{}';
    l_bid      uuid[] := '{}';
    l_at       timestamptz[] := '{}';
    l_count    int[] := '{}';
    l_bidders  int[] := '{}';
    l_seed     int[] := '{}';
    l_order    uuid[] := '{}';
    l_changed  boolean[] := '{}';
    -- the accepted bids
    b          int := 0;
    b_id       uuid[] := '{}';
    b_listing  uuid[] := '{}';
    b_vendor   uuid[] := '{}';
    b_amount   bigint[] := '{}';
    b_nth      int[] := '{}';
    b_alias    int[] := '{}';
    b_new      boolean[] := '{}';   -- the vendor's first here
    b_instant  boolean[] := '{}';
    b_at       timestamptz[] := '{}';
    -- who is told of them
    t_id       uuid[] := '{}';
    t_user     uuid[] := '{}';
    t_type     text[] := '{}';
    t_bid      int[] := '{}';
    t_device   text[] := '{}';
    at         timestamptz;
    least_bid  bigint;
    instant    boolean;
    extends    boolean := false;
BEGIN
    FOR r IN SELECT p.n, s.id IS NULL AS no_session, u.is_active, u.role
             FROM unnest(p_session, p_vendor) WITH ORDINALITY AS p(session, vendor, n)
             LEFT JOIN sessions s ON s.id = p.session AND s.user_id = p.vendor
                                 AND s.revoked_at IS NULL AND s.expires_at > now()
             LEFT JOIN users u ON u.id = s.user_id
             WHERE s.id IS NULL OR NOT u.is_active OR u.role <> 'VENDOR'
    LOOP
        code[r.n] := CASE WHEN r.no_session THEN 'unauthenticated'
                          WHEN NOT r.is_active THEN 'account_disabled' ELSE 'forbidden' END;
    END LOOP;

    IF array_length(array_remove(p_key, NULL), 1) > 0 THEN
        FOR r IN SELECT p.n, p.vendor, p.key, hashtextextended(p.vendor || p.key, 0) AS lock
                 FROM unnest(p_vendor, p_key) WITH ORDINALITY AS p(vendor, key, n)
                 WHERE p.key IS NOT NULL AND code[p.n] IS NULL ORDER BY 4, p.n
        LOOP
            PERFORM pg_advisory_xact_lock(r.lock);
            FOR i IN 1 .. r.n - 1 LOOP
                IF p_key[i] = r.key AND p_vendor[i] = r.vendor THEN
                    code[r.n] := 'again';
                END IF;
            END LOOP;
        END LOOP;
        FOR r IN SELECT p.n, x.body_hash <> p.hash AS other, x.outcome
                 FROM unnest(p_vendor, p_key, p_hash) WITH ORDINALITY AS p(vendor, key, hash, n)
                 JOIN idempotency_keys x ON x.user_id = p.vendor AND x.route = 'POST /bids' AND x.key = p.key
                      AND x.created_at > now() - interval '24 hours'
                 WHERE code[p.n] IS NULL
        LOOP
            code[r.n] := CASE WHEN r.other THEN 'idempotency_key_reused'
                              WHEN r.outcome IS NULL THEN 'stored' ELSE r.outcome ->> 'code' END;
            outcomes[r.n] := CASE WHEN NOT r.other THEN r.outcome END;
        END LOOP;
    END IF;

    IF p_rate_max > 0 THEN
        FOR r IN SELECT p.n, p.vendor FROM unnest(p_vendor) WITH ORDINALITY AS p(vendor, n)
                 WHERE code[p.n] IS NULL ORDER BY p.vendor, p.n
        LOOP
            -- (INTO takes no elements of arrays)
            SELECT h.hits, h.reset_s INTO j, k FROM rate_hit('bids:' || r.vendor, p_rate_max, p_rate_window) h;
            hits[r.n] := j;
            reset_s[r.n] := k;
            IF j > p_rate_max THEN
                code[r.n] := 'rate_limited';
            END IF;
        END LOOP;
    END IF;

    -- From here until the commit nobody else moves these auctions.
    j := 0;
    FOR r IN SELECT l.id, l.client_id, l.brand, l.model, l.status, l.auction_end, l.asking_price, l.highest_amount,
                    l.highest_vendor, l.highest_bid_id, l.highest_at, l.bid_count, l.bidder_count, l.alias_seed
             FROM listings l WHERE l.id = ANY (p_listing)
             AND l.status IN ('live', 'sold', 'expired') ORDER BY l.id FOR NO KEY UPDATE
    LOOP
        j := j + 1;
        l_id[j] := r.id;              l_client[j] := r.client_id;       l_device[j] := r.brand || ' ' || r.model;
        l_status[j] := r.status;      l_end[j] := r.auction_end;        l_asking[j] := r.asking_price;
        l_highest[j] := r.highest_amount; l_leader[j] := r.highest_vendor; l_bid[j] := r.highest_bid_id;
        l_at[j] := r.highest_at;      l_count[j] := r.bid_count;        l_bidders[j] := r.bidder_count;
        l_seed[j] := r.alias_seed;    l_order[j] := NULL;               l_changed[j] := false;
    END LOOP;
    FOR r IN SELECT p.n, x.alias FROM unnest(p_listing, p_vendor) WITH ORDINALITY AS p(listing, vendor, n)
             JOIN bidders x ON x.listing_id = p.listing AND x.vendor_id = p.vendor
    LOOP
        alias[r.n] := r.alias;
    END LOOP;

    FOR i IN 1 .. total LOOP
        CONTINUE WHEN code[i] IS NOT NULL;
        j := array_position(l_id, p_listing[i]);
        at := clock_timestamp();
        IF j IS NULL THEN
            code[i] := 'not_found';
        ELSIF l_status[j] <> 'live' OR at >= l_end[j] THEN
            code[i] := 'auction_ended';
        ELSIF l_client[j] = p_vendor[i] THEN    -- a client who became a vendor: nobody drives up his own price
            code[i] := 'forbidden';
        END IF;
        CONTINUE WHEN code[i] IS NOT NULL;
        least_bid := least(coalesce(l_highest[j] + p_rules.min_increment, 100000), l_asking[j]);
        IF p_amount[i] < least_bid THEN
            code[i] := 'bid_too_low';
            minimum[i] := least_bid;
            CONTINUE;
        END IF;

        code[i] := 'accepted';
        instant := p_amount[i] >= l_asking[j];
        -- It rises with the amounts, in the milliseconds that people are told, too; by the least there is
        -- where that would run far ahead of the clock, or past the end.
        IF at < l_at[j] + interval '1 millisecond' THEN
            at := greatest(at, l_at[j] + CASE WHEN l_at[j] < least(at + interval '250 milliseconds', l_end[j] - interval '1 millisecond')
                                              THEN interval '1 millisecond' ELSE interval '1 microsecond' END);
        END IF;
        b := b + 1;
        bid_at[i] := b;
        b_new[b] := false;
        IF alias[i] IS NULL THEN
            FOR k IN 1 .. b - 1 LOOP
                IF b_vendor[k] = p_vendor[i] AND b_listing[k] = l_id[j] THEN
                    alias[i] := b_alias[k];
                END IF;
            END LOOP;
        END IF;
        IF alias[i] IS NULL THEN
            -- A walk over all 90,000 numbers from the listing's own beginning (7919 is prime to it):
            -- unique in the listing, and of no use to recognise a vendor in the next one.
            alias[i] := 10000 + ((l_seed[j] + l_bidders[j]::bigint * 7919) % 90000)::int;
            l_bidders[j] := l_bidders[j] + 1;
            b_new[b] := true;
        END IF;
        l_count[j] := l_count[j] + 1;
        b_id[b] := coalesce(p_ids[3 * i - 2], gen_random_uuid());
        b_listing[b] := l_id[j];     b_vendor[b] := p_vendor[i];   b_amount[b] := p_amount[i];
        b_nth[b] := l_count[j];      b_alias[b] := alias[i];       b_instant[b] := instant;
        b_at[b] := at;
        t_id := t_id || coalesce(p_ids[3 * i - 1], gen_random_uuid());
        t_user := t_user || l_client[j];
        t_type := t_type || 'bid_placed'::text;
        t_bid := t_bid || b;
        t_device := t_device || l_device[j];
        IF l_leader[j] <> p_vendor[i] AND NOT instant THEN   -- at an instant win he hears 'auction_lost'
            t_id := t_id || coalesce(p_ids[3 * i], gen_random_uuid());
            t_user := t_user || l_leader[j];
            t_type := t_type || 'outbid'::text;
            t_bid := t_bid || b;
            t_device := t_device || l_device[j];
        END IF;
        l_changed[j] := true;
        l_highest[j] := p_amount[i];
        l_leader[j] := p_vendor[i];
        l_bid[j] := b_id[b];
        l_at[j] := at;
        IF instant THEN
            l_status[j] := 'won';
        ELSIF p_rules.extend > interval '0' AND l_end[j] - at < p_rules.extend THEN
            l_end[j] := at + p_rules.extend;
            extends := true;
        END IF;
    END LOOP;

    IF true = ANY (b_new) THEN
        INSERT INTO bidders (listing_id, vendor_id, alias)
            SELECT x.listing, x.vendor, x.alias FROM unnest(b_listing, b_vendor, b_alias, b_new) AS x(listing, vendor, alias, new)
            WHERE x.new;
    END IF;
    IF b > 0 THEN
        INSERT INTO bids (id, listing_id, vendor_id, amount, nth, alias, is_instant_win, placed_at)
            SELECT * FROM unnest(b_id, b_listing, b_vendor, b_amount, b_nth, b_alias, b_instant, b_at);
        UPDATE listings l SET highest_bid_id = x.bid, highest_amount = x.highest, highest_vendor = x.leader,
                highest_at = x.at, bid_count = x.count, bidder_count = x.bidders
            FROM unnest(l_id, l_bid, l_highest, l_leader, l_at, l_count, l_bidders, l_changed)
                AS x(id, bid, highest, leader, at, count, bidders, changed)
            WHERE l.id = x.id AND x.changed;
        IF extends THEN
            UPDATE listings l SET auction_end = x.ends FROM unnest(l_id, l_end) AS x(id, ends)
                WHERE l.id = x.id AND l.auction_end <> x.ends;
        END IF;
        WITH told AS MATERIALIZED (
            SELECT t.id, t.n, t.usr, t.type, t.device, b_listing[t.bid] AS listing, b_id[t.bid] AS bid,
                   b_amount[t.bid] AS amount, money_text(b_amount[t.bid]) AS price, u.whatsapp_enabled AND u.is_active AS whatsapp
            FROM unnest(t_id, t_user, t_type, t_bid, t_device) WITH ORDINALITY AS t(id, usr, type, bid, device, n)
            JOIN users u ON u.id = t.usr
            WHERE NOT t.type = ANY (u.muted_types)
        ), noted AS (
            INSERT INTO notifications (id, user_id, type, priority, title, message, data)
            SELECT id, usr, type, 'normal',
                CASE type WHEN 'outbid' THEN 'You have been outbid' ELSE 'New bid' END,
                CASE type WHEN 'outbid' THEN 'Somebody bid ' || price || ' on the ' || device || '.'
                          ELSE 'Your ' || device || ' has a bid of ' || price || '.' END,
                jsonb_build_object('listingId', listing, 'bidId', bid, 'amount', rupees(amount))
            FROM told
        ), announced AS (
            INSERT INTO events (name, listing_id, user_id, ref)
            SELECT 'new_bid', x.listing, NULL::uuid, x.id FROM unnest(b_listing, b_id) AS x(listing, id)
            UNION ALL SELECT 'notification', NULL, usr, id FROM told
        )
        INSERT INTO whatsapp_queue (user_id, notification_id, template, params, listing_id)
            SELECT DISTINCT ON (usr, listing) usr, id, 'bid_placed', jsonb_build_array(device, price), listing
            FROM told WHERE whatsapp ORDER BY usr, listing, n DESC
            ON CONFLICT (user_id, listing_id) WHERE status = 'queued' AND template = 'bid_placed'
            DO UPDATE SET notification_id = excluded.notification_id, params = excluded.params;
        FOR j IN 1 .. coalesce(array_length(l_id, 1), 0) LOOP
            IF l_status[j] = 'won' THEN
                l_order[j] := settle_listing(l_id[j], p_rules);
            END IF;
        END LOOP;
    END IF;

    FOR i IN 1 .. total LOOP
        IF outcomes[i] IS NOT NULL THEN
            a := jsonb_populate_record(NULL::bid_answer, outcomes[i]);
            a.n := i;
        ELSE
            a := NULL;
            a.n := i;
            a.code := code[i];
            a.listing_id := p_listing[i];
            a.vendor_id := p_vendor[i];
            a.amount := p_amount[i];
            a.minimum_bid := minimum[i];
            a.request_id := p_request[i];
            IF code[i] = 'stored' THEN
                SELECT x.status, x.answer INTO a.stored_status, a.stored FROM idempotency_keys x
                    WHERE x.user_id = p_vendor[i] AND x.route = 'POST /bids' AND x.key = p_key[i];
            END IF;
            IF bid_at[i] IS NOT NULL THEN
                b := bid_at[i];
                a.bid_id := b_id[b];
                a.is_instant_win := b_instant[b];
                a.is_winning := l_bid[array_position(l_id, p_listing[i])] = b_id[b];   -- or topped within this batch
                a.placed_at := b_at[b];
                IF b_instant[b] THEN
                    a.order_id := l_order[array_position(l_id, p_listing[i])];
                END IF;
            END IF;
            IF p_key[i] IS NOT NULL AND code[i] IN ('accepted', 'not_found', 'auction_ended', 'bid_too_low', 'forbidden') THEN
                INSERT INTO idempotency_keys AS x (user_id, route, key, body_hash, status, outcome)
                    SELECT p_vendor[i], 'POST /bids', p_key[i], p_hash[i],
                           CASE code[i] WHEN 'accepted' THEN 201 WHEN 'not_found' THEN 404 WHEN 'forbidden' THEN 403 ELSE 409 END,
                           jsonb_strip_nulls(to_jsonb(a))
                    WHERE EXISTS (SELECT FROM users WHERE id = p_vendor[i])
                    ON CONFLICT (user_id, route, key) DO UPDATE   -- the former one is older than a day
                    SET body_hash = excluded.body_hash, status = excluded.status, answer = NULL,
                        outcome = excluded.outcome, created_at = now();
            END IF;
        END IF;
        a.hits := hits[i];
        a.reset_s := reset_s[i];
        RETURN NEXT a;
    END LOOP;
END $$;
