'use strict';
// Two database servers, a primary and its streaming standby, as doc/deployment.md has them: the primary dies,
// the standby is promoted, and the service goes on by itself.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { io } = require('socket.io-client');
const { own, until, signIn, several, mustBid, bid, quickListing, ended } = require('../api/lib');

const BIN = '/usr/lib/postgresql/15/bin';
const dir = fs.mkdtempSync('/tmp/selliko-test-failover-');
const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
const who = process.getuid() === 0 ? { uid: id('-u'), gid: id('-g') } : {};
const run = (program, ...args) => execFileSync(path.join(BIN, program), args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], ...who });
const at = (name) => path.join(dir, `${name}-run`);
const ask = (name, text, db = 'postgres') => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', at(name), '-U', 'postgres', '-d', db, '-c', text], { encoding: 'utf8' }).trim();
const start = (name) => { fs.mkdirSync(at(name)); if (who.uid) fs.chownSync(at(name), who.uid, who.gid); run('pg_ctl', '-D', path.join(dir, name), '-w', '-s', '-l', path.join(dir, `${name}.log`), '-o', `-c unix_socket_directories=${at(name)} -c listen_addresses=''`, 'start'); };

const settings = { RATE_LIMITS: 'off' };
const w = own(settings, async () => {
  if (who.uid) fs.chownSync(dir, who.uid, who.gid);
  fs.chmodSync(dir, 0o755);
  run('initdb', '-D', path.join(dir, 'a'), '-U', 'postgres', '--auth=trust', '-E', 'UTF8', '--locale=C.UTF-8');
  start('a');
  ask('a', 'CREATE ROLE selliko LOGIN CREATEDB');
  ask('a', 'CREATE ROLE replicator LOGIN REPLICATION');
  ask('a', 'CREATE DATABASE selliko OWNER selliko');
  run('pg_basebackup', '-h', at('a'), '-U', 'replicator', '-D', path.join(dir, 'b'), '-R', '-C', '-S', 'b', '-X', 'stream', '-c', 'fast');
  start('b');
  settings.DATABASE_URL = `postgresql://selliko@/selliko?host=${at('a')},${at('b')}&target_session_attrs=read-write`;
});
let client, vendors;

before(async () => {
  await w.started;
  client = await signIn(w, 'CLIENT');
  vendors = await several(w, 'VENDOR', 2);
}, { timeout: 600000 });
after(() => {
  for (const name of ['a', 'b']) try { run('pg_ctl', '-D', path.join(dir, name), '-m', 'immediate', '-s', 'stop'); } catch { /* is not running */ }
  fs.rmSync(dir, { recursive: true, force: true });
});

test('the doctor is well with both, and names an address that leads to the standby alone', async () => {
  assert.doesNotMatch(await w.ctl('doctor'), /^FAIL/m);
  const alone = execFileSync('sh', ['-c', '"$0" doctor 2>/dev/null || true', path.join(w.state, 'app/sbin/sellikoctl')], { encoding: 'utf8', env: { PATH: process.env.PATH, SELLIKO_CONF: path.join(w.state, 'selliko.conf'), DATABASE_URL: `postgresql://selliko@/selliko?host=${at('b')}` } });
  assert.match(alone, /^FAIL +database +DATABASE_URL leads to a standby/m);
});

test('the primary dies and the standby is promoted: requests, bids, events and the clock go on, and nothing is lost', { timeout: 120000 }, async () => {
  const [listing] = quickListing(w, client.id, { asking: 900000 });
  const s = io(w.base, { forceNew: true });
  const heard = [];
  s.on('new_bid', (e) => heard.push(e.newHighestBid));
  await new Promise((r) => { s.once('connect', r); });
  assert.equal((await s.timeout(5000).emitWithAck('join_room', { listingId: listing })).success, true);
  await mustBid(w, vendors[0], listing, 2000);
  await until('the bid is heard', () => heard.length === 1);
  await until('the standby has it', () => ask('b', `SELECT highest_amount FROM listings WHERE id = '${listing}'`, 'selliko') === '200000');

  run('pg_ctl', '-D', path.join(dir, 'a'), '-m', 'immediate', '-s', 'stop');
  const r = await w.get('/users/me', client.token);
  assert.equal(r.status, 503);
  assert.match(r.headers['retry-after'], /^\d+$/);
  run('pg_ctl', '-D', path.join(dir, 'b'), '-w', '-s', 'promote');

  await until('it is well again', async () => (await w.get('/health')).status === 200);
  await until('everybody is', async () => (await w.get('/users/me', client.token)).status === 200 && (await w.get('/orders', vendors[0].token)).status === 200);
  await until('a bid is taken', async () => (await bid(w, vendors[1], listing, 3000)).status === 201);
  await until('and heard', () => heard.length === 2, 20);
  assert.deepEqual(heard, [2000, 3000]);
  ask('b', `UPDATE listings SET auction_end = now() + interval '1 second' WHERE id = '${listing}'`, 'selliko');
  assert.equal((await ended(w, listing, client.token)).status, 'sold');
  s.disconnect();
});
