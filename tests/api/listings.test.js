'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { shared, until, signIn, submit, makeListing, approve, liveListing, imei, fields, parts, fourPhotos, multipart, photos, mustBid } = require('./lib');

const w = shared();
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const LISTING = ['approvedAt', 'approvedBy', 'askingPrice', 'auctionEndTime', 'batteryHealth', 'billPhoto', 'brand', 'clientId', 'color', 'condition', 'description', 'devicePhotos',
  'hasWarranty', 'id', 'imei1', 'imei2', 'metadata', 'model', 'pickupAddress', 'pickupTime', 'rejectionReason', 'status', 'storage', 'submittedAt', 'views', 'warrantyExpiry', 'warrantyType', 'watchers'];
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();
const tiny = () => Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.jpeg(64, 48, i)]));
const pathOf = (url) => { const u = new URL(url); return u.pathname + u.search; };
const fetchFile = (url, o) => w.request('GET', pathOf(url), o);

let client, stranger, vendor, admin;
before(async () => {
  [client, stranger, vendor, admin] = await Promise.all([signIn(w), signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
});

// Nothing of a failed upload stays: no row of his, and no folder or file that no listing owns.
function leftovers() {
  const known = new Set(w.sql('SELECT id FROM listings').split('\n'));
  const found = [];
  const walk = (dir) => {
    for (const e of fs.existsSync(dir) ? fs.readdirSync(dir, { withFileTypes: true }) : []) {
      const p = path.join(dir, e.name);
      const of = path.relative(w.uploads(), p).split('/');
      if (of[0] === 'listings' && of.length === 2 && known.has(of[1])) continue;
      if (of[0] === 'verification') continue;
      if (e.isDirectory()) walk(p);
      if (!e.isDirectory() || of.length === 2 && of[0] === 'listings') found.push(p);
    }
  };
  walk(w.uploads());
  return found;
}
const rows = (who) => Number(w.sql(`SELECT count(*) FROM listings WHERE client_id = '${who.id}'`));
async function leavesNothing(who, attempt) {
  const had = rows(who);
  const r = await attempt();
  assert.equal(rows(who), had, 'a row stayed');
  await until(`no file stays: ${leftovers()}`, () => leftovers().length === 0, 10);
  return r;
}
async function refused(over, files, field, status = 400) {
  const r = await submit(w, client, over, files ?? tiny());
  const what = `${JSON.stringify(over).slice(0, 80)} ${field}: ${r.text.slice(0, 200)}`;
  assert.equal(r.status, status, what);
  if (status === 400) { assert.equal(r.body.code, 'validation_failed', what); assert.deepEqual(wrong(r), [field], what); }
  return r;
}

// ---- what comes in ----

test('a listing with four photos is pending, and whole to its owner', async () => {
  const f = fields({ imei2: imei(), landmark: 'Near the lake', contactName: 'Anu', warrantyType: 'Manufacturer', hasWarranty: 'true', warrantyExpiry: '2027-03-01' });
  const r = await submit(w, client, f, { ...fourPhotos(), billPhoto: { data: photos.pdf(), filename: 'bill.pdf', type: 'application/pdf' } });
  assert.equal(r.status, 201, r.text);
  assert.equal(r.body.success, true);
  const l = r.body.listing;
  for (const k of LISTING) assert.ok(k in l, `${k} is there`);
  assert.match(l.id, UUID);
  assert.equal(l.clientId, client.id);
  for (const k of ['brand', 'model', 'storage', 'color', 'condition', 'imei1', 'imei2', 'description', 'pickupTime', 'warrantyType']) assert.equal(l[k], f[k]);
  assert.strictEqual(l.batteryHealth, 88);
  assert.strictEqual(l.askingPrice, 45000);
  assert.strictEqual(l.hasWarranty, true);
  assert.equal(l.warrantyExpiry, '2027-03-01T00:00:00.000Z');
  assert.deepEqual(l.pickupAddress, { streetAddress: f.streetAddress, city: 'Kochi', state: 'Kerala', pincode: '682001', landmark: 'Near the lake' });
  assert.equal(l.status, 'pending');
  assert.match(l.submittedAt, TIME);
  assert.equal(l.views, 0);
  assert.deepEqual(l.watchers, []);
  assert.equal(l.watcherCount, 0);
  assert.deepEqual(l.metadata, { contactName: 'Anu', imeiChecksumValid: true });
  for (const k of ['approvedAt', 'approvedBy', 'rejectionReason', 'auctionEndTime']) assert.strictEqual(l[k], null);
  assert.equal(l.devicePhotos.length, 4);
  assert.equal(l.photos.length, 4);
  assert.match(l.billPhoto, /\/bill\/bill\.pdf\?/);
  const again = (await w.get(`/listings/${l.id}`, client.token)).body;
  assert.deepEqual({ ...again.listing, views: 0 }, { ...l, views: 0 });
  assert.deepEqual(again.bids, []);
  assert.strictEqual(again.currentHighestBid, null);
});

test('optional fields may be left out or empty; the state is Kerala then', async () => {
  const bare = await makeListing(w, client, { state: undefined, description: '' });
  const empty = await makeListing(w, client, { state: '', description: '   ', imei2: '', landmark: '', warrantyType: '', warrantyExpiry: '', contactName: '' },
    { ...tiny(), devicePhoto4: { data: '', filename: '', type: 'application/octet-stream' }, billPhoto: { data: '', filename: '', type: 'application/octet-stream' } });
  for (const l of [bare, empty]) {
    assert.equal(l.pickupAddress.state, 'Kerala');
    assert.equal(l.description, '');
    for (const k of ['imei2', 'warrantyType', 'warrantyExpiry', 'billPhoto']) assert.strictEqual(l[k], null, k);
    assert.ok(!l.pickupAddress.landmark);
    assert.equal(l.devicePhotos.length, 4);
    assert.ok(!l.metadata.contactName);
  }
});

test('whether IMEI 1 passes Luhn is a note for reviewers, not a bar', async () => {
  const good = imei();
  const bad = good.slice(0, 14) + ((Number(good[14]) + 1) % 10);
  assert.strictEqual((await makeListing(w, client, { imei1: bad }, tiny())).metadata.imeiChecksumValid, false);
});

test('every bound from inside', async () => {
  const top = await makeListing(w, client, { brand: 'b'.repeat(100), model: '😀'.repeat(100), storage: 's'.repeat(50), color: 'അ'.repeat(50), description: 'd'.repeat(5000), batteryHealth: '100', askingPrice: '1000000',
    streetAddress: 'a'.repeat(200), city: 'c'.repeat(100), state: 't'.repeat(100), landmark: 'l'.repeat(200), warrantyType: 'w'.repeat(200), contactName: 'n'.repeat(100), condition: 'Excellent', pickupTime: 'evening' }, tiny());
  assert.equal(top.model, '😀'.repeat(100));
  assert.equal(top.metadata.contactName, 'n'.repeat(100));
  const low = await makeListing(w, client, { brand: ' b ', model: 'm', storage: 's', color: 'c', description: '', batteryHealth: '1', askingPrice: '1000', streetAddress: 'a', city: 'c', state: 's', condition: 'Poor', pickupTime: 'afternoon' }, tiny());
  assert.equal(low.brand, 'b');
  assert.equal((await makeListing(w, client, { askingPrice: '25000.50', condition: 'Fair', description: 'two\nlines' }, tiny())).askingPrice, 25000.5);
});

test('every bound from outside', async () => {
  for (const [name, max] of Object.entries({ brand: 100, model: 100, storage: 50, color: 50, streetAddress: 200, city: 100 })) {
    await refused({ [name]: 'x'.repeat(max + 1) }, null, name);
    await refused({ [name]: '' }, null, name);
    await refused({ [name]: ' \t ' }, null, name);
    await refused({ [name]: undefined }, null, name);
  }
  for (const [name, max] of Object.entries({ state: 100, landmark: 200, warrantyType: 200, contactName: 100, description: 5000 })) await refused({ [name]: 'x'.repeat(max + 1) }, null, name);
  const bad = {
    batteryHealth: ['0', '101', '88.5', 'x', '-1', ' 88', '88%', '', '1e1'],
    askingPrice: ['999.99', '1000000.01', '25000.505', 'x', '', '1e4', '-5000', '+5000', '25,000', ' 25000', '25000 ', '0x9999', 'NaN', 'Infinity', '25000.', '₹25000', '999999999999999999999'],
    condition: ['good', 'New', ''],
    pickupTime: ['night', 'Morning', ''],
    imei1: ['12345678901234', '1234567890123456', '12345678901234a', '', '１２３４５６７８９０１２３４５'],
    imei2: ['12345678901234', 'x'],
    pincode: ['68200', '6820011', '68200a', ''],
    hasWarranty: ['yes', '1', 'TRUE', 'x'],
    warrantyExpiry: ['tomorrow', '2027-13-01', '2027-02-30', '01/02/2027', '2027'],
  };
  for (const [name, values] of Object.entries(bad)) for (const v of values) await refused({ [name]: v }, null, name);
});

test('a text that is far too long is told like any other', async () => {
  for (const n of [5001, 70000, 500000]) {
    const r = await submit(w, client, { description: 'x'.repeat(n), pincode: '1' }, tiny());
    assert.equal(r.body.code, 'validation_failed', `${n}: ${r.text}`);
    assert.deepEqual(wrong(r), ['description', 'pincode'], String(n));
  }
  assert.equal((await submit(w, client, { description: 'x'.repeat((1 << 20) + 1) }, tiny())).body.code, 'payload_too_large');
});

test('IMEI 2 is another number than IMEI 1', async () => {
  const one = imei();
  await refused({ imei1: one, imei2: one }, null, 'imei2');
});

test('all wrong fields are listed at once, photos too', async () => {
  const r = await submit(w, client, { brand: '', batteryHealth: '0', askingPrice: 'x', pincode: '1', pickupTime: 'x' }, { ...tiny(), devicePhoto0: Buffer.from('not a photo') });
  assert.equal(r.status, 400);
  for (const f of ['askingPrice', 'batteryHealth', 'brand', 'pickupTime', 'pincode']) assert.ok(wrong(r).includes(f), `${f} in ${wrong(r)}`);
});

test('NUL bytes and invalid UTF-8 in a field are refused', async () => {
  await refused({ brand: 'a\u0000b' }, null, 'brand');
  for (const bad of [[0xff, 0xfe], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]]) {
    const form = multipart([...parts({ brand: undefined }, tiny()), { name: 'brand', value: 'BRAND' }]);
    const at = form.body.indexOf('BRAND');
    const body = Buffer.concat([form.body.subarray(0, at), Buffer.from(bad), form.body.subarray(at + 5)]);
    const r = await w.request('POST', '/listings', { token: client.token, body, headers: form.headers });
    assert.equal(r.status, 400, r.text);
  }
});

test('only clients list', async () => {
  assert.equal((await submit(w, { token: null })).status, 401);
  for (const who of [vendor, admin]) assert.equal((await submit(w, who)).body.error, 'Insufficient permissions');
});

// ---- photos that are none ----

test('four to six photos, any of the six fields', async () => {
  const some = (...at) => Object.fromEntries(at.map((i) => [`devicePhoto${i}`, photos.jpeg(64, 48, i)]));
  for (const at of [[0, 1, 2], [], [5]]) assert.equal((await leavesNothing(client, () => submit(w, client, {}, some(...at)))).status, 400);
  const l = await makeListing(w, client, {}, some(1, 2, 4, 5));
  assert.equal(l.devicePhotos.length, 4);
  assert.equal((await makeListing(w, client, {}, some(0, 1, 2, 3, 4, 5))).devicePhotos.length, 6);
  for (const extra of [6, 7, 10]) assert.deepEqual(wrong(await leavesNothing(client, () => submit(w, client, {}, some(0, 1, 2, 3, extra)))), [`devicePhoto${extra}`]);
});

test('a type is told from the bytes, never from the name or the declared type', async () => {
  const l = await makeListing(w, client, {}, { devicePhoto0: { data: photos.png(), filename: 'x.txt', type: 'text/plain' }, devicePhoto1: { data: photos.webp(), filename: 'a.jpg', type: 'image/jpeg' },
    devicePhoto2: { data: photos.small(), filename: 'a.png', type: 'application/pdf' }, devicePhoto3: photos.cmyk(), billPhoto: { data: photos.png(), filename: 'bill.pdf', type: 'application/pdf' } });
  assert.match(l.billPhoto, /\/bill\/bill\.png\?/);
  for (const p of l.photos) {
    const full = photos.identify((await fetchFile(p.full)).buffer);
    assert.deepEqual([full.format, full.colorspace, full.profiles], ['JPEG', 'sRGB', '']);
  }
  assert.match((await makeListing(w, client, {}, { ...tiny(), billPhoto: { data: photos.small(), filename: 'bill.png' } })).billPhoto, /\/bill\/bill\.jpg\?/);
  const forged = { text: Buffer.from('hello, I am a photo'), 'a GIF': photos.gif(), 'a PDF': photos.pdf(), 'only the first bytes of a JPEG': photos.small().subarray(0, 3), html: Buffer.from('<html><script>alert(1)</script>'),
    svg: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'), mvg: Buffer.from('push graphic-context\nimage over 0,0 0,0 \'/etc/passwd\'\npop graphic-context'),
    'a JPEG\'s beginning, then noise': Buffer.concat([photos.small().subarray(0, 20), crypto.randomBytes(5000)]), 'a PNG\'s beginning': photos.png().subarray(0, 16), 'zero bytes in a row': Buffer.alloc(5000) };
  for (const [what, data] of Object.entries(forged)) {
    const r = await leavesNothing(client, () => submit(w, client, {}, { ...tiny(), devicePhoto2: { data, filename: 'photo.jpg', type: 'image/jpeg' } }));
    assert.equal(r.status, 400, what);
    assert.deepEqual(wrong(r), ['devicePhoto2'], what);
  }
  for (const data of [photos.webp(), photos.gif(), Buffer.from('%PDX')]) assert.deepEqual(wrong(await leavesNothing(client, () => submit(w, client, {}, { ...tiny(), billPhoto: data }))), ['billPhoto']);
});

