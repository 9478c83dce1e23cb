'use strict';
// Every call fails once: the n-th malloc, read, write, open, rename (link, unlink, mkdir), fsync, call of libpq
// or libcurl, process, thread or socket of each program that takes part when a phone is sold, for n over the
// whole of a request, of a utility's run, of a program's start.  Each time there is a clear answer, no program
// crashes (abort() where there is no memory to go on with is meant), and no row, file or descriptor stays.
//
// Here some n of each are tried; tests/faults/failnth --all tries every one, --stacks the first and the last of those
// that are called from the same place by the same way (failnth.c).
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { own, until, sleep, signIn, submit, quickListing, makeListing, askOtp, phone, photos } = require('../api/lib');
const { Workshop, BUILD } = require('./lib/sender');

const KINDS = { malloc: 1, read: 2, write: 3, rename: 4, fsync: 5, open: 6, libpq: 7, libcurl: 8, process: 9 };
const STACKS = process.env.FAILNTH_EACH === 'stacks';
const EACH = process.env.FAILNTH_EACH === 'all' ? Infinity : Number(process.env.FAILNTH_EACH ?? 3);
const skip = process.env.ASAN_OPTIONS ? 'ASan wants to be the first library itself' : false;
const PROGRAMS = ['auth', 'listings', 'bids', 'orders', 'status', 'files'];
const ABORTED = 128 + 6;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-failnth-'));
fs.chmodSync(dir, 0o755);
const so = path.join(dir, 'failnth.so');
let shop;
after(() => shop?.close());   // before its cluster is gone
const w = own({ RATE_LIMITS: 'off', THREADS: '4', DB_TIMEOUT_SECONDS: '5', PHOTO_WORKER: path.join(dir, 'photo-worker') });
let client, vendor, admin;
after(() => fs.rmSync(dir, { recursive: true, force: true }));

const cgi = (name) => path.join(w.state, 'app/libexec/selliko/cgi-bin', name);
const control = (name) => path.join(dir, `control-${name}`);
const exitsOf = (name) => path.join(dir, `exits-${name}`);
const exits = (name) => fs.readFileSync(exitsOf(name), 'utf8').split('\n').filter(Boolean).map(Number);
function pids(name) {
  const exe = fs.realpathSync(cgi(`${name}.real`));
  return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p)).map(Number).filter((p) => { try { return fs.readlinkSync(`/proc/${p}/exe`) === exe; } catch { return false; } });
}
const pid = (name) => pids(name)[0];
const PROBE = { auth: ['/users/me', 200], listings: ['/listings?page=1000', 200], bids: ['/marketplace?page=1000', 200], orders: ['/orders', 200], status: ['/health', 200], files: ['/files/listings/x/device/photo1_full.jpg', 403] };
const answers = (name) => w.request('GET', PROBE[name][0], { token: client.token, unchecked: true }).then((r) => r.status === PROBE[name][1], () => false);

// As failnth.c has it: kind, left, failed, seen, stack, and the table of noted stacks with their calls
const HEAD = 40, NOTED = 16 * 65536, CONTROL = HEAD + NOTED;

