-- What all areas use: money, sessions, limits, notifications, the word search.
BEGIN;
\ir fixtures.inc
SELECT no_plan();

-- ---- money ----
SELECT is(money_text(p), t, format('%s paise read %s', p, t)) FROM (VALUES
    (100000::bigint, '₹1,000'), (2500000, '₹25,000'), (12495000, '₹1,24,950'), (12495050, '₹1,24,950.50'),
    (100000000, '₹10,00,000'), (5, '₹0.05'), (99900, '₹999'), (100001, '₹1,000.01')) x(p, t);
SELECT is(rupees(p)::text, t, format('%s paise are %s in the interface', p, t)) FROM (VALUES
    (2500000::bigint, '25000'), (2500050, '25000.5'), (2500001, '25000.01'), (0, '0')) x(p, t);
SELECT is(share_of(p, r), s, format('%s %% of %s paise is %s, half-up', r, p, s)) FROM (VALUES
    (2500050::bigint, 2::numeric, 50001::bigint), (2500025, 2, 50001), (2500024, 2, 50000), (2500010, 5, 125001),
    (2500009, 5, 125000), (100000, 0, 0), (100000, 100, 100000), (333333, 2.5, 8333)) x(p, r, s);

-- ---- sessions ----
SELECT test.user('VENDOR') AS vendor, test.user('CLIENT') AS client \gset
SELECT test.session(:'vendor') AS session \gset
SELECT is(session_check(:'session', :'vendor', '{VENDOR}'), 'VENDOR', 'a living session passes');
SELECT is(session_check(:'session', :'vendor', NULL), 'VENDOR', 'no roles asked for: any passes');
SELECT throws_ok(format('SELECT session_check(%L, %L, %L)', :'session', :'vendor', '{ADMIN}'), 'SK40F', NULL, 'another role is refused');
SELECT throws_ok(format('SELECT session_check(%L, %L, NULL)', :'session', :'client'), 'SK401', NULL, 'another user''s session is none');
SELECT throws_ok(format('SELECT session_check(%L, %L, NULL)', gen_random_uuid(), :'vendor'), 'SK401', NULL, 'an unknown session is none');
UPDATE sessions SET last_used_at = now() - interval '2 minutes' WHERE id = :'session';
SELECT session_check(:'session', :'vendor', NULL) \g /dev/null
SELECT is((SELECT last_used_at FROM sessions WHERE id = :'session'), now(), 'use is noted, a minute coarse');
UPDATE users SET role = 'CLIENT' WHERE id = :'vendor';
SELECT throws_ok(format('SELECT session_check(%L, %L, %L)', :'session', :'vendor', '{VENDOR}'), 'SK40F', NULL, 'the role is the database''s, at once');
UPDATE users SET is_active = false WHERE id = :'vendor';
SELECT throws_ok(format('SELECT session_check(%L, %L, NULL)', :'session', :'vendor'), 'SK403', NULL, 'a disabled account is told so');
UPDATE users SET is_active = true WHERE id = :'vendor';
UPDATE sessions SET revoked_at = now() WHERE id = :'session';
SELECT throws_ok(format('SELECT session_check(%L, %L, NULL)', :'session', :'vendor'), 'SK401', NULL, 'a revoked session is none');
UPDATE sessions SET revoked_at = NULL, expires_at = now() WHERE id = :'session';
SELECT throws_ok(format('SELECT session_check(%L, %L, NULL)', :'session', :'vendor'), 'SK401', NULL, 'an expired session is none');

-- ---- rate limits ----
SELECT is((rate_hit('k', 3, 60)).hits, 1, 'a window opens with its first hit');
SELECT is((rate_hit('k', 3, 60)).hits, 2, 'the second counts');
SELECT is((rate_hit('k', 3, 60)).hits, 3, 'the third is the last');
SELECT is((rate_hit('k', 3, 60)).hits, 4, 'the fourth is above');
SELECT is((rate_hit('k', 3, 60)).hits, 4, 'and the counter stays there');
SELECT ok((rate_hit('k', 3, 60)).reset_s BETWEEN 1 AND 60, 'it says in how many seconds the window opens anew');
SELECT is((rate_hit('other', 3, 60)).hits, 1, 'another key has its own');
UPDATE rate_limits SET resets_at = clock_timestamp() WHERE key = 'k';
SELECT is((rate_hit('k', 3, 60)).hits, 1, 'a window that is over is a new one');
SELECT ok((SELECT resets_at > clock_timestamp() + interval '59 seconds' FROM rate_limits WHERE key = 'k'), 'of full length');

