'use strict';
// What the doctor says of a database, a pooler and a place for backups that somebody else has set up.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawn, execFileSync } = require('node:child_process');
const { own, until, freePort, TOP } = require('../api/lib');
const { start, who } = require('./lib/utility');

const w = own();
// As the server's administrator
const admin = (text, db = 'postgres') => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', url(db, 'postgres'), '-c', text], { encoding: 'utf8' }).trim();
let at;   // how a database of this cluster is named, but for its name
const url = (db, user = 'selliko') => `postgresql://${user}@/${db}?${at}`;
const ctl = (args, env) => start(w, 'sbin/sellikoctl', args, env).ended;
const says = async (env, line) => { const { out } = await ctl(['doctor'], env); assert.match(out, line); return out; };
const well = async (env, line) => assert.doesNotMatch((await ctl(['doctor'], env)).out, line);
const database = (name, options = 'OWNER selliko') => { admin(`CREATE DATABASE ${name} TEMPLATE template0 ${options}`); return { DATABASE_URL: url(name) }; };

before(async () => { await w.started; at = w.setting('DATABASE_URL').split('?')[1]; });

test('an instance of its own has nothing to mend', async () => {
  const { out, code } = await ctl(['doctor']);
  assert.equal(code, 0, out);
  assert.doesNotMatch(out, /^FAIL|pooler/m);
  for (const what of ['extensions +pg_trgm is there', 'pg_dump +can dump', 'realtime +a gateway reads', 'backup place +/']) assert.match(out, new RegExp(`^ok +${what}`, 'm'));
});

test('a role that may not do what it must is named with what lets it', async () => {
  admin('CREATE ROLE stranger LOGIN');
  database('strange', "OWNER postgres ENCODING 'UTF8'");
  const env = { DATABASE_URL: url('strange', 'stranger') };
  const out = await says(env, /^FAIL +extensions +stranger may not make pg_trgm: let an administrator run CREATE EXTENSION pg_trgm/m);
  assert.match(out, /^FAIL +database +stranger may not make tables: ALTER SCHEMA public OWNER TO stranger/m);
  assert.match(out, /^WARN +database +stranger may not make databases, .*: ALTER ROLE stranger CREATEDB/m);
  assert.match(out, /^FAIL +migrations .*run `sellikoctl migrate`/m);
  assert.equal((await ctl(['migrate'], env)).code, 1);
  // as told
  for (const text of ['ALTER SCHEMA public OWNER TO stranger', 'CREATE EXTENSION pg_trgm']) admin(text, 'strange');
  admin('ALTER ROLE stranger CREATEDB');
  assert.equal((await ctl(['migrate'], env)).code, 0);
  const { out: then } = await ctl(['doctor'], env);
  assert.doesNotMatch(then, /stranger/);
  assert.match(then, /^ok +extensions +pg_trgm is there/m);
});

test('an owner of an empty database is told that migrate makes the extension', async () => {
  admin('CREATE ROLE owner_of_it LOGIN CREATEDB');
  database('owned', "OWNER owner_of_it ENCODING 'UTF8'");
  await says({ DATABASE_URL: url('owned', 'owner_of_it') }, /^ok +extensions +`sellikoctl migrate` makes pg_trgm/m);
  assert.equal((await ctl(['migrate'], { DATABASE_URL: url('owned', 'owner_of_it') })).code, 0);
});

