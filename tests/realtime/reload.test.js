'use strict';
// A reload of the gateway, as selliko-keep does it on SIGHUP: the new one listens before the old one sends its
// clients away, and nobody misses anything.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { io } = require('socket.io-client');
const { shared, until, sleep, freePort, signIn, several, mustBid, quickListing } = require('../api/lib');

const w = shared();
const open = [];
let keeper, conf, owner, bidders;
let said = '';

after(() => {
  open.forEach((s) => s.disconnect());
  if (keeper?.exitCode === null) keeper.kill('SIGTERM');
  if (conf) fs.rmSync(conf, { force: true });
});

before(async () => {
  await w.started;
  owner = await signIn(w, 'CLIENT');
  bidders = await several(w, 'VENDOR', 4);
}, { timeout: 600000 });

async function keep(listen) {
  const { uid, gid } = fs.statSync(w.state);
  conf = path.join(w.state, 'reload-test.conf');
  fs.copyFileSync(path.join(w.state, 'selliko.conf'), conf);
  fs.chownSync(conf, uid, gid);
  const app = path.join(w.state, 'app/libexec/selliko');
  keeper = spawn(path.join(app, 'selliko-keep'), [path.join(app, 'realtime/selliko-gateway'), '--announce'], {
    cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: '/usr/bin:/bin', SELLIKO_CONF: conf, GATEWAY_LISTEN: listen, GATEWAY_NAME: 'g7' }, ...(process.getuid() === 0 && { uid, gid }) });
  said = '';
  keeper.stderr.on('data', (c) => { said += c; });
  await until('it listens', () => /"listening"/.test(said));
}
const reload = async (what) => { said = ''; keeper.kill('SIGHUP'); await until(what.source, () => what.test(said)); };
const end = async () => { const ended = new Promise((r) => { keeper.on('exit', r); }); keeper.kill('SIGTERM'); assert.equal(await ended, 0); };

async function watcher(base, id, options) {
  const s = io(base, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  open.push(s);
  Object.assign(s, { seen: [], breaks: 0, refused: 0 });
  s.on('new_bid', (e, n) => { s.seen.push(e.newHighestBid); s.sequence = n; });
  s.on('disconnect', () => { s.breaks++; });
  s.io.on('reconnect_error', () => { s.refused++; });
  const join = async () => { const r = await s.timeout(30000).emitWithAck('join_room', { listingId: id, since: s.sequence ?? null }); s.sequence ??= r.sequence; };
  await new Promise((r) => { s.once('connect', r); });
  await join();
  s.on('connect', () => join().catch(() => {}));
  return s;
}

test('a reload under bids: every client is back at its first try, and has heard every bid once and in order', { timeout: 120000 }, async () => {
  const base = `http://127.0.0.1:${await freePort()}`;
  await keep(base.slice('http://'.length));
  const [id] = quickListing(w, owner.id, { asking: 900000 });
  const sockets = [];
  for (let i = 0; i < 4; i++) for (const o of [{ transports: ['polling'] }, { transports: ['websocket'] }, {}]) sockets.push(await watcher(base, id, o));
  const amounts = [];
  let bidding = true;
  const bids = (async () => { for (let i = 0; bidding; i++) { amounts.push(2000 + 100 * i); await mustBid(w, bidders[i % 4], id, amounts.at(-1)); await sleep(120); } })();
  await until('bids are heard', () => sockets.every((s) => s.seen.length > 2));
  for (let n = 1; n <= 2; n++) {
    await reload(/"replaced"/);
    await until('all were sent away and are back', () => sockets.every((s) => s.breaks >= n && s.connected));
  }
  await sleep(500);
  bidding = false;
  await bids;
  await until('all bids', () => sockets.every((s) => s.seen.length >= amounts.length));
  for (const s of sockets) {
    assert.deepEqual(s.seen, amounts);
    assert.equal(s.refused, 0, 'no try was refused');
  }
  open.splice(0).forEach((s) => s.disconnect());
  await end();
});

test('on a socket in a folder no connection is refused while one gateway takes the place of another', { timeout: 60000 }, async () => {
  const at = path.join(w.state, 'run/reload-test.sock');
  await keep(at);
  let trying = true, tries = 0;
  const refused = [];
  const connects = (async () => { while (trying) { await new Promise((r) => { const c = net.connect(at, () => { tries++; c.end(); r(); }); c.on('error', (e) => { if (e.code !== 'EPIPE' && e.code !== 'ECONNRESET') refused.push(e.code); r(); }); }); await sleep(1); } })();
  try {
    for (let n = 0; n < 3; n++) await reload(/"replaced"/);
  } finally { trying = false; await connects; }
  assert.ok(tries > 50);
  assert.deepEqual(refused, []);
  await end();
  fs.rmSync(at, { force: true });
});

test('a slip in the settings: the old gateway stays with its clients, and a later reload is fine', { timeout: 60000 }, async () => {
  const base = `http://127.0.0.1:${await freePort()}`;
  await keep(base.slice('http://'.length));
  const [id] = quickListing(w, owner.id, { asking: 900000 });
  const s = await watcher(base, id, { transports: ['websocket'] });
  const good = fs.readFileSync(conf, 'utf8');
  fs.writeFileSync(conf, `${good}\nGATEWAY_MAX_CLIENTS=many\n`);
  await reload(/the old one stays/);
  assert.match(said, /GATEWAY_MAX_CLIENTS: /);
  await mustBid(w, bidders[0], id, 2000);
  await until('the bid is heard', () => s.seen.length === 1);
  assert.equal(s.breaks, 0);
  fs.writeFileSync(conf, good);
  await reload(/"replaced"/);
  await until('it is back', () => s.breaks === 1 && s.connected);
  await end();
});
