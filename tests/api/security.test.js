'use strict';
// What an attacker tries that belongs to no one operation: his own address, other ways to carry a token,
// fields that are not his to set, SQL in a value.  (doc/security.md says which promise is tried where.)
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, own, until, parseRaw, signIn, submit, makeListing, liveListing, mustBid, fields, photos, phone } = require('./lib');

const w = shared();
const flooded = own();   // what would disturb the others
const tiny = () => Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.jpeg(64, 48, i)]));
let client, vendor, admin;
before(async () => { [client, vendor, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]); });

test('a token counts in the Authorization header alone, not in a query, a cookie, a body or another header', async () => {
  const t = client.token;
  for (const [path, headers] of [[`/users/me?token=${t}`, {}], [`/users/me?access_token=${t}&authorization=Bearer%20${t}`, {}], ['/users/me', { cookie: `token=${t}; access_token=${t}; session=${t}` }],
    ['/users/me', { 'x-access-token': t, 'x-authorization': `Bearer ${t}`, 'proxy-authorization': `Bearer ${t}` }], ['/users/me', { authorization: t }], ['/users/me', { authorization: `Basic ${Buffer.from(`${t}:`).toString('base64')}` }]]) {
    assert.equal((await w.request('GET', path, { headers, unchecked: true })).status, 401, `${path.slice(0, 20)} ${Object.keys(headers)}`);
  }
  assert.equal((await w.request('PUT', '/users/me', { json: { name: 'x', token: t, accessToken: t }, unchecked: true })).status, 401);
  assert.equal((await w.get('/users/me', t)).status, 200);
});

test('nothing is kept in a cookie', async () => {
  for (const r of [await w.get('/users/me', client.token), await w.get('/marketplace'), await w.post('/auth/send-otp', { phone: phone() })]) assert.ok(!('set-cookie' in r.headers));
});

test('nobody chooses the address that he is written down with', async () => {
  const l = await makeListing(w, client, {}, tiny());
  const spoof = { 'x-forwarded-for': '6.6.6.6', 'x-real-ip': '6.6.6.6', forwarded: 'for=6.6.6.6', 'client-ip': '6.6.6.6', 'remote-addr': '6.6.6.6', 'true-client-ip': '6.6.6.6' };
  const r = await w.put(`/listings/${l.id}/approve`, { approved: false, rejectionReason: 'Blurred' }, admin.token, { headers: spoof });
  assert.equal(r.status, 200, r.text);
  const { entries } = (await w.get(`/admin/audit-log?actorId=${admin.id}&action=listing.reject`, admin.token)).body;
  assert.deepEqual(entries.map((e) => [e.target, e.ip]), [[l.id, '127.0.0.1']]);
  assert.equal((await w.get('/metrics', null, { headers: spoof })).status, 200, 'nor loses the right that his own has');
});

test('no header changes the method, the path or the host that is answered for', async () => {
  const headers = { 'x-http-method-override': 'DELETE', 'x-http-method': 'DELETE', 'x-method-override': 'DELETE', 'x-original-url': '/admin/users', 'x-rewrite-url': '/admin/users', 'x-file-path': '/files/x', 'x-accel-redirect': '/files/x' };
  const r = await w.get('/users/me', client.token, { headers });
  assert.equal(r.status, 200, r.text);
  assert.equal(r.body.user.id, client.id);
  const l = await makeListing(w, client, {}, tiny());
  const elsewhere = await w.get(`/listings/${l.id}`, client.token, { headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'gopher' } });
  assert.equal(elsewhere.status, 200);
  assert.ok(!elsewhere.text.includes('evil.example') && !elsewhere.text.includes('gopher'));
});

test('the verdict on a file is nginx\'s to ask for, with nobody else\'s path', async () => {
  const l = await makeListing(w, client, {}, tiny());
  const good = new URL(l.devicePhotos[0]);
  assert.equal((await w.get('/_verify')).status, 404);
  assert.equal((await w.get(`/_verify${good.search}`, null, { headers: { 'x-file-path': good.pathname } })).status, 404);
  const other = `/files/listings/${crypto.randomUUID()}/device/photo1_full.jpg`;
  assert.equal((await w.get(`${other}${good.search}`, null, { headers: { 'x-file-path': good.pathname } })).status, 403);
});

test('a form sets what the guide lets it set: neither state, owner, price nor looks of a listing', async () => {
  const r = await submit(w, client, { status: 'live', clientId: admin.id, client_id: admin.id, id: crypto.randomUUID(), views: '9000', approvedAt: '2020-01-01', approvedBy: admin.id, auctionEndTime: '2030-01-01',
    highest_amount: '1', bid_count: '7', metadata: '{"imeiChecksumValid":true}', watchers: admin.id }, tiny());
  assert.equal(r.status, 201, r.text);
  const { listing } = r.body;
  assert.deepEqual([listing.status, listing.clientId, listing.views, listing.approvedAt, listing.approvedBy, listing.auctionEndTime], ['pending', client.id, 0, null, null, null]);
  assert.equal(w.sql(`SELECT bid_count, highest_amount FROM listings WHERE id = '${listing.id}'`), '0|');
});

