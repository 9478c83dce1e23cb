'use strict';
// Backups from and to buckets: wherever the files live and wherever the backup goes, it comes back whole.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const crypto = require('node:crypto');
const { spawn, execFileSync } = require('node:child_process');
const { own, until, signIn, several, makeListing, approve, mustBid, ended, TOP } = require('../api/lib');
const { Bucket } = require('./lib/bucket');
const utility = require('./lib/utility');

const bucket = new Bucket('selliko-backup', 'selliko-again');
const kept = bucket.in('selliko-backup'), again = bucket.in('selliko-again');
const PLACE = 's3://selliko-backup/nightly/kochi';
const settings = { RATE_LIMITS: 'off' };
// The store is a folder at first; only the backups' own settings name the server then.
const w = own(settings, async () => {
  await bucket.start();
  const s = bucket.settings;
  Object.assign(settings, { BACKUP_S3_ENDPOINT: s.S3_ENDPOINT, BACKUP_AWS_REGION: s.AWS_REGION, BACKUP_AWS_ACCESS_KEY_ID: s.AWS_ACCESS_KEY_ID, BACKUP_AWS_SECRET_ACCESS_KEY: s.AWS_SECRET_ACCESS_KEY });
});
let client, admin, vendors, sold;

after(() => bucket.stop());

