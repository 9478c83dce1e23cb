'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { shared, until, sleep, signIn, several, makeListing, approve, liveListing, bid, mustBid, ended, seconds, quickListing } = require('./lib');
const { sealer } = require('./lib/seal');

const w = shared();
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const ALIAS = /^Selliko Bid #\d{5}$/;
const BID = ['amount', 'id', 'isInstantWin', 'isWinning', 'listingId', 'metadata', 'timestamp', 'vendorId'];
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();
const fresh = (n = 1, o = {}) => quickListing(w, client.id, { n, ...o });
const forget = (...who) => w.sql(`DELETE FROM rate_limits WHERE key LIKE 'bids:%' AND (${who.map((v) => `key LIKE '%${v.id}%'`).join(' OR ')})`);
const count = (what, where) => Number(w.sql(`SELECT count(*) FROM ${what} WHERE ${where}`));
// A vendor with bids to spare, for tests that are not about the limit
const free = async (v, listing, amount, headers) => { forget(v); return bid(w, v, listing, amount, headers); };

let client, admin, a, b, c;
before(async () => { [client, admin, a, b, c] = await Promise.all([signIn(w), signIn(w, 'ADMIN'), signIn(w, 'VENDOR'), signIn(w, 'VENDOR'), signIn(w, 'VENDOR')]); });

// ---- one bid ----

test('an accepted bid is answered whole', async () => {
  const [l] = fresh();
  const r = await free(a, l, 20000);
  assert.equal(r.status, 201, r.text);
  assert.equal(r.body.success, true);
  assert.equal(r.body.isInstantWin, false);
  assert.match(r.body.message, /\S/);
  for (const k of BID) assert.ok(k in r.body.bid, k);
  assert.match(r.body.bid.id, UUID);
  assert.match(r.body.bid.timestamp, TIME);
  const { id, timestamp, ...rest } = r.body.bid;
  assert.deepEqual(rest, { listingId: l, vendorId: a.id, amount: 20000, isInstantWin: false, isWinning: true, metadata: {} });
  assert.ok(!r.body.orderId);
});

test('amounts are exact rupees, as numbers or strings', async () => {
  const [l] = fresh();
  for (const [sent, stands] of [[1000, 1000], ['1100', 1100], [1200.5, 1200.5], ['1300.50', 1300.5], [1401.07, 1401.07], [1502.29, 1502.29], ['1603.00', 1603]]) {
    const r = await free(a, l, sent);
    assert.equal(r.status, 201, `${sent}: ${r.text}`);
    assert.strictEqual(r.body.bid.amount, stands);
  }
  assert.ok((await free(a, l, 1704)).text.includes('"amount":1704,'), 'written 1704, not 1704.0');
});

test('what is no amount within the guide\'s bounds is refused', async () => {
  const [l] = fresh();
  for (const amount of [999.99, '999.99', 1000000.01, 0, -5000, '20000.001', 20000.001, 'x', '', ' 20000', '20000 ', '₹20000', '20,000', '2e4', '0x4e20', null, undefined, true, {}, [20000], '99999999999999999999', '20000.']) {
    const r = await free(a, l, amount);
    assert.equal(r.body.code, 'validation_failed', JSON.stringify(amount));
    assert.deepEqual(wrong(r), ['amount']);
  }
  for (const listingId of ['x', '', null, undefined, 5, `${l}0`]) assert.deepEqual(wrong(await w.post('/bids', { listingId, amount: 20000 }, a.token)), ['listingId'], JSON.stringify(listingId));
  assert.deepEqual(wrong(await w.post('/bids', {}, a.token)), ['amount', 'listingId']);
  assert.equal(count('bids', `listing_id = '${l}'`), 0);
});

test('only vendors bid, on what they may see', async () => {
  const [l] = fresh();
  assert.equal((await bid(w, {}, l, 20000)).status, 401);
  const agent = await signIn(w, 'AGENT');
  for (const who of [client, admin, agent]) assert.equal((await bid(w, who, l, 20000)).body.error, 'Insufficient permissions');
  assert.equal((await free(a, crypto.randomUUID(), 20000)).status, 404);
  const pending = await makeListing(w, client);
  assert.equal((await free(a, pending.id, 20000)).status, 404);
  await w.put(`/listings/${pending.id}/approve`, { approved: false, rejectionReason: 'x' }, admin.token);
  assert.equal((await free(a, pending.id, 20000)).status, 404);
});