// A script that starts the real program NAME with the library and notes how it ends
function script(file, name, real) {
  for (const f of [control(name), exitsOf(name)]) { fs.writeFileSync(f, f === control(name) ? Buffer.alloc(CONTROL) : ''); fs.chmodSync(f, 0o666); }
  fs.writeFileSync(file, `#!/bin/sh\nLD_PRELOAD=${so} FAILNTH=${control(name)} FAILNTH_PROGRAM=${path.basename(real)} '${real}' "$@" <&0\ncode=$?\necho $code >>'${exitsOf(name)}'\nexit $code\n`, { mode: 0o755 });
}
async function preload(name) {
  fs.renameSync(cgi(name), cgi(`${name}.real`));
  script(cgi(name), name, cgi(`${name}.real`));
  for (const p of pids(name)) process.kill(p, 'SIGKILL');
  await until(`${name} with the library`, async () => await answers(name) && fs.readFileSync(`/proc/${pid(name)}/maps`, 'utf8').includes(so), 30);
}
// The N-th call fails, or of those of one stack the n-th; COUNT is for a run in which none does.
const COUNT = { n: 1e9, stack: STACKS ? 1n : 0n };
function arm(file, kind, { n, stack }) {
  const fd = fs.openSync(file, 'r+'), b = Buffer.alloc(stack === 1n ? CONTROL : HEAD);
  fs.writeSync(fd, b.subarray(0, 8), 0, 8, 0);
  b.writeBigInt64LE(BigInt(n), 8);
  b.writeBigUInt64LE(stack, 32);
  fs.writeSync(fd, b.subarray(8), 0, b.length - 8, 8);
  b.writeBigInt64LE(BigInt(kind), 0);
  fs.writeSync(fd, b.subarray(0, 8), 0, 8, 0);
  fs.closeSync(fd);
}
function disarm(file) {
  const b = Buffer.alloc(HEAD), fd = fs.openSync(file, 'r');
  fs.readSync(fd, b, 0, HEAD, 0);
  fs.closeSync(fd);
  arm(file, 0, { n: 0, stack: 0n });
  return { failed: Number(b.readBigInt64LE(16)), seen: Number(b.readBigInt64LE(24)) };
}
// Which of the SEEN calls are to fail: all of them, or EACH evenly spread with the beginning and the end among them, or
// the first and the last of each noted stack.
function some(seen, file) {
  if (STACKS) {
    const b = fs.readFileSync(file).subarray(HEAD), which = [];
    for (let at = 0; at < NOTED; at += 16) {
      const stack = b.readBigUInt64LE(at), calls = Number(b.readBigInt64LE(at + 8));
      if (stack !== 0n) which.push(...[...new Set([1, calls])].map((n) => ({ n, stack })));
    }
    return which;
  }
  const all = Array.from({ length: Math.min(seen, EACH) }, (_, i) => (seen <= EACH ? i + 1 : 1 + Math.round(i * (seen - 1) / (EACH - 1))));
  return [...new Set(all)].map((n) => ({ n, stack: 0n }));
}
const named = ({ n, stack }, seen) => `${n}${stack ? ` of stack ${stack.toString(16)}` : ''} of ${seen}`;
const tally = (seen, tried) => `${seen} calls, ${tried} ${STACKS ? 'of all stacks ' : ''}failed`;

