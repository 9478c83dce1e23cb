'use strict';
// A database that is there and says nothing (a frozen host, a hung disk, a row that somebody holds): nobody
// waits for ever, no thread and no connection is lost, and what was not answered is whole or not there.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { own, until, signIn, bid, quickListing } = require('../api/lib');

const w = own({ RATE_LIMITS: 'off', THREADS: '6', DB_CONNECTIONS: '3', BATCHERS: '2', DB_TIMEOUT_SECONDS: '3' });
let client, vendor;
before(async () => { await w.started; [client, vendor] = await Promise.all([signIn(w), signIn(w, 'VENDOR')]); }, { timeout: 120000 });

const backends = (program) => w.sql(`SELECT pid FROM pg_stat_activity WHERE application_name = '${program}' AND datname = current_database()`).split('\n').filter(Boolean).map(Number);
const frozen = new Set();
const freeze = (pids) => { for (const p of pids) { process.kill(p, 'SIGSTOP'); frozen.add(p); } return pids.length; };
const thaw = () => { for (const p of frozen) { try { process.kill(p, 'SIGCONT'); } catch { /* gone */ } } frozen.clear(); };
after(thaw);
const whole = (id) => assert.equal(w.sql(`SELECT bid_count = (SELECT count(*) FROM bids b WHERE b.listing_id = l.id) AND highest_amount IS NOT DISTINCT FROM (SELECT max(amount) FROM bids b WHERE b.listing_id = l.id)
  FROM listings l WHERE id = '${id}'`), 't');

test('connections that fall silent cost the requests that wait on them, and nobody else', { timeout: 120000 }, async () => {
  const [id] = quickListing(w, client.id, { asking: 900000 });
  const asks = (i) => [() => w.get('/bids', vendor.token), () => bid(w, vendor, id, 20000 + 100 * i), () => w.get(`/listings/${id}`, vendor.token)];
  await Promise.all(Array.from({ length: 12 }, (_, i) => asks(i)[i % 3]()));   // the pools are full
  assert.ok(freeze([...backends('bids'), ...backends('listings')]) > 2);
  // More than there are threads and connections: all are answered, and the last ones by connections made anew
  const answers = await Promise.all(Array.from({ length: 24 }, (_, i) => asks(40 + 4 * i)[i % 3]()));
  for (const r of answers) assert.ok([200, 201, 409, 503].includes(r.status), r.text);
  const refused = answers.filter((r) => r.status === 503);
  assert.ok(refused.length > 0);
  for (const r of refused) assert.equal(r.body.code, 'unavailable');
  for (const p of ['/bids', `/listings/${id}`]) assert.equal((await w.get(p, vendor.token)).status, 200, 'with the silent ones still there');
  assert.equal((await until('a bid is placed', async () => { const r = await bid(w, vendor, id, 60000); return r.status !== 503 && r; })).status, 201);
  thaw();
  await until('the old connections are gone', () => backends('bids').length <= 5 && backends('listings').length <= 3);
  whole(id);
  for (const r of answers.filter((x) => x.status === 201 && x.body.bid)) assert.equal(w.sql(`SELECT count(*) FROM bids WHERE id = '${r.body.bid.id}'`), '1');
});

test('a bid on a listing that somebody holds too long is given up, and has no row', { timeout: 120000 }, async () => {
  const ids = quickListing(w, client.id, { asking: 900000, n: 2 });
  const held = w.sqlLater(`BEGIN; SELECT 1 FROM listings WHERE id = '${ids[0]}' FOR UPDATE; SELECT pg_sleep(8); COMMIT`);
  await until('it is held', () => w.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(8)%' AND wait_event = 'PgSleep'") === '1');
  const answers = await Promise.all([bid(w, vendor, ids[0], 20000), bid(w, vendor, ids[0], 21000), bid(w, vendor, ids[0], 22000)]);
  for (const r of answers) assert.equal(r.status, 503, r.text);
  assert.equal((await bid(w, vendor, ids[1], 20000)).status, 201);
  await held;
  assert.equal(w.sql(`SELECT count(*) FROM bids WHERE listing_id = '${ids[0]}'`), '0');
  assert.equal((await bid(w, vendor, ids[0], 23000)).status, 201);
  whole(ids[0]);
});

test('afterwards the database is sound', { timeout: 60000 }, async () => { assert.equal(await w.ctl('check', '--quiet'), ''); });
