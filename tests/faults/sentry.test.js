'use strict';
// SENTRY_DSN: what goes wrong is told to a Sentry-compatible service (a stand-in that checks what it is
// sent as the protocol has it), without anybody's data and without slowing anybody.
const { test, after, beforeEach } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { own, until, sleep, signIn, liveListing, mustBid } = require('../api/lib');

const events = [];     // {event, raw}
let answer = () => 200;   // its status; null: none ever
const server = http.createServer((q, r) => {
  const chunks = [];
  q.on('data', (c) => chunks.push(c));
  q.on('end', () => {
    const raw = Buffer.concat(chunks).toString();
    const status = answer();
    if (status === 200) {
      const [head, item, payload, rest] = raw.split('\n');
      assert.equal(`${q.method} ${q.url}`, 'POST /sub/api/42/envelope/');
      assert.match(q.headers['x-sentry-auth'], /^Sentry sentry_version=7, sentry_client=selliko\/[\d.]+, sentry_key=0123abcd$/);
      assert.equal(q.headers['content-type'], 'application/x-sentry-envelope');
      assert.deepEqual(JSON.parse(item), { type: 'event', length: Buffer.byteLength(payload) });
      const event = JSON.parse(payload);
      assert.equal(event.event_id, JSON.parse(head).event_id);
      assert.match(event.event_id, /^[0-9a-f]{32}$/);
      assert.equal(rest, '');
      events.push({ event, raw });
    }
    if (status !== null) { r.writeHead(status, status === 429 ? { 'retry-after': '1' } : {}); r.end('{}'); }
  });
});
const settings = { RATE_LIMITS: 'off' };
const w = own(settings, async () => {
  await new Promise((r) => { server.listen(0, '127.0.0.1', r); });
  settings.SENTRY_DSN = `http://0123abcd@127.0.0.1:${server.address().port}/sub/42`;
});
after(() => { server.closeAllConnections(); server.close(); });
beforeEach(() => { events.length = 0; answer = () => 200; });

const arrived = (what, is) => until(what, () => events.find(({ event }) => is(event)), 30);
// While the dashboard's function is missing
async function broken(work) {
  w.sql('ALTER FUNCTION recent_activity(int) RENAME TO recent_activity_away');
  try { return await work(); } finally { w.sql('ALTER FUNCTION recent_activity_away(int) RENAME TO recent_activity'); }
}

test('a 500 is told: where, what, and by which request', { timeout: 90000 }, async () => {
  const admin = await signIn(w, 'ADMIN');
  const r = await broken(() => w.get('/admin/dashboard', admin.token));
  assert.equal(r.status, 500);
  const { event } = await arrived('the 500', (e) => e.tags.status === '500');
  assert.equal(event.tags.requestId, r.headers['x-request-id']);
  assert.deepEqual([event.level, event.logger, event.transaction, event.platform, event.environment], ['error', 'admin', 'GET /admin/dashboard', 'native', 'development']);
  assert.deepEqual(event.fingerprint, ['admin', 'request failed', 'GET /admin/dashboard']);
  assert.ok(Math.abs(new Date(event.timestamp) - Date.now()) < 60000);
  const { event: why } = await arrived('its reason', (e) => e.tags.sqlstate === '42883' || e.tags.sqlstate === '26000');
  assert.equal(why.tags.requestId, r.headers['x-request-id']);
});

test('what is the caller\'s mistake is not told', async () => {
  const client = await signIn(w);
  await w.get('/admin/dashboard', client.token);
  await w.get('/listings/none');
  await w.post('/bids', {}, client.token);
  await sleep(3000);
  assert.deepEqual(events.filter(({ event }) => event.tags.route), []);
});

test('a crash is told, with the signal and the place', { timeout: 60000 }, async () => {
  const [pid] = await until('agent runs', () => w.pids('agent').length && w.pids('agent'));
  process.kill(pid, 'SIGSEGV');
  const { event } = await arrived('the crash', (e) => e.level === 'fatal');
  assert.equal(event.logger, 'agent');
  const [crash] = event.exception.values;
  assert.equal(crash.type, 'SIGSEGV');
  assert.deepEqual(crash.mechanism, { type: 'signalhandler', handled: false });
  assert.ok(crash.stacktrace.frames.length > 0);
  await until('a new one', () => w.pids('agent').some((p) => p !== pid));
});

test('nobody\'s data is in it', { timeout: 120000 }, async () => {
  const [client, admin, vendor] = await Promise.all([signIn(w), signIn(w, 'ADMIN'), signIn(w, 'VENDOR')]);
  const l = await liveListing(w, client, admin, { contactName: 'Lakshmi Nair', streetAddress: '7 Beach Road', landmark: 'the old mill' });
  await mustBid(w, vendor, l.id, 20000);
  await broken(async () => { for (let i = 0; i < 3; i++) await w.get(`/admin/dashboard?phone=${encodeURIComponent(client.phone)}`, admin.token); });
  w.sql('ALTER TABLE watchers RENAME TO watchers_away');
  try { await w.post(`/listings/${l.id}/watch`, { note: 'Lakshmi Nair' }, vendor.token); } finally { w.sql('ALTER TABLE watchers_away RENAME TO watchers'); }
  await until('events', () => events.length >= 4, 30);
  const all = events.map((e) => e.raw).join('\n');
  for (const secret of [client.phone.slice(1), client.phone.slice(3), vendor.phone.slice(3), 'Lakshmi', 'Beach Road', 'old mill', l.imei1 ?? l.imei, client.token, admin.token, '127.0.0.1']) if (secret) assert.ok(!all.includes(secret), secret);
  assert.doesNotMatch(all, /"(phone|name|ip|ip_address|email|user|query_string|data|detail)":/);
});

test('a service that never answers, or answers with an error, slows nobody and loses nothing', { timeout: 120000 }, async () => {
  const admin = await signIn(w, 'ADMIN');
  answer = () => null;
  await broken(async () => {
    for (let i = 0; i < 5; i++) {
      const from = Date.now();
      assert.equal((await w.get('/admin/dashboard', admin.token)).status, 500);
      assert.ok(Date.now() - from < 1500);
    }
  });
  const r = await broken(() => w.get('/admin/dashboard', admin.token));
  answer = () => 429;
  await sleep(1000);
  answer = () => 200;
  server.closeAllConnections();
  await until('all of them', () => events.some(({ event }) => event.tags.requestId === r.headers['x-request-id']), 60);
  const ids = events.map(({ event }) => event.event_id);
  assert.ok(new Set(ids).size >= 6);
});

test('a flood is bounded', { timeout: 90000 }, async () => {
  const admin = await signIn(w, 'ADMIN');
  await broken(async () => { for (let i = 0; i < 100; i++) await w.get('/admin/dashboard', admin.token); });
  await sleep(3000);
  assert.ok(new Set(events.map(({ event }) => event.event_id)).size <= 62, 'thirty lines a minute');
});
