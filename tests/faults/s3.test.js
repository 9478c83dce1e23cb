'use strict';
// Photos and bills in a bucket: the same promises as of a local folder, whatever the bucket does.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { own, signIn, several, submit, makeListing, approve, mustBid, photos } = require('../api/lib');
const { fourPhotos } = require('../api/lib/auctions');
const { Bucket } = require('./lib/bucket');
const { start, cron } = require('./lib/utility');

const bucket = new Bucket();
// A session's token, as temporary credentials have it, is part of every signature.
const settings = { RATE_LIMITS: 'off', AWS_SESSION_TOKEN: 'IQoJb3JpZ2luX2VjE/+token==' };
const w = own(settings, async () => { await bucket.start(); Object.assign(settings, bucket.settings); });
let client, admin;

before(async () => { [client, admin] = await Promise.all([signIn(w), signIn(w, 'ADMIN')]); });
after(() => bucket.stop());

const sha256 = (b) => crypto.createHash('sha256').update(b).digest('hex');
const pathOf = (url) => { const u = new URL(url); return u.pathname + u.search; };
const fetchFile = (url, o) => w.get(pathOf(url), null, o);
const locally = () => ['listings', 'verification', 'staging'].flatMap((d) => { try { return fs.readdirSync(path.join(w.uploads(), d)); } catch { return []; } });
const rows = async () => Number(await w.sqlLater('SELECT count(*) FROM listings'));

const run = (...a) => { const p = start(w, ...a); return Object.assign(p.ended, { process: p }); };
const purge = () => run(cron('selliko-purge'), ['--verbose']);
const ctl = (args, env) => run('sbin/sellikoctl', args, env);

test('a listing\'s files are in the bucket, complete, typed and immutable, and nowhere else', async () => {
  const l = await makeListing(w, client, {}, { ...fourPhotos(), billPhoto: photos.pdf() });
  const keys = await bucket.keys(`listings/${l.id}/`);
  const want = [1, 2, 3, 4].flatMap((n) => ['_full.jpg', '_medium.jpg', '_thumb.jpg', '.webp'].map((s) => `listings/${l.id}/device/photo${n}${s}`));
  assert.deepEqual(keys, [...want, `listings/${l.id}/bill/bill.pdf`].sort());
  for (const key of keys) {
    const o = await bucket.read(key);
    assert.equal(o.type, { jpg: 'image/jpeg', webp: 'image/webp', pdf: 'application/pdf' }[key.split('.').pop()]);
    assert.equal(o.cache, 'public, max-age=31536000, immutable');
    assert.equal(o.sha256, sha256(o.bytes));
    assert.ok(o.bytes.length > 50);
  }
  assert.deepEqual(locally(), []);
});