test('a bid is its vendor\'s own, whatever its body says', async () => {
  const l = await liveListing(w, client, admin, {});
  const other = await signIn(w, 'VENDOR');
  const r = await w.post('/bids', { listingId: l.id, amount: 20000, vendorId: other.id, isWinning: true, isInstantWin: true, timestamp: '2020-01-01T00:00:00Z', id: crypto.randomUUID() }, vendor.token);
  assert.equal(r.status, 201, r.text);
  assert.deepEqual([r.body.bid.vendorId, r.body.isInstantWin], [vendor.id, false]);
});

test('SQL in a value is a value', async () => {
  const tables = () => w.sql("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace");
  const before = tables();
  const evil = [`'; DROP TABLE bids; --`, `' OR '1'='1`, `" OR ""="`, `\\'; SELECT pg_sleep(9); --`, `$$; DELETE FROM users; $$`, `{"a":1}`, `{a,b}`, `%' AND 1=(SELECT 1/0) --`, `a & b | !c:* <-> (d)`, `$1`, `{?2 AND true ?}`, `E'\\x27'`];
  for (const s of evil) {
    const mine = await w.put('/users/me', { name: s, metadata: { [s]: s } }, client.token);
    assert.deepEqual([mine.status, mine.body.user?.name, mine.body.user?.metadata], [200, s, { [s]: s }], mine.text);
    const q = encodeURIComponent(s);
    for (const path of [`/marketplace?search=${q}`, `/marketplace?brand=${q}`, `/listings?searchQuery=${q}`]) {
      const r = await w.get(path, client.token);
      assert.equal(r.status, 200, `${path}: ${r.text}`);
    }
    assert.deepEqual((await w.get(`/marketplace?brand=${q}`)).body.listings, [], 'and matches nothing');
    const found = await w.get(`/admin/users?search=${q}`, admin.token);
    assert.deepEqual(found.body.users?.map((u) => u.id), [client.id], `${s}: found by the name that it is: ${found.text.slice(0, 300)}`);
    for (const path of [`/bids?listingId=${q}`, `/bids?status=${q}`, `/orders?status=${q}`]) assert.equal((await w.get(path, vendor.token)).status, 400, path);
    assert.equal((await w.get(`/marketplace?sortBy=${q}`)).status, 400);
  }
  const l = await makeListing(w, client, { brand: evil[0], model: evil[4], description: evil.join('\n'), landmark: evil[1] }, tiny());
  assert.deepEqual([l.brand, l.model, l.description, l.pickupAddress.landmark], [evil[0], evil[4], evil.join('\n'), evil[1]]);
  const live = await liveListing(w, client, admin, {});
  const keyed = await w.post('/bids', { listingId: live.id, amount: 20000 }, vendor.token, { headers: { 'idempotency-key': `","x"}'::text[];--\\"` } });
  assert.equal(keyed.status, 201, keyed.text);
  await mustBid(w, await signIn(w, 'VENDOR'), live.id, 30000);
  assert.equal(tables(), before);
});

test('markup in a text is text: it comes back as JSON, byte for byte, and never as a page', async () => {
  const s = '<script>alert(1)</script><img src=x onerror=alert(2)> &lt; \u2028 </title>';
  const l = await makeListing(w, client, { description: s, model: s.slice(0, 60) }, tiny());
  const r = await w.get(`/listings/${l.id}`, client.token);
  assert.equal(r.body.listing.description, s);
  assert.match(r.headers['content-type'], /^application\/json/);
  assert.match(r.headers['content-security-policy'], /default-src 'none'/);
});

test('an account whose phone does not open is our trouble: no tokens, and no word of why', async () => {
  const c = await signIn(flooded);
  flooded.sql(`UPDATE users SET phone_sealed = overlay(phone_sealed placing '\\x00' from 20) WHERE id = '${c.id}'`);
  const r = await flooded.post('/auth/refresh-token', { refreshToken: c.refreshToken });
  assert.deepEqual([r.status, r.body.code], [500, 'internal'], r.text);
  assert.ok(!('accessToken' in r.body));
});

test('one address that floods the sign-in is told 429 before a program is asked, and goes on when it rests', async () => {
  const one = (more) => `POST /auth/refresh-token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${more}\r\n{}`;
  const many = one('').repeat(1500) + one('Connection: close\r\n');
  let refused = null;
  for (let n = 0; !refused && n < 10; n++) {
    const answers = (await Promise.all([1, 2, 3, 4].map(() => flooded.raw(many, { shut: false, wait: 120000 })))).flatMap((t) => t.split(/(?=HTTP\/1\.1 \d)/));
    for (const a of answers) assert.match(a, /^HTTP\/1\.1 (400|429) /);
    refused = answers.find((a) => a.startsWith('HTTP/1.1 429'));
  }
  assert.equal(parseRaw(refused).body.code, 'rate_limited');
  assert.equal((await flooded.get('/health')).status, 200, 'what is elsewhere goes on');
  await until('the address has rested', async () => (await flooded.post('/auth/refresh-token', {})).status === 400);
});
