'use strict';
// A backup is worth what can be made of it: the service is destroyed and comes back from it.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, execFileSync } = require('node:child_process');
const { own, until, signIn, several, makeListing, approve, mustBid, bid, ended, TOP } = require('../api/lib');
const utility = require('./lib/utility');

const w = own({ RATE_LIMITS: 'off' });
let client, admin, vendors, sold, open;

const start = (name, ...a) => utility.start(w, utility.cron(name), ...a);
const run = (...a) => start(...a).ended;
const dir = () => path.join(w.state, 'backup');
const backups = () => fs.readdirSync(dir()).filter((n) => n.startsWith('selliko-')).sort();
const state = () => JSON.parse(w.sql("SELECT value FROM service_state WHERE name = 'backup'"));
const alerts = () => w.sql("SELECT data ->> 'message' FROM events WHERE name = 'system_alert' ORDER BY id").split('\n').filter(Boolean);
const silent = (r) => assert.deepEqual(r, { code: 0, signal: null, out: '', err: '' });
const photoOf = async (id) => { const u = new URL((await w.get(`/listings/${id}`, client.token)).body.listing.photos[0].full); return (await w.get(u.pathname + u.search)).buffer; };
const everything = async () => ({
  listings: w.sql('SELECT row_to_json(l) FROM listings l ORDER BY id'), bids: w.sql('SELECT row_to_json(b) FROM bids b ORDER BY id'),
  orders: w.sql('SELECT row_to_json(o) FROM orders o ORDER BY id'), users: w.sql("SELECT id, phone_sealed, role FROM users ORDER BY id"),
  order: (await w.get('/orders', client.token)).body.orders.map(({ id, finalPrice, status }) => ({ id, finalPrice, status })),
  photo: (await photoOf(sold.id)).toString('base64'), files: execFileSync('sh', ['-c', 'cd "$1" && find listings -type f | sort | xargs sha256sum', 'sh', w.uploads()], { encoding: 'utf8' }),
});

before(async () => {
  [client, admin] = await Promise.all([signIn(w), signIn(w, 'ADMIN')]);
  vendors = await several(w, 'VENDOR', 2);
  sold = await makeListing(w, client);
  open = await makeListing(w, client);
  await approve(w, admin, sold.id);
  await approve(w, admin, open.id);
  await mustBid(w, vendors[0], open.id, 20000);
  await mustBid(w, vendors[1], open.id, 21000);
  await mustBid(w, vendors[0], sold.id, 45000);
  await ended(w, sold.id, client.token);
});

test('a backup from cron is silent, complete, closed to others, and known to the doctor', async () => {
  silent(await run('selliko-backup'));
  const [name] = backups();
  assert.match(name, /^selliko-\d{8}T\d{6}Z$/);
  assert.equal(fs.statSync(path.join(dir(), name)).mode & 0o777, 0o700);
  const held = fs.readFileSync(path.join(dir(), name, 'MANIFEST'), 'utf8');
  for (const id of [sold.id, open.id]) for (let n = 1; n <= 4; n++) for (const kind of ['_thumb.jpg', '_medium.jpg', '_full.jpg', '.webp']) assert.ok(held.includes(`  uploads/listings/${id}/device/photo${n}${kind}\n`));
  assert.equal(state().name, name);
  assert.match(await w.ctl('doctor'), /^ok +backup +made .* none was verified yet/m);
});