test('a bid is a step above the highest, or told the least that will do', async () => {
  const [l] = fresh();
  await free(a, l, 20000);
  for (const low of [1000, 20000, 20099.99]) {
    const r = await free(b, l, low);
    assert.equal(r.body.code, 'bid_too_low', String(low));
    assert.strictEqual(r.body.minimumBid, 20100);
  }
  assert.equal((await free(b, l, 20100)).status, 201);
  const [near] = fresh(1, { asking: 20050 });
  await free(a, near, 20000);
  const r = await free(b, near, 20049.99);
  assert.strictEqual(r.body.minimumBid, 20050, 'never above the asking price');
  assert.equal((await free(b, near, 20050)).body.isInstantWin, true);
});

test('a bid after the end is refused, even before the auction is closed', async () => {
  const [l] = fresh(1, { ends: '-1 second' });
  assert.equal((await free(a, l, 20000)).body.code, 'auction_ended');
});

test('a bid that waited over the end for its turn is refused', async () => {
  const [l] = fresh(1, { ends: '3 seconds' });
  const held = w.sqlLater(`BEGIN; SELECT 1 FROM listings WHERE id = '${l}' FOR NO KEY UPDATE; SELECT pg_sleep_until(auction_end + interval '0.3 s') FROM listings WHERE id = '${l}'; COMMIT`);
  await until('it is held', () => w.sql(`SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep_until%${l}%' AND wait_event = 'PgSleep'`) !== '0');
  const r = await free(a, l, 20000);
  await held;
  assert.equal(r.body.code, 'auction_ended');
});

test('sold and expired listings have ended', async () => {
  const [sold, over] = fresh(2);
  await free(a, sold, 45000);
  assert.equal((await free(b, sold, 46000)).body.code, 'auction_ended');
  w.sql(`UPDATE listings SET auction_end = now() WHERE id = '${over}'`);
  await ended(w, over);
  assert.equal((await free(b, over, 20000)).body.code, 'auction_ended');
});

test('ten bids a minute and vendor, refused ones too; then 429 with its headers', async () => {
  const v = await signIn(w, 'VENDOR');
  const [l] = fresh();
  for (const amount of [null, 'x', 5]) await bid(w, v, l, amount);   // malformed ones do not count
  for (let i = 0; i < 10; i++) assert.equal((await bid(w, v, l, i % 2 ? 1000 : 20000 + i * 100)).status, i % 2 ? 409 : 201);
  const r = await bid(w, v, l, 30000);
  assert.equal(r.body.code, 'rate_limited');
  assert.equal(r.headers['ratelimit-limit'], '10');
  assert.equal(r.headers['ratelimit-remaining'], '0');
  assert.ok(Number(r.headers['retry-after']) >= 1 && Number(r.headers['retry-after']) <= 60);
  assert.equal((await free(a, l, 30000)).status, 201, 'another vendor is not limited');
});

// ---- aliases and lists ----

test('to others a bidder is a stable alias of that listing; to himself and admins he is himself', async () => {
  const [l, m] = fresh(2);
  await free(a, l, 20000); await free(b, l, 20100); await free(a, l, 20200); await free(a, m, 20000);
  const seen = async (who, id = l) => (await w.get(`/listings/${id}`, who.token)).body;
  const anonymous = await seen({});
  assert.deepEqual(anonymous.bids.map((x) => x.amount), [20200, 20100, 20000], 'newest first');
  assert.deepEqual(anonymous.bids.map((x) => x.isWinning), [true, false, false]);
  assert.equal(anonymous.currentHighestBid.amount, 20200);
  for (const x of anonymous.bids) { assert.match(x.vendorId, ALIAS); for (const k of BID) assert.ok(k in x, k); }
  const [one, two, three] = anonymous.bids.map((x) => x.vendorId);
  assert.equal(one, three, 'stable');
  assert.notEqual(one, two, 'unique');
  assert.notEqual((await seen({}, m)).bids[0].vendorId, one, 'another one in the next listing');
  assert.ok(!JSON.stringify(anonymous).includes(a.id) && !JSON.stringify(anonymous).includes(b.id), 'no id slips out anywhere');
  assert.deepEqual((await seen(a)).bids.map((x) => x.vendorId), [a.id, two, a.id]);
  assert.equal((await seen(a)).currentHighestBid.vendorId, a.id);
  assert.deepEqual((await seen(c)).bids.map((x) => x.vendorId), [one, two, three]);
  assert.deepEqual((await seen(admin)).bids.map((x) => x.vendorId), [a.id, b.id, a.id]);
  assert.ok((await w.get(`/bids?listingId=${l}&limit=100`, client.token)).body.bids.every((x) => ALIAS.test(x.vendorId)), 'also to the client');
});

