'use strict';
// No statement of the service reads a table that grows from end to end: every endpoint and utility runs
// over a seeded database in which PostgreSQL writes down the plan of every statement, also of those
// inside functions.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { own, until, TOP, imei } = require('../api/lib');

const GROWING = ['users', 'sessions', 'refresh_tokens', 'otps', 'listings', 'listing_imeis', 'listing_counts', 'live_listings', 'watchers', 'bids', 'bidders',
  'orders', 'order_history', 'agent_tasks', 'notifications', 'whatsapp_queue', 'events', 'audit_log', 'idempotency_keys', 'rate_limits'];
const w = own({ RATE_LIMITS: 'off', BID_MIN_INCREMENT: '0.01' });
let seed;

before(async () => {
  await w.started;
  const file = path.join(w.state, 'seed.json');
  execFileSync(path.join(TOP, 'tests/bench/seed'), ['--listings', '20000', '--bids', '60000', '--out', file], { env: { ...process.env, STATE_DIR: w.state }, stdio: 'pipe' });
  seed = JSON.parse(fs.readFileSync(file, 'utf8'));
  fs.appendFileSync(path.join(w.state, 'pg/postgresql.auto.conf'),
    "session_preload_libraries = 'auto_explain'\nauto_explain.log_min_duration = 0\nauto_explain.log_nested_statements = on\n");
  await w.quickstart();
}, { timeout: 600000 });

// What reads, in every order and with every filter, for everybody who may
const LISTS = {
  '/listings': ['', 'status=live', 'status=sold', 'clientId=CLIENT', 'clientId=CLIENT&status=live', 'searchQuery=iphone%201', ...['newest', 'oldest', 'lowest-price', 'highest-price', 'ending-soon'].map((s) => `sortBy=${s}&page=3`)],
  '/marketplace': ['', 'search=galaxy', 'search=pixel%208&sortBy=lowest-price', 'brand=apple', 'brand=apple&sortBy=ending-soon', 'condition=Good', 'minPrice=30000&maxPrice=40000',
    ...['newest', 'ending-soon', 'lowest-price', 'highest-price'].flatMap((s) => [`sortBy=${s}&page=2`, `sortBy=${s}&brand=Samsung&condition=Fair&minPrice=20000&maxPrice=90000`])],
  '/bids': ['', 'status=active', 'status=won', 'status=lost', 'listingId=LISTING', 'page=5'],
  '/orders': ['', 'status=pending_pickup', 'page=2'],
  '/agent/tasks': ['', 'status=assigned', 'priority=high', 'date=2026-01-01'],
  '/notifications': ['', 'unreadOnly=true', 'type=bid_placed', 'unreadOnly=true&type=outbid&limit=5', 'page=2'],
  '/notifications/preferences': [''],
  '/users/me': [''],
  '/auth/sessions': [''],
  '/admin/dashboard': [''],
  '/admin/listings/pending': [''],
  '/admin/agents/available': [''],
  '/admin/users': ['', 'role=VENDOR', 'search=%2B918000000001', 'search=vendors', 'role=CLIENT&search=clients&page=2'],
  '/admin/audit-log': ['', 'action=user.sign_in'],
  '/health': [''],
};

test('every list and page is read by an index', { timeout: 300000 }, async () => {
  const tokens = [null, seed.clients[0].token, seed.vendors[0].token, seed.admin.token];
  for (const [p, queries] of Object.entries(LISTS)) {
    for (const q of queries) {
      for (const token of tokens) {
        const at = `${p}${q ? `?${q.replace('Id=CLIENT', `Id=${seed.clients[0].id}`).replace('Id=LISTING', `Id=${seed.listings[0]}`)}` : ''}`;
        const r = await w.get(at, token, { unchecked: true });
        assert.ok([200, 401, 403].includes(r.status), `${at}: ${r.status} ${r.text.slice(0, 200)}`);
      }
    }
  }
  for (const token of tokens) await w.get(`/listings/${seed.listings[1]}`, token);
});