const start = (...a) => utility.start(w, ...a);
const backup = (args = [], env = {}) => start(utility.cron('selliko-backup'), args, { BACKUP_DIR: PLACE, ...env }).ended;
const restore = (args = [], env = {}) => start(utility.cron('selliko-restore'), args, { BACKUP_DIR: PLACE, ...env }).ended;
const silent = (r) => assert.deepEqual(r, { code: 0, signal: null, out: '', err: '' });
const state = () => JSON.parse(w.sql("SELECT value FROM service_state WHERE name = 'backup'"));
const sha256 = (b) => crypto.createHash('sha256').update(b).digest('hex');
const complete = async () => [...new Set((await kept.keys('nightly/kochi/selliko-')).filter((k) => k.endsWith('/MANIFEST')).map((k) => k.split('/')[2]))].sort();
const pool = () => kept.keys('nightly/kochi/files/');
const ours = (keys) => keys.filter((k) => /^(listings|verification)\//.test(k));
const ask = (url, text) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c', text], { encoding: 'utf8', maxBuffer: 64 << 20 }).trim();
const TABLES = ['users', 'listings', 'bids', 'orders', 'notifications', 'agent_tasks'];
const rows = (url) => Object.fromEntries(TABLES.map((t) => [t, ask(url, `SELECT row_to_json(t) FROM ${t} t ORDER BY id`)]));
// path -> sum of all that is published
const inFolder = (dir) => Object.fromEntries(execFileSync('sh', ['-c', 'cd "$1" && find listings verification -type f 2>/dev/null | sort', 'sh', dir], { encoding: 'utf8' }).split('\n').filter(Boolean).map((f) => [f, sha256(fs.readFileSync(path.join(dir, f)))]));
const inBucket = async (b) => { const all = {}; for (const k of ours(await b.keys())) all[k] = sha256((await b.read(k)).bytes); return all; };

before(async () => {
  [client, admin] = await Promise.all([signIn(w), signIn(w, 'ADMIN')]);
  vendors = await several(w, 'VENDOR', 2);
  sold = await makeListing(w, client);
  await approve(w, admin, sold.id);
  await mustBid(w, vendors[0], sold.id, 45000);
  await ended(w, sold.id, client.token);
  const told = spawn(path.join(TOP, 'tests/walkthrough'), { env: w.env, stdio: 'ignore' });
  assert.equal(await new Promise((r) => { told.on('exit', r); }), 0, 'a phone is sold, as the README tells');
});

// Restored beside the living service, into another database and another store, it is what was backed up.
async function comesBack(args, env, files) {
  const other = w.setting('DATABASE_URL').replace('/selliko?', '/selliko_other?');
  w.sql('DROP DATABASE IF EXISTS selliko_other');
  w.sql('CREATE DATABASE selliko_other');
  const was = rows(w.setting('DATABASE_URL'));
  silent(await restore(['--to', other, ...args], env));
  const is = rows(other);
  for (const t of TABLES) assert.equal(is[t], was[t], t);
  assert.deepEqual(await files(), await published());
  w.sql('DROP DATABASE selliko_other');
}
let published;

test('a folder\'s files to a bucket: silent, complete, each file once, and known to the doctor', async () => {
  published = async () => inFolder(w.uploads());
  silent(await backup());
  const [name] = await complete();
  assert.match(name, /^selliko-\d{8}T\d{6}Z$/);
  const manifest = (await kept.read(`nightly/kochi/${name}/MANIFEST`)).bytes.toString();
  const lines = Object.fromEntries(manifest.trim().split('\n').map((l) => [l.slice(66), l.slice(0, 64)]));
  for (const part of ['ABOUT', 'FILES', 'database.dump']) assert.equal(sha256((await kept.read(`nightly/kochi/${name}/${part}`)).bytes), lines[part], part);
  const files = await published();
  assert.deepEqual(Object.fromEntries(Object.entries(lines).filter(([k]) => k.startsWith('uploads/'))), Object.fromEntries(Object.entries(files).map(([k, v]) => [`uploads/${k}`, v])));
  assert.deepEqual(await pool(), [...new Set(Object.values(files))].map((s) => `nightly/kochi/files/${s.slice(0, 2)}/${s}`).sort());
  assert.equal(state().name, name);
  silent(await backup(['--verify']));
  assert.equal(state().verified, name);
  assert.match(await w.ctl('doctor'), /^ok +backup +made .*, verified /m);
});

test('the doctor says whether the bucket answers, and warns of one that is also the photos\'', async () => {
  const doctor = async (env) => (await start('sbin/sellikoctl', ['doctor'], { BACKUP_DIR: PLACE, ...env }).ended).out;
  assert.match(await doctor({}), /^ok +backup place +s3:\/\/selliko-backup\/nightly\/kochi answers/m);
  assert.match(await doctor({ BACKUP_AWS_SECRET_ACCESS_KEY: 'wrong' }), /^FAIL +backup place .* refuses to be listed/m);
  assert.match(await doctor({ ...bucket.settings, BACKUP_DIR: `s3://${bucket.settings.S3_BUCKET_NAME}/backup` }), /^WARN +backup place .* is the bucket of the photos, too/m);
});

test('the next one sends only what is new', async () => {
  const l = await makeListing(w, client);
  const before = await pool();
  const n = bucket.asked.length;
  silent(await backup());
  const sent = bucket.asked.slice(n).filter((a) => a.startsWith('PUT nightly/kochi/files/'));
  assert.ok(sent.length <= 16 && (await pool()).length - before.length === new Set(sent).size, `${sent.length} sent`);
  assert.equal((await complete()).length, 2);
  assert.ok((await kept.read(`nightly/kochi/${(await complete())[1]}/MANIFEST`)).bytes.toString().includes(`uploads/listings/${l.id}/device/photo1_full.jpg`));
});

test('folder to bucket, and back into a folder', async () => {
  const uploads = path.join(w.state, 'other');
  await comesBack(['--uploads', uploads], {}, async () => inFolder(uploads));
  fs.rmSync(uploads, { recursive: true });
});

test('folder to folder, and back into a bucket', async () => {
  const env = { ...bucket.settings, S3_BUCKET_NAME: 'selliko-again', BACKUP_DIR: path.join(w.state, 'backup') };
  silent(await backup([], { BACKUP_DIR: env.BACKUP_DIR }));
  await comesBack([], env, () => inBucket(again));
  const other = w.setting('DATABASE_URL').replace('/selliko?', '/selliko_third?');
  w.sql('CREATE DATABASE selliko_third');
  const r = await restore(['--to', other], env);
  assert.equal(r.code, 1);
  assert.match(r.err, /files in the bucket of S3_BUCKET_NAME already/);
  silent(await restore(['--to', other, '--force'], env));
  w.sql('DROP DATABASE selliko_third');
  for (const k of await again.keys()) await again.remove(k);
});

test('a dump of many parts is sent in parts, and what fails meanwhile is tried again', async () => {
  // 28 MB that cannot be compressed
  w.sql("CREATE TABLE ballast AS SELECT decode(string_agg(md5(n::text || i::text || random()::text), ''), 'hex') AS b FROM generate_series(1, 28000) n, generate_series(1, 64) i GROUP BY n");
  let n = 0;
  bucket.fault = (req) => (req.method !== 'GET' && n++ % 4 === 0 && n < 60 ? [503, 500, 0, 429][(n >> 2) % 4] : undefined);
  silent(await backup());
  bucket.fault = null;
  const [name] = (await complete()).slice(-1);
  assert.ok(bucket.asked.filter((a) => a === `PUT nightly/kochi/${name}/database.dump`).length >= 4, 'parts');
  silent(await backup(['--verify']));
  w.sql('DROP TABLE ballast');
});

test('two at once: one works, the other says so and ends with 75', async () => {
  const both = await Promise.all([backup(), backup()]);
  assert.deepEqual(both.map((r) => r.code).sort(), [0, 75], JSON.stringify(both));
});

test('one that is killed, or whose bucket goes away, is not taken for a backup, and the next cleans up', async () => {
  const before = await complete();
  for (const at of [/database\.dump/, /\/files\//, /\/ABOUT/]) {
    await makeListing(w, client);
    const p = start(utility.cron('selliko-backup'), [], { BACKUP_DIR: PLACE });
    bucket.fault = (req) => { if (req.method !== 'GET' && at.test(req.url)) p.kill('SIGKILL'); };
    await p.ended;
    bucket.fault = null;
  }
  await until('nothing is on its way', async () => (await complete()).length === before.length);
  bucket.fault = (req) => (req.method === 'PUT' && req.url.includes('MANIFEST') ? 403 : undefined);
  const r = await backup();
  bucket.fault = null;
  assert.equal(r.code, 1);
  assert.match(r.err, /writing .*MANIFEST failed: .*refuses/);
  assert.match(state().reason, /MANIFEST/);
  assert.deepEqual(await complete(), before);
  await until('the lock is free', async () => (await backup()).code === 0, 20);
  const all = await complete();
  assert.equal(all.length, before.length + 1);
  for (const key of await kept.keys('nightly/kochi/selliko-')) assert.ok(all.includes(key.split('/')[2]), key);
  assert.equal(state().reason, null);
});

test('a spoiled object and a missing one are found by the check, refused by a restore, and made good by the next backup', async () => {
  const [a, b] = (await pool()).slice(3, 5);
  const was = (await kept.read(a)).bytes;
  kept.spoil(a);
  await kept.remove(b);
  const r = await backup(['--verify']);
  assert.equal(r.code, 1);
  assert.match(r.err, /other bytes/);
  assert.match(r.err, /is not in the bucket/);
  const before = rows(w.setting('DATABASE_URL'));
  w.sql('DROP DATABASE IF EXISTS selliko_other');
  w.sql('CREATE DATABASE selliko_other');
  const refused = await restore(['--to', w.setting('DATABASE_URL').replace('/selliko?', '/selliko_other?'), '--uploads', path.join(w.state, 'other')]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /copying the files failed/);
  assert.equal(ask(w.setting('DATABASE_URL').replace('/selliko?', '/selliko_other?'), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), '0');
  w.sql('DROP DATABASE selliko_other');
  fs.rmSync(path.join(w.state, 'other'), { recursive: true });
  assert.deepEqual(rows(w.setting('DATABASE_URL')), before);
  silent(await backup());
  silent(await backup(['--verify']));
  assert.deepEqual((await kept.read(a)).bytes, was);
});

test('old ones go after BACKUP_KEEP_DAYS, with the files that only they had; the newest never', async () => {
  const all = await complete();
  const lone = await makeListing(w, client);
  silent(await backup());
  const last = (await complete()).at(-1);
  // As if the last one were three weeks old, and its own listing gone since
  const old = `selliko-${new Date(Date.now() - 20 * 86400e3).toISOString().replace(/[-:]|\.\d+/g, '')}`;
  for (const key of await kept.keys(`nightly/kochi/${last}/`)) { await kept.write(key.replace(last, old), (await kept.read(key)).bytes); await kept.remove(key); }
  w.sql(`DELETE FROM listings WHERE id = '${lone.id}'`);
  fs.rmSync(path.join(w.uploads(), 'listings', lone.id), { recursive: true });
  const mine = (await kept.read(`nightly/kochi/${old}/MANIFEST`)).bytes.toString().split('\n').filter((l) => l.includes(lone.id)).map((l) => l.slice(0, 64));
  const others = (await kept.read(`nightly/kochi/${all.at(-1)}/MANIFEST`)).bytes.toString();
  for (const key of await pool()) kept.age(key, 30);
  silent(await backup());
  assert.deepEqual((await complete()).slice(0, -1), all);
  const left = await pool();
  for (const sum of mine) assert.equal(left.some((k) => k.endsWith(sum)), others.includes(sum), sum);
  silent(await backup(['--verify']));
});

test('a place that cannot be says why', async () => {
  for (const [env, code, why] of [[{ BACKUP_DIR: 's3://UPPER/x' }, 78, /BACKUP_DIR: must begin with the name of a bucket/], [{ BACKUP_DIR: 's3://selliko-none/x' }, 69, /NoSuchBucket/], [{ BACKUP_AWS_SECRET_ACCESS_KEY: 'wrong' }, 69, /SignatureDoesNotMatch/], [{ BACKUP_AWS_SECRET_ACCESS_KEY: '' }, 78, /belong together/]]) {
    const r = await backup([], env);
    assert.equal(r.code, code, `${JSON.stringify(env)} ${r.err}`);
    assert.match(r.err, why);
  }
  const none = await restore(['--from', `${PLACE}/selliko-20200101T000000Z`]);
  assert.equal(none.code, 66, none.err);
});

test('the store moves into a bucket: bucket to folder, and back', async () => {
  const moved = await start('sbin/sellikoctl', ['storage', 'move', '--to', 's3', '--remove'], bucket.settings).ended;
  assert.equal(moved.code, 0, moved.err);
  Object.assign(w.env, bucket.settings);
  await w.quickstart();
  published = () => inBucket(bucket);
  const here = path.join(w.state, 'backup');
  silent(await backup([], { BACKUP_DIR: here }));
  const names = () => fs.readdirSync(here).filter((n) => n.startsWith('selliko-')).sort();
  const first = names().at(-1);
  assert.deepEqual(inFolder(path.join(here, first, 'uploads')), await published());
  const n = bucket.asked.length;
  silent(await backup([], { BACKUP_DIR: here }));
  assert.deepEqual(bucket.asked.slice(n).filter((a) => /^GET (listings|verification)\/./.test(a)), [], 'what is here is not fetched again');
  const at = (b) => fs.statSync(path.join(here, b, 'uploads/listings', sold.id, 'device/photo1_full.jpg')).ino;
  assert.equal(at(names().at(-1)), at(first));
  silent(await backup(['--verify'], { BACKUP_DIR: here }));
  const uploads = path.join(w.state, 'other');
  await comesBack(['--uploads', uploads], { BACKUP_DIR: here }, async () => inFolder(uploads));
});

test('bucket to bucket: all is destroyed, and restored it is as it was', { timeout: 300000 }, async () => {
  silent(await backup());
  silent(await backup(['--verify']));
  const was = { rows: rows(w.setting('DATABASE_URL')), files: await published() };
  const photo = async () => { const u = new URL((await w.get(`/listings/${sold.id}`, client.token)).body.listing.photos[0].full); return (await w.get(u.pathname + u.search)).buffer; };
  const seen = await photo();
  await w.quickstart('stop');
  for (const f of ['pg', 'uploads', 'backup', 'demo-accounts', 'nginx/cache']) fs.rmSync(path.join(w.state, f), { recursive: true, force: true });
  for (const k of ours(await bucket.keys())) await bucket.remove(k);
  await w.quickstart();
  assert.equal(w.sql('SELECT count(*) FROM listings'), '0');
  await w.quickstart('stop');
  await utility.databaseAlone(w, async () => { silent(await restore(['--force', '--from', `${PLACE}/${(await complete()).at(-1)}`])); });
  await w.quickstart();
  const is = rows(w.setting('DATABASE_URL'));
  for (const t of TABLES) if (t !== 'users') assert.equal(is[t], was.rows[t], t);
  assert.deepEqual(await published(), was.files);
  assert.deepEqual(await photo(), seen);
  silent(await backup());
  silent(await backup(['--verify']));
});