test('a listing shows its hundred newest bids', async () => {
  const [l] = fresh(1, { asking: 900000 });
  w.sql(`DO $$ DECLARE s uuid; v uuid := '${a.id}'; BEGIN
    SELECT id INTO s FROM sessions WHERE user_id = v LIMIT 1;
    FOR i IN 1 .. 105 LOOP PERFORM place_bids(ARRAY[s], ARRAY[v], ARRAY['${l}'::uuid], ARRAY[100000 + i * 10000::bigint], '{null}', '{null}', '{r}', ROW(10000, '0', 2, 5)::auction_rules, 0, 60); END LOOP; END $$`);
  const { bids } = (await w.get(`/listings/${l}`, b.token)).body;
  assert.equal(bids.length, 100);
  assert.equal(bids[0].amount, 1000 + 105 * 100);
});

test('GET /bids: a vendor\'s own, a client\'s on his listings, all for an admin', async () => {
  const [v1, v2, owner] = await Promise.all([signIn(w, 'VENDOR'), signIn(w, 'VENDOR'), signIn(w)]);
  const [active, won, lost] = quickListing(w, owner.id, { n: 3 });
  await mustBid(w, v1, active, 20000); await mustBid(w, v2, active, 20100);
  await mustBid(w, v2, won, 20000); await mustBid(w, v1, won, 45000);
  await mustBid(w, v1, lost, 20000); await mustBid(w, v2, lost, 45000);
  const list = async (who, q = '') => { const r = await w.get(`/bids${q}`, who.token); assert.equal(r.status, 200, r.text); return r.body; };
  const mine = await list(v1);
  assert.deepEqual(mine.bids.map((x) => x.listingId), [lost, won, active], 'newest first');
  assert.deepEqual(mine.bids.map((x) => x.status), ['lost', 'won', 'active']);
  assert.equal(mine.pagination.total, 3);
  for (const x of mine.bids) { for (const k of [...BID, 'status', 'listing']) assert.ok(k in x, k); assert.equal(x.vendorId, v1.id); assert.equal(x.listing.id, x.listingId); assert.equal(x.listing.brand, 'Apple'); }
  for (const status of ['active', 'won', 'lost']) assert.deepEqual((await list(v1, `?status=${status}`)).bids.map((x) => x.status), [status]);
  assert.deepEqual((await list(v2, '?status=active')).bids.map((x) => x.isWinning), [true]);
  assert.deepEqual((await list(v1, `?listingId=${won}`)).bids.map((x) => x.amount), [45000]);
  assert.equal((await list(v1, `?vendorId=${v1.id}`)).bids.length, 3);
  assert.equal((await list(v1, '?limit=2&page=2')).bids.length, 1);
  const his = await list(owner);
  assert.equal(his.bids.length, 6);
  assert.ok(his.bids.every((x) => ALIAS.test(x.vendorId)));
  assert.equal((await list(owner, `?listingId=${won}&status=won`)).bids.length, 1);
  const all = await list(admin, `?vendorId=${v2.id}`);
  assert.deepEqual(all.bids.map((x) => x.vendorId), [v2.id, v2.id, v2.id]);
  assert.equal((await w.get(`/bids?vendorId=${v2.id}`, v1.token)).status, 403, 'somebody else\'s');
  assert.equal((await w.get(`/bids?vendorId=${v2.id}`, owner.token)).status, 403);
  const agent = await signIn(w, 'AGENT');
  w.sql(`UPDATE orders SET agent_id = '${agent.id}' WHERE listing_id = '${won}'`);
  assert.deepEqual((await list(admin, `?agentId=${agent.id}`)).bids.map((x) => x.listingId), [won, won], 'on what this agent carries');
  assert.equal((await list(admin, `?agentId=${agent.id}&status=won`)).pagination.total, 1);
  for (const q of [`agentId=${agent.id}`, `clientId=${owner.id}`]) assert.equal((await w.get(`/bids?${q}`, v1.token)).status, 403, q);
  for (const q of [`agentId=${v1.id}`, `clientId=${v1.id}`]) assert.deepEqual((await list(v1, `?${q}`)).bids, [], 'oneself, who is no such thing');
  assert.equal((await w.get('/bids')).status, 401);
  for (const q of ['status=x', 'vendorId=x', 'clientId=x', 'agentId=x', 'listingId=x', 'page=0', 'limit=x']) assert.deepEqual(wrong(await w.get(`/bids?${q}`, v1.token)), [q.split('=')[0]], q);
});

