'use strict';
// Two gateways behind one nginx: polls find the one that owns their session, all events reach both, and
// when one dies its clients go on with the other and have lost nothing.
const { test, before, after, describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { io } = require('socket.io-client');
const { own, until, sleep, signIn, several, mustBid, quickListing } = require('../api/lib');

describe('two gateways', () => {
  const w = own({ GATEWAYS: '2' });
  const open = [];
  after(() => { open.forEach((s) => s.disconnect()); plain.forEach((s) => s.destroy()); });
  const gatewayOf = (s) => s.io.engine.id.split('-')[0];
  const pidOf = (name) => Number(fs.readFileSync(path.join(w.state, 'run', name === 'g1' ? 'gateway.pid' : 'gateway-2.pid'), 'utf8').split(' ')[0]);
  let bidders; let owner;

  async function watcher(id, options) {
    const s = io(w.base, { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 300, ...options });
    open.push(s);
    s.seen = [];
    s.breaks = [];
    s.on('new_bid', (e, n) => { s.seen.push(e.newHighestBid); s.sequence = n; });
    s.on('disconnect', (why) => s.breaks.push(why));
    const join = async () => { const r = await s.timeout(30000).emitWithAck('join_room', { listingId: id, since: s.sequence ?? null }); s.sequence ??= r.sequence; };
    await new Promise((r) => { s.once('connect', r); });
    await join();
    s.on('connect', () => join().catch(() => {}));
    return s;
  }

  before(async () => {
    await w.started;
    owner = await signIn(w, 'CLIENT');
    bidders = await several(w, 'VENDOR', 4);
  }, { timeout: 600000 });

  test('clients of both hear every bid, by every transport, and polling stays with its gateway', async () => {
    const [id] = quickListing(w, owner.id, { asking: 900000 });
    const sockets = [];
    for (let i = 0; i < 4; i++) for (const o of [{ transports: ['polling'] }, { transports: ['websocket'] }, {}]) sockets.push(await watcher(id, o));
    assert.deepEqual([...new Set(sockets.map(gatewayOf))].sort(), ['g1', 'g2']);
    for (let i = 0; i < 8; i++) { await mustBid(w, bidders[i % 4], id, 2000 + 100 * i); await sleep(30); }
    await until('all bids', () => sockets.every((s) => s.seen.length === 8));
    for (const s of sockets) {
      assert.deepEqual(s.seen, Array.from({ length: 8 }, (_, i) => 2000 + 100 * i));
      assert.deepEqual(s.breaks, []);
    }
    open.splice(0).forEach((s) => s.disconnect());
  });

  // n WebSockets, given up as they are -> how many each gateway has.  With more than its request a client is relayed.
  const plain = new Set();
  async function crowd(n, { more = '', atOnce = 50 } = {}) {
    const counts = { g1: 0, g2: 0 };
    const one = () => new Promise((resolve, reject) => {
      const s = net.connect(Number(new URL(w.base).port), '127.0.0.1', () => s.write('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        + `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n${more}`));
      let text = '';
      plain.add(s);
      s.on('data', (d) => { text += d.toString('latin1'); const sid = /"sid":"(g\d)-/.exec(text); if (sid) { counts[sid[1]]++; resolve(); } });
      s.on('error', reject);
      s.on('close', () => reject(new Error(`closed: ${text.slice(0, 60)}`)));
    });
    for (let left = n; left > 0; left -= atOnce) await Promise.all(Array.from({ length: Math.min(left, atOnce) }, one));
    return counts;
  }
  const evenly = ({ g1, g2 }, what) => assert.ok(Math.abs(g1 - g2) <= (g1 + g2) / 10, `${what}: ${g1} and ${g2}`);

  test('a thousand WebSockets are spread evenly, at once or one after the other, also while nginx relays one and has handed over the others', async () => {
    await w.started;
    for (let i = 0; i < 5; i++) {
      await crowd(1, { more: '\x01' });   // not handed over
      evenly(await crowd(100, { atOnce: 1 }), 'one after the other');
      evenly(await crowd(100), 'at once');
    }
    plain.forEach((s) => s.destroy());
    plain.clear();
  });

  test('when a gateway is killed, its clients go on with the other and have missed nothing', async () => {
    const [id] = quickListing(w, owner.id, { asking: 900000 });
    const sockets = [];
    for (let i = 0; i < 4; i++) for (const o of [{ transports: ['polling'] }, { transports: ['websocket'] }, {}]) sockets.push(await watcher(id, o));
    const lost = sockets.filter((s) => gatewayOf(s) === 'g2');
    assert.ok(lost.length > 0);
    await mustBid(w, bidders[0], id, 2000);
    await until('the first bid', () => sockets.every((s) => s.seen.length === 1));
    process.kill(pidOf('g2'), 'SIGKILL');
    await mustBid(w, bidders[1], id, 3000);
    await until('all are back', () => lost.every((s) => s.breaks.length > 0 && s.connected), 20);
    await mustBid(w, bidders[2], id, 4000);
    await until('all bids', () => sockets.every((s) => s.seen.length >= 3), 20);
    for (const s of sockets) assert.deepEqual(s.seen, [2000, 3000, 4000]);
    open.splice(0).forEach((s) => s.disconnect());
  });

  test('a gateway that was away for a moment gets its share of those who come from then on', async () => {
    const answers = (name) => new Promise((r) => { const s = net.connect(path.join(w.state, 'run', name === 'g1' ? 'gateway.sock' : 'gateway-2.sock'), () => { s.destroy(); r(true); }); s.on('error', () => r(false)); });
    await until('both are there', async () => await answers('g1') && answers('g2'));
    process.kill(pidOf('g1'), 'SIGKILL');
    assert.deepEqual(await crowd(10), { g1: 0, g2: 10 });   // which nginx notices
    await until('it is there again', () => answers('g1'));
    evenly(await crowd(100), 'a hundred');
    plain.forEach((s) => s.destroy());
    plain.clear();
  });

  test('who missed more than is kept is told so, also when nothing is kept at all', async () => {
    const [id] = quickListing(w, owner.id, { asking: 900000 });
    const s = await watcher(id);
    await mustBid(w, bidders[0], id, 2000);
    await mustBid(w, bidders[1], id, 3000);
    await until('both bids', () => s.seen.length === 2);
    const last = s.sequence;
    w.sql(`UPDATE listings SET approved_at = approved_at - interval '2 days' WHERE id = '${id}'; DELETE FROM events`);
    const ask = async (since) => {   // as after a reconnect: a socket of its own
      const c = io(w.base, { forceNew: true });
      open.push(c);
      return c.timeout(30000).emitWithAck('join_room', { listingId: id, since });
    };
    assert.equal((await ask(last - 1)).complete, false);
    assert.equal((await ask(Number(w.sql('SELECT last_value FROM events_id_seq')))).complete, true, 'nothing came since');
    await mustBid(w, bidders[2], id, 4000);
    await until('the next bid', () => s.seen.length === 3);
    assert.equal((await ask(last - 1)).complete, false);
    assert.equal((await ask(s.sequence)).complete, true);
  });
});