before(async () => {
  if (skip) return;
  execFileSync(process.env.CC ?? 'gcc', ['-O1', '-shared', '-fPIC', '-o', so, path.join(__dirname, 'failnth.c')]);
  fs.chmodSync(so, 0o755);
  fs.writeFileSync(path.join(dir, 'control-photo'), '');
  await w.started;
  script(path.join(dir, 'photo-worker'), 'photo', path.join(fs.realpathSync(path.join(w.state, 'app')), 'libexec/selliko/libexec/selliko-photo'));
  [client, vendor, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
  for (const name of PROGRAMS) await preload(name);
}, { timeout: 180000 });

const broken = (e) => ({ status: 599, text: e.message, body: { code: 'connection' } });
const ask = (method, p, o) => w.request(method, p, { ...o, unchecked: true, timeout: 60000 }).catch(broken);
const rows = (text) => Number(w.sql(text));

// ---- requests ---------------------------------------------------------------------------------------------
// What is asked of whom, which calls fail, and what must hold afterwards.  walk() gives the answer; make() is
// called once and may prepare it; ready() prepares each single one, before anything fails.
const WALKS = {
  'a code is asked for': { program: 'auth', kinds: ['malloc', 'read', 'write', 'libpq'], make() {
    let to;
    return { ready: () => { to = phone(); }, walk: () => ask('POST', '/auth/send-otp', { json: { phone: to } }) };
  } },
  'somebody signs in': { program: 'auth', kinds: ['malloc', 'libpq'], make() {
    let asked;
    const sessions = () => rows(`SELECT count(*) FROM sessions s JOIN otps o ON o.id = '${asked.otpId}' JOIN users u ON u.id = s.user_id AND u.phone_hash = o.phone_hash`);
    return { ready: async () => { asked = await until('a code', () => askOtp(w, phone()).catch(() => null)); }, walk: () => ask('POST', '/auth/verify-otp', { json: asked }),
      judge: (r, where) => { const n = sessions(); assert.ok(r.status === 200 ? n === 1 : n <= 1, `${where}: ${n} sessions`); } };
  } },
  'somebody asks who he is': { program: 'auth', kinds: ['malloc', 'read', 'write', 'libpq', 'process'], make: () => ({ walk: () => ask('GET', '/users/me', { token: client.token }) }) },
  'a listing': { program: 'listings', kinds: ['malloc', 'read', 'write', 'rename', 'fsync', 'open', 'libpq', 'process'], make: () => aListing() },
  'a listing, in its photo workers': { program: 'listings', control: 'photo', kinds: ['malloc', 'write', 'rename', 'open'], make: () => aListing() },
  'an approval': { program: 'listings', kinds: ['malloc', 'libpq'], make() {
    let id;
    return { ready: async () => { ({ id } = await makeListing(w, client)); },
      walk: () => ask('PUT', `/listings/${id}/approve`, { json: { approved: true, auctionDurationHours: 1 }, token: admin.token }),
      judge: (r, where) => { const state = w.sql(`SELECT status, (SELECT count(*) FROM audit_log WHERE target = '${id}'), round(extract(epoch FROM auction_end - now()) / 3600) FROM listings WHERE id = '${id}'`); assert.ok(state === 'live|1|1' || (r.status !== 200 && state === 'pending|0|'), `${where}: ${state}`); } };
  } },
  'a listing is looked at': { program: 'listings', kinds: ['malloc', 'libpq'], make() {
    const [id] = quickListing(w, client.id);
    return { walk: () => ask('GET', `/listings/${id}`, { token: vendor.token }) };
  } },
  'the marketplace': { program: 'bids', kinds: ['malloc', 'write', 'libpq'], make() {
    quickListing(w, client.id, { n: 20 });
    return { walk: () => ask('GET', '/marketplace?brand=apple', { token: vendor.token }) };
  } },
  'a bid': { program: 'bids', kinds: ['malloc', 'read', 'write', 'libpq', 'process'], make: () => aBid(900000) },
  'bids that share a commit': { program: 'bids', kinds: ['malloc', 'libpq', 'read', 'write'], make: () => bidsAtOnce() },
  'an instant win': { program: 'bids', kinds: ['malloc', 'libpq'], make: () => aBid(2000) },
  orders: { program: 'orders', kinds: ['malloc', 'libpq'], make: () => ({ walk: () => ask('GET', '/orders', { token: client.token }) }) },
  'a photo': { program: 'files', kinds: ['malloc', 'read', 'write'], async make() {
    const r = await submit(w, client);
    assert.equal(r.status, 201, r.text);
    const { pathname, search } = new URL(r.body.listing.photos[0].thumb);
    const verdicts = execFileSync('find', [w.state, '-type', 'd', '-path', '*/cache/verdicts'], { encoding: 'utf8' }).trim();
    // nginx keeps a verdict: it is thrown away, so that it asks each time
    return { ready: () => { for (const f of fs.readdirSync(verdicts)) fs.rmSync(path.join(verdicts, f), { recursive: true }); }, walk: () => ask('GET', pathname + search) };
  } },
  health: { program: 'status', kinds: ['malloc', 'read', 'write', 'libpq'], make: () => ({ walk: () => ask('GET', '/health') }) },
};

function aBid(asking) {
  let id, amount;
  const high = asking > 100000;
  if (high) { [id] = quickListing(w, client.id, { asking }); amount = 2000; }
  return {
    ready: () => { if (high) amount += 200; else { [id] = quickListing(w, client.id, { asking }); amount = asking; } },
    walk: () => ask('POST', '/bids', { json: { listingId: id, amount }, token: vendor.token, headers: { 'idempotency-key': crypto.randomUUID() } }),
    judge: (r, where) => {
      const n = rows(`SELECT count(*) FROM bids WHERE listing_id = '${id}' AND amount = ${amount * 100}`);
      assert.ok(r.status === 201 ? n === 1 : n <= 1, `${where}: ${n} rows`);
      const whole = w.sql(`SELECT bid_count = (SELECT count(*) FROM bids b WHERE b.listing_id = l.id) AND (status = 'sold') = ${high ? 'false' : `(${n} = 1)`} AND (SELECT count(*) FROM orders o WHERE o.listing_id = l.id) = ${high ? 0 : n} FROM listings l WHERE id = '${id}'`);
      assert.equal(whole, 't', where);
    },
  };
}

// Twelve at once on three listings, by few connections: all of a batch may be lost with its leader, or with the
// program; whatever each was told is so.
function bidsAtOnce() {
  const ids = quickListing(w, client.id, { asking: 900000, n: 3 });
  let from = 2000, told;
  return {
    ready: () => { from += 4000; },
    walk: async () => {
      told = await Promise.all(Array.from({ length: 12 }, (_, i) => ({ listing: ids[i % 3], amount: from + 200 * i })).map(async (b) => ({ ...b, r: await ask('POST', '/bids', { json: { listingId: b.listing, amount: b.amount }, token: vendor.token }) })));
      return told.find(({ r }) => ![201, 409].includes(r.status))?.r ?? { status: 201, body: {} };
    },
    judge: (r, where) => {
      const there = new Set(w.sql(`SELECT listing_id || ' ' || amount FROM bids WHERE listing_id IN (${ids.map((id) => `'${id}'`).join()})`).split('\n'));
      for (const b of told) {
        const row = there.has(`${b.listing} ${b.amount * 100}`);
        assert.ok(b.r.status === 201 ? row : b.r.status === 409 ? !row : mean(b.r), `${where}: ${b.amount}: ${b.r.status}, ${row ? 'a row' : 'no row'}`);
      }
      assert.equal(rows(`SELECT count(*) FROM listings l WHERE id IN (${ids.map((id) => `'${id}'`).join()}) AND bid_count <> (SELECT count(*) FROM bids b WHERE b.listing_id = l.id)`), 0, where);
      assert.equal(rows(`SELECT count(*) FROM events WHERE name = 'new_bid' AND listing_id IN (${ids.map((id) => `'${id}'`).join()})`), there.size - (there.has('') ? 1 : 0), where);
    },
  };
}

function aListing() {
  const files = Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.jpeg(320, 240, i + 1)]));
  const at = (folder) => { try { return fs.readdirSync(path.join(w.uploads(), folder)); } catch { return []; } };
  const lost = () => { const known = new Set(w.sql('SELECT id FROM listings').split('\n')); return at('listings').filter((id) => !known.has(id)); };
  let mark;
  return {
    ready: () => { mark = crypto.randomUUID(); },
    walk: () => submit({ request: ask }, client, { description: mark }, files),
    judge: (r, where, died) => {
      const made = w.sql(`SELECT id FROM listings WHERE description = '${mark}'`).split('\n').filter(Boolean);
      if (r.status === 201) assert.deepEqual(made, [r.body.listing.id], where); else assert.ok(made.length <= 1, where);
      for (const id of made) assert.equal(at(`listings/${id}/device`).length, 16, `${where}: a row without its files`);
      // Who dies leaves it to the purge; and whether a commit whose answer was lost happened, only the row can
      // tell: its folder stays until the purge has asked.
      const left = [lost().length, at('staging').length], commit = r.status >= 500 && /libpq|PQ|failnth/.test(where);
      for (const f of [...lost().map((id) => `listings/${id}`), ...at('staging').map((s) => `staging/${s}`)]) fs.rmSync(path.join(w.uploads(), f), { recursive: true });
      assert.ok(died || (left[0] === 0 && left[1] === 0) || (commit && left[0] === 1 && left[1] === 0), `${where}: ${left[0]} folders without a row, ${left[1]} stages`);
    },
  };
}