test('a truncated photo is refused, in whatever format', async () => {
  for (const [what, data] of Object.entries({ jpeg: photos.small(), png: photos.png(), webp: photos.webp() })) {
    const r = await leavesNothing(client, () => submit(w, client, {}, { ...tiny(), devicePhoto3: data.subarray(0, data.length >> 1) }));
    assert.deepEqual([what, r.status, ...wrong(r)], [what, 400, 'devicePhoto3']);
  }
});

test('a header that claims 20,000 x 20,000 pixels, or anything over 50 megapixels, is refused', async () => {
  for (const [a, b] of [[20000, 20000], [65500, 65500], [10000, 5001]]) {
    const r = await leavesNothing(client, () => submit(w, client, {}, { ...tiny(), devicePhoto1: photos.claiming(photos.small(), a, b) }));
    assert.deepEqual([r.status, ...wrong(r)], [400, 'devicePhoto1'], `${a}x${b}`);
  }
  assert.equal((await w.get('/health')).status, 200);
});

test('5 MB is 5,242,880 bytes, inclusive', async () => {
  // comments of the wanted size behind SOI
  const sized = (size) => {
    const data = photos.small();
    const more = [];
    for (let left = size - data.length; left > 0;) { const n = left - 65537 >= 4 || left === 65537 ? 65537 : left > 65537 ? 60000 : left; const c = Buffer.alloc(n, 32); c[0] = 0xff; c[1] = 0xfe; c.writeUInt16BE(n - 2, 2); more.push(c); left -= n; }
    return Buffer.concat([data.subarray(0, 2), ...more, data.subarray(2)]);
  };
  const max = 5 * 1024 * 1024;
  assert.equal(sized(max).length, max);
  assert.equal((await makeListing(w, client, {}, { ...tiny(), devicePhoto0: sized(max) })).devicePhotos.length, 4);
  const r = await leavesNothing(client, () => submit(w, client, {}, { ...tiny(), devicePhoto0: sized(max + 1) }));
  assert.equal(r.body.code, 'payload_too_large');
  assert.equal((await leavesNothing(client, () => submit(w, client, {}, { ...tiny(), billPhoto: Buffer.concat([photos.pdf(), Buffer.alloc(max)]) }))).status, 413);
});

