'use strict';
// The utilities that close, remind and purge: overlapping, killed, stopped, with the database away.  An
// auction ends exactly once whatever happens to those who end it.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Workshop, until, sleep } = require('./lib/sender');
const { cluster } = require('./lib/cluster');

const BUILD = process.env.BUILD_DIR ?? path.resolve(__dirname, '../../build');
let w;

before(async () => {
  w = await Workshop.open(cluster(), { live: false });
  w.sql(null, fs.readFileSync(path.resolve(__dirname, '../sql/fixtures.inc'), 'utf8'));
}, { timeout: 60000 });
after(() => w.close());

// {process, ended: {code, signal, log}}
function utility(name, args = [], env = {}) {
  const p = spawn(path.join(BUILD, 'cron', `selliko-${name}`), args, { env: { ...w.env(), ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  p.stderr.on('data', (d) => { log += d; });
  return { process: p, ended: new Promise((resolve) => { p.on('close', (code, signal) => resolve({ code, signal, log })); }) };
}
async function runs(name, args, env) {
  const r = await utility(name, args, env).ended;
  assert.equal(r.code, 0, r.log);
  return r;
}

// N auctions that are over, every third without a bid; their ids
function overdue(n, ago = '1 second') {
  const ids = w.sql(null, `
    SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS v1, test.user('VENDOR') AS v2 \\gset
    CREATE TEMP TABLE made AS SELECT n, test.listing(:'client', 2500000) AS id FROM generate_series(1, ${n}) n;
    SELECT count(test.bid(:'v1', id, 1000000)) + count(test.bid(:'v2', id, 1010000)) FROM made WHERE n % 3 <> 0 \\g /dev/null
    UPDATE listings SET auction_end = clock_timestamp() - interval '${ago}' WHERE id IN (SELECT id FROM made);
    SELECT id FROM made ORDER BY n;`).split('\n');
  return { ids, list: ids.map((id) => `'${id}'`).join(',') };
}
// What there must be of each: one order or none, one of each message, one event of each kind
function assertEndedOnce({ ids, list }) {
  const sold = ids.filter((_, i) => (i + 1) % 3 !== 0).length;
  const count = (text) => Number(w.sql(text));
  assert.equal(count(`SELECT count(*) FROM listings WHERE id IN (${list}) AND status = 'live'`), 0, 'none is open');
  assert.equal(count(`SELECT count(*) FROM listings WHERE id IN (${list}) AND status = 'sold'`), sold);
  assert.equal(count(`SELECT count(*) FROM orders WHERE listing_id IN (${list})`), sold, 'one order each');
  assert.equal(count(`SELECT count(*) FROM order_history h JOIN orders o ON o.id = h.order_id WHERE o.listing_id IN (${list})`), sold);
  const told = (type) => count(`SELECT count(*) FROM notifications WHERE type = '${type}' AND data ->> 'listingId' IN (${list})`);
  assert.deepEqual(['auction_won', 'auction_lost', 'order_update', 'auction_expired'].map(told), [sold, sold, sold, ids.length - sold], 'one set of notifications');
  const events = (name) => count(`SELECT count(*) FROM events WHERE name = '${name}' AND listing_id IN (${list})`);
  assert.deepEqual([events('auction_ended'), events('auction_won')], [ids.length, sold]);
  assert.equal(count(`SELECT count(*) FROM whatsapp_queue WHERE template = 'order_status' AND listing_id IN (${list})`), 2 * sold);
  assert.equal(w.sql('SELECT sum(revenue) FROM order_sums'), w.sql(`SELECT coalesce(sum(final_price), 0) FROM orders WHERE status <> 'cancelled'`));
}

test('five closers at once end each auction once', async () => {
  const due = overdue(150);
  await Promise.all(Array.from({ length: 5 }, () => runs('close-auctions')));
  assertEndedOnce(due);
  await runs('close-auctions');
  assertEndedOnce(due);
});

test('closers that are killed leave nothing half done', async () => {
  const due = overdue(150);
  let killed = 0;
  for (let round = 0; round < 40 && Number(w.sql(`SELECT count(*) FROM listings WHERE id IN (${due.list}) AND status = 'live'`)) > 0; round++) {
    const several = [utility('close-auctions'), utility('close-auctions')];
    await sleep(5 + 8 * round);
    for (const u of several) u.process.kill('SIGKILL');
    for (const u of several) if ((await u.ended).signal === 'SIGKILL') killed++;
  }
  assert.ok(killed > 0, 'somebody was killed');
  await runs('close-auctions');
  assertEndedOnce(due);
});

test('who watches closes within a second of the end, and stops when told', async () => {
  const u = utility('close-auctions', ['--watch', '60', '--verbose']);
  await sleep(300);
  const due = overdue(6, '-1.7 seconds');
  await until('the end of all', () => w.sql(`SELECT count(*) FROM listings WHERE id IN (${due.list}) AND status = 'live'`) === '0');
  assertEndedOnce(due);
  const late = Number(w.sql(`SELECT max(extract(epoch FROM e.created_at - l.auction_end)) FROM events e JOIN listings l ON l.id = e.listing_id WHERE e.name = 'auction_ended' AND l.id IN (${due.list})`));
  assert.ok(late >= 0 && late < 1, `${late} s after the end`);
  u.process.kill('SIGTERM');
  const r = await u.ended;
  assert.deepEqual([r.code, r.signal], [0, null], r.log);
  assert.match(r.log, /"auctions closed","n":6/);
});

test('a watch ends by itself', async () => {
  for (const name of ['close-auctions', 'remind', 'purge']) {
    const begun = Date.now();
    await runs(name, ['--watch', '1']);
    const took = Date.now() - begun;
    assert.ok(took >= 1000 && took < 8000, `${name}: ${took} ms`);
  }
});

test('who runs once waits for a listing that a bid holds', async () => {
  const due = overdue(1);
  const bidder = spawn('psql', ['-XqAt', '-d', w.url, '-c', `BEGIN; SELECT 1 FROM listings WHERE id = '${due.ids[0]}' FOR UPDATE; SELECT pg_sleep(1.5); COMMIT`], { stdio: ['ignore', 'pipe', 'ignore'] });
  await until('the lock', () => w.sql(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`) === '1');
  await runs('close-auctions');
  assertEndedOnce(due);
  bidder.kill();
});

test('what goes wrong is told: an exit code and a reason', async () => {
  for (const name of ['close-auctions', 'remind', 'purge']) {
    assert.equal((await utility(name, ['--help']).ended).code, 0);
    for (const [args, env, code, reason] of [[['--sometimes'], {}, 64, /unknown option/], [['--watch', 'x'], {}, 64, /--watch takes/], [['--watch'], {}, 64, /--watch takes/], [['--watch', '0'], {}, 64, /--watch takes/], [['now'], {}, 64, /no arguments/],
      [[], { ENCRYPTION_KEY: 'short' }, 78, /ENCRYPTION_KEY/], [[], { DATABASE_URL: 'postgresql:///nix?host=/nowhere' }, 75, /no database connection[^]*failed/]]) {
      const r = await utility(name, args, env).ended;
      assert.equal(r.code, code, `${name} ${args}: ${r.log}`);
      assert.match(r.log, reason, name);
    }
  }
});

test('a watch outlives the database', async () => {
  const u = utility('close-auctions', ['--watch', '60']);
  await until('its connection', () => w.sql(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'selliko-close-auctions' AND datname = current_database()`) === '1');
  const due = overdue(3, '-2 seconds');
  const psql = (text) => new Promise((resolve) => { spawn('psql', ['-XqAt', '-d', w.admin, '-c', text], { stdio: 'ignore' }).on('close', resolve); });
  await psql(`ALTER DATABASE ${w.name} ALLOW_CONNECTIONS false`);
  await psql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${w.name}'`);
  await sleep(2500);
  await psql(`ALTER DATABASE ${w.name} ALLOW_CONNECTIONS true`);
  await until('the end of all', () => w.sql(`SELECT count(*) FROM listings WHERE id IN (${due.list}) AND status = 'live'`) === '0');
  assertEndedOnce(due);
  u.process.kill('SIGTERM');
  assert.equal((await u.ended).code, 0);
});

test('five reminders at once tell of each auction once', async () => {
  const ids = w.sql(null, `
    SELECT test.user('CLIENT') AS client, test.user('CLIENT') AS watcher, test.user('VENDOR') AS v1 \\gset
    CREATE TEMP TABLE made AS SELECT test.listing(:'client', 2500000, '20 minutes') AS id FROM generate_series(1, 120) n;
    SELECT count(test.bid(:'v1', id, 1000000)) FROM made \\g /dev/null
    INSERT INTO watchers (listing_id, user_id) SELECT id, :'watcher' FROM made;
    INSERT INTO watchers (listing_id, user_id) SELECT id, :'v1' FROM made;
    SELECT id FROM made;`).split('\n').map((id) => `'${id}'`).join(',');
  await Promise.all(Array.from({ length: 5 }, () => runs('remind')));
  await runs('remind');
  assert.equal(w.sql(`SELECT count(*) || ' ' || count(DISTINCT (user_id, data ->> 'listingId')) FROM notifications WHERE type = 'auction_ending' AND data ->> 'listingId' IN (${ids})`), '240 240');
  assert.equal(w.sql(`SELECT count(*) FROM events WHERE name = 'auction_ending' AND listing_id IN (${ids})`), '120');
});

// ---- the purge ----

const uploads = (...parts) => path.join(w.state, 'uploads', ...parts);
function folder(group, id, hours, ...inside) {
  fs.mkdirSync(uploads(group, id, ...inside), { recursive: true });
  fs.writeFileSync(uploads(group, id, ...inside, 'x.jpg'), 'x');
  const then = Date.now() / 1000 - hours * 3600;
  for (const p of [uploads(group, id, ...inside, 'x.jpg'), ...inside.map((_, i) => uploads(group, id, ...inside.slice(0, inside.length - i))), uploads(group, id)]) fs.utimesSync(p, then, then);
}

test('the purge removes stages of the dead and folders of nothing, and leaves the rest', async () => {
  await runs('purge');   // makes the store's folders
  const [known] = w.sql(null, `SELECT test.user('CLIENT') AS client \\gset\nSELECT test.listing(:'client', 2500000);`).split('\n');
  const [order] = w.sql('SELECT id FROM orders LIMIT 1').split('\n');
  const lost = crypto.randomUUID(), young = crypto.randomUUID(), lostOrder = crypto.randomUUID();
  folder('listings', known, 100, 'device');
  folder('listings', lost, 30, 'device');
  folder('listings', young, 5, 'device');
  folder('verification', order, 100);
  folder('verification', lostOrder, 100);
  folder('listings', 'notes-of-the-operator', 100);
  folder('staging', '0123456789abcdef', 3, 'out');
  folder('staging', 'fedcba9876543210', 1, 'out');
  w.sql(`INSERT INTO events (id, name, created_at) OVERRIDING SYSTEM VALUE   -- the oldest have the lowest numbers
         SELECT (SELECT coalesce(min(id), 1) FROM events) - n, 'x', now() - interval '2 days' FROM generate_series(1, 2500) n`);
  const { log } = await runs('purge', ['--verbose']);
  const there = (...p) => fs.existsSync(uploads(...p));
  assert.deepEqual([there('listings', known, 'device', 'x.jpg'), there('listings', lost), there('listings', young, 'device', 'x.jpg')], [true, false, true]);
  assert.deepEqual([there('verification', order), there('verification', lostOrder), there('listings', 'notes-of-the-operator')], [true, false, true]);
  assert.deepEqual([there('staging', '0123456789abcdef'), there('staging', 'fedcba9876543210')], [false, true]);
  assert.equal(w.sql(`SELECT count(*) FROM events WHERE created_at < now() - interval '1 day'`), '0', 'however many there are');
  assert.match(log, /"folders","n":2/);
});

test('when much belongs to nothing it is the wrong database, and nothing is removed', async () => {
  const ids = Array.from({ length: 12 }, () => crypto.randomUUID());
  for (const id of ids) folder('listings', id, 30);
  const r = await utility('purge').ended;
  assert.equal(r.code, 75, r.log);
  assert.match(r.log, /belong to nothing in this database/);
  assert.ok(ids.every((id) => fs.existsSync(uploads('listings', id))));
  for (const id of ids.slice(0, 6)) fs.rmSync(uploads('listings', id), { recursive: true });
  await Promise.all(Array.from({ length: 5 }, () => runs('purge')));
  assert.ok(ids.every((id) => !fs.existsSync(uploads('listings', id))), 'a few are believed, by five at once');
});
