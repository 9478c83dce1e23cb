'use strict';
// sellikoctl against a running instance: what it prints, how it ends, and that the service does not
// notice a change of keys.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
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
const must = async (args, env) => { const r = await run(args, env); assert.equal(r.code, 0, r.err); return r; };

test('help is there for every command, wrong usage ends with 64', async () => {
  const { out } = await must(['--help']);
  const commands = [...out.matchAll(/^ {2}([a-z-]+) {2,}/gm)].map((m) => m[1]);
  for (const c of ['migrate', 'user', 'keygen', 'rotate-key', 'doctor', 'status']) assert.ok(commands.includes(c), c);
  for (const c of commands) assert.match((await must([c, '--help'])).out, new RegExp(`^usage: sellikoctl ${c}`));
  for (const args of [[], ['nothing'], ['user'], ['user', 'add'], ['user', 'add', '--phone', '123', '--role', 'ADMIN'], ['user', 'add', '--phone', phone(), '--role', 'KING'],
    ['user', 'add', '--phone', phone(), '--role', 'ADMIN', '--name', 'x'.repeat(101)], ['user', 'add', '--phone'], ['status', 'all'], ['doctor', '--loud']]) assert.equal((await run(args)).code, 64, args.join(' '));
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
  for (const what of ['configuration', 'WhatsApp API', 'photo worker', 'storage', 'space', 'database', 'connections', 'clock', 'migrations', 'keys', 'people', 'queue', 'auctions', 'backup']) assert.match(well.out, new RegExp(`^(ok|WARN|FAIL) +${what} `, 'm'), what);
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