test('encoding, letters, an old collation, careless settings', async () => {
  await says(database('ascii', "OWNER selliko ENCODING 'SQL_ASCII' LOCALE 'C'"), /^FAIL +database +its encoding is SQL_ASCII/m);
  await says({ DATABASE_URL: url('ascii') }, /^WARN +database +its LC_CTYPE is C,/m);
  const icu = database('collated', "OWNER selliko ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'");
  await well(icu, /REINDEX/);
  admin("UPDATE pg_database SET datcollversion = '1' WHERE datname = 'collated'");
  await says(icu, /^FAIL +database +indexes on text were made under version 1 .*REINDEX DATABASE collated; ALTER DATABASE collated REFRESH/m);
  admin('ALTER DATABASE collated SET synchronous_commit = off');
  await says(icu, /^WARN +database +fsync, full_page_writes or synchronous_commit is off/m);
  admin('ALTER SYSTEM SET autovacuum = off');
  admin('SELECT pg_reload_conf()');
  try { await until('autovacuum is off', () => w.sql('SHOW autovacuum') === 'off'); await says({}, /^WARN +database +autovacuum is off/m); } finally { admin('ALTER SYSTEM RESET autovacuum'); admin('SELECT pg_reload_conf()'); }
});

// The server, reached over TCP by an address that the doctor takes for another host's, and as it would be with other
// words (of one length) in what it says, or hears.
async function elsewhere(toServer, toClient, work) {
  const turn = (buffer, pairs) => Buffer.from(pairs.reduce((text, [from, to]) => text.replaceAll(from, to), buffer.toString('latin1')), 'latin1');
  const socket = path.join(decodeURIComponent(at.slice('host='.length)), '.s.PGSQL.5432');
  const front = net.createServer((a) => {
    const b = net.connect(socket);
    for (const [x, y, pairs] of [[a, b, toServer], [b, a, toClient]]) {
      x.on('data', (d) => y.write(turn(d, pairs)));
      x.on('error', () => {});
      x.on('close', () => y.destroy());
    }
  });
  await new Promise((r) => { front.listen(0, '0.0.0.0', r); });
  try { return await work({ DATABASE_URL: `postgresql://selliko@0.0.0.0:${front.address().port}/selliko` }); } finally { front.close(); }
}

test('a way that is not encrypted, a server without pg_trgm, one that is newer than pg_dump', async () => {
  await elsewhere([], [], (env) => says(env, /^WARN +database +the way to 0\.0\.0\.0 is not encrypted: add sslmode=verify-full/m));
  await well({}, /not encrypted/);
  await elsewhere([["'pg_trgm'", "'no_trgm'"]], [], (env) => says(env, /^FAIL +extensions +the server lacks pg_trgm: install postgresql-contrib of PostgreSQL 15 /m));
  await elsewhere([], [['server_version\0' + '15.', 'server_version\0' + '99.']], (env) => says(env, /^FAIL +pg_dump +that of PostgreSQL 15 cannot dump a server of 99: install postgresql-client-99/m));
});

test('an nginx with few connections or descriptors a worker is named', async () => {
  assert.match((await ctl(['doctor'])).out, /^(ok|WARN) +nginx +\d+ connections a worker/m);
  const dir = fs.mkdtempSync('/tmp/selliko-test-nginx-');
  fs.chmodSync(dir, 0o755);
  fs.mkdirSync(path.join(dir, 'nginx'));
  const file = path.join(dir, 'nginx/nginx.conf');
  const nginx = (text, line) => { fs.writeFileSync(file, text); return says({ STATE_DIR: dir }, line); };
  try {
    await nginx('events {\n    worker_connections 768;\n}\n', /^WARN +nginx +768 connections a worker, of which .* raise worker_connections and worker_rlimit_nofile in \/tmp/m);
    await nginx('worker_rlimit_nofile 1024;\nevents {\n    worker_connections 8192;\n}\n', /^WARN +nginx +8192 connections a worker, but 1024 descriptors/m);
    await nginx('worker_rlimit_nofile 65536;\nevents {\n    worker_connections 32768;\n}\n', /^ok +nginx +32768 connections a worker$/m);
  } finally { fs.rmSync(dir, { recursive: true }); }
});