-- ---- telling people ----
SELECT test.user('CLIENT') AS told \gset
SELECT notify_user(:'told', 'order_update', 'high', 'T', 'M', '{"a": 1}', 'order_status', '["x"]') \g /dev/null
SELECT results_eq(format('SELECT type, priority, is_read, sent_via_whatsapp FROM notifications WHERE user_id = %L', :'told'),
    $$VALUES ('order_update', 'high', false, false)$$, 'a notification is made');
SELECT is((SELECT count(*)::int FROM events e JOIN notifications n ON n.id = e.ref WHERE e.name = 'notification' AND e.user_id = :'told'), 1,
    'with its event');
SELECT is((SELECT count(*)::int FROM whatsapp_queue q JOIN notifications n ON n.id = q.notification_id WHERE q.user_id = :'told'), 1,
    'and its message');
UPDATE users SET whatsapp_enabled = false WHERE id = :'told';
SELECT notify_user(:'told', 'order_update', 'high', 'T', 'M', NULL, 'order_status', '["x"]') \g /dev/null
SELECT is((SELECT count(*)::int FROM notifications WHERE user_id = :'told'), 2, 'WhatsApp off: still told in the app');
SELECT is((SELECT count(*)::int FROM whatsapp_queue WHERE user_id = :'told'), 1, 'but not by message');
UPDATE users SET whatsapp_enabled = true, muted_types = '{order_update}' WHERE id = :'told';
SELECT notify_user(:'told', 'order_update', 'high', 'T', 'M', NULL, 'order_status', '["x"]') \g /dev/null
SELECT is((SELECT count(*)::int FROM notifications WHERE user_id = :'told'), 2, 'a muted type is not made at all');
SELECT is((SELECT count(*)::int FROM events WHERE user_id = :'told'), 2, 'nor its event');
SELECT is((SELECT count(*)::int FROM whatsapp_queue WHERE user_id = :'told'), 1, 'nor its message');
SELECT gen_random_uuid() AS about \gset
SELECT notify_user(:'told', 'bid_placed', 'normal', 'T', 'M', NULL, 'bid_placed', '["d", "1"]', :'about') \g /dev/null
SELECT notify_user(:'told', 'outbid', 'normal', 'T', 'M', NULL, 'bid_placed', '["d", "2"]', :'about') \g /dev/null
SELECT results_eq(format('SELECT params FROM whatsapp_queue WHERE user_id = %L AND listing_id = %L', :'told', :'about'),
    $$VALUES ('["d", "2"]'::jsonb)$$, 'a queued bid_placed of that listing and person is replaced');
SELECT is((SELECT type FROM notifications n JOIN whatsapp_queue q ON q.notification_id = n.id WHERE q.listing_id = :'about'), 'outbid',
    'and stands for the newer notification');
UPDATE whatsapp_queue SET status = 'sending', lease_until = now() WHERE listing_id = :'about';
SELECT notify_user(:'told', 'bid_placed', 'normal', 'T', 'M', NULL, 'bid_placed', '["d", "3"]', :'about') \g /dev/null
SELECT is((SELECT count(*)::int FROM whatsapp_queue WHERE listing_id = :'about'), 2, 'one that is being sent is left alone');

-- ---- the word search ----
CREATE FUNCTION pg_temp.finds(p_words text, p_text text) RETURNS boolean LANGUAGE sql AS
    $$ SELECT to_tsvector('simple', p_text) @@ search_words(p_words) $$;
SELECT ok(pg_temp.finds(w, 'Apple iPhone 13 Pro: mint condition, with bill'), format('"%s" is found', w))
    FROM unnest(ARRAY['iphone', 'IPHONE', 'iph', '13 apple', 'pro iphone', 'mint cond', 'bill apple', '  bill  ', 'apple
        mint', 'pro:', 'mint, with']) w;
SELECT ok(NOT pg_temp.finds(w, 'Apple iPhone 13 Pro: mint condition, with bill'), format('"%s" is not', w))
    FROM unnest(ARRAY['samsung', 'iph mint', 'hone', 'apple samsung', 'apple iphone 14']) w;
SELECT lives_ok(format('SELECT to_tsvector(''simple'', ''x'') @@ search_words(%L)', w), format('"%s" does no harm', w))
    FROM unnest(ARRAY['''', '\', '''\', '&', 'a & b', '!x', '(', ')', ':*', 'x:*', 'a''b', '<->', '\\''', ' ', '%', 'a|b',
                      E'\u200b', '日本', repeat('x', 3000), 'https://x.y/z?a=b', 'a@b.c', '-', '--', '$1', '1.5e3']) w;
SELECT ok(pg_temp.finds('5g', 'Moto 5G'), 'digits and letters');
SELECT ok(pg_temp.finds('wi-f', 'has Wi-Fi'), 'the beginning of a word with a hyphen');
SELECT ok(pg_temp.finds('o''br', 'from O''Brien'), 'an apostrophe in the last word');

SELECT * FROM finish();
ROLLBACK;
