'use strict';
// Every call fails once: the n-th malloc, read, write, open, rename and fsync of the programs that take bids
// and listings, for n over the whole of a request.  Each time there is a clear answer, no program crashes
// (an abort() where there is no memory for a request's own frame is meant), and no row, file or descriptor stays.
//
// FAILNTH_ALL=1 tries every n; otherwise some of each kind are tried.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { own, until, sleep, signIn, submit, quickListing, photos } = require('../api/lib');

const KINDS = { malloc: 1, read: 2, write: 3, rename: 4, fsync: 5, open: 6 };
const EACH = process.env.FAILNTH_ALL ? Infinity : 16;
const skip = process.env.ASAN_OPTIONS ? 'ASan wants to be the first library itself' : false;

const w = own({ RATE_LIMITS: 'off', THREADS: '4' });
let client, vendor;
const cgi = (name) => path.join(w.state, 'app/libexec/selliko/cgi-bin', name);
const control = (name) => path.join(w.state, `failnth-${name}`);
const exits = (name) => { try { return fs.readFileSync(path.join(w.state, `exits-${name}`), 'utf8').split('\n').filter(Boolean).map(Number); } catch { return []; } };
function pid(name) {
  const exe = fs.realpathSync(cgi(`${name}.real`));
  return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p)).map(Number).find((p) => { try { return fs.readlinkSync(`/proc/${p}/exe`) === exe; } catch { return false; } });
}
const answers = async (name) => (await w.request('GET', { bids: '/marketplace?page=1000', listings: '/listings?page=1000' }[name], { token: client.token, unchecked: true }).catch(() => ({}))).status === 200;

// The program gives way to a script that starts it with the library and notes how it ends.
async function preload(name, so) {
  fs.renameSync(cgi(name), cgi(`${name}.real`));
  for (const f of [control(name), path.join(w.state, `exits-${name}`)]) { fs.writeFileSync(f, f === control(name) ? Buffer.alloc(32) : ''); fs.chmodSync(f, 0o666); }
  fs.writeFileSync(cgi(name), `#!/bin/sh\nLD_PRELOAD=${so} FAILNTH=${control(name)} FAILNTH_PROGRAM=${name}.real '${cgi(`${name}.real`)}' <&0\necho $? >>'${w.state}/exits-${name}'\n`, { mode: 0o755 });
  const exe = `${fs.realpathSync(path.dirname(cgi(name)))}/${name}.real`;
  for (const p of fs.readdirSync('/proc').filter((x) => /^\d+$/.test(x))) { try { if (fs.readlinkSync(`/proc/${p}/exe`) === exe) process.kill(Number(p), 'SIGKILL'); } catch { /* gone */ } }
  await until(`${name} with the library`, async () => await answers(name) && fs.readFileSync(`/proc/${pid(name)}/maps`, 'utf8').includes(so), 30);
}
function arm(name, kind, n) {
  const fd = fs.openSync(control(name), 'r+'), b = Buffer.alloc(32);
  fs.writeSync(fd, b.subarray(0, 8), 0, 8, 0);
  b.writeBigInt64LE(BigInt(n), 8);
  fs.writeSync(fd, b.subarray(8), 0, 24, 8);
  b.writeBigInt64LE(BigInt(kind), 0);
  fs.writeSync(fd, b.subarray(0, 8), 0, 8, 0);
  fs.closeSync(fd);
}
function disarm(name) {
  const b = fs.readFileSync(control(name));
  arm(name, 0, 0);
  return { failed: Number(b.readBigInt64LE(16)), seen: Number(b.readBigInt64LE(24)) };
}
// 1 … N, or EACH of them evenly spread, the beginning and the end among them
const some = (n) => (n <= EACH ? Array.from({ length: n }, (_, i) => i + 1) : [...new Set(Array.from({ length: EACH }, (_, i) => 1 + Math.round(i * (n - 1) / (EACH - 1))))]);

before(async () => {
  if (skip) return;
  await w.started;
  [client, vendor] = [await signIn(w), await signIn(w, 'VENDOR')];
  const so = path.join(w.state, 'failnth.so');
  execFileSync(process.env.CC ?? 'gcc', ['-O1', '-shared', '-fPIC', '-o', so, path.join(__dirname, 'failnth.c')]);
  fs.chmodSync(so, 0o755);
  for (const name of ['bids', 'listings']) await preload(name, so);
}, { timeout: 120000 });

