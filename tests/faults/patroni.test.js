'use strict';
// Three database servers under Patroni, as doc/deployment.md has them: nobody promotes anything by hand here. What
// was answered with success is never lost, because a commit waits for a standby (synchronous_mode).
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, execFileSync } = require('node:child_process');
const { io } = require('socket.io-client');
const { own, until, sleep, freePort, signIn, several, bid, quickListing, ended } = require('../api/lib');

const lacking = ['/usr/bin/etcd', '/usr/bin/patroni', '/usr/bin/patronictl'].filter((f) => !fs.existsSync(f));
if (lacking.length > 0) {
  process.stderr.write(`SKIPPED, not passed: what happens under Patroni. There is no ${lacking.join(', no ')}: apt-get install etcd-server patroni\n`);
  test('requests, bids, events and the clock go on under Patroni', { skip: `no ${lacking.join(', no ')}: apt-get install etcd-server patroni` });
} else cluster();

function cluster() {
  const dir = fs.mkdtempSync('/tmp/selliko-test-patroni-');
  const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const who = process.getuid() === 0 ? { uid: id('-u'), gid: id('-g') } : {};
  const env = { PATH: '/usr/bin:/bin', HOME: dir, LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8' };
  const members = {};   // name -> { port, rest, data, file, pid }
  const started = [];
  let etcd;

  function daemon(name, program, args) {
    const log = fs.openSync(path.join(dir, `${name}.log`), 'a');
    const p = spawn(program, args, { cwd: dir, env, stdio: ['ignore', log, log], ...who });
    fs.closeSync(log);
    started.push(p);
    return p;
  }
  const start = (name) => { members[name].process = daemon(name, 'patroni', [members[name].file]); };
  // The doc's configuration, with shorter times
  const configuration = (name, m) => `scope: selliko
name: ${name}
restapi: {listen: '127.0.0.1:${m.rest}', connect_address: '127.0.0.1:${m.rest}'}
etcd3: {hosts: '127.0.0.1:${etcd}'}
bootstrap:
  dcs:
    ttl: 8
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 150}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, data-checksums]
  pg_hba:
  - host replication replicator 127.0.0.1/32 scram-sha-256
  - host all all 127.0.0.1/32 scram-sha-256
postgresql:
  listen: 127.0.0.1:${m.port}
  connect_address: 127.0.0.1:${m.port}
  data_dir: ${m.data}
  bin_dir: /usr/lib/postgresql/15/bin
  pgpass: ${dir}/${name}.pgpass
  authentication:
    superuser: {username: postgres, password: of-postgres}
    replication: {username: replicator, password: of-replicator}
  basebackup: [{checkpoint: fast}]
  parameters: {unix_socket_directories: '', password_encryption: scram-sha-256}
`;
  const ask = (port, text, db = 'postgres') => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', `postgresql://postgres:of-postgres@127.0.0.1:${port}/${db}`, '-c', text], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  const patronictl = (...args) => execFileSync('patronictl', ['-c', Object.values(members)[0].file, ...args], { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] });
  // What the cluster says of itself: [{ Member, Role, State, TL }]
  const list = () => { try { return JSON.parse(patronictl('list', '-f', 'json')); } catch { return []; } };
  const leader = () => list().find((m) => m.Role === 'Leader' && m.State === 'running')?.Member;
  // All are there, and one of them makes commits safe
  const whole = () => { const all = list(); return all.length === 3 && all.every((m) => /^(running|streaming)$/.test(m.State)) && new Set(all.map((m) => m.TL)).size === 1 && all.some((m) => m.Role === 'Sync Standby'); };

  const settings = { RATE_LIMITS: 'off' };
  const w = own(settings, async () => {
    fs.chmodSync(dir, 0o755);
    if (who.uid) fs.chownSync(dir, who.uid, who.gid);
    etcd = await freePort();
    const peers = `http://127.0.0.1:${await freePort()}`, clients = `http://127.0.0.1:${etcd}`;
    daemon('etcd', 'etcd', ['--data-dir', path.join(dir, 'etcd'), '--listen-client-urls', clients, '--advertise-client-urls', clients,
      '--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers, '--initial-cluster', `default=${peers}`]);
    for (const name of ['a', 'b', 'c']) {
      const m = { port: await freePort(), rest: await freePort(), data: path.join(dir, name), file: path.join(dir, `${name}.yml`) };
      fs.writeFileSync(m.file, configuration(name, m));
      members[name] = m;
      start(name);
    }
        await until('there is a primary and two standbys', async () => { await sleep(200); return whole(); }, 120);
    const { port } = members[leader()];
    ask(port, "CREATE ROLE selliko LOGIN CREATEDB PASSWORD 'of-selliko'");
    ask(port, 'CREATE DATABASE selliko OWNER selliko');
    const all = `postgresql://selliko:of-selliko@${Object.values(members).map((m) => `127.0.0.1:${m.port}`).join(',')}/selliko?target_session_attrs=`;
    settings.DATABASE_URL = `${all}read-write`;
    settings.DATABASE_REPLICA_URL = `${all}standby`;
  });
  let client, vendors;

  before(async () => {
    await w.started;
    client = await signIn(w, 'CLIENT');
    vendors = await several(w, 'VENDOR', 2);
  }, { timeout: 600000 });

  const postmaster = (m) => { try { return Number(fs.readFileSync(path.join(m.data, 'postmaster.pid'), 'utf8').split('\n')[0]); } catch { return 0; } };
  const kill = (pid) => { try { process.kill(pid, 'SIGKILL'); } catch { /* has gone */ } };
  after(async () => {
    const servers = Object.values(members).map(postmaster);
    for (const p of started) kill(p.pid);
    for (const pid of servers) if (pid > 0) kill(pid);
    await sleep(500);   // backends leave after their postmaster
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  });

  // A client that bids and looks, and hears of its bids, while WHAT happens, and for some bids after it. Nothing that
  // it was told of is lost, it is told of everything once, and of trouble by 503 alone.
  async function underLoad(what) {
    const [listing] = quickListing(w, client.id, { asking: 900000 });
    const s = io(w.base, { forceNew: true });
    const heard = [], taken = [], answers = new Set();
    s.on('new_bid', (e) => heard.push(e.newHighestBid));
    await new Promise((r) => { s.once('connect', r); });
    assert.equal((await s.timeout(30000).emitWithAck('join_room', { listingId: listing })).success, true);

    let amount = 1000, over = false;
    const load = (async () => {
      for (let more = 10; more > 0; more -= over ? 1 : 0) {
        amount += 100;
        const r = await bid(w, vendors[amount / 100 % 2], listing, amount);
        answers.add(r.status);
        if (r.status === 201) taken.push(amount);
        else if (over) more++;   // it is to bid ten times when all is well again
        answers.add((await w.get('/users/me', client.token)).status);
        answers.add((await w.get(`/listings/${listing}`, client.token)).status);
        answers.add((await w.get(`/marketplace?minPrice=${amount / 100}`)).status);   // another page each time
        if (over && r.status !== 201) await sleep(50);
      }
    })();
    try {
      await until('bids are taken', () => taken.length >= 10);
      await what();
      await until('bids are taken again', async () => { const n = taken.length; await sleep(500); return taken.length > n; }, 60);
    } finally {
      over = true;
      await load;
    }

    for (const status of answers) assert.ok([200, 201, 503].includes(status), `an answer was ${status}`);
    const stored = w.sql(`SELECT (amount / 100)::text FROM bids WHERE listing_id = '${listing}' ORDER BY amount`).split('\n').map(Number);
    for (const n of taken) assert.ok(stored.includes(n), `the bid of ${n} was taken, and is lost`);
    try { await until('every bid is heard', () => heard.length >= stored.length, 20); } finally { s.disconnect(); }
    assert.deepEqual(heard, stored, 'each bid once, in order');
    w.sql(`UPDATE listings SET auction_end = now() + interval '1 second' WHERE id = '${listing}'`);
    assert.equal((await ended(w, listing, client.token)).status, 'sold');
  }

  test('the doctor is well with a primary and two standbys', async () => {
    const says = await w.ctl('doctor');
    assert.doesNotMatch(says, /^FAIL/m);
    assert.match(says, /^ok +replica +a standby/m);
  });

  test('a switchover under load: another one is primary, and nothing is lost', { timeout: 180000 }, async () => {
    await until('all are there', whole);
    const old = leader();
    await underLoad(async () => {
      patronictl('switchover', 'selliko', '--master', old, '--force');
      await until('another one is primary', () => { const now = leader(); return now && now !== old; }, 60);
    });
  });

  test('the primary and its Patroni are killed under load: another one takes over by itself, and nothing is lost', { timeout: 180000 }, async () => {
    await until('all are there', whole, 60);
    const old = leader();
    await underLoad(async () => {
      kill(members[old].process.pid);
      kill(postmaster(members[old]));
      await until('another one is primary', () => { const now = leader(); return now && now !== old; }, 60);
    });
    start(old);
    await until('the one that was killed follows the other', whole, 60);
    assert.notEqual(leader(), old);
    await until('a standby has made a restart point of the new primary\'s', async () => {
      for (const name of [leader(), ...Object.keys(members)]) ask(members[name].port, 'CHECKPOINT');
      return /^ok +replica +a standby/m.test(await w.ctl('doctor'));
    });
  });
}
