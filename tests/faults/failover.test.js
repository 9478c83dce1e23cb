'use strict';
// Two database servers, a primary and its streaming standby, as doc/deployment.md has them: the primary dies,
// the standby is promoted, and the service goes on by itself.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { io } = require('socket.io-client');
const { own, until, signIn, several, mustBid, bid, quickListing, ended } = require('../api/lib');
const { Servers } = require('./lib/servers');

const s = new Servers('failover');
const settings = { RATE_LIMITS: 'off' };
const w = own(settings, async () => {
  s.primary('a');
  s.standby('b', 'a');
  settings.DATABASE_URL = `postgresql://selliko@/selliko?host=${s.at('a')},${s.at('b')}&target_session_attrs=read-write`;
});
let client, vendors;

before(async () => {
  await w.started;
  client = await signIn(w, 'CLIENT');
  vendors = await several(w, 'VENDOR', 2);
}, { timeout: 600000 });
after(() => s.close());

test('the doctor is well with both, and names an address that leads to the standby alone', async () => {
  assert.doesNotMatch(await w.ctl('doctor'), /^FAIL/m);
  const alone = execFileSync('sh', ['-c', '"$0" doctor 2>/dev/null || true', path.join(w.state, 'app/sbin/sellikoctl')], { encoding: 'utf8', env: { PATH: process.env.PATH, SELLIKO_CONF: path.join(w.state, 'selliko.conf'), DATABASE_URL: `postgresql://selliko@/selliko?host=${s.at('b')}` } });
  assert.match(alone, /^FAIL +database +DATABASE_URL leads to a standby/m);
});

test('the primary dies and the standby is promoted: requests, bids, events and the clock go on, and nothing is lost', { timeout: 120000 }, async () => {
  const [listing] = quickListing(w, client.id, { asking: 900000 });
  const socket = io(w.base, { forceNew: true });
  const heard = [];
  socket.on('new_bid', (e) => heard.push(e.newHighestBid));
  await new Promise((r) => { socket.once('connect', r); });
  assert.equal((await socket.timeout(30000).emitWithAck('join_room', { listingId: listing })).success, true);
  await mustBid(w, vendors[0], listing, 2000);
  await until('the bid is heard', () => heard.length === 1);
  await until('the standby has it', () => s.ask('b', `SELECT highest_amount FROM listings WHERE id = '${listing}'`, 'selliko') === '200000');

  s.stop('a');
  const r = await w.get('/users/me', client.token);
  assert.equal(r.status, 503);
  assert.match(r.headers['retry-after'], /^\d+$/);
  s.promote('b');

  await until('it is well again', async () => (await w.get('/health')).status === 200);
  await until('everybody is', async () => (await w.get('/users/me', client.token)).status === 200 && (await w.get('/orders', vendors[0].token)).status === 200);
  await until('a bid is taken', async () => (await bid(w, vendors[1], listing, 3000)).status === 201);
  await until('and heard', () => heard.length === 2, 20);
  assert.deepEqual(heard, [2000, 3000]);
  s.ask('b', `UPDATE listings SET auction_end = now() + interval '1 second' WHERE id = '${listing}'`, 'selliko');
  assert.equal((await ended(w, listing, client.token)).status, 'sold');
  socket.disconnect();
});