const mean = (r) => (r.status === 503 && r.body?.status === 'unhealthy') || (/^(unavailable|internal)$/.test(r.body?.code ?? '') && r.body.success === false);

// Undisturbed once to learn how many calls there are, then with one failing at a time.
async function each(t, what, kind, program, name, { ready = () => {}, walk, judge = () => {} }) {
  const step = async () => { await ready(); return walk(); };
  const good = (r) => r.status === 200 || r.status === 201;
  const again = async (where) => { for (let i = 0; !good(await step()); i++) { assert.ok(i < 10, `not again after ${where}`); await sleep(100); } };
  for (let i = 0; i < 3; i++) await again('nothing');   // connections and statements are there
  await ready();
  const file = control(name);
  arm(file, KINDS[kind], COUNT);
  assert.ok(good(await walk()));
  await sleep(30);
  const { seen } = disarm(file);
  const fds = () => { try { return fs.readdirSync(`/proc/${pid(program)}/fd`).length; } catch { return 0; } };
  const outcomes = {};
  let worker = pid(program), deaths = 0, tried = 0;
  const held = fds();
  for (const which of some(seen, file)) {
    await ready();
    const ended = exits(program).length, logged = w.log(program).length;
    arm(file, KINDS[kind], which);
    const r = await walk();
    await sleep(20);
    const { failed } = disarm(file);
    if (!failed) continue;   // this one got by with fewer
    tried++;
    const trace = w.log(program).slice(logged).split('\n').filter((l) => l && !l.startsWith('{')).map((l) => l.replace(/^.*\//, ''));
    const where = `${name}: ${kind} ${named(which, seen)}: ${r.status} ${r.text?.slice(0, 200)}\n${trace.join('\n')}`;
    outcomes[r.status] = (outcomes[r.status] ?? 0) + 1;
    // An answer larger than a buffer is on its way when its end cannot be written: that much is cut off.
    const cut = kind === 'write' && what === 'the marketplace' && r.status === 599;
    assert.ok(good(r) || mean(r) || cut, where);
    const died = pid(program) !== worker;
    if (died) {
      await until('how it ended', () => exits(program).length > ended);
      assert.ok(kind === 'malloc' && exits(program).at(-1) === ABORTED, `${where}: it ended with ${exits(program).at(-1)}`);
      outcomes.aborted = ++deaths;
    }
    if (process.env.FAILNTH_TRACES && !good(r)) t.diagnostic(`${named(which, seen)}: ${r.status}${died ? ' aborted' : ''}: ${trace.filter((l) => /\(/.test(l) && !/failnth/.test(l)).slice(0, 9).map((l) => l.replace(/^[^(]*\(/, '').replace(/\).*/, '')).join(' < ')}`);
    await until(`${program} answers again after ${where}`, () => answers(program), 30);
    worker = pid(program);
    await judge(r, where, died);
    if (!good(r)) await again(where);
  }
  if (!deaths) assert.ok(fds() <= held + 6, `descriptors: ${held} before, ${fds()} after`);
  t.diagnostic(`${kind}: ${tally(seen, tried)}, answers ${JSON.stringify(outcomes)}`);
}

for (const [what, { program, control: name = program, kinds, make }] of Object.entries(WALKS)) {
  for (const kind of kinds) test(`${what}: each ${kind} fails once`, { skip, timeout: 7200000 }, async (t) => each(t, what, kind, program, name, await make()));
}

// ---- the photo worker by itself ------------------------------------------------------------------------------
// Each kind of picture once undisturbed, then with one call failing at a time: the worker says what was undisturbed, with
// the same bytes in the same files, or that there was trouble.  It does not die, nor wait for ever, and it does not blame
// the picture.  What it left lies in a stage that is thrown away (see "in its photo workers").
const PICTURES = {
  'a photo': ['photo', () => photos.exif(photos.jpeg(320, 240, 1), 6)],
  'a photo with a profile': ['photo', () => photos.profiled(photos.jpeg(320, 240, 1))],
  'a wide photo': ['photo', () => photos.jpeg(2400, 40, 1)],
  'a grey photo': ['photo', photos.grey],
  'a CMYK photo': ['photo', photos.cmyk],
  'a PNG': ['photo', photos.png],
  'a WebP': ['photo', photos.webp],
  'a proof': ['proof', () => photos.jpeg(320, 240, 1)],
  'a bill': ['bill', photos.png],
  'a PDF': ['bill', photos.pdf],
};
const TROUBLE = /^(error (internal|storage)|74)$/;   // 74: it could not say how it went (lib/image.h)
const WORKER_S = 45;   // as long as who starts it waits (cgi-bin/listing_create.c)

function worker(what, at, picture, env) {
  const stage = path.join(at, 'stage');
  fs.rmSync(stage, { recursive: true, force: true });
  fs.mkdirSync(stage);
  const p = spawn(path.join(BUILD, 'libexec/selliko-photo'), [what, picture, stage, 'p'], { env: { LC_ALL: 'C', MALLOC_ARENA_MAX: '1', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '', log = '', hung = false;
  p.stdout.on('data', (d) => { said += d; });
  p.stderr.on('data', (d) => { log += d; });
  const limit = setTimeout(() => { hung = true; process.kill(p.pid, 'SIGKILL'); }, WORKER_S * 1000);
  return new Promise((resolve) => {
    p.on('close', (code, signal) => {
      clearTimeout(limit);
      const files = Object.fromEntries(fs.readdirSync(stage).sort().map((f) => [f, fs.statSync(path.join(stage, f)).isFile() && crypto.createHash('sha256').update(fs.readFileSync(path.join(stage, f))).digest('hex')]));
      resolve({ end: hung ? 'hung' : signal ?? (code ? `${code}` : said.trim()), files, log });
    });
  });
}

for (const kind of ['malloc', 'write', 'rename', 'open']) {
  test(`the photo worker by itself: each ${kind} fails once`, { skip, timeout: 7200000 }, async (t) => {
    for (const [title, [what, bytes]] of Object.entries(PICTURES).slice(0, kind === 'malloc' || EACH > 3 || STACKS ? Infinity : 1)) {
      const lanes = Array.from({ length: os.availableParallelism() }, (_, i) => path.join(dir, `lane-${i}`));
      for (const at of lanes) {
        fs.mkdirSync(at, { recursive: true });
        fs.writeFileSync(path.join(at, 'control'), Buffer.alloc(CONTROL));
        fs.writeFileSync(path.join(at, 'picture'), bytes());
      }
      const one = async (at, which) => {
        const file = path.join(at, 'control');
        arm(file, KINDS[kind], which);
        const r = await worker(what, at, path.join(at, 'picture'), { LD_PRELOAD: so, FAILNTH: file, FAILNTH_PROGRAM: 'selliko-photo' });
        return { ...r, ...disarm(file) };
      };
      const calm = await one(lanes[0], COUNT), outcomes = {};
      assert.match(calm.end, /^ok /, title);
      const left = some(calm.seen, path.join(lanes[0], 'control'));
      const bad = [];
      let tried = 0;
      await Promise.all(lanes.map(async (at) => {
        for (let which; (which = left.pop());) {
          const { end, files, log, failed } = await one(at, which), where = `${title}: ${kind} ${named(which, calm.seen)}: ${end}\n${log}`;
          if (!failed) continue;
          tried++;
          outcomes[end] = (outcomes[end] ?? 0) + 1;
          if (process.env.FAILNTH_TRACES && !/^ok/.test(end)) t.diagnostic(`${named(which, calm.seen)}: ${end}: ${log.split('\n').filter((l) => /\(/.test(l) && !/failnth/.test(l)).slice(0, 9).map((l) => l.replace(/^.*\//, '')).join(' < ')}`);
          const whole = end === calm.end && JSON.stringify(files) === JSON.stringify(calm.files);
          if (/^ok/.test(end) ? !whole : !TROUBLE.test(end)) bad.push(/^ok/.test(end) ? `${where}\n${Object.keys({ ...files, ...calm.files }).filter((f) => files[f] !== calm.files[f])} differ` : where);
        }
      }));
      t.diagnostic(`${title}, ${kind}: ${tally(calm.seen, tried)}, it said ${JSON.stringify(outcomes)}`);
      assert.equal(bad.length, 0, bad.join('\n'));
    }
  });
}

// ---- a program's start --------------------------------------------------------------------------------------
for (const program of ['bids', 'auth']) {
  for (const kind of ['malloc', 'read', 'open', 'libpq', 'process']) {
    test(`${program} starts: each ${kind} fails once, and it serves or is started anew`, { skip, timeout: 7200000 }, async (t) => {
      const file = control(program);
      const start = async (which) => {
        const ended = exits(program).length;
        arm(file, KINDS[kind], which);
        for (const p of pids(program)) process.kill(p, 'SIGKILL');
        await until('it is gone', () => exits(program).length > ended);
        const logged = w.log(program).length;
        await until(`${program} serves after ${kind} ${which.n} of stack ${which.stack.toString(16)}`, () => answers(program), 30).catch((e) => { throw new Error(`${e.message}\n${w.log(program).slice(logged).slice(0, 3000)}`); });
        return { ...disarm(file), ends: exits(program).slice(ended + 1) };
      };
      const { seen } = await start(COUNT), outcomes = {};
      let tried = 0;
      for (const which of some(seen, file)) {
        const { ends, failed } = await start(which);
        tried += failed;
        for (const code of ends) { assert.ok(code < 128 || (code === ABORTED && kind !== 'read'), `${kind} ${named(which, seen)}: it ended with ${code}`); outcomes[code] = (outcomes[code] ?? 0) + 1; }
      }
      t.diagnostic(`${kind}: ${tally(seen, tried)}, ends ${JSON.stringify(outcomes)}`);
    });
  }
}

// ---- utilities ------------------------------------------------------------------------------------------------
// In a database of their own: a run in which a call fails, then one in which none does, and all is as it should be.
before(async () => {
  if (skip) return;
  await w.started;
  shop = (await Workshop.open(w.setting('DATABASE_URL'), { settings: { DB_TIMEOUT_SECONDS: '5' } })).install();
  shop.sql(null, fs.readFileSync(path.join(__dirname, '../sql/fixtures.inc'), 'utf8'));
}, { timeout: 120000 });

function utility(name) {
  const armed = control(name);
  const p = spawn(path.join(BUILD, 'cron', name), [], { env: { ...shop.env(), LD_PRELOAD: so, FAILNTH: armed, FAILNTH_PROGRAM: name }, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  p.stderr.on('data', (d) => { log += d; });
  return new Promise((resolve) => { p.on('close', (code, signal) => resolve({ code, signal, log })); });
}

const UTILITIES = {
  'selliko-send-whatsapp': { kinds: ['malloc', 'read', 'write', 'libpq', 'libcurl', 'process'], ready() {
    shop.sql('DELETE FROM whatsapp_queue; DELETE FROM service_state; UPDATE whatsapp_pace SET next_at = now()');
    const users = shop.addUsers(2), to = shop.addUsers(1)[0].phone, before_ = shop.api.messages.length;
    const ids = shop.queueMessages(users), otp = shop.queueOtp(to, '012345');
    const sent = (p) => shop.api.messages.slice(before_).filter((m) => m.body.to === p.slice(1)).length;
    return async (where) => {
      shop.endLeases();   // what nobody knows of is judged now
      for (let i = 0; i === 0 || (shop.others(ids, 'sent') > 0 && i < 3); i++) { shop.hurry(); const r = await utility('selliko-send-whatsapp'); assert.equal(r.code, 0, `${where}\nthen: ${r.log}`); }
      assert.deepEqual(ids.map((id) => shop.row(id).status), ['sent', 'sent'], where);
      for (const u of users) assert.ok([1, 2].includes(sent(u.phone)), `${where}: ${sent(u.phone)} times`);
      const o = shop.row(otp);
      assert.ok(sent(to) <= 1 && ['sent', 'failed'].includes(o.status) && (o.status === 'failed' || sent(to) === 1), `${where}: the OTP ${o.status}, ${sent(to)} times`);
      assert.equal(o.secret, null, where);
    };
  } },
  'selliko-close-auctions': { kinds: ['malloc', 'read', 'write', 'libpq', 'process'], ready() {
    const ids = shop.sql(null, `
      SELECT test.user('CLIENT') AS client, test.user('VENDOR') AS v1, test.user('VENDOR') AS v2 \\gset
      CREATE TEMP TABLE made AS SELECT n, test.listing(:'client', 2500000) AS id FROM generate_series(1, 3) n;
      SELECT count(test.bid(:'v1', id, 1000000)) + count(test.bid(:'v2', id, 1010000)) FROM made WHERE n < 3 \\g /dev/null
      UPDATE listings SET auction_end = clock_timestamp() - interval '1 second' WHERE id IN (SELECT id FROM made);
      SELECT id FROM made ORDER BY n;`).split('\n');
    return async (where) => {
      const r = await utility('selliko-close-auctions');
      assert.equal(r.code, 0, `${where}\nthen: ${r.log}`);
      const list = ids.map((id) => `'${id}'`).join(','), of = (text) => Number(shop.sql(text));
      assert.equal(shop.sql(`SELECT string_agg(status::text, ' ' ORDER BY array_position(ARRAY[${list}]::uuid[], id)) FROM listings WHERE id IN (${list})`), 'sold sold expired', where);
      assert.equal(of(`SELECT count(*) FROM orders WHERE listing_id IN (${list})`), 2, where);
      for (const [type, n] of Object.entries({ auction_won: 2, auction_lost: 2, order_update: 2, auction_expired: 1 })) assert.equal(of(`SELECT count(*) FROM notifications WHERE type = '${type}' AND data ->> 'listingId' IN (${list})`), n, `${where}: ${type}`);
      assert.equal(of(`SELECT count(*) FROM events WHERE name = 'auction_ended' AND listing_id IN (${list})`), 3, where);
    };
  } },
};

for (const [name, { kinds, ready }] of Object.entries(UTILITIES)) {
  for (const kind of kinds) {
    test(`${name}: each ${kind} fails once`, { skip, timeout: 7200000 }, async (t) => {
      const file = control(name);
      fs.writeFileSync(file, Buffer.alloc(CONTROL));
      let judge = ready(), tried = 0;
      arm(file, KINDS[kind], COUNT);
      const calm = await utility(name);
      const { seen } = disarm(file), outcomes = {};
      assert.equal(calm.code, 0, calm.log);
      await judge('undisturbed');
      for (const which of some(seen, file)) {
        judge = ready();
        arm(file, KINDS[kind], which);
        const { code, signal, log } = await utility(name);
        tried += disarm(file).failed;
        const end = signal ?? code;
        outcomes[end] = (outcomes[end] ?? 0) + 1;
        const where = `${kind} ${named(which, seen)}: ended with ${end}\n${log}`;
        assert.ok(signal === null || signal === 'SIGABRT', where);
        await judge(where);
      }
      t.diagnostic(`${kind}: ${tally(seen, tried)}, ends ${JSON.stringify(outcomes)}`);
    });
  }
}

test('afterwards the database is sound', { skip, timeout: 60000 }, async () => {
  const out = await w.ctl('check', '--quiet');   // ends with 1 otherwise
  assert.equal(out, '');
});