// ---- the end ----

test('the asking price wins at once: sold, an order with its prices, everyone told', async () => {
  const l = await liveListing(w, client, admin, { askingPrice: '25000.50' });
  await free(b, l.id, 20000);
  const r = await free(a, l.id, '25000.50');
  assert.equal(r.status, 201);
  assert.equal(r.body.isInstantWin, true);
  assert.equal(r.body.bid.isInstantWin, true);
  assert.equal(r.body.bid.isWinning, true);
  assert.match(r.body.orderId, UUID);
  assert.equal((await w.get(`/listings/${l.id}`, client.token)).body.listing.status, 'sold');
  const { order } = (await w.get(`/orders/${r.body.orderId}`, a.token)).body;
  assert.deepEqual([order.finalPrice, order.commissionRate, order.agentCommission, order.platformFee], [25000.5, 5, 1250.03, 500.01], 'half-up to the paisa');
  assert.deepEqual([order.listingId, order.clientId, order.vendorId, order.status], [l.id, client.id, a.id, 'pending_pickup']);
  const told = (who) => w.sql(`SELECT string_agg(type, ' ' ORDER BY type) FROM notifications WHERE user_id = '${who.id}' AND data ->> 'listingId' = '${l.id}'`);
  assert.equal(told(client), 'bid_placed bid_placed listing_approved order_update');
  assert.equal(told(a), 'auction_won');
  assert.equal(told(b), 'auction_lost');
  assert.equal((await free(a, (fresh())[0], 1000000)).body.isInstantWin, true, 'also far above it');
});

test('an auction ends by itself: the highest bid has it, everyone is told once', async () => {
  const l = await makeListing(w, client);
  await approve(w, admin, l.id, seconds(4));
  await free(a, l.id, 20000); await free(b, l.id, 21000); await free(c, l.id, 22000);
  const over = await ended(w, l.id, client.token);
  assert.equal(over.status, 'sold');
  const [order, ...more] = (await w.get(`/orders?limit=100`, c.token)).body.orders.filter((o) => o.listingId === l.id);
  assert.deepEqual(more, []);
  assert.equal(order.finalPrice, 22000);
  const told = (who) => w.sql(`SELECT string_agg(type, ' ' ORDER BY type) FROM notifications WHERE user_id = '${who.id}' AND data ->> 'listingId' = '${l.id}'  AND type NOT IN ('auction_ending', 'outbid', 'bid_placed', 'listing_approved')`);
  assert.deepEqual([client, a, b, c].map(told), ['order_update', 'auction_lost', 'auction_lost', 'auction_won']);
  assert.deepEqual((await w.get(`/listings/${l.id}`, a.token)).body.bids.map((x) => x.isWinning), [true, false, false]);
});

test('an auction without bids expires', async () => {
  const [l] = fresh(1, { ends: '1 second' });
  assert.equal((await ended(w, l)).status, 'expired');
  assert.equal(count('orders', `listing_id = '${l}'`), 0);
  assert.equal(count('notifications', `user_id = '${client.id}' AND type = 'auction_expired' AND data ->> 'listingId' = '${l}'`), 1);
});

