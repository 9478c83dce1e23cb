'use strict';
// sellikoctl against a running instance: what it prints, how it ends, and that the service does not
// notice a change of keys.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { shared, phone, signIn, signInAs } = require('./lib');

const w = shared();
const TOP = path.resolve(__dirname, '../..');
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

// The installed program itself, for its exit code, its two outputs, and to kill it
function start(args, env = {}) {
  const p = spawn(path.join(w.state, 'app/sbin/sellikoctl'), args, { env: { PATH: process.env.PATH, SELLIKO_CONF: path.join(w.state, 'selliko.conf'), ...env } });
  let out = '', err = '';
  p.stdout.on('data', (c) => { out += c; });
  p.stderr.on('data', (c) => { err += c; });
  p.ended = new Promise((resolve) => { p.on('close', (code, signal) => resolve({ code, signal, out, err })); });
  return p;
}
const run = async (args, env) => { await w.started; return start(args, env).ended; };
const must = async (args, env) => { const r = await run(args, env); assert.equal(r.code, 0, r.err + r.out); return r; };

test('help is there for every command, wrong usage ends with 64', async () => {
  const { out } = await must(['--help']);
  const commands = [...out.matchAll(/^ {2}([a-z-]+) {2,}/gm)].map((m) => m[1]);
  for (const c of ['migrate', 'user', 'keygen', 'rotate-key', 'doctor', 'check', 'status', 'storage']) assert.ok(commands.includes(c), c);
  for (const c of commands) assert.match((await must([c, '--help'])).out, new RegExp(`^usage: sellikoctl ${c}`));
  for (const args of [[], ['nothing'], ['user'], ['user', 'add'], ['user', 'add', '--phone', '123', '--role', 'ADMIN'], ['user', 'add', '--phone', phone(), '--role', 'KING'],
    ['user', 'add', '--phone', phone(), '--role', 'ADMIN', '--name', 'x'.repeat(101)], ['user', 'add', '--phone'], ['status', 'all'], ['doctor', '--loud']]) assert.equal((await run(args)).code, 64, args.join(' '));
});

test('quickstart says how it is used, and does nothing else then', async () => {
  await w.started;
  for (const ask of ['--help', '-h', 'help']) assert.match(await w.quickstart(ask), /^quickstart -- [^]*\.\/quickstart status [^]*STATE_DIR/);
  await assert.rejects(w.quickstart('--sometimes'), /usage: .*see \.\/quickstart --help/);
});

test('keygen makes a secret, another each time, without any configuration', async () => {
  const made = [];
  for (let i = 0; i < 2; i++) {
    const { out } = await must(['keygen'], { SELLIKO_CONF: '/nonexistent' });
    assert.match(out, /^[\w-]{43}\n$/);
    made.push(out);
  }
  assert.notEqual(made[0], made[1]);
  assert.deepEqual((await must(['keygen', '--conf'])).out.split('\n').filter(Boolean).map((l) => l.split('=')[0]), ['JWT_SECRET', 'ENCRYPTION_KEY', 'FILE_URL_SECRET']);
});

test('a configuration that is wrong ends with 78, a database that is away with 69', async () => {
  const r = await run(['user', 'list'], { SELLIKO_ENV: 'production', DEMO_ROLES: '*=ADMIN' });
  assert.equal(r.code, 78);
  assert.match(r.err, /DEMO_ROLES/);
  assert.equal((await run(['user', 'list'], { DATABASE_URL: 'postgresql:///x?host=/nonexistent' })).code, 69);
});

test('user add prints the id; of a phone that is there it changes role and name', async () => {
  const to = phone();
  const { out } = await must(['user', 'add', '--phone', to, '--role', 'AGENT', '--name', '  Anu Thomas ']);
  assert.match(out.trim(), UUID);
  const me = await signInAs(w, to);
  assert.equal(me.id, out.trim());
  assert.deepEqual([me.user.role, me.user.name, me.user.phone], ['AGENT', 'Anu Thomas', to]);
  assert.equal((await must(['user', 'add', `--phone=${to}`, '--role=VENDOR'])).out, out);
  const { user } = (await w.get('/users/me', me.token)).body;
  assert.deepEqual([user.role, user.name], ['VENDOR', 'Anu Thomas']);
  const line = (await must(['user', 'list', '--role', 'VENDOR'])).out.split('\n').find((l) => l.startsWith(me.id));
  assert.match(line, /VENDOR +active/);
  assert.ok(line.includes(to) && line.endsWith('Anu Thomas'), line);
  assert.equal(w.sql(`SELECT count(*) FROM audit_log WHERE target = '${me.id}' AND action IN ('user.add', 'user.update')`), '2');
});