// ---- forms that are none ----

test('a malformed form is told so, and leaves nothing', async () => {
  const good = multipart(parts({}, tiny()), { boundary: 'bound' });
  const send = (body, headers = good.headers) => leavesNothing(client, () => w.request('POST', '/listings', { token: client.token, body, headers }));
  const type = (t) => ({ 'content-type': t });
  assert.equal((await send(multipart(parts({}, tiny()), { boundary: 'bound', last: false }).body)).body.code, 'malformed_multipart', 'no last boundary');
  assert.equal((await send(good.body.subarray(0, good.body.length - 3))).body.code, 'malformed_multipart', 'half a last boundary');
  assert.equal((await send(good.body.subarray(0, good.body.length >> 1))).body.code, 'malformed_multipart', 'half a form');
  assert.equal((await send(good.body, type('multipart/form-data'))).body.code, 'malformed_multipart', 'no boundary named');
  assert.equal((await send(good.body, type('multipart/form-data; boundary='))).body.code, 'malformed_multipart', 'an empty one');
  assert.equal((await send(good.body, type(`multipart/form-data; boundary=${'x'.repeat(300)}`))).body.code, 'malformed_multipart', 'one that is too long');
  assert.equal((await send(good.body, type('multipart/form-data; boundary=other'))).body.code, 'malformed_multipart', 'another boundary');
  assert.equal((await send(Buffer.alloc(0))).body.code, 'malformed_multipart', 'nothing at all');
  assert.equal((await send(crypto.randomBytes(100000))).body.code, 'malformed_multipart', 'noise');
  assert.equal((await send(Buffer.from('--bound\r\nContent-Disposition: form-data\r\n\r\nx\r\n--bound--\r\n'))).body.code, 'malformed_multipart', 'a part without a name');
  assert.equal((await send(Buffer.from(`--bound\r\nX: ${'x'.repeat(100000)}\r\n\r\nx\r\n--bound--\r\n`))).body.code, 'malformed_multipart', 'a part\'s header without end');
  for (const t of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/mixed; boundary=bound']) assert.equal((await send(good.body, type(t))).body.code, 'unsupported_media_type', t);
});

test('ten thousand parts are refused, and the program lives', async () => {
  const many = multipart([...Array.from({ length: 10000 }, (_, i) => ({ name: `x${i}`, value: 'x' })), ...parts({}, tiny())]);
  const r = await leavesNothing(client, () => w.request('POST', '/listings', { token: client.token, ...many }));
  assert.ok(r.status === 400 || r.status === 413, `${r.status}`);
  const same = multipart([...Array.from({ length: 10000 }, () => ({ name: 'brand', value: 'x' }))]);
  assert.ok([400, 413].includes((await w.request('POST', '/listings', { token: client.token, ...same })).status));
  assert.equal((await w.get('/listings?limit=1', client.token)).status, 200);
});

test('a boundary that almost occurs in a photo does not end it', async () => {
  const boundary = 'AaB03x';
  const photo = photos.jpeg(64, 48, 1);
  const tricky = Buffer.concat([photo, Buffer.from(`\r\n--${boundary.slice(0, -1)}\r\n-\r\n--\r--${boundary}\r\n\r\r\n--Aa`)]);   // bytes behind a JPEG's end are nobody's
  const form = multipart(parts({}, { ...tiny(), devicePhoto0: tricky }), { boundary });
  assert.equal((await w.request('POST', '/listings', { token: client.token, ...form })).status, 201);
});

// ---- what is stored ----

test('each photo is stored in four variants of the promised sizes, never enlarged', async () => {
  const l = await makeListing(w, client, {}, { devicePhoto0: photos.large(), devicePhoto1: photos.jpeg(3000, 4000, 5), devicePhoto2: photos.small(), devicePhoto3: photos.jpeg(200, 150) });
  const sizes = await Promise.all(l.photos.map(async (p) => Object.fromEntries(await Promise.all(Object.entries(p).map(async ([k, url]) => {
    const r = await fetchFile(url);
    assert.equal(r.status, 200, url);
    assert.equal(r.headers['content-type'], k === 'webp' ? 'image/webp' : 'image/jpeg');
    return [k, photos.identify(r.buffer)];
  })))));
  const bound = { thumb: 320, medium: 1024, full: 2048, webp: 2048 };
  const original = [[4000, 3000], [3000, 4000], [640, 480], [200, 150]];
  sizes.forEach((p, i) => Object.entries(p).forEach(([k, v]) => {
    const long = Math.max(v.width, v.height);
    const [ow, oh] = original[i];
    assert.equal(v.format, k === 'webp' ? 'WEBP' : 'JPEG');
    assert.ok(long <= bound[k] && long <= Math.max(ow, oh), `${k} of photo ${i + 1} is ${v.width}x${v.height}`);
    if (k !== 'webp') {
      if (Math.max(ow, oh) > bound[k]) assert.ok(long >= 0.95 * bound[k], `${k} of photo ${i + 1} is only ${v.width}x${v.height}`);
      else assert.deepEqual([v.width, v.height], [ow, oh]);
    }
    assert.ok(Math.abs(v.width / v.height - ow / oh) < 0.02, 'the proportions stay');
    assert.deepEqual([v.colorspace, v.profiles], ['sRGB', '']);
  }));
  assert.deepEqual(l.devicePhotos, l.photos.map((p) => p.full));
  assert.equal(l.thumbnail, l.photos[0].thumb);
  const dir = path.join(w.uploads(), 'listings', l.id, 'device');
  assert.deepEqual(fs.readdirSync(dir).sort(), [1, 2, 3, 4].flatMap((i) => [`photo${i}.webp`, `photo${i}_full.jpg`, `photo${i}_medium.jpg`, `photo${i}_thumb.jpg`]).sort());
});

test('photos stand upright and tell nothing: no EXIF, no position, no camera', async () => {
  const turned = Object.fromEntries([2, 3, 6, 8].map((o, i) => [`devicePhoto${i}`, photos.exif(photos.halves(), o)]));
  const l = await makeListing(w, client, {}, turned);
  const red = ([r, , b]) => r > 200 && b < 60;
  const blue = ([r, , b]) => b > 200 && r < 60;
  // stored: left red, right blue.  2 mirrors, 3 turns round, 6 puts left on top, 8 puts right on top
  const upright = [{ size: [600, 400], first: blue, last: red }, { size: [600, 400], first: blue, last: red }, { size: [400, 600], first: red, last: blue }, { size: [400, 600], first: blue, last: red }];
  for (const [i, want] of upright.entries()) {
    for (const [k, url] of Object.entries(l.photos[i])) {
      const { buffer } = await fetchFile(url);
      const look = photos.identify(buffer);
      assert.equal(look.profiles, '', `${k}: ${look.profiles}`);
      for (const secret of ['SECRETCAMERAMAKE', 'Exif', 'GPS', 'http://ns.adobe']) assert.ok(!buffer.includes(secret), `${k} holds ${secret}`);
      assert.equal(look.width > look.height, want.size[0] > want.size[1], `${k} of photo ${i + 1} lies on its side`);
      if (k === 'full') {
        assert.deepEqual([look.width, look.height], want.size);
        assert.ok(want.first(photos.pixel(buffer, 10, 10)), `photo ${i + 1} is not upright`);
        assert.ok(want.last(photos.pixel(buffer, look.width - 10, look.height - 10)), `photo ${i + 1} is not upright`);
      }
    }
  }
});

test('file URLs are signed for a folder and an hour or two; nginx serves the bytes', async () => {
  const l = await makeListing(w, client, {}, { ...tiny(), billPhoto: { data: photos.pdf(), type: 'application/pdf', filename: 'b.pdf' } });
  const other = await makeListing(w, client, {}, tiny());
  const url = new URL(l.devicePhotos[0]);
  assert.equal(url.origin, w.setting('API_BASE_URL') ? new URL(w.setting('API_BASE_URL')).origin : `http://localhost:${w.setting('PORT')}`);
  assert.equal(url.pathname, `/files/listings/${l.id}/device/photo1_full.jpg`);
  const exp = Number(url.searchParams.get('exp'));
  assert.equal(exp % 3600, 0);
  assert.ok(exp - Date.now() / 1000 > 3590 && exp - Date.now() / 1000 <= 7210, 'one to two hours');
  const file = (p, query = url.search, o) => w.request('GET', `/files/listings/${p}${query}`, o);
  const r = await file(`${l.id}/device/photo1_full.jpg`);
  assert.equal(r.status, 200);
  assert.equal(r.headers['cache-control'], 'public, max-age=31536000, immutable');
  assert.equal(r.headers['cross-origin-resource-policy'], 'cross-origin');
  assert.equal(r.headers['content-type'], 'image/jpeg');
  assert.deepEqual(r.buffer, fs.readFileSync(path.join(w.uploads(), 'listings', l.id, 'device', 'photo1_full.jpg')));
  assert.equal((await file(`${l.id}/device/photo2_medium.jpg`)).status, 200, 'the same query string opens its neighbours');
  assert.equal((await file(`${l.id}/device/photo9_full.jpg`)).status, 404, 'a good signature, no file');
  assert.equal((await file(`${l.id}/bill/bill.pdf`)).status, 403, 'not the bill');
  assert.equal((await file(`${other.id}/device/photo1_full.jpg`)).status, 403, 'not another listing');
  assert.equal((await file(`${l.id}/device/../bill/bill.pdf`)).status, 403);
  assert.equal((await file(`${l.id}/device/%2e%2e/bill/bill.pdf`)).status, 403);
  assert.ok([403, 404].includes((await file(`${l.id}/device/..%2fbill%2fbill.pdf`)).status));
  assert.ok([400, 403, 404].includes((await w.request('GET', `/files/../../../../etc/passwd${url.search}`)).status));
  assert.equal((await file(`${l.id}/device/photo1_full.jpg`, '')).status, 403, 'unsigned');
  const signed = (at) => `?exp=${at}&kid=${url.searchParams.get('kid')}&sig=${crypto.createHmac('sha256', w.setting('FILE_URL_SECRET')).update(`listings/${l.id}/device\n${at}`).digest().subarray(0, 16).toString('base64url')}`;
  assert.equal((await file(`${l.id}/device/photo1_full.jpg`, signed(exp + 1))).status, 200, 'whoever has the secret signs as the service does');
  assert.equal((await file(`${l.id}/device/photo1_full.jpg`, signed(Math.floor(Date.now() / 1000) - 1))).status, 403, 'expired');
  for (const name of ['exp', 'kid', 'sig']) {
    const q = new URLSearchParams(url.search);
    const v = q.get(name);
    q.set(name, name === 'exp' ? String(exp + 3600) : v.slice(0, -2) + (v.at(-2) === 'A' ? 'B' : 'A') + v.at(-1));
    assert.equal((await file(`${l.id}/device/photo1_full.jpg`, `?${q}`)).status, 403, `${name} tampered with`);
    q.delete(name);
    assert.equal((await file(`${l.id}/device/photo1_full.jpg`, `?${q}`)).status, 403, `without ${name}`);
  }
  const bill = await fetchFile(l.billPhoto);
  assert.equal(bill.status, 200);
  assert.deepEqual(bill.buffer, photos.pdf());
  assert.equal(bill.headers['content-type'], 'application/pdf');
  assert.equal((await w.request('HEAD', url.pathname + url.search)).status, 200);
  assert.equal((await w.request('POST', url.pathname + url.search)).status, 405);
});

// ---- who sees what ----

test('pending and rejected listings are their owner\'s and admins\'', async () => {
  const l = await makeListing(w, client);
  const check = async () => {
    for (const who of [client, admin]) assert.equal((await w.get(`/listings/${l.id}`, who.token)).status, 200);
    for (const who of [stranger, vendor, {}]) assert.equal((await w.get(`/listings/${l.id}`, who.token)).status, 404);
    const listed = async (token, query) => (await w.get(`/listings?clientId=${client.id}&limit=100${query}`, token)).body.listings.some((x) => x.id === l.id);
    assert.ok(await listed(client.token, ''));
    assert.ok(await listed(admin.token, ''));
    assert.ok(!await listed(stranger.token, ''));
    assert.ok(!await listed(vendor.token, `&status=${(await w.get(`/listings/${l.id}`, client.token)).body.listing.status}`));
    assert.ok(!await listed(null, ''));
  };
  await check();
  assert.equal((await w.post(`/listings/${l.id}/watch`, undefined, stranger.token)).status, 404);
  await w.put(`/listings/${l.id}/approve`, { approved: false, rejectionReason: 'Blurred photos' }, admin.token);
  await check();
});

test('others see a live listing masked', async () => {
  const l = await makeListing(w, client, { imei2: imei(), landmark: 'Near the lake', contactName: 'Anu' }, { ...tiny(), billPhoto: photos.small() });
  await approve(w, admin, l.id);
  await w.post(`/listings/${l.id}/watch`, undefined, stranger.token);
  const views = {
    one: async (token) => (await w.get(`/listings/${l.id}`, token)).body.listing,
    list: async (token) => (await w.get(`/listings?clientId=${client.id}&limit=100&status=live`, token)).body.listings.find((x) => x.id === l.id),
    marketplace: async (token) => (await w.get(`/marketplace?limit=100&sortBy=newest`, token)).body.listings.find((x) => x.id === l.id),
  };
  for (const [where, look] of Object.entries(views)) {
    for (const who of [stranger, vendor, {}]) {
      const seen = await until(`it is in ${where}`, () => look(who.token), 10);
      for (const k of LISTING) assert.ok(k in seen, `${k} in ${where}`);
      assert.equal(seen.imei1, `***********${l.imei1.slice(-4)}`, where);
      assert.equal(seen.imei2, `***********${l.imei2.slice(-4)}`, where);
      assert.equal(seen.pickupAddress.streetAddress, '');
      assert.equal(seen.pickupAddress.landmark, '');
      assert.equal(seen.pickupAddress.city, 'Kochi');
      assert.deepEqual(seen.metadata, {});
      assert.strictEqual(seen.billPhoto, null);
      assert.deepEqual(seen.watchers, []);
      assert.strictEqual(seen.watcherCount, 1);
      assert.ok(seen.thumbnail && seen.devicePhotos.length === 4);
    }
    for (const who of [client, admin]) {
      const seen = await look(who.token);
      assert.equal(seen.imei1, l.imei1, where);
      assert.equal(seen.imei2, l.imei2);
      assert.equal(seen.pickupAddress.streetAddress, '12 MG Road');
      assert.equal(seen.pickupAddress.landmark, 'Near the lake');
      assert.equal(seen.metadata.contactName, 'Anu');
      assert.ok(seen.billPhoto);
      assert.deepEqual(seen.watchers, [stranger.id]);
    }
  }
});

test('equal requests get equal URLs', async () => {
  const l = await liveListing(w, client, admin);
  const [a, b] = [await w.get(`/listings/${l.id}`, vendor.token), await w.get(`/listings/${l.id}`, vendor.token)];
  const exp = (r) => new URL(r.body.listing.thumbnail).searchParams.get('exp');
  if (exp(a) === exp(b)) assert.deepEqual(a.body.listing.photos, b.body.listing.photos);
});

test('a look is counted, the owner\'s is not, nor a HEAD, which looks at nothing', async () => {
  const l = await liveListing(w, client, admin);
  const views = async () => (await w.get(`/listings/${l.id}`, client.token)).body.listing.views;
  const before = await views();
  for (const who of [stranger, vendor, {}]) assert.equal((await w.request('HEAD', `/listings/${l.id}`, { token: who.token })).status, 200);
  for (const who of [stranger, vendor, {}]) await w.get(`/listings/${l.id}`, who.token);
  await until('three views', async () => await views() === before + 3, 10);
  assert.equal(await views(), before + 3);
});

test('watching: counted once a person, and taken back', async () => {
  const l = await liveListing(w, client, admin);
  const r = await w.post(`/listings/${l.id}/watch`, undefined, stranger.token);
  assert.equal(r.status, 200, r.text);
  assert.deepEqual(r.body, { success: true, watching: true, watcherCount: 1 });
  assert.equal((await w.post(`/listings/${l.id}/watch`, undefined, stranger.token)).body.watcherCount, 1);
  assert.equal((await w.post(`/listings/${l.id}/watch`, undefined, vendor.token)).body.watcherCount, 2);
  assert.deepEqual((await w.del(`/listings/${l.id}/watch`, stranger.token)).body, { success: true, watching: false, watcherCount: 1 });
  assert.deepEqual((await w.del(`/listings/${l.id}/watch`, stranger.token)).body, { success: true, watching: false, watcherCount: 1 });
  assert.equal((await w.post(`/listings/${l.id}/watch`)).status, 401);
  assert.equal((await w.post(`/listings/${crypto.randomUUID()}/watch`, undefined, stranger.token)).status, 404);
});

test('an id that is none is not found', async () => {
  for (const id of [crypto.randomUUID(), 'x', '1', `${crypto.randomUUID()}x`, '%00', '%27', '..%2f']) assert.ok([404, 400].includes((await w.get(`/listings/${id}`, client.token)).status), id);
});

// ---- lists ----

test('pages', async () => {
  const owner = await signIn(w);
  for (let i = 0; i < 3; i++) await makeListing(w, owner, { model: `Page ${i}` }, tiny());
  const page = async (q) => (await w.get(`/listings?clientId=${owner.id}${q}`, owner.token)).body;
  const all = await until('the total', async () => { const b = await page(''); return b.pagination.total === 3 && b; }, 10);
  assert.deepEqual(all.pagination, { page: 1, limit: 20, total: 3, totalPages: 1, hasNext: false, hasPrev: false });
  assert.deepEqual(all.listings.map((l) => l.model), ['Page 2', 'Page 1', 'Page 0']);
  const two = await page('&limit=2&page=2');
  assert.deepEqual(two.pagination, { page: 2, limit: 2, total: 3, totalPages: 2, hasNext: false, hasPrev: true });
  assert.deepEqual(two.listings.map((l) => l.model), ['Page 0']);
  assert.equal((await page('&limit=2')).pagination.hasNext, true);
  for (const n of ['101', '1000', '2147483648', '9007199254740991']) assert.equal((await page(`&limit=${n}`)).pagination.limit, 100, n);
  assert.deepEqual((await page('&page=9007199254740991')).listings, []);
  const beyond = await page('&page=50');
  assert.deepEqual([beyond.listings, beyond.pagination.total, beyond.pagination.hasNext], [[], 3, false]);
});

test('a filter that is not of its type or set is refused, never ignored', async () => {
  for (const [q, field] of [['status=bogus', 'status'], ['status=', 'status'], ['clientId=x', 'clientId'], ['page=0', 'page'], ['page=-1', 'page'], ['page=x', 'page'], ['page=1.5', 'page'], ['limit=0', 'limit'], ['limit=x', 'limit'],
    ['limit=-5', 'limit'], ['sortBy=price', 'sortBy'], ['page=99999999999999999999', 'page'], ['page=%201', 'page'], ['page=1e3', 'page']]) {
    const r = await w.get(`/listings?${q}`, client.token);
    assert.equal(r.body.code, 'validation_failed', q);
    assert.deepEqual(wrong(r), [field], q);
  }
  assert.deepEqual(wrong(await w.get('/listings?page=0&limit=x&status=y', client.token)), ['limit', 'page', 'status']);
});

test('order', async () => {
  const owner = await signIn(w);
  const made = [];
  for (const [model, askingPrice, hours] of [['A', '3000', 3], ['B', '1000', 1], ['C', '2000', 2]]) made.push(await approve(w, admin, (await makeListing(w, owner, { model, askingPrice }, tiny())).id, hours));
  const order = async (sortBy) => (await w.get(`/listings?clientId=${owner.id}&sortBy=${sortBy}`, owner.token)).body.listings.map((l) => l.model).join('');
  assert.equal(await order('newest'), 'CBA');
  assert.equal(await order('oldest'), 'ABC');
  assert.equal(await order('lowest-price'), 'BCA');
  assert.equal(await order('highest-price'), 'ACB');
  assert.equal(await order('ending-soon'), 'BCA');
});

test('search finds words of brand, model and description, any order, without case, the last as a beginning', async () => {
  const owner = await signIn(w);
  const word = `Zq${crypto.randomBytes(5).toString('hex')}`;
  await makeListing(w, owner, { brand: word, model: 'Galaxy S23 Ultra', description: 'Comes with its original charger & box.' }, tiny());
  const found = async (q) => (await w.get(`/listings?searchQuery=${encodeURIComponent(q)}&clientId=${owner.id}`, owner.token)).body.listings?.length;
  for (const q of [word, word.toLowerCase(), word.toUpperCase(), word.slice(0, -3), `galaxy ${word}`, 'ultra s23', 'ORIGINAL char', 'box', `  ${word}  `, 'charger, box']) assert.equal(await found(q), 1, q);
  for (const q of ['samsung', `${word}x`, 'gal ultra', 'alaxy', 'charger samsung']) assert.equal(await found(q), 0, q);
  for (const q of ["'", '\\', '"', '&', '!', '(', ':*', '%', '_', "'; DROP TABLE listings; --", '日本', '<->', 'a'.repeat(200)]) assert.notEqual(await found(q), undefined, q);
});

// ---- review ----

test('approving makes a listing live at once, until now and the asked hours', async () => {
  const l = await makeListing(w, client, {}, tiny());
  const r = await w.put(`/listings/${l.id}/approve`, { approved: true }, admin.token);
  assert.equal(r.status, 200);
  assert.equal(r.body.success, true);
  assert.equal(r.body.listing.status, 'live');
  assert.equal(r.body.listing.approvedBy, admin.id);
  const hours = (x) => (new Date(x.auctionEndTime) - new Date(x.approvedAt)) / 3600e3;
  assert.ok(Math.abs(hours(r.body.listing) - 24) < 0.001, 'a day by default');
  for (const h of [0.5, 168, '1.5', 0.001]) assert.ok(Math.abs(hours(await approve(w, admin, (await makeListing(w, client, {}, tiny())).id, h)) - Number(h)) < 0.001, `${h}`);
  assert.equal(w.sql(`SELECT count(*) FROM notifications WHERE user_id = '${client.id}' AND type = 'listing_approved' AND data ->> 'listingId' = '${l.id}'`), '1');
});

test('a rejection says why', async () => {
  const l = await makeListing(w, client, {}, tiny());
  for (const rejectionReason of [undefined, '', '   ', null]) assert.deepEqual(wrong(await w.put(`/listings/${l.id}/approve`, { approved: false, rejectionReason }, admin.token)), ['rejectionReason']);
  const r = await w.put(`/listings/${l.id}/approve`, { approved: false, rejectionReason: ' The photos are blurred. ' }, admin.token);
  assert.equal(r.body.listing.status, 'rejected');
  assert.equal(r.body.listing.rejectionReason, 'The photos are blurred.');
  assert.strictEqual(r.body.listing.auctionEndTime, null);
  assert.equal(w.sql(`SELECT count(*) FROM notifications WHERE user_id = '${client.id}' AND type = 'listing_rejected' AND data ->> 'listingId' = '${l.id}'`), '1');
});

test('only an admin judges, only once, and only within bounds', async () => {
  const l = await makeListing(w, client, {}, tiny());
  const judge = (body, who, id = l.id) => w.put(`/listings/${id}/approve`, body, who.token);
  assert.equal((await judge({ approved: true }, {})).status, 401);
  for (const who of [client, stranger, vendor]) assert.equal((await judge({ approved: true }, who)).body.code, 'forbidden');
  assert.equal((await judge({ approved: true }, admin, crypto.randomUUID())).status, 404);
  for (const auctionDurationHours of [0, -1, 168.01, 1000, 'x', '', {}, true, '24h', 1e300]) assert.deepEqual(wrong(await judge({ approved: true, auctionDurationHours }, admin)), ['auctionDurationHours'], String(auctionDurationHours));
  for (const approved of [undefined, 'yes', 1, null]) assert.deepEqual(wrong(await judge({ approved }, admin)), ['approved'], String(approved));
  assert.equal((await judge({ approved: true }, admin)).status, 200);
  assert.equal((await judge({ approved: true }, admin)).body.code, 'invalid_state');
  assert.equal((await judge({ approved: false, rejectionReason: 'x' }, admin)).body.code, 'invalid_state');
});

test('of two admins who judge at once one is heard', async () => {
  const l = await makeListing(w, client, {}, tiny());
  const all = await Promise.all([1, 2, 3, 4].map((i) => w.put(`/listings/${l.id}/approve`, i % 2 ? { approved: true } : { approved: false, rejectionReason: 'x' }, admin.token)));
  assert.deepEqual(all.map((r) => r.status).sort(), [200, 409, 409, 409]);
});

// ---- one IMEI, one open listing ----

test('an IMEI that stands in an open listing, as either, is a duplicate', async () => {
  const [a, b] = [imei(), imei()];
  const first = await makeListing(w, client, { imei1: a, imei2: b }, tiny());
  for (const over of [{ imei1: a }, { imei1: b }, { imei2: a }, { imei2: b }, { imei1: b, imei2: a }]) {
    const r = await leavesNothing(stranger, () => submit(w, stranger, over, tiny()));
    assert.equal(r.body.code, 'duplicate_imei', JSON.stringify(over));
  }
  await approve(w, admin, first.id);
  assert.equal((await submit(w, client, { imei1: a }, tiny())).body.code, 'duplicate_imei', 'also when it is live');
  const second = await makeListing(w, client, {}, tiny());
  await w.put(`/listings/${second.id}/approve`, { approved: false, rejectionReason: 'x' }, admin.token);
  assert.equal((await submit(w, client, { imei1: second.imei1 }, tiny())).status, 201, 'a rejected one is free again');
});

test('of four who list the same IMEI at once one does', async () => {
  const one = imei();
  const all = await Promise.all([1, 2, 3, 4].map(() => submit(w, client, { imei1: one }, tiny())));
  assert.deepEqual(all.map((r) => r.status).sort(), [201, 409, 409, 409]);
  await until(`no file stays: ${leftovers()}`, () => leftovers().length === 0, 10);
});

// ---- idempotency ----

test('the same key and form get the first answer again, whatever the boundary', async () => {
  const over = { imei1: imei() };
  const key = { headers: { 'idempotency-key': crypto.randomUUID() } };
  const first = await submit(w, client, fields(over), tiny(), key);
  assert.equal(first.status, 201);
  const again = await submit(w, client, fields(over), tiny(), { ...key, form: { boundary: 'quite-another' } });
  assert.equal(again.status, 201, again.text);
  assert.equal(again.body.listing.id, first.body.listing.id);
  assert.equal(again.body.listing.imei1, over.imei1);
  assert.equal((await submit(w, client, fields({ ...over, color: 'Red' }), tiny(), key)).body.code, 'idempotency_key_reused', 'another field');
  assert.equal((await submit(w, client, fields(over), { ...tiny(), devicePhoto3: photos.jpeg(64, 48, 9) }, key)).body.code, 'idempotency_key_reused', 'another photo');
  assert.equal((await submit(w, stranger, fields({ imei1: imei() }), tiny(), key)).status, 201, 'another person\'s key is another key');
});

test('a refusal is kept as well: the same key and form hear it again, also when they would succeed by now', async () => {
  const over = { imei1: imei() };
  const key = { headers: { 'idempotency-key': crypto.randomUUID() } };
  const other = (await submit(w, stranger, fields(over), tiny())).body.listing;
  const form = fields(over);
  const refusal = await submit(w, client, form, tiny(), key);
  assert.deepEqual([refusal.status, refusal.body.code], [409, 'duplicate_imei']);
  assert.equal((await w.put(`/listings/${other.id}/approve`, { approved: false, rejectionReason: 'No' }, admin.token)).status, 200);   // the IMEI is free
  const again = await submit(w, client, form, tiny(), key);
  assert.deepEqual([again.status, again.body.code, again.body.error], [409, 'duplicate_imei', refusal.body.error]);
  assert.equal((await submit(w, client, form, tiny(), { headers: { 'idempotency-key': crypto.randomUUID() } })).status, 201, 'another key is another try');
});

test('one that comes while the first is under way waits for it', async () => {
  const who = await signIn(w);
  const over = fields();
  const key = { headers: { 'idempotency-key': 'k'.repeat(255) } };
  const all = await Promise.all([1, 2, 3].map(() => submit(w, who, over, fourPhotos(), key)));
  for (const r of all) assert.equal(r.status, 201, r.text);
  assert.equal(new Set(all.map((r) => r.body.listing.id)).size, 1);
  assert.equal(rows(who), 1);
});

test('a key has 1 to 255 visible characters', async () => {
  for (const k of ['', 'k'.repeat(256), 'a b', 'a\tb', 'ä']) {
    const r = await submit(w, client, {}, tiny(), { headers: { 'idempotency-key': k } });
    if (k === '') assert.ok([201, 400].includes(r.status)); else assert.equal(r.body.code, 'validation_failed', JSON.stringify(k));
  }
});

test('a stored answer keeps its personal data sealed', async () => {
  const over = { imei1: imei(), streetAddress: `Idem Street ${crypto.randomUUID()}` };
  await submit(w, client, over, tiny(), { headers: { 'idempotency-key': crypto.randomUUID() } });
  assert.equal(w.sql(`SELECT count(*) FROM idempotency_keys WHERE answer IS NOT NULL AND (position('${over.imei1}'::bytea IN answer) > 0 OR position('Idem Street'::bytea IN answer) > 0)`), '0');
});

test('a sold listing is seen by its order\'s agent whole', async () => {
  const l = await liveListing(w, client, admin);
  await mustBid(w, vendor, l.id, 45000);
  const agent = await signIn(w, 'AGENT');
  assert.match((await w.get(`/listings/${l.id}`, agent.token)).body.listing.imei1, /^\*/);
  w.sql(`UPDATE orders SET agent_id = '${agent.id}' WHERE listing_id = '${l.id}'`);
  assert.equal((await w.get(`/listings/${l.id}`, agent.token)).body.listing.imei1, l.imei1);
  assert.match((await w.get(`/listings/${l.id}`, vendor.token)).body.listing.imei1, /^\*/, 'the buyer is none of these');
});