test('programs without a gateway are half a service', async () => {
  const env = database('half', "OWNER selliko ENCODING 'UTF8'");
  assert.equal((await ctl(['migrate'], env)).code, 0);
  await says(env, /^ok +realtime +nothing of the service is connected/m);
  const bids = spawn('psql', ['-XqAt', '-d', url('half')], { env: { ...process.env, PGAPPNAME: 'bids' }, stdio: ['pipe', 'ignore', 'ignore'] });
  await until('it is connected', () => w.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'half'") === '1');
  await says(env, /^FAIL +realtime +.* no gateway: does selliko-gateway run\?/m);
  bids.stdin.end();
  await new Promise((r) => { bids.on('close', r); });
});

test('a pooler is fine in session mode, where the whole service works through it, and in no other', { timeout: 180000 }, async () => {
  const dir = fs.mkdtempSync('/tmp/selliko-test-pooler-');
  const { uid, gid } = fs.statSync(w.state);
  fs.chownSync(dir, uid, gid);
  const poolers = [];
  async function pooler(mode) {
    const port = await freePort();
    fs.writeFileSync(path.join(dir, `${mode}.ini`), `[databases]\n* = ${at.replace(/^host=/, 'host=')} user=selliko\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =\nauth_type = any\npool_mode = ${mode}\ndefault_pool_size = 60\nmax_client_conn = 500\n`);
    const p = spawn('pgbouncer', ['-q', path.join(dir, `${mode}.ini`)], { stdio: 'ignore', env: { PATH: '/usr/bin:/bin:/usr/sbin' }, ...who(w) });
    poolers.push(p);
    const env = { DATABASE_URL: `postgresql://selliko@127.0.0.1:${port}/pooled` };
    await until('the pooler answers', async () => (await ctl(['doctor'], env)).out.includes('pooler'));
    return env;
  }
  database('pooled', "OWNER selliko ENCODING 'UTF8'");
  try {
    const session = await pooler('session');
    await says(session, /^ok +pooler +.* in session mode/m);
    await says(await pooler('transaction'), /^FAIL +pooler +.*set pool_mode = session/m);
    const second = { ...process.env, STATE_DIR: path.join(dir, 'state'), PORT: String(await freePort()), ...session };
    fs.chmodSync(dir, 0o755);
    const sh = (file, ...args) => new Promise((r) => { spawn(path.join(TOP, file), args, { env: second, cwd: TOP, stdio: 'ignore' }).on('exit', r); });
    assert.equal(await sh('quickstart'), 0);
    try {
      assert.equal(await sh('tests/walkthrough'), 0, 'a phone is sold through the pooler');
      for (const args of [[], ['--verify']]) {
        const p = spawn(path.join(dir, 'state/app/libexec/selliko/cron/selliko-backup'), args, { cwd: '/', stdio: 'ignore', env: { PATH: '/usr/bin:/bin', SELLIKO_CONF: path.join(dir, 'state/selliko.conf') }, ...who(w) });
        assert.equal(await new Promise((r) => { p.on('exit', r); }), 0, `selliko-backup ${args}`);
      }
    } finally { await sh('quickstart', 'stop'); }
  } finally {
    for (const p of poolers) p.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  }
});

test('a place for backups that cannot be used is named', async () => {
  await says({ BACKUP_DIR: '/proc/none' }, /^WARN +backup place +\/proc cannot be written: /m);
  const gone = { BACKUP_DIR: 's3://selliko-backup/x', BACKUP_S3_ENDPOINT: `http://127.0.0.1:${await freePort()}`, BACKUP_AWS_ACCESS_KEY_ID: 'AKID', BACKUP_AWS_SECRET_ACCESS_KEY: 'secret' };
  await says(gone, /^FAIL +backup place +s3:\/\/selliko-backup\/x does not answer: check BACKUP_DIR/m);
});

test('in production, origins that no visitor has are named', async () => {
  const env = { SELLIKO_ENV: 'production', DEMO_ROLES: '', RATE_LIMITS: '' };
  await says({ ...env, ALLOWED_ORIGINS: 'http://localhost:3000' }, /^WARN +configuration +ALLOWED_ORIGINS: http:\/\/localhost:3000 is no page of a visitor/m);
  await well({ ...env, ALLOWED_ORIGINS: 'https://selliko.com' }, /ALLOWED_ORIGINS/);
});