test('a file URL is served as if the file were here, and the bucket is asked once', async () => {
  const l = await makeListing(w, client, {}, { ...fourPhotos(), billPhoto: photos.pdf() });
  for (const [url, type] of [[l.photos[1].full, 'image/jpeg'], [l.photos[0].webp, 'image/webp'], [l.billPhoto, 'application/pdf']]) {
    const { pathname } = new URL(url);
    const first = await fetchFile(url, { headers: { Origin: 'http://localhost:3000' } });
    assert.equal(first.status, 200, first.text);
    assert.deepEqual(first.buffer, (await bucket.read(pathname.slice('/files/'.length))).bytes);
    assert.equal(first.headers['content-type'], type);
    assert.equal(first.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(first.headers['cross-origin-resource-policy'], 'cross-origin');
    assert.deepEqual(Object.keys(first.headers).filter((h) => h.startsWith('x-amz') || h.startsWith('x-bucket') || h === 'accept-ranges'), []);
    const n = bucket.asked.length;
    assert.deepEqual((await fetchFile(url)).buffer, first.buffer);
    const head = await w.request('HEAD', pathOf(url));
    assert.deepEqual([head.status, head.headers['content-length']], [200, String(first.buffer.length)]);
    const same = await fetchFile(url, { headers: { 'If-None-Match': first.headers.etag } });
    assert.deepEqual([same.status, same.headers['cache-control']], [304, 'public, max-age=31536000, immutable']);
    assert.equal(bucket.asked.length, n, 'a copy was kept');
  }
  // the folder's signature opens the other photos, and nothing else
  const query = new URL(l.photos[0].full).search;
  assert.equal((await w.get(`/files/listings/${l.id}/device/photo3_medium.jpg${query}`)).status, 200);
  const asked = bucket.asked.length;
  for (const p of [`/files/listings/${l.id}/device/photo3_thumb.jpg`, `/files/listings/${l.id}/device/photo3_thumb.jpg${query.slice(0, -1)}`, `/files/listings/${l.id}/bill/bill.pdf${query}`, `/files/listings/${l.id}/device/photo3_thumb.jpg?exp=1${query.slice(5)}`]) assert.equal((await w.get(p)).status, 403, p);
  assert.equal(bucket.asked.length, asked, 'who has no signature does not reach the bucket');
  assert.equal((await w.get(`/files/listings/${l.id}/device/photo6_full.jpg${query}`)).status, 404);
  assert.equal((await w.request('DELETE', `/files/listings/${l.id}/device/photo1_full.jpg${query}`)).status, 405);
});

test('a bucket that fails midway leaves no row and no object', async () => {
  for (const [how, fault] of [['refuses', 403], ['is out of order', 500], ['hangs up', 0]]) {
    const [before, keys] = [await rows(), await bucket.keys()];
    let puts = 0;
    bucket.fault = (req) => (req.method === 'PUT' && ++puts > 7 ? fault : undefined);
    const r = await submit(w, client);
    bucket.fault = null;
    assert.equal(r.status, 503, `${how}: ${r.text}`);
    assert.ok(puts > 7);
    assert.deepEqual(await bucket.keys(), keys, how);
    assert.equal(await rows(), before, how);
  }
  assert.deepEqual(locally(), []);
});

test('what passes by itself is waited out', async () => {
  let n = 0;
  bucket.fault = (req) => (req.method === 'PUT' && n++ % 3 === 0 && n < 20 ? [500, 503, 429, 0][n % 4] : undefined);
  const l = await makeListing(w, client);
  bucket.fault = null;
  assert.equal((await bucket.keys(`listings/${l.id}/`)).length, 16);
});

test('what was uploaded for a row that is then refused is deleted', async () => {
  const before = await bucket.keys();
  await w.sqlLater(`CREATE FUNCTION no_listing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
    CREATE CONSTRAINT TRIGGER no_listing AFTER INSERT ON listings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_listing()`);
  const r = await submit(w, client);
  await w.sqlLater('DROP TRIGGER no_listing ON listings; DROP FUNCTION no_listing');
  assert.ok(r.status >= 500, r.text);
  // whether a failed commit took place only the row can tell: the purge asks it
  for (const key of await bucket.keys()) bucket.age(key, before.includes(key) ? 0 : 30);
  const p = await purge();
  assert.equal(p.code, 0, p.err);
  assert.deepEqual(await bucket.keys(), before);
});

test('a bucket that is away: what nginx has is served, the rest is 503, and all is well when it is back', async () => {
  const l = await makeListing(w, client);
  assert.equal((await fetchFile(l.photos[0].thumb)).status, 200);
  await bucket.hangUp();
  assert.equal((await fetchFile(l.photos[0].thumb)).status, 200);
  const r = await fetchFile(l.photos[1].thumb);
  assert.deepEqual([r.status, r.body.code], [503, 'unavailable']);
  const begun = Date.now();
  assert.equal((await submit(w, client)).status, 503);
  assert.ok(Date.now() - begun < 30000);
  assert.equal((await ctl(['doctor'])).out.match(/^FAIL +storage .*$/m)?.[0].includes('bucket'), true);
  await bucket.listen();
  assert.equal((await fetchFile(l.photos[1].thumb)).status, 200);
  assert.equal((await submit(w, client)).status, 201);
  assert.match((await ctl(['doctor'])).out, /^ok +storage +.*bucket selliko-test/m);
});

test('an agent\'s proof goes to the bucket and is known again', async () => {
  const [[vendor], [agent]] = await Promise.all([several(w, 'VENDOR', 1), several(w, 'AGENT', 1)]);
  const l = await makeListing(w, client);
  await approve(w, admin, l.id);
  const { orderId } = await mustBid(w, vendor, l.id, 45000);
  const { assignment } = (await w.put(`/listings/${l.id}/assign-agent`, { agentId: agent.id }, admin.token)).body;
  const { multipart } = require('../api/lib');
  const form = multipart([{ name: 'orderId', value: orderId }, { name: 'photo', data: photos.small() }]);
  const up = await w.request('POST', '/files/verification', { token: agent.token, body: form.body, headers: form.headers });
  assert.equal(up.status, 201, up.text);
  assert.equal((await bucket.keys(`verification/${orderId}/`)).length, 1);
  assert.equal((await fetchFile(up.body.url)).status, 200);
  await w.put(`/agent/tasks/${assignment.id}/accept`, {}, agent.token);
  bucket.fault = (req) => (req.method === 'HEAD' ? 500 : undefined);
  const unsure = await w.put(`/agent/tasks/${assignment.id}/complete`, { verificationPhotos: [up.body.url] }, agent.token);
  bucket.fault = null;
  assert.equal(unsure.status, 503, 'not "there is no such photo"');
  const done = await w.put(`/agent/tasks/${assignment.id}/complete`, { verificationPhotos: [up.body.url] }, agent.token);
  assert.equal(done.status, 200, done.text);
});

test('the purge removes old objects of nothing, and leaves the young and the known', async () => {
  const l = await makeListing(w, client);
  const [old, young, order] = Array.from({ length: 3 }, () => crypto.randomUUID());
  await bucket.write(`listings/${old}/device/photo1_full.jpg`, 'x');
  await bucket.write(`listings/${old}/device/photo1.webp`, 'x');
  await bucket.write(`listings/${young}/device/photo1_full.jpg`, 'x');
  await bucket.write(`verification/${order}/a.jpg`, 'x');
  await bucket.write('notes/of-the-operator.txt', 'x');
  bucket.age(`listings/${old}/device/photo1_full.jpg`, 30);
  bucket.age(`listings/${old}/device/photo1.webp`, 26);
  bucket.age(`verification/${order}/a.jpg`, 30);
  for (const key of await bucket.keys(`listings/${l.id}/`)) bucket.age(key, 30);
  const p = await purge();
  assert.equal(p.code, 0, p.err);
  assert.deepEqual([(await bucket.keys(`listings/${old}/`)).length, (await bucket.keys(`verification/${order}/`)).length], [0, 0]);
  assert.deepEqual([(await bucket.keys(`listings/${young}/`)).length, (await bucket.keys('notes/')).length, (await bucket.keys(`listings/${l.id}/`)).length], [1, 1, 16]);
});

// ---- moving ----

const move = (...args) => ctl(['storage', 'move', ...args]);
const carried = (r) => { assert.equal(r.code, 0, r.err); return Number(/(\d+) were carried over/.exec(r.out)[1]); };
async function equal(keys) {
  for (const key of keys) assert.deepEqual(fs.readFileSync(path.join(w.uploads(), key)), (await bucket.read(key)).bytes, key);
}

test('a store moves from the bucket into a folder and back, killed on the way, and nothing is lost', async () => {
  const l = await makeListing(w, client);
  const keys = (await bucket.keys()).filter((k) => /^(listings|verification)\//.test(k));
  assert.ok(keys.length > 60);

  // here
  let gets = 0;
  const first = move('--to', 'local');
  bucket.fault = (req) => { if (req.method === 'GET' && req.url.includes('/device/') && ++gets === 30) first.process.kill('SIGKILL'); };
  assert.equal((await first).signal, 'SIGKILL');
  bucket.fault = null;
  const rest = carried(await move('--to', 'local'));
  assert.ok(rest > 0 && rest < keys.length, `${rest} of ${keys.length}`);
  await equal(keys);
  assert.equal(carried(await move('--to', 'local')), 0);
  assert.equal(fs.statSync(path.join(w.uploads(), keys[0])).mode & 0o777, 0o644);

  // a file that is not what it was is told, and not covered up
  const key = `listings/${l.id}/device/photo1_full.jpg`;
  const was = fs.readFileSync(path.join(w.uploads(), key));
  fs.writeFileSync(path.join(w.uploads(), key), 'something else');
  const other = await move('--to', 'local', '--remove');
  assert.equal(other.code, 1);
  assert.match(other.err, /photo1_full\.jpg: is here with other bytes/);
  assert.deepEqual(await bucket.keys(`listings/${l.id}/`), keys.filter((k) => k.startsWith(`listings/${l.id}/`)), 'what is in doubt is not removed');
  fs.writeFileSync(path.join(w.uploads(), key), was);
  await move('--to', 'local', '--remove');
  assert.deepEqual((await bucket.keys()).filter((k) => /^(listings|verification)\//.test(k)), []);

  // and there again
  let puts = 0;
  const back = move('--to', 's3', '--remove');
  bucket.fault = (req) => { if (req.method === 'PUT' && ++puts === 40) back.process.kill('SIGKILL'); };
  assert.equal((await back).signal, 'SIGKILL');
  bucket.fault = (req) => (req.method === 'PUT' && puts++ % 5 === 0 ? 503 : undefined);
  assert.ok(carried(await move('--to', 's3', '--remove')) > 0);
  bucket.fault = null;
  assert.deepEqual((await bucket.keys()).filter((k) => /^(listings|verification)\//.test(k)), keys);
  assert.equal((await bucket.read(key)).sha256, sha256(was));
  assert.deepEqual(['listings', 'verification'].flatMap((d) => fs.readdirSync(path.join(w.uploads(), d))), []);
  assert.equal(carried(await move('--to', 's3')), 0);
  assert.deepEqual((await fetchFile(l.photos[2].medium)).buffer, (await bucket.read(`listings/${l.id}/device/photo3_medium.jpg`)).bytes);
});

test('a move that cannot be says why', async () => {
  for (const [args, env, code, reason] of [[['storage'], {}, 64, /needs more/], [['storage', 'look'], {}, 64, /no `storage look`/], [['storage', 'move'], {}, 64, /--to takes/], [['storage', 'move', '--to', 'tape'], {}, 64, /--to takes/],
    [['storage', 'move', '--to', 's3'], { S3_BUCKET_NAME: '' }, 78, /S3_BUCKET_NAME is not set/], [['storage', 'move', '--to', 'local'], { AWS_SECRET_ACCESS_KEY: 'wrong' }, 1, /SignatureDoesNotMatch/], [['storage', 'move', '--to', 'local'], { S3_BUCKET_NAME: 'another' }, 1, /NoSuchBucket/]]) {
    const r = await ctl(args, env);
    assert.equal(r.code, code, `${args}: ${r.err}`);
    assert.match(r.err, reason);
  }
});