test('closing run five times over at once: one order and one set of notifications each', async () => {
  const list = fresh(20);
  for (const [i, l] of list.entries()) assert.equal((await free([a, b, c][i % 3], l, 20000 + i)).status, 201);
  w.sql(`UPDATE listings SET auction_end = now() WHERE id IN (${list.map((l) => `'${l}'`)})`);
  const program = path.join(w.state, 'app/libexec/selliko/cron/selliko-close-auctions');
  const codes = await Promise.all([1, 2, 3, 4, 5].map(() => new Promise((r) => { execFile(program, { env: { PATH: process.env.PATH, SELLIKO_CONF: path.join(w.state, 'selliko.conf') } }, (e, out, err) => r(e ? `${e.code} ${err}` : 0)); })));
  assert.deepEqual(codes, [0, 0, 0, 0, 0]);
  await until('all are closed', () => count('listings', `status = 'sold' AND id IN (${list.map((l) => `'${l}'`)})`) === 20);
  assert.equal(count('orders', `listing_id IN (${list.map((l) => `'${l}'`)})`), 20);
  for (const type of ['auction_won', 'order_update']) assert.equal(count('notifications', `type = '${type}' AND data ->> 'listingId' IN (${list.map((l) => `'${l}'`)})`), 20, type);
  assert.equal(count('whatsapp_queue', `template = 'order_status' AND listing_id IN (${list.map((l) => `'${l}'`)})`), 40);
});

// ---- all at once ----

test('two hundred bids at once on one listing: one is winning, the highest', async () => {
  const crowd = await several(w, 'VENDOR', 20);
  const [l] = fresh(1, { asking: 900000 });
  const amounts = Array.from({ length: 200 }, (_, i) => 10000 + i * 100);
  for (let i = amounts.length; i-- > 1;) { const j = crypto.randomInt(i + 1); [amounts[i], amounts[j]] = [amounts[j], amounts[i]]; }
  const all = await Promise.all(amounts.map((amount, i) => bid(w, crowd[i % 20], l, amount)));
  for (const r of all) assert.ok([201, 409].includes(r.status), r.text);
  const accepted = all.filter((r) => r.status === 201).map((r) => r.body.bid.amount).sort((x, y) => x - y);
  for (const r of all) if (r.status === 409) assert.equal(r.body.code, 'bid_too_low');
  assert.equal(accepted.at(-1), Math.max(...amounts), 'the highest of all was accepted');
  const { bids, currentHighestBid } = (await w.get(`/listings/${l}`, admin.token)).body;
  assert.deepEqual(bids.filter((x) => x.isWinning).map((x) => x.amount), [accepted.at(-1)]);
  assert.equal(currentHighestBid.amount, accepted.at(-1));
  assert.deepEqual(bids.map((x) => x.amount), [...accepted].reverse().slice(0, 100), 'every accepted bid stands');
  for (let i = 1; i < bids.length; i++) assert.ok(bids[i - 1].timestamp > bids[i].timestamp && bids[i - 1].amount > bids[i].amount, 'times rise with the amounts');
});

test('instant wins at once: exactly one order', async () => {
  const crowd = await several(w, 'VENDOR', 10);
  for (const l of fresh(3)) {
    const all = await Promise.all(crowd.flatMap((v, i) => [bid(w, v, l, 45000 + i), bid(w, v, l, 50000)]));
    const won = all.filter((r) => r.status === 201);
    assert.equal(won.length, 1);
    assert.equal(won[0].body.isInstantWin, true);
    for (const r of all) if (r.status !== 201) assert.equal(r.body.code, 'auction_ended', r.text);
    assert.equal(count('orders', `listing_id = '${l}'`), 1);
    assert.equal(count('bids', `listing_id = '${l}'`), 1);
    forget(...crowd);
  }
});

test('bids of all kinds at once: each hears what is his', async () => {
  const crowd = await several(w, 'VENDOR', 8);
  const list = fresh(8);
  const gone = fresh(1, { ends: '-1 second' })[0];
  const all = await Promise.all(crowd.flatMap((v, i) => [bid(w, v, list[i], 20000 + i), bid(w, v, crypto.randomUUID(), 20000), bid(w, v, gone, 20000), bid(w, client, list[i], 20000), bid(w, v, list[i], 500)]));
  all.forEach((r, i) => assert.equal(r.status, [201, 404, 409, 403, 400][i % 5], r.text));
  crowd.forEach((v, i) => { const r = all[i * 5].body; assert.deepEqual([r.bid.vendorId, r.bid.listingId, r.bid.amount], [v.id, list[i], 20000 + i]); });
});

// ---- idempotency ----