test('migrate: again it does nothing, also several at once; an edited file is refused by name', async () => {
  for (const r of await Promise.all([1, 2, 3].map(() => must(['migrate'])))) assert.equal(r.out, '');
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-sql-'));
  try {
    fs.cpSync(path.join(TOP, 'sql'), dir, { recursive: true });
    fs.appendFileSync(path.join(dir, '004_create_orders.sql'), '\n');
    fs.writeFileSync(path.join(dir, '998_new.sql'), 'CREATE TABLE never_made ();\n');
    const edited = await run(['migrate', '--sql', dir]);
    assert.equal(edited.code, 1);
    assert.match(edited.err, /004_create_orders\.sql/);
    fs.copyFileSync(path.join(TOP, 'sql/004_create_orders.sql'), path.join(dir, '004_create_orders.sql'));
    fs.writeFileSync(path.join(dir, '998_new.sql'), 'CREATE TABLE never_made ();\nSELECT nothing;\n');
    const broken = await run(['migrate', '--sql', dir]);
    assert.equal(broken.code, 1);
    assert.match(broken.err, /998_new\.sql:2: .*nothing/);
    assert.equal(w.sql("SELECT to_regclass('never_made') IS NULL AND NOT EXISTS (SELECT FROM schema_migrations WHERE name ~ '998')"), 't', 'all of a file or nothing');
    assert.equal((await run(['migrate', '--sql', '/nonexistent'])).code, 1);
  } finally { fs.rmSync(dir, { recursive: true }); }
});

test('doctor looks at everything and says what mends it', async () => {
  const well = await run(['doctor']);
  for (const what of ['configuration', 'WhatsApp API', 'photo worker', 'storage', 'space', 'backup place', 'database', 'connections', 'extensions', 'pg_dump', 'clock', 'migrations', 'keys', 'people', 'realtime', 'queue', 'auctions', 'backup']) assert.match(well.out, new RegExp(`^(ok|WARN|FAIL) +${what} `, 'm'), what);
  assert.equal(well.code, /^FAIL/m.test(well.out) ? 1 : 0);
  for (const what of ['database', 'clock', 'migrations', 'keys', 'people', 'storage']) assert.match(well.out, new RegExp(`^ok +${what} `, 'm'), well.out);
  const old = await run(['doctor'], { WHATSAPP_API_VERSION: 'v17.0', WHATSAPP_ACCESS_TOKEN: 'x', WHATSAPP_PHONE_NUMBER_ID: '1' });
  assert.equal(old.code, 1);
  assert.match(old.out, /^FAIL +WhatsApp API +v17\.0 ended on 2025-09-12: set WHATSAPP_API_VERSION/m);
  const away = await run(['doctor'], { DATABASE_URL: 'postgresql:///x?host=/nonexistent', STATE_DIR: '/nonexistent' });
  assert.equal(away.code, 1);
  assert.match(away.out, /^FAIL +database /m);
  assert.match(away.out, /^FAIL +storage /m);
  const key = (await must(['keygen'])).out.trim();
  assert.match((await run(['doctor'], { ENCRYPTION_KEY: key })).out, /^FAIL +keys .*ENCRYPTION_KEY/m);
  const production = await run(['doctor'], { SELLIKO_ENV: 'production', DEMO_ROLES: '' , ALLOWED_ORIGINS: 'https://selliko.com', RATE_LIMITS: '' });
  if (production.code !== 78) assert.match(production.out, /^FAIL +queue +WHATSAPP_ACCESS_TOKEN/m);
});

test('status says how much there is', async () => {
  const { out } = await must(['status']);
  for (const what of ['version', 'database', 'accounts', 'listings', 'ending soon', 'orders', 'WhatsApp', 'backup', 'keys', 'space']) assert.match(out, new RegExp(`^${what} `, 'm'), what);
  assert.doesNotMatch(out, /\+91\d/);
});