test('a phone goes its way by indexes', { timeout: 300000 }, async () => {
  const [vendor, rival] = seed.vendors;
  const admin = seed.admin.token;
  const id = seed.listings[2];
  const { body } = await w.get(`/listings/${id}`, admin);
  const asking = body.listing.askingPrice;
  await w.post(`/listings/${id}/watch`, undefined, vendor.token);
  await w.post('/bids', { listingId: id, amount: asking - 2000 }, vendor.token, { headers: { 'idempotency-key': imei() } });
  await w.post('/bids', { listingId: id, amount: 100 }, vendor.token, { headers: { 'idempotency-key': imei() } });
  const won = await w.post('/bids', { listingId: id, amount: asking }, rival.token);
  assert.equal(won.status, 201, won.text);
  const [agent] = /[0-9a-f-]{36}/.exec(await w.ctl('user', 'add', '--phone', '+919876543212', '--role', 'AGENT'));
  const assigned = await w.put(`/listings/${id}/assign-agent`, { agentId: agent }, admin);
  assert.equal(assigned.status, 200, assigned.text);
  const order = `/orders/${won.body.orderId}`;
  assert.equal((await w.get(order, admin)).status, 200);
  for (const status of ['picked_up', 'in_transit', 'delivered']) {
    const r = await w.put(`${order}/status`, { status }, admin);
    assert.equal(r.status, 200, r.text);
  }
  const client = seed.clients.find((c) => c.id === body.listing.clientId);
  assert.equal((await w.post(`${order}/rating`, { rating: 5 }, client.token)).status, 200);
  const told = await w.get('/notifications', client.token);
  assert.equal((await w.put(`/notifications/${told.body.notifications[0].id}/read`, undefined, client.token)).status, 200);
  assert.equal((await w.put('/notifications/mark-all-read', undefined, client.token)).status, 200);
  assert.equal((await w.put('/notifications/preferences', { whatsapp: true }, client.token)).status, 200);
  assert.equal((await w.put(`/admin/users/${rival.id}`, { name: 'Renamed' }, admin)).status, 200);
  const otp = await w.post('/auth/send-otp', { phone: '+919876543210' });
  assert.equal(otp.status, 200);
  await w.post('/auth/verify-otp', { phone: '+919876543210', otp: '000000', otpId: otp.body.otpId });
  await w.post('/auth/refresh-token', { refreshToken: 'x'.repeat(43) });
  await w.post('/auth/logout', undefined, seed.clients[5].token);
  // the utilities are there with --watch; give each of them something and a turn
  w.sql(`UPDATE listings SET auction_end = now() + interval '1 second' WHERE id = '${seed.listings[3]}'`);
  await until('the auction is closed', async () => (await w.get(`/listings/${seed.listings[3]}`, admin)).body.listing.status !== 'live');
});

test('and PostgreSQL wrote down no sequential scan of a table that grows', () => {
  const log = fs.readFileSync(path.join(w.state, 'log/postgresql.log'), 'utf8');
  const plans = log.split(/(?=LOG: {2}duration: [0-9.]+ ms {2}plan:)/).filter((p) => p.startsWith('LOG:  duration'));
  assert.ok(plans.length > 500, `only ${plans.length} plans were logged`);
  assert.ok(plans.some((p) => /place_bids/.test(p)), 'the bids are among them');
  const bad = new Map();
  for (const plan of plans) {
    for (const [, table] of plan.matchAll(/Seq Scan on (\w+)/g)) {
      if (GROWING.includes(table) && !/pg_dump|seeder|VACUUM|bench_/.test(plan)) bad.set(`${table}: ${/Query Text: ([^]*?)\n\t?[A-Z][a-z]+.*cost=/.exec(plan)?.[1].slice(0, 300) ?? plan.slice(0, 300)}`, true);
    }
  }
  assert.deepEqual([...bad.keys()], []);
});