test('a second one links what is unchanged, and the check of it is silent', async () => {
  const extra = await makeListing(w, client);
  silent(await run('selliko-backup'));
  const [first, second] = backups();
  const at = (b, id) => fs.statSync(path.join(dir(), b, 'uploads/listings', id, 'device/photo1_full.jpg'));
  assert.equal(at(first, sold.id).ino, at(second, sold.id).ino);
  assert.equal(at(second, extra.id).nlink, 1);
  silent(await run('selliko-backup', ['--verify']));
  assert.equal(state().verified, second);
  assert.match(await w.ctl('doctor'), /^ok +backup +made .*, verified /m);
  assert.match(await w.ctl('status'), /^backup +made .*, verified /m);
  assert.equal(w.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'selliko_verify%'"), '0');
});

test('two at once: one works, the other says so and ends with 75', async () => {
  const n = backups().length;
  const both = await Promise.all([run('selliko-backup'), run('selliko-backup')]);
  assert.deepEqual(both.map((r) => r.code).sort(), [0, 75]);
  assert.match(both.find((r) => r.code === 75).err, /under way/);
  assert.equal(backups().length, n + 1);
});

test('one that is killed leaves nothing that is taken for a backup, and the next cleans up', async () => {
  const n = backups().length;
  const p = start('selliko-backup');
  await until('it works', () => fs.readdirSync(dir()).some((f) => f.endsWith('.partial')) || p.exitCode !== null, 10);
  p.kill('SIGKILL');
  await p.ended;
  assert.ok(backups().length <= n + 1);
  await until('the lock is free', async () => (await run('selliko-backup')).code === 0, 20);
  assert.deepEqual(fs.readdirSync(dir()).filter((f) => f.endsWith('.partial')), []);
});

test('a damaged file, a missing photo and a broken rule are found and told', async () => {
  const newest = path.join(dir(), backups().at(-1));
  const photo = path.join(newest, 'uploads/listings', sold.id, 'device/photo2_full.jpg');
  const bytes = fs.readFileSync(photo);
  const manifest = fs.readFileSync(path.join(newest, 'MANIFEST'), 'utf8');
  const refused = async (why) => {
    const before = alerts().length;
    const r = await run('selliko-backup', ['--verify']);
    assert.equal(r.code, 1, r.err);
    assert.match(r.err, why);
    assert.equal(alerts().length, before + 1);
    assert.match(alerts().at(-1), /^The check of the backup failed: /);
    assert.match(state().reason, /\S/);
    assert.match(await w.ctl('doctor'), /^WARN +backup +the last run, .* failed/m);
  };
  fs.writeFileSync(photo, Buffer.concat([bytes.subarray(0, 100), Buffer.from('x'), bytes.subarray(101)]));
  await refused(/MANIFEST|sum/i);
  fs.rmSync(photo);   // also linked elsewhere: those must keep the right bytes
  fs.writeFileSync(path.join(newest, 'MANIFEST'), manifest.split('\n').filter((l) => !l.includes(`${sold.id}/device/photo2_full.jpg`)).join('\n'));
  await refused(/photo2_full\.jpg/);
  fs.rmSync(newest, { recursive: true });
  const [, other] = vendors;
  w.sql(`INSERT INTO bidders VALUES ('${sold.id}', '${other.id}', 12345) ON CONFLICT DO NOTHING`);
  w.sql(`INSERT INTO bids (listing_id, vendor_id, amount, nth, alias, placed_at) VALUES ('${sold.id}', '${other.id}', 9000000, 99, 12345, now())`);
  silent(await run('selliko-backup'));
  await refused(/winning bid|counts its bids/);
  w.sql(`DELETE FROM bids WHERE nth = 99`);
  w.sql(`DELETE FROM bidders x WHERE NOT EXISTS (SELECT FROM bids b WHERE (b.listing_id, b.vendor_id) = (x.listing_id, x.vendor_id))`);
  for (const b of backups()) fs.rmSync(path.join(dir(), b), { recursive: true });
});

test('a failure is told, recorded, and mended by the next success', async () => {
  const before = alerts().length;
  const r = await run('selliko-backup', [], { BACKUP_DIR: '/proc/none' });
  assert.equal(r.code, 73);
  assert.match(r.err, /\/proc\/none/);
  assert.equal(alerts().length, before + 1);
  silent(await run('selliko-backup'));
  assert.equal(state().reason, null);
  const away = await run('selliko-backup', [], { DATABASE_URL: 'postgresql:///x?host=/nonexistent' });
  assert.notEqual(away.code, 0);
  assert.match(away.err, /could the failure be recorded/);
});

test('old ones go after BACKUP_KEEP_DAYS, the newest never', async () => {
  const [name] = backups();
  const now = Date.now(), old = (days) => `selliko-${new Date(now - days * 86400e3).toISOString().replace(/[-:]|\.\d+/g, '')}`;
  fs.renameSync(path.join(dir(), name), path.join(dir(), old(20)));
  execFileSync('cp', ['-a', path.join(dir(), old(20)), path.join(dir(), old(3))]);
  silent(await run('selliko-backup', [], { BACKUP_KEEP_DAYS: '14' }));
  assert.deepEqual(backups().slice(0, -1), [old(3)]);
  silent(await run('selliko-backup', ['--watch', '1']));
  assert.equal(backups().length, 2, 'the newest is not a day old');
  for (const b of backups().slice(0, -1)) fs.rmSync(path.join(dir(), b), { recursive: true });
});

test('no password stands on a command line', async () => {
  const { out } = await new Promise((resolve) => {
    const p = spawn(path.join(w.state, 'app/sbin/sellikoctl'), ['pg-service'], { env: { SELLIKO_CONF: path.join(w.state, 'selliko.conf'), DATABASE_URL: 'postgresql://u:s%2Fcret@h/d' } });
    let text = '';
    p.stdout.on('data', (c) => { text += c; });
    p.on('close', () => resolve({ out: text }));
  });
  assert.match(out, /^\[selliko\]\n(.*\n)*password=s\/cret\n/);
});

test('a listing that is handed in while a backup runs is in it whole or not at all', async () => {
  let going = true;
  const sender = (async () => { while (going) await makeListing(w, client); })();
  try { for (let i = 0; i < 2; i++) { silent(await run('selliko-backup')); silent(await run('selliko-backup', ['--verify'])); } } finally { going = false; await sender; }
});

test('restore refuses what is in use or not empty, and changes nothing then', async () => {
  const before = await everything();
  let r = await run('selliko-restore');
  assert.equal(r.code, 1);
  assert.match(r.err, /not empty/);
  r = await run('selliko-restore', ['--force']);
  assert.equal(r.code, 1);
  assert.match(r.err, /in use by .*stop the service/);
  r = await run('selliko-restore', ['--from', '/nonexistent']);
  assert.equal(r.code, 66);
  assert.deepEqual(await everything(), before);
});

test('restored beside the living service: another database, another folder', { timeout: 60000 }, async () => {
  silent(await run('selliko-backup'));
  const other = w.setting('DATABASE_URL').replace('/selliko?', '/selliko_other?');
  const uploads = path.join(w.state, 'other');
  const ask = (text) => execFileSync('psql', ['-XqAt', '-d', other, '-c', text], { encoding: 'utf8' }).trim();
  w.sql('CREATE DATABASE selliko_other');
  const to = ['--to', other, '--uploads', uploads];
  silent(await run('selliko-restore', to));
  assert.equal(ask('SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM listings'), w.sql('SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM listings'));
  assert.equal(ask("SELECT count(*) FROM events UNION ALL SELECT count(*) FROM whatsapp_queue WHERE status IN ('queued', 'sending')"), '0\n0', 'nothing is told twice');
  assert.ok(fs.existsSync(path.join(uploads, 'listings', sold.id, 'device/photo4.webp')));
  const r = await run('selliko-restore', to);
  assert.equal(r.code, 1);
  assert.match(r.err, /not empty/);

  // A dump that breaks off in the middle, under a manifest that fits: what was there stays
  const broken = path.join(w.state, 'broken');
  execFileSync('cp', ['-a', path.join(dir(), backups().at(-1)), broken]);
  const dump = path.join(broken, 'database.dump');
  fs.truncateSync(dump, Math.floor(fs.statSync(dump).size * 0.9));
  const bad = await run('selliko-restore', [...to, '--from', broken, '--force']);
  assert.equal(bad.code, 1);
  assert.match(bad.err, /checking the sums/);
  const sum = execFileSync('sha256sum', [dump], { encoding: 'utf8' }).slice(0, 64);
  fs.writeFileSync(path.join(broken, 'MANIFEST'), fs.readFileSync(path.join(broken, 'MANIFEST'), 'utf8').replace(/^.{64}(?= {2}database\.dump$)/m, sum));
  ask("INSERT INTO service_state (name, value) VALUES ('mark', '1')");
  const cut = await run('selliko-restore', [...to, '--from', broken, '--force']);
  assert.equal(cut.code, 1);
  assert.match(cut.err, /restoring the database failed/);
  assert.equal(ask("SELECT count(*) FROM service_state WHERE name = 'mark'"), '1');
  assert.deepEqual(fs.readdirSync(uploads).filter((f) => f !== 'listings' && f !== 'verification'), []);

  silent({ ...await run('selliko-restore', [...to, '--force']), err: '' });
  assert.equal(ask("SELECT count(*) FROM service_state WHERE name = 'mark'"), '0');
  const aside = fs.readdirSync(uploads).find((f) => f.startsWith('before-restore-'));
  assert.ok(fs.existsSync(path.join(uploads, aside, 'listings', sold.id, 'device/photo4.webp')));
  w.sql('DROP DATABASE selliko_other');
});

test('all is destroyed, the walk-through\'s phones too, and restored it is as it was', { timeout: 300000 }, async () => {
  const told = spawn(path.join(TOP, 'tests/walkthrough'), { env: w.env, stdio: 'ignore' });
  assert.equal(await new Promise((r) => { told.on('exit', r); }), 0, 'a phone is sold, as the README tells');
  const was = await everything();
  silent(await run('selliko-backup'));
  const safe = fs.mkdtempSync('/tmp/selliko-test-backup-');
  fs.chmodSync(safe, 0o755);
  const name = backups().at(-1);
  execFileSync('cp', ['-a', path.join(dir(), name), safe]);
  // What happens after the backup is lost, and no more than that
  await mustBid(w, vendors[0], open.id, 22000);

  await w.quickstart('stop');
  for (const f of ['pg', 'uploads', 'backup', 'demo-accounts']) fs.rmSync(path.join(w.state, f), { recursive: true, force: true });
  await w.quickstart();   // an empty service with the same secrets
  assert.equal(w.sql('SELECT count(*) FROM listings'), '0');
  await w.quickstart('stop');

  await utility.databaseAlone(w, async () => {
    let r = await run('selliko-restore', ['--from', path.join(safe, name)]);
    assert.equal(r.code, 1);
    assert.match(r.err, /not empty/);
    r = await run('selliko-restore', ['--from', path.join(safe, name), '--force']);
    silent(r);
  });
  fs.rmSync(safe, { recursive: true });

  await w.quickstart();
  const is = await everything();
  assert.deepEqual(is, was);
  assert.equal((await w.get(`/listings/${open.id}`, client.token)).body.currentHighestBid.amount, 21000);
  assert.equal((await bid(w, vendors[0], open.id, 21100)).status, 201, 'and it goes on');
  assert.match(await w.ctl('doctor'), /^ok +keys/m);
  silent(await run('selliko-backup'));
  silent(await run('selliko-backup', ['--verify']));
});
