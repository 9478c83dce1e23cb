'use strict';
// The gateway as an unmodified socket.io-client meets it through nginx: who may come in, who hears of
// what, and that nothing is lost, doubled or told too early.
const { test, describe, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { io } = require('socket.io-client');
const {
  shared, until, sleep, signIn, several, claims, forge, makeListing, approve, bid, mustBid, quickListing,
} = require('../api/lib');

const w = shared();
const open = new Set();
// In each group, not for the file: its own hook would wait for the sockets that it is to close.
const hangUp = () => { for (const s of open) s.disconnect(); open.clear(); };

// A client that keeps all it hears: heard[event] = [[payload, sequence], ...]
async function client(token, options = {}) {
  await w.started;
  const s = io(w.base, { auth: token === undefined ? undefined : { token }, reconnectionDelay: 100, reconnectionDelayMax: 300, forceNew: true, ...options });
  open.add(s);
  s.heard = {};
  s.all = [];
  s.onAny((name, ...args) => { (s.heard[name] ??= []).push(args); s.all.push([name, ...args]); });
  s.ask = (name, arg) => s.timeout(30000).emitWithAck(name, arg);
  s.join = (listingId, since) => s.ask('join_room', { listingId, ...(since === undefined ? {} : { since }) });
  s.hears = (name, n = 1, seconds = 5) => until(`${n} × ${name} (${JSON.stringify(s.heard[name] ?? [])})`, () => (s.heard[name]?.length ?? 0) >= n && s.heard[name], seconds);
  return s;
}
async function connected(token, options) {
  const s = await client(token, options);
  if (!s.connected) await new Promise((resolve, reject) => { s.once('connect', resolve); s.once('connect_error', reject); });
  return s;
}
const refused = async (token) => {
  const s = await client(token, { reconnection: false });
  return new Promise((resolve, reject) => { s.once('connect_error', resolve); s.once('connect', () => reject(new Error('let in'))); });
};
const live = (owner, o) => quickListing(w, owner.id, o)[0];
// An event as a program writes it, without telling anybody
const write = (listing, data, name = 'auction_ending') => w.sql(`INSERT INTO events (name, listing_id, data) VALUES ('${name}', '${listing}', '${JSON.stringify(data)}') RETURNING id`);
const run = (...names) => path.join(w.state, 'run', ...names);
const gatewayPids = () => fs.readdirSync(run()).filter((f) => /^gateway(-\d+)?\.pid$/.test(f)).map((f) => Number(fs.readFileSync(run(f), 'utf8').split(' ')[0]));

let owner; let vendor; let rival; let admin; let agent; let bidders;
before(async () => {
  await w.started;
  [owner, vendor, rival, admin, agent] = await Promise.all(['CLIENT', 'VENDOR', 'VENDOR', 'ADMIN', 'AGENT'].map((role) => signIn(w, role)));
  bidders = await several(w, 'VENDOR', 8);
}, { timeout: 600000 });
// Vendors in turn, for each may bid ten times a minute
let turn = 0;
const anyone = () => bidders[turn++ % bidders.length];

describe('connecting', () => {
  after(hangUp);
  for (const [how, transports] of [['polling only', ['polling']], ['WebSocket only', ['websocket']], ['the default upgrade', undefined]]) {
    test(`with ${how}, a bid reaches the room as it is placed`, async () => {
      const id = live(owner, { asking: 30000 });
      const s = await connected(undefined, transports ? { transports } : {});
      assert.deepEqual((await s.join(id)).success, true);
      const placed = await mustBid(w, vendor, id, 12000);
      const [[event, sequence]] = await s.hears('new_bid');
      assert.deepEqual(Object.keys(event).sort(), ['bid', 'listingId', 'newHighestBid', 'totalBids']);
      assert.equal(event.listingId, id);
      assert.equal(event.newHighestBid, 12000);
      assert.equal(event.totalBids, 1);
      assert.match(event.bid.vendorId, /^Selliko Bid #\d+$/);
      assert.deepEqual({ ...event.bid, vendorId: null }, { ...placed.bid, vendorId: null });
      assert.equal(event.bid.isWinning, true);
      assert.ok(Number.isSafeInteger(sequence) && sequence > 0);
      if (!transports) await until('the upgrade', () => s.io.engine.transport.name === 'websocket');
    });
  }

  test('a wrong, a forged or an old token is a connect_error that says why', async () => {
    const old = { ...claims(owner.token), iat: 1000, exp: 2000 };
    assert.equal((await refused('nonsense')).data.code, 'unauthenticated');
    assert.equal((await refused(42)).data.code, 'unauthenticated');
    assert.equal((await refused(forge(claims(owner.token)))).data.code, 'unauthenticated');
    assert.equal((await refused(forge(old, { secret: w.setting('JWT_SECRET') }))).data.code, 'token_expired');
    const unknown = { ...claims(owner.token), sessionId: '00000000-0000-4000-8000-000000000000' };
    const e = await refused(forge(unknown, { secret: w.setting('JWT_SECRET') }));
    assert.equal(e.data.code, 'unauthenticated');
    assert.match(e.message, /\S/);
  });

  test('what is no handshake is refused in the shape of all errors', async () => {
    for (const query of ['EIO=3&transport=polling', 'EIO=4', 'EIO=4&transport=polling&sid=g1-nobody', 'EIO=4&transport=polling&sid=g99-x']) {
      assert.equal((await w.get(`/socket.io/?${query}`)).status, 400, query);
    }
    assert.equal((await w.post('/socket.io/?EIO=4&transport=polling', {})).status, 400);
    assert.equal((await w.request('POST', `/socket.io/?EIO=4&transport=polling&sid=x`, { body: 'x'.repeat(1100000) })).status, 413);
  });

  test('no token, null and "" are anonymous', async () => {
    for (const token of [undefined, null, '']) assert.ok((await connected(token)).connected);
  });

  test('a session that ended is refused, and a disabled account', async () => {
    const [a, b] = await several(w, 'CLIENT', 2);
    await w.post('/auth/logout', {}, a.token);
    assert.equal((await refused(a.token)).data.code, 'unauthenticated');
    w.sql(`UPDATE users SET is_active = false WHERE id = '${b.id}'`);
    assert.equal((await refused(b.token)).data.code, 'account_disabled');
  });

  test('a session that is revoked, an account that is disabled: disconnected within 5 s, and for good', async () => {
    const [a, b] = await several(w, 'VENDOR', 2);
    const [x, y, other] = [await connected(a.token), await connected(b.token), await connected(vendor.token)];
    const gone = (s) => new Promise((r) => { s.once('disconnect', (why) => r([why, Date.now()])); });
    const both = Promise.all([gone(x), gone(y)]);
    const since = Date.now();
    await w.post('/auth/logout', {}, a.token);
    w.sql(`UPDATE users SET is_active = false WHERE id = '${b.id}'`);
    for (const [why, at] of await both) {
      assert.equal(why, 'io server disconnect');
      assert.ok(at - since < 5000, `${at - since} ms`);
    }
    await sleep(500);
    assert.ok(!x.connected && !y.connected && other.connected);
  });
});

describe('rooms', () => {
  after(hangUp);
  test('anyone joins what he may see, and nobody what he may not', async () => {
    const { id: pending } = await makeListing(w, owner);
    const [nobody, stranger, mine, boss] = [await connected(), await connected(vendor.token), await connected(owner.token), await connected(admin.token)];
    for (const s of [nobody, stranger]) {
      const r = await s.join(pending);
      assert.equal(r.success, false);
      assert.equal(r.code, 'not_found');
      assert.match(r.error, /\S/);
    }
    for (const s of [mine, boss]) assert.deepEqual(await s.join(pending), { success: true });
    assert.equal((await nobody.join('00000000-0000-4000-8000-000000000000')).code, 'not_found');
    for (const bad of [undefined, null, 7, {}, { listingId: 7 }, { listingId: 'x' }, { listingId: `${pending}0` }, { listingId: pending, since: -1 }, { listingId: pending, since: 'x' }, { listingId: pending, since: 1.5 }]) {
      assert.equal((await nobody.ask('join_room', bad)).code, 'validation_failed', JSON.stringify(bad));
    }
  });

  test('whoever left a room hears no more of it, and other rooms nothing', async () => {
    const [a, b] = quickListing(w, owner.id, { n: 2 });
    const [x, y] = [await connected(), await connected()];
    await x.join(a.toUpperCase());
    await y.join(b);
    await mustBid(w, vendor, a, 5000);
    await x.hears('new_bid');
    assert.deepEqual(await x.ask('leave_room', { listingId: a }), { success: true });
    await mustBid(w, rival, a, 6000);
    await mustBid(w, rival, b, 6000);
    await y.hears('new_bid');
    await sleep(300);
    assert.equal(x.heard.new_bid.length, 1);
    assert.equal(y.heard.new_bid.length, 1);
  });

  test('a socket has an end to its rooms, and to what it may ask at once', { timeout: 20000 }, async () => {
    const id = live(owner);
    const s = await connected(undefined, { transports: ['websocket'] });
    const end = new Promise((r) => { s.once('disconnect', r); });
    const other = await connected();
    await other.join(id);
    for (let i = 0; i < 2000; i++) s.emit('join_room', { listingId: id });
    await end;
    await mustBid(w, vendor, id, 5000);
    await other.hears('new_bid');
  });
});

describe('who hears of what', () => {
  after(hangUp);
  test('a listing that is handed in: the admins, with everything, and soon from ₹50,000 up', async () => {
    const [boss, mine, seller, nobody] = [await connected(admin.token), await connected(owner.token), await connected(vendor.token), await connected()];
    const cheap = await makeListing(w, owner, { askingPrice: '49999' });
    const dear = await makeListing(w, owner, { askingPrice: '50000' });
    const heard = await boss.hears('listing_submitted', 2);
    const about = (l) => heard.find(([e]) => e.listing.id === l.id)[0];
    assert.equal(about(cheap).priority, false);
    assert.equal(about(dear).priority, true);
    const { listing } = about(dear);
    assert.equal(listing.imei1, dear.imei1);
    assert.equal(listing.pickupAddress.streetAddress, '12 MG Road');
    assert.deepEqual(Object.keys(listing).sort(), Object.keys(dear).sort());
    for (const s of [mine, seller, nobody]) assert.equal(s.heard.listing_submitted, undefined);
  });

  test('a notification, an order: the person that it is for, and nobody else', async () => {
    const id = live(owner, { asking: 20000 });
    const [mine, seller, loser, nobody] = [await connected(owner.token), await connected(vendor.token), await connected(rival.token), await connected()];
    await nobody.join(id);
    await mustBid(w, rival, id, 5000);
    const [[told]] = await mine.hears('notification');
    assert.deepEqual(Object.keys(told), ['notification']);
    assert.deepEqual(Object.keys(told.notification).sort(), ['createdAt', 'data', 'id', 'isRead', 'message', 'priority', 'readAt', 'sentViaWhatsApp', 'title', 'type', 'userId', 'whatsappMessageId']);
    assert.equal(told.notification.type, 'bid_placed');
    assert.equal(told.notification.userId, owner.id);

    const won = await mustBid(w, vendor, id, 20000);
    const [[end, sequence]] = await nobody.hears('auction_won');
    assert.deepEqual(Object.keys(end).sort(), ['listingId', 'winner', 'winningBid']);
    assert.equal(end.winner, end.winningBid.vendorId);
    assert.match(end.winner, /^Selliko Bid #\d+$/);
    assert.equal(end.winningBid.id, won.bid.id);
    assert.equal(end.winningBid.amount, 20000);
    const [[ended, later]] = await nobody.hears('auction_ended');
    assert.deepEqual(ended, { listingId: id, status: 'sold' });
    assert.ok(later > sequence);
    assert.deepEqual(nobody.all.map(([name]) => name), ['new_bid', 'new_bid', 'auction_won', 'auction_ended']);

    for (const s of [mine, seller]) {
      const [[order]] = await s.hears('order_update');
      assert.deepEqual(Object.keys(order).sort(), ['message', 'orderId', 'status']);
      assert.equal(order.orderId, won.orderId);
      assert.equal(order.status, 'pending_pickup');
    }
    const types = (s) => (s.heard.notification ?? []).map(([e]) => e.notification.type);
    await until('all are told', () => types(seller).includes('auction_won') && types(loser).includes('auction_lost'));
    assert.equal(loser.heard.order_update, undefined);
    for (const s of [mine, seller, loser]) for (const [e] of s.heard.notification) assert.equal(e.notification.userId, { [owner.token]: owner, [vendor.token]: vendor, [rival.token]: rival }[s.auth.token].id);
    assert.equal(nobody.heard.notification, undefined);
  });

  test('a task: its agent', async () => {
    const id = live(owner, { asking: 20000 });
    const { orderId } = await mustBid(w, vendor, id, 20000);
    const [s, other] = [await connected(agent.token), await connected(vendor.token)];
    const task = w.sql(`WITH t AS (INSERT INTO agent_tasks (agent_id, order_id, type, priority, description) VALUES ('${agent.id}', '${orderId}', 'pickup', 'high', 'Fetch it') RETURNING id)
      INSERT INTO events (name, user_id, ref) SELECT 'task_assigned', '${agent.id}', id FROM t RETURNING ref`);
    const [[e]] = await s.hears('task_assigned');
    assert.equal(e.priority, 'high');
    assert.equal(e.task.id, task);
    assert.equal(e.task.orderId, orderId);
    assert.equal(e.task.agentId, agent.id);
    assert.equal(e.task.status, 'assigned');
    assert.equal(e.task.clientContact.phone, owner.phone);
    assert.deepEqual(Object.keys(e.task.clientContact).sort(), ['address', 'name', 'phone']);
    assert.equal(other.heard.task_assigned, undefined);
  });

  test('an alert: the admins', async () => {
    const [boss, seller] = [await connected(admin.token), await connected(vendor.token)];
    w.sql(`INSERT INTO events (name, data) VALUES ('system_alert', '{"type": "warning", "message": "the disk fills up"}')`);
    const heard = await boss.hears('system_alert');
    assert.deepEqual(heard.at(-1)[0], { type: 'warning', message: 'the disk fills up' });
    assert.equal(seller.heard.system_alert, undefined);
  });
});

describe('nothing too early, nothing lost, nothing twice', () => {
  after(hangUp);
  // psql with a transaction of its own that is held open
  function transaction() {
    const p = spawn('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', w.setting('DATABASE_URL')], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    p.stdout.on('data', (d) => { out += d; });
    let n = 0;
    return {
      async run(sql) { const mark = `done-${++n}`; p.stdin.write(`${sql};\n\\echo ${mark}\n`); await until(sql, () => out.includes(`${mark}\n`)); return out; },
      end() { p.stdin.end(); },
    };
  }

  test('an event is told after its commit, and one that commits late with a lower number is not skipped', async () => {
    const [a, b] = quickListing(w, owner.id, { n: 2 });
    const s = await connected();
    await s.join(a);
    await s.join(b);
    const slow = transaction();
    await slow.run('BEGIN');
    await slow.run(`INSERT INTO events (name, listing_id, data) VALUES ('auction_ending', '${a}', '{"timeLeft": 1}')`);
    write(b, { timeLeft: 2 });
    await s.hears('auction_ending', 1);
    await sleep(1500);   // more than a sweep
    assert.deepEqual(s.heard.auction_ending.map(([e]) => e.listingId), [b]);
    await slow.run('COMMIT');
    slow.end();
    await s.hears('auction_ending', 2);
    const [second, first] = s.heard.auction_ending;
    assert.equal(first[0].listingId, a);
    assert.ok(first[1] < second[1]);
    const undone = transaction();
    await undone.run('BEGIN');
    await undone.run(`INSERT INTO events (name, listing_id, data) VALUES ('auction_ending', '${a}', '{"timeLeft": 9}')`);
    await undone.run('ROLLBACK');
    undone.end();
    await sleep(1500);
    assert.equal(s.heard.auction_ending.length, 2);
  });

  test('what nobody announced is found within two seconds', async () => {
    const id = live(owner);
    const s = await connected();
    await s.join(id);
    const at = Date.now();
    write(id, { timeLeft: 600 });
    assert.deepEqual((await s.hears('auction_ending'))[0][0], { listingId: id, timeLeft: 600 });
    assert.ok(Date.now() - at < 2000);
  });

  test('join_room with since sends what was missed, in order, once, and then goes on', async () => {
    const id = live(owner, { asking: 900000 });
    const s = await connected();
    const { sequence: begin } = await s.join(id, null);
    for (let i = 0; i < 3; i++) await mustBid(w, anyone(), id, 2000 + 100 * i);
    const heard = await s.hears('new_bid', 3);
    const t = await connected();
    const missed = await t.join(id, heard[0][1]);
    assert.deepEqual(Object.keys(missed).sort(), ['complete', 'sequence', 'success']);
    assert.equal(missed.success, true);
    assert.equal(missed.complete, true);
    assert.equal(missed.sequence, heard[2][1]);
    assert.deepEqual(t.heard.new_bid, heard.slice(1));   // before the acknowledgement
    const u = await connected();
    await u.join(id, begin);
    assert.deepEqual(u.heard.new_bid, heard);
    await mustBid(w, anyone(), id, 9000);
    for (const x of [s, t, u]) await x.hears('new_bid', x === t ? 3 : 4);
    await t.join(id, heard[0][1]);   // again: nothing is told twice
    await sleep(200);
    assert.equal(t.heard.new_bid.length, 3);
    assert.equal((await (await connected()).join(id, 9e15)).sequence, s.heard.new_bid.at(-1)[1]);
  });

  test('of two thousand missed events each comes once and in order, also those that happen meanwhile', async () => {
    const id = live(owner);
    w.sql(`INSERT INTO events (name, listing_id, data) SELECT 'auction_ending', '${id}', jsonb_build_object('timeLeft', n) FROM generate_series(1, 2000) n`);
    const s = await connected();
    const joined = s.join(id, 0);
    for (let n = 2001; n <= 2020; n++) write(id, { timeLeft: n });
    assert.equal((await joined).success, true);
    await s.hears('auction_ending', 2020, 10);
    assert.deepEqual(s.heard.auction_ending.map(([e]) => e.timeLeft), Array.from({ length: 2020 }, (_, i) => i + 1));
  });

  test('of more events than are read at once none is passed over', async () => {
    const [crowd, id] = quickListing(w, owner.id, { n: 2 });
    const s = await connected();
    await s.join(id);
    w.sql(`INSERT INTO events (name, listing_id, data)
           SELECT 'auction_ending', CASE WHEN n IN (1, 5000, 5001, 12000) THEN '${id}'::uuid ELSE '${crowd}' END, jsonb_build_object('timeLeft', n)
           FROM generate_series(1, 12000) n ORDER BY n`);
    await s.hears('auction_ending', 4, 10);
    assert.deepEqual(s.heard.auction_ending.map(([e]) => e.timeLeft), [1, 5000, 5001, 12000]);
  });

  test('a client that comes and goes while bids fall loses none and hears none twice', async () => {
    const id = live(owner, { asking: 900000 });
    const s = await connected(undefined, { transports: ['websocket'] });
    let { sequence } = await s.join(id, null);
    const seen = [];
    s.on('new_bid', (e, n) => { seen.push(e.newHighestBid); sequence = n; });
    s.on('connect', () => s.join(id, sequence).catch(() => {}));   // it may be cut off again before the answer
    const bidding = (async () => { for (let i = 0; i < 16; i++) { await mustBid(w, anyone(), id, 2000 + 100 * i); await sleep(60); } })();
    for (let i = 0; i < 6; i++) { await sleep(130); s.io.engine.close(); }
    await bidding;
    await until('all bids', () => seen.length >= 16);
    await sleep(200);
    assert.deepEqual(seen, Array.from({ length: 16 }, (_, i) => 2000 + 100 * i));
  });

  test('the gateway\'s database connections break, and nothing is lost', async () => {
    const id = live(owner);
    const s = await connected();
    await s.join(id);
    w.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway'");
    write(id, { timeLeft: 3 });
    await s.hears('auction_ending', 1);
    write(id, { timeLeft: 2 });
    await s.hears('auction_ending', 2);
    assert.deepEqual(s.heard.auction_ending.map(([e]) => e.timeLeft), [3, 2]);
    assert.equal((await (await connected(vendor.token)).join(id, 0)).success, true);
  });

  test('the gateway is told to stop: clients are sent away, come back, and have lost nothing', async () => {
    const id = live(owner, { asking: 900000 });
    const kinds = [{ transports: ['websocket'] }, { transports: ['polling'] }, {}];
    const sockets = await Promise.all(kinds.map((o) => connected(undefined, o)));
    const seen = sockets.map(() => []);
    const last = [];
    await Promise.all(sockets.map(async (s, i) => {
      ({ sequence: last[i] } = await s.join(id, null));
      s.on('new_bid', (e, n) => { seen[i].push(e.newHighestBid); last[i] = n; });
      s.on('connect', () => s.join(id, last[i]).catch(() => {}));
    }));
    await mustBid(w, anyone(), id, 2000);
    await Promise.all(sockets.map((s) => s.hears('new_bid')));
    const reasons = sockets.map((s) => new Promise((r) => { s.once('disconnect', r); }));
    const pids = gatewayPids();
    for (const pid of pids) process.kill(pid, 'SIGTERM');
    for (const why of await Promise.all(reasons)) assert.match(why, /^transport (close|error)$/);   // both of which reconnect
    await mustBid(w, anyone(), id, 3000);
    await until('another gateway', () => { try { return gatewayPids().some((pid) => !pids.includes(pid)); } catch { return false; } });
    await until('they are back', () => sockets.every((s) => s.connected), 15);
    await mustBid(w, anyone(), id, 4000);
    await until('the bids', () => seen.every((x) => x.length >= 3), 15);
    for (const x of seen) assert.deepEqual(x, [2000, 3000, 4000]);
  });
});
