'use strict';
// The database goes away and comes back: callers hear 503 with Retry-After, then all is as before,
// without anybody restarting anything.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { io } = require('socket.io-client');
const { own, until, sleep, signIn, liveListing, makeListing, approve, mustBid, bid, submit, askOtp, phone, messages } = require('../api/lib');

const w = own();
const pg = () => path.join(w.state, 'pg');
const postmaster = () => Number(fs.readFileSync(path.join(pg(), 'postmaster.pid'), 'utf8').split('\n')[0]);
const alive = (pid) => { try { return !/ Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').slice(-200).replace(/^.*\) /, ' ')); } catch { return false; } };
async function stop(signal) {
  const pid = postmaster();
  process.kill(pid, signal);
  await until('PostgreSQL is down', () => !alive(pid));
  await sleep(300);
}
function start() {
  const bin = fs.readdirSync('/usr/lib/postgresql').sort((a, b) => b - a).map((v) => `/usr/lib/postgresql/${v}/bin/pg_ctl`)[0];
  const { uid, gid } = fs.statSync(pg());
  if (!alive(postmasterOr0())) fs.rmSync(path.join(pg(), 'postmaster.pid'), { force: true });
  const log = path.join(w.state, 'log/postgresql.log');
  const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: w.state };
  const cmd = [bin, 'start', '-w', '-t', '60', '-D', pg(), '-l', log];
  if (process.getuid() === 0) execFileSync('setpriv', [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...cmd], { stdio: 'ignore', env, cwd: '/' });
  else execFileSync(cmd[0], cmd.slice(1), { stdio: 'ignore', env, cwd: '/' });
}
const postmasterOr0 = () => { try { return postmaster(); } catch { return 0; } };

async function awayAndBack(signal) {
  const [client, vendor, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
  const l = await liveListing(w, client, admin);
  await mustBid(w, vendor, l.id, 20000);
  await stop(signal);
  const attempts = () => ({
    'GET /users/me': () => w.get('/users/me', client.token), 'POST /auth/send-otp': () => w.post('/auth/send-otp', { phone: phone() }), 'GET /listings/:id': () => w.get(`/listings/${l.id}`, vendor.token),
    'GET /marketplace': () => w.get(`/marketplace?search=${Math.random().toString(36).slice(2)}`), 'POST /bids': () => bid(w, vendor, l.id, 21000), 'GET /orders': () => w.get('/orders', client.token), 'POST /listings': () => submit(w, client),
  });
  for (let round = 0; round < 3; round++) {
    for (const [what, ask] of Object.entries(attempts())) {
      const r = await ask();
      assert.equal(r.status, 503, `${what}: ${r.text}`);
      assert.equal(r.body.code, 'unavailable', what);
    }
  }
  const health = await w.request('GET', '/health', { unchecked: true });
  assert.equal(health.status, 503);
  assert.equal(health.body.status, 'unhealthy');
  // many at once: nobody hangs
  const many = await Promise.all(Array.from({ length: 60 }, (_, i) => (i % 2 ? w.get('/users/me', client.token) : bid(w, vendor, l.id, 22000 + i))));
  assert.deepEqual([...new Set(many.map((r) => r.status))], [503]);
  start();
  await until('health', async () => (await w.request('GET', '/health', { unchecked: true })).status === 200);
  for (let i = 0; i < 20; i++) await Promise.all([w.request('GET', '/users/me', { token: client.token, unchecked: true }), w.request('GET', '/bids', { token: vendor.token, unchecked: true })]);
  for (const [what, ask] of Object.entries(attempts())) {
    if (what === 'POST /listings') continue;
    const r = await until(`${what} again`, async () => { const x = await ask(); return x.status < 500 && x; });
    assert.ok(r.status < 300, `${what}: ${r.text}`);
  }
  assert.equal((await submit(w, client)).status, 201);
  await askOtp(w, phone());   // the sender is back too
  w.sql(`UPDATE listings SET auction_end = now() WHERE id = '${l.id}'`);
  await until('and the closer', async () => (await w.get(`/listings/${l.id}`, client.token)).body.listing.status === 'sold');
}

test('PostgreSQL is stopped and started: 503 with Retry-After, then service again', { timeout: 240000 }, () => awayAndBack('SIGINT'));
test('PostgreSQL is killed and started: the same, and nothing committed is lost', { timeout: 240000 }, () => awayAndBack('SIGQUIT'));
test('its sessions are cut one by one: at most the requests in hand fail', { timeout: 120000 }, async () => {
  const client = await signIn(w);
  for (let i = 0; i < 5; i++) {
    w.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()');
    await until('service again', async () => (await w.request('GET', '/users/me', { token: client.token, unchecked: true })).status === 200, 10);
    assert.equal((await w.get('/users/me', client.token)).status, 200);
  }
  await askOtp(w, phone());
});
// A server that dies before it wrote down that a transaction ended gives its number again. Here some NOTIFYs are such, which
// the gateway has seen; then it is held up until a bid has one of their numbers.
test('a bid is told live also when its transaction has a number that was given before', { timeout: 240000 }, async (t) => {
  const [client, vendor, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
  const l = await liveListing(w, client, admin);
  const s = io(w.base, { forceNew: true }), heard = [], told = [];
  t.after(() => s.disconnect());
  s.on('new_bid', (e) => heard.push(e.newHighestBid));
  await new Promise((r) => { s.once('connect', r); });
  assert.equal((await s.timeout(30000).emitWithAck('join_room', { listingId: l.id })).success, true);
  const conf = path.join(pg(), 'postgresql.auto.conf');
  fs.appendFileSync(conf, "wal_writer_delay = '10s'\n");   // what nobody waits for is written down late
  process.kill(postmaster(), 'SIGHUP');

  let again = false;
  for (let amount = 20000; !again && amount < 26000; amount += 1000) {
    await mustBid(w, vendor, l.id, amount);
    told.push(amount);
    await until('the bid is heard', () => heard.at(-1) === amount);
    await sleep(1200);   // the writer sleeps again, and the gateway has looked
    execFileSync('psql', ['-XqAt', '-d', w.setting('DATABASE_URL'), ...Array(20).fill(['-c', 'NOTIFY selliko_events']).flat()], { stdio: 'ignore' });
    await sleep(200);
    const seen = Number(w.sql('SELECT pg_snapshot_xmax(pg_current_snapshot())::text'));
    const [gateway] = w.pids('selliko-gateway');
    process.kill(gateway, 'SIGSTOP');
    try {
      await stop('SIGQUIT');
      start();
      amount += 100;
      await until('a bid is taken again', async () => (await bid(w, vendor, l.id, amount)).status === 201);
      told.push(amount);
    } finally { process.kill(gateway, 'SIGCONT'); }
    again = Number(w.sql(`SELECT xid::text FROM events WHERE name = 'new_bid' AND listing_id = '${l.id}' ORDER BY id DESC LIMIT 1`)) < seen;
    await until('that bid is heard', () => heard.at(-1) === amount);
  }
  assert.ok(again, 'no number was given again');
  assert.deepEqual(heard, told, 'each bid once, in order');
});
// As after the loss of a primary with its last seconds, or a restore: what was told is not so any more, and numbers
// (editions, transactions) that were given are given again.
test('a database that comes back with less than it had is believed, not what was read of it before', { timeout: 240000 }, async () => {
  const [client, vendor, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
  const { id } = await makeListing(w, client, { brand: 'Comeback' });
  const end = async () => (await w.get('/marketplace?brand=comeback', vendor.token)).body.listings[0]?.auctionEndTime;
  const well = () => until('health', async () => (await w.request('GET', '/health', { unchecked: true })).status === 200);
  const later = `${pg()}.later`;
  await stop('SIGINT');
  fs.cpSync(pg(), later, { recursive: true, preserveTimestamps: true });
  const own = fs.statSync(pg());
  execFileSync('chown', ['-R', `${own.uid}:${own.gid}`, later]);
  start();
  await well();
  const first = (await approve(w, admin, id, 5)).auctionEndTime;
  assert.equal(await end(), first);
  await stop('SIGINT');
  fs.rmSync(pg(), { recursive: true });
  fs.renameSync(later, pg());
  start();
  await well();
  const { auctionEndTime } = await approve(w, admin, id, 7);
  assert.notEqual(auctionEndTime, first);
  for (let i = 0; i < 4; i++) assert.equal(await end(), auctionEndTime);
});
test('a migration that gives a statement other columns costs the requests that meet it at most a 503', { timeout: 120000 }, async () => {
  const [client, admin] = await Promise.all([signIn(w), signIn(w, 'ADMIN')]);
  const l = await liveListing(w, client, admin);
  const look = () => w.get(`/listings/${l.id}`, client.token);
  assert.equal((await look()).status, 200);
  w.sql('ALTER TABLE listing_counts ALTER views TYPE numeric');
  const first = await look();
  assert.equal(first.status, 503, first.text);   // its connection had prepared the statement
  assert.equal((await until('the page is there again', async () => { const r = await look(); assert.notEqual(r.status, 500, r.text); return r.status === 200 && r; })).status, 200);
});

test('an answer that bids does not know is our trouble: a 500 that is logged, and no bid', { timeout: 120000 }, async () => {
  const [client, vendor, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
  const l = await liveListing(w, client, admin);
  const real = w.sql("SELECT pg_get_functiondef('place_bids'::regproc)");
  const other = real.replace(/AS \$function\$[^]*\$function\$/, () => `AS $other$ BEGIN
      RETURN NEXT jsonb_populate_record(NULL::bid_answer, '{"n": 1, "code": "unheard_of", "hits": 1, "reset_s": 60}');
    END $other$`);
  assert.notEqual(other, real);
  w.sql(other);
  try {
    const r = await bid(w, vendor, l.id, 20000);
    assert.deepEqual([r.status, r.body.code], [500, 'internal']);
  } finally { w.sql(real); }
  assert.match(w.log('bids'), /place_bids gave an unknown code.*unheard_of/);
  assert.equal((await mustBid(w, vendor, l.id, 20000)).bid.amount, 20000);
});

test('an event that cannot be read keeps no other waiting', { timeout: 120000 }, async (t) => {
  const [client, agent, admin] = await Promise.all([signIn(w), signIn(w, 'AGENT'), signIn(w, 'ADMIN')]);
  const l = await liveListing(w, client, admin);
  const s = io(w.base, { auth: { token: agent.token }, forceNew: true }), heard = [];
  t.after(() => s.disconnect());
  s.onAny((name, e) => heard.push([name, e.timeLeft]));
  await new Promise((r) => { s.once('connect', r); });
  assert.equal((await s.timeout(5000).emitWithAck('join_room', { listingId: l.id })).success, true);
  w.sql('ALTER TABLE agent_tasks RENAME COLUMN description TO description_away');
  try {
    w.sql(`INSERT INTO events (name, user_id, listing_id, ref, data) VALUES ('task_assigned', '${agent.id}', NULL, gen_random_uuid(), '{}');
           INSERT INTO events (name, listing_id, data) VALUES ('auction_ending', '${l.id}', '{"timeLeft": 7}')`);
    await until('the room is told', () => heard.some(([name, left]) => name === 'auction_ending' && left === 7));
  } finally { w.sql('ALTER TABLE agent_tasks RENAME COLUMN description_away TO description'); }
  assert.match(w.log('gateway'), /events are left out/);
});

test('a connection that breaks while events are read: each is told, and told once', { timeout: 120000 }, async (t) => {
  const [client, agent, admin] = await Promise.all([signIn(w), signIn(w, 'AGENT'), signIn(w, 'ADMIN')]);
  const l = await liveListing(w, client, admin);
  const s = io(w.base, { auth: { token: agent.token }, forceNew: true }), heard = [];
  t.after(() => s.disconnect());
  s.on('auction_ending', (e) => heard.push(e.timeLeft));
  await new Promise((r) => { s.once('connect', r); });
  assert.equal((await s.timeout(5000).emitWithAck('join_room', { listingId: l.id })).success, true);
  // Tasks cannot be read, the room's events, which are read before them, can: the gateway has half of them in hand.
  const holder = spawn('psql', ['-XqAt', '-d', w.setting('DATABASE_URL')], { stdio: ['pipe', 'ignore', 'inherit'] });
  try {
    holder.stdin.write('BEGIN; LOCK TABLE agent_tasks IN ACCESS EXCLUSIVE MODE;\n');
    await until('the table is held', () => w.sql("SELECT count(*) FROM pg_locks WHERE relation = 'agent_tasks'::regclass AND mode = 'AccessExclusiveLock' AND granted") === '1');
    w.sql(`INSERT INTO events (name, user_id, ref) VALUES ('task_assigned', '${agent.id}', gen_random_uuid());
           INSERT INTO events (name, listing_id, data) SELECT 'auction_ending', '${l.id}', jsonb_build_object('timeLeft', n) FROM generate_series(1, 3) n`);
    const WAITING = "FROM pg_stat_activity WHERE application_name = 'gateway' AND wait_event_type = 'Lock'";
    await until('the gateway waits', () => w.sql(`SELECT count(*) ${WAITING}`) === '1');
    w.sql(`SELECT pg_terminate_backend(pid) ${WAITING}`);
    await until('it waits again', () => w.sql(`SELECT count(*) ${WAITING}`) === '1');
    assert.deepEqual(heard, []);
  } finally { holder.stdin.end('COMMIT;\n'); }
  await until('the room is told', () => heard.length >= 3);
  await sleep(1500);   // more than a sweep
  assert.deepEqual(heard, [1, 2, 3]);
});