test('the same key and body get the first answer again', async () => {
  const [l, m] = fresh(2);
  const key = { 'idempotency-key': crypto.randomUUID() };
  const first = await free(a, l, 20000, key);
  assert.equal(first.status, 201);
  await free(b, l, 30000);
  const again = await free(a, l, 20000, key);
  assert.equal(again.status, 201, again.text);
  assert.deepEqual(again.body.bid.id, first.body.bid.id);
  assert.equal(again.body.bid.timestamp, first.body.bid.timestamp);
  assert.equal(count('bids', `listing_id = '${l}'`), 2);
  assert.equal((await free(a, l, 40000, key)).body.code, 'idempotency_key_reused');
  assert.equal((await free(a, m, 20000, key)).body.code, 'idempotency_key_reused');
  assert.equal((await free(b, m, 20000, key)).status, 201, 'another vendor\'s key is another key');
  const low = { 'idempotency-key': crypto.randomUUID() };
  assert.equal((await free(a, l, 20000, low)).body.minimumBid, 30100);
  await free(b, l, 40000);
  assert.equal((await free(a, l, 20000, low)).body.minimumBid, 30100, 'a refusal is an answer, too');
  const win = { 'idempotency-key': crypto.randomUUID() };
  const won = await free(a, m, 45000, win);
  assert.equal((await free(a, m, 45000, win)).body.orderId, won.body.orderId);
});

test('a refusal that was kept under a key is the answer, even where it would not be refused any more', async () => {
  const v = await signIn(w, 'VENDOR');
  const l = quickListing(w, client.id)[0];
  const json = { listingId: l, amount: 20000 }, key = crypto.randomUUID();
  const kept = JSON.stringify({ success: false, error: 'The amount is not right.', code: 'validation_failed', details: [{ field: 'amount', message: 'was too high then' }], requestId: '0123456789abcdef0123456789abcdef' });
  w.sql(`INSERT INTO idempotency_keys (user_id, route, key, body_hash, status, answer) VALUES ('${v.id}', 'POST /bids', '${key}',
    sha256('${JSON.stringify(json)}'::bytea), 400, ${sealer(w)('idempotency_keys.answer', v.id, kept)})`);
  const r = await w.post('/bids', json, v.token, { headers: { 'idempotency-key': key } });
  assert.deepEqual([r.status, r.text], [400, kept]);
  assert.equal(w.sql(`SELECT count(*) FROM bids WHERE listing_id = '${l}'`), '0');
});

test('one key, many at once: one bid, one answer', async () => {
  const v = await signIn(w, 'VENDOR');
  for (const l of fresh(3)) {
    const key = { 'idempotency-key': crypto.randomUUID() };
    const all = await Promise.all(Array.from({ length: 10 }, () => bid(w, v, l, 20000, key)));
    for (const r of all) assert.equal(r.status, 201, r.text);
    assert.equal(new Set(all.map((r) => r.body.bid.id)).size, 1);
    assert.equal(count('bids', `listing_id = '${l}'`), 1);
    forget(v);
  }
});

test('a key has 1 to 255 visible characters', async () => {
  const [l] = fresh();
  for (const key of ['k'.repeat(256), 'a b', 'ä']) assert.equal((await free(a, l, 20000, { 'idempotency-key': key })).body.code, 'validation_failed', key.slice(0, 5));
  assert.equal((await free(a, l, 20000, { 'idempotency-key': 'k'.repeat(255) })).status, 201);
  assert.equal((await free(a, l, 21000, { 'idempotency-key': '!~"\'\\' })).status, 201);
});

// ---- messages ----

test('the client and the vendor outbid get the guide\'s message; a queued one is replaced, not piled up', async () => {
  const l = await liveListing(w, client, admin, { brand: 'Nokia', model: '3310', askingPrice: '200000' });
  await free(a, l.id, 124950); await free(b, l.id, '124950.50'.replace('124950', '125950'));
  const { messages } = require('./lib');
  const sent = (who) => messages(w, who.phone).filter((m) => m.template.name === 'bid_placed' && m.template.components[0].parameters[0].text === 'Nokia 3310').map((m) => m.template.components[0].parameters[1].text);
  await until('the client\'s message', () => sent(client).includes('₹1,25,950.50'));
  await until('the outbid vendor\'s message', () => sent(a).includes('₹1,25,950.50'));
  assert.ok(sent(client).length <= 2);
  assert.deepEqual(sent(b), []);
});