// WALK once undisturbed to learn how many calls there are, then with one failing at a time; JUDGE each answer.
async function each(t, name, kind, walk, judge, clear) {
  for (let i = 0; i < 3; i++) assert.equal((await walk()).status, 201);   // connections and statements are there
  arm(name, KINDS[kind], 1e9);
  assert.equal((await walk()).status, 201);
  await sleep(30);
  const { seen } = disarm(name);
  const fds = () => { try { return fs.readdirSync(`/proc/${pid(name)}/fd`).length; } catch { return 0; } };
  const outcomes = {};
  let worker = pid(name);
  const held = fds();
  for (const n of some(seen)) {
    const ended = exits(name).length, logged = w.log(name).length;
    arm(name, KINDS[kind], n);
    const r = await walk();
    await sleep(20);
    const { failed } = disarm(name);
    const trace = w.log(name).slice(logged).split('\n').filter((l) => l && !l.startsWith('{')).map((l) => l.replace(/^.*\//, ''));
    const where = `${name}: ${kind} ${n} of ${seen}: ${r.status} ${r.text?.slice(0, 200)}\n${trace.join('\n')}`;
    if (!failed) continue;   // this request got by with fewer
    outcomes[r.status] = (outcomes[r.status] ?? 0) + 1;
    // libpq waits for ever when it has no memory for the result that ends a pipeline.
    if (kind === 'malloc' && r.status === 599 && trace.some((l) => l.includes('PQgetResult'))) {
      outcomes.hung = (outcomes.hung ?? 0) + 1;
      process.kill(worker, 'SIGKILL');
      await until(`${name} answers again`, () => answers(name), 20);
      await until('its end', () => exits(name).length > ended);
      worker = pid(name);
      clear?.();
      continue;
    }
    // json-c 0.16 goes on without memory for a member's name or a growing string: something is left out then,
    // or it dies of it.  All others have to do better.
    const excused = kind === 'malloc' && trace.some((l) => l.includes('json_tokener_parse_ex'));
    assert.ok(r.status === 201 || r.status >= 500 || (excused && r.status === 400), where);
    if (r.status >= 500) { assert.match(r.body?.code ?? '', /^(unavailable|internal)$/, where); assert.equal(r.body.success, false, where); }
    const died = pid(name) !== worker;
    if (died) {
      await until('how it ended', () => exits(name).length > ended);
      assert.ok(exits(name).at(-1) === 128 + 6 || (excused && exits(name).at(-1) === 128 + 11), `${where}: it may abort, not crash: ${exits(name).at(-1)}`);
      outcomes.aborted = (outcomes.aborted ?? 0) + 1;
      if (process.env.FAILNTH_ALL) t.diagnostic(`${kind} ${n}: ended by ${exits(name).at(-1) - 128}: ${trace.filter((l) => !/failnth/.test(l)).slice(0, 3).map((l) => l.replace(/\[0x.*/, '')).join(' < ')}`);
    }
    await until(`${name} answers again after ${where}`, () => answers(name), 20);
    worker = pid(name);
    await judge(r, where, died);
    if (r.status !== 201) for (let again = 0; (await walk()).status !== 201; again++) { assert.ok(again < 5, `not again after ${where}`); await sleep(100); }
  }
  if (!outcomes.aborted) assert.ok(fds() <= held + 6, `descriptors: ${held} before, ${fds()} after`);
  t.diagnostic(`${kind}: ${seen} calls, answers ${JSON.stringify(outcomes)}`);
}

for (const kind of ['malloc', 'read', 'write']) {
  test(`a bid: each ${kind} fails once`, { skip, timeout: 600000 }, async (t) => {
    const [id] = quickListing(w, client.id, { asking: 900000 });
    let amount = 2000;
    const walk = async () => {
      amount += 200;
      return w.request('POST', '/bids', { json: { listingId: id, amount }, token: vendor.token, headers: { 'idempotency-key': crypto.randomUUID() }, unchecked: true, timeout: 10000 }).catch((e) => ({ status: 599, text: e.message, body: { code: 'connection' } }));
    };
    await each(t, 'bids', kind, walk, (r, where) => {
      const rows = Number(w.sql(`SELECT count(*) FROM bids WHERE listing_id = '${id}' AND amount = ${amount * 100}`));
      if (r.status === 201) assert.equal(rows, 1, where); else assert.ok(rows <= 1, where);
    });
    assert.equal(w.sql(`SELECT bid_count = (SELECT count(*) FROM bids WHERE listing_id = '${id}') FROM listings WHERE id = '${id}'`), 't');
  });
}

for (const kind of ['malloc', 'read', 'write', 'rename', 'fsync', 'open']) {
  test(`a listing: each ${kind} fails once`, { skip, timeout: 900000 }, async (t) => {
    const files = Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.jpeg(320, 240, i + 1)]));
    let mark;
    const walk = () => { mark = crypto.randomUUID(); return submit({ request: (m, p, o) => w.request(m, p, { ...o, unchecked: true, timeout: 20000 }) }, client, { description: mark }, files).catch((e) => ({ status: 599, text: e.message, body: { code: 'connection' } })); };
    const at = (folder) => { try { return fs.readdirSync(path.join(w.uploads(), folder)); } catch { return []; } };
    const known = () => new Set(w.sql('SELECT id FROM listings').split('\n'));
    const lost = () => { const rows = known(); return at('listings').filter((id) => !rows.has(id)); };
    const clear = () => { for (const f of [...lost().map((id) => `listings/${id}`), ...at('staging').map((s) => `staging/${s}`)]) fs.rmSync(path.join(w.uploads(), f), { recursive: true }); };
    await each(t, 'listings', kind, walk, async (r, where, died) => {
      const rows = w.sql(`SELECT id FROM listings WHERE description = '${mark}'`).split('\n').filter(Boolean);
      if (r.status === 201) assert.deepEqual(rows, [r.body.listing.id], where); else assert.ok(rows.length <= 1, where);
      for (const id of rows) assert.equal(at(`listings/${id}/device`).length, 16, `${where}: a row without its files`);
      // Who dies leaves it to the purge; and whether a commit whose answer was lost happened, only the row can
      // tell: its folder stays until the purge has asked.
      const left = [lost().length, at('staging').length], commit = r.status >= 500 && /libpq/.test(where);
      clear();
      assert.ok(died || (left[0] === 0 && left[1] === 0) || (commit && left[0] === 1 && left[1] === 0), `${where}: ${left[0]} folders without a row, ${left[1]} stages`);
    }, clear);
  });
}

test('afterwards the database is sound', { skip, timeout: 60000 }, async () => {
  const out = await w.ctl('check', '--quiet');   // ends with 1 otherwise
  assert.equal(out, '');
});