test('rotate-key knows every sealed column', async () => {
  await w.started;
  const known = [...fs.readFileSync(path.join(TOP, 'lib/sealed.h'), 'utf8').matchAll(/X\("(\w+)", "(\w+)"/g)].map((m) => `${m[1]}.${m[2]}`);
  const inDatabase = w.sql("SELECT table_name || '.' || column_name FROM information_schema.columns WHERE data_type = 'bytea' AND table_schema = 'public'").split('\n');
  const hashes = /hash$|^whatsapp_pace\.who$|^encryption_keys\.wrapped$/;
  assert.deepEqual(inDatabase.filter((c) => !hashes.test(c)).sort(), known.sort(), 'what is bytes and no hash is sealed, and stands in lib/sealed.h');
});

test('rotate-key: nobody notices, and it goes on where it was killed', async () => {
  const versions = () => w.sql("SELECT string_agg(DISTINCT ('x' || encode(substring(phone_sealed FROM 1 FOR 4), 'hex'))::bit(32)::int::text, ',') FROM users");
  const c = await signIn(w);
  const newest = Number(w.sql("SELECT max(version) FROM encryption_keys WHERE purpose = 'seal'"));

  const p = start(['rotate-key']);
  p.stderr.once('data', () => p.kill('SIGKILL'));
  const killed = await p.ended;
  let wanted = newest + 1;
  if (killed.signal === 'SIGKILL') assert.equal(w.sql("SELECT count(*) FROM service_state WHERE name = 'rotate_key'"), '1', 'it left a note');
  else wanted++;

  const busy = { on: true };
  const others = Array.from({ length: 4 }, async () => {
    while (busy.on) {
      const me = await signIn(w);
      assert.equal((await w.get('/users/me', me.token)).body.user.phone, me.phone);
      assert.equal((await w.get('/users/me', c.token)).body.user.phone, c.phone);
      assert.equal((await w.post('/auth/refresh-token', { refreshToken: me.refreshToken })).status, 200);
    }
  });
  const r = await must(['rotate-key']);
  busy.on = false;
  await Promise.all(others);
  assert.match(r.out, new RegExp(`everything is under key version ${wanted}`));
  assert.equal(w.sql("SELECT count(*) FROM service_state WHERE name = 'rotate_key'"), '0');
  assert.equal(w.sql("SELECT max(version) FROM encryption_keys WHERE purpose = 'seal'"), String(wanted), 'no key more than was asked for');

  // A program that did not read in that moment may have sealed under the old key: the next run finds it.
  await must(['rotate-key', '--resume']);
  assert.equal((await w.get('/users/me', c.token)).body.user.phone, c.phone);
  const young = await run(['rotate-key', '--prune']);
  assert.equal(young.code, 1);
  assert.match(young.err, /younger than 10 minutes/);
  assert.ok(versions().split(',').includes(String(wanted)));
});

// A database of its own, in which there may be no order left
test('check names the rules that are broken, and only reads', { timeout: 120000 }, async () => {
  await w.started;
  const name = `ctl_check_${process.pid}`;
  const psql = (db, ...args) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', db, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  const home = w.setting('DATABASE_URL'), url = home.replace(/(postgresql:\/\/[^/]*\/)[^?]*/, `$1${name}`), env = { DATABASE_URL: url };
  psql(home, '-c', `CREATE DATABASE ${name}`);
  try {
    await must(['migrate'], env);
    psql(url, '-f', path.join(TOP, 'tests/sql/fixtures.inc'));
    const key = "decode('00000001', 'hex')";
    psql(url, '-c', `
      CREATE TABLE it (id uuid);   -- three auctions: won at once, closed, live
      DO $$
      DECLARE c uuid := test.user('CLIENT'); v uuid[] := ARRAY[test.user('VENDOR'), test.user('VENDOR'), test.user('VENDOR')]; l uuid;
      BEGIN
        UPDATE users SET phone_sealed = ${key};
        FOR n IN 1 .. 3 LOOP
          l := test.listing(c, 4500000, '1 hour', 'live', lpad(n::text, 15, '0'));
          INSERT INTO it VALUES (l);
          PERFORM test.bid(v[1], l, 1000000, 'key' || n), test.bid(v[2], l, 1010000), test.bid(v[1], l, 1050000), test.bid(v[3], l, CASE n WHEN 1 THEN 4500000 ELSE 1070000 END);
        END LOOP;
      END $$`, // bids of one millisecond are dated apart, so the last may lie some ahead of the clock
      '-c', "UPDATE listings SET auction_end = highest_at + interval '1 millisecond' WHERE id = (SELECT id FROM it OFFSET 1 LIMIT 1)", '-c', 'SELECT pg_sleep(0.05)', '-c', 'SELECT close_auctions(10, test.rules())');
    const sound = await must(['check'], env);
    const rules = sound.out.trim().split('\n');
    assert.ok(rules.length >= 15 && rules.every((r) => r.startsWith('ok    ')), sound.out);
    assert.equal((await must(['check', '--quiet'], env)).out, '');
    assert.equal((await run(['check', 'all'], env)).code, 64);

    // Each of these is made, found and taken back; the nets under the rules are cut for it.
    const one = (status, what = 'id') => `(SELECT ${what} FROM listings WHERE status = '${status}' ORDER BY id LIMIT 1)`;
    const lies = {
      'no bid is placed at or after': `UPDATE listings SET auction_end = highest_at WHERE id = ${one('live')}`,
      'the amounts of a listing': `UPDATE bids SET placed_at = placed_at - interval '1 hour' WHERE id = ${one('live', 'highest_bid_id')}; UPDATE listings SET highest_at = highest_at - interval '1 hour' WHERE id = ${one('live')}`,
      'a bid wins instantly': `UPDATE bids SET is_instant_win = true WHERE id = ${one('live', 'highest_bid_id')}`,
      'nobody bids on what he sells': `UPDATE listings SET client_id = highest_vendor WHERE id = ${one('live')}`,
      'a bidder has one alias': `UPDATE bidders SET alias = alias + 1 WHERE listing_id = ${one('live')}`,
      'the winning bid of a listing': `UPDATE listings SET highest_vendor = client_id WHERE id = ${one('live')}`,
      'a listing counts its bids': `UPDATE listings SET bid_count = bid_count + 1 WHERE id = ${one('live')}`,
      'the live listings are told': 'DELETE FROM live_listings',
      'the live listings are counted': 'UPDATE live_changes SET n = n + 1',
      'a listing counts its watchers': 'UPDATE listing_counts SET watchers = watchers + 1',
      'a task says of its order': `INSERT INTO agent_tasks (agent_id, order_id, type, description) SELECT client_id, id, 'pickup', '' FROM orders; UPDATE agent_tasks SET in_charge = NOT in_charge`,
      'a sold listing has one order': `UPDATE listings SET status = 'sold' WHERE status = 'live'`,
      'an order is of a sold listing': `UPDATE orders SET final_price = final_price - 1`,
      'a phone is sold at its': `UPDATE orders SET created_at = '2020-01-01'`,
      'an agent\'s commission': `UPDATE orders SET agent_commission = agent_commission + 1`,
      'an order\'s state': `INSERT INTO order_history (order_id, status) SELECT id, 'pending_pickup' FROM orders`,
      'the sums of orders': `UPDATE order_sums SET fees = fees + 1 WHERE part = 0`,
      'nobody is told twice': `INSERT INTO notifications (user_id, type, priority, title, message, data) SELECT user_id, type, priority, title, message, data FROM notifications WHERE type = 'outbid'`,
      'whom a notification or a message': `UPDATE notifications SET user_id = gen_random_uuid() WHERE type = 'outbid'`,
      'nobody is told of a bid': `UPDATE notifications SET type = 'auction_won' WHERE type = 'auction_lost'`,
      'a notification has one message': `INSERT INTO whatsapp_queue (user_id, notification_id, template) SELECT user_id, notification_id, 'order_status' FROM whatsapp_queue WHERE notification_id IS NOT NULL`,
      'a bid, an end and a notification': `INSERT INTO events (name, listing_id, ref) SELECT name, listing_id, ref FROM events WHERE name = 'new_bid'`,
      'a bid is kept under one': `UPDATE idempotency_keys SET outcome = jsonb_set(outcome, '{amount}', '1')`,
      'pending and live listings': 'DELETE FROM listing_imeis',
      'the key of each sealed phone': `UPDATE users SET phone_sealed = decode('00000009', 'hex')`,
      'the database says': 'DELETE FROM schema_migrations',
    };
    for (const table of ['bids', 'listings', 'orders']) psql(url, '-c', `ALTER TABLE ${table} DISABLE TRIGGER USER`);
    const rulesOf = fs.readFileSync(path.join(TOP, 'sql/check.sql'), 'utf8');
    for (const [rule, lie] of Object.entries(lies)) {
      const broken = psql(url, '-c', `BEGIN; ${lie}`, '-c', rulesOf, '-c', 'ROLLBACK').split('\n').map((l) => l.split('|')).filter(([, n]) => n !== '0');
      assert.ok(broken.some(([text, , which]) => text.startsWith(rule) && which), `${rule} after ${lie}: ${broken.join('; ')}`);
    }
    assert.equal(rules.filter((r) => !Object.keys(lies).some((l) => r.startsWith(`ok    ${l}`))).join('\n'), '', 'each rule is broken once here');

    psql(url, '-c', lies['an order is of a sold listing']);
    const broken = await run(['check', '--quiet'], env);
    assert.equal(broken.code, 1);
    assert.match(broken.out, /^FAIL {2}an order is of a sold listing.*: broken by 2 \([0-9a-f-]{36}, [0-9a-f-]{36}\)$/m);
    assert.doesNotMatch(broken.out, /^ok/m);
  } finally { psql(home, '-c', `DROP DATABASE ${name}`); }   // nobody is in it but autovacuum, whom the server sends away itself
});
