'use strict';
// Phone, IMEIs, street and landmark lie sealed: who gets hold of a dump or of a log reads none of them.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { shared, until, signIn, submit, approve, mustBid, askOtp, phone, imei, fields, messages } = require('./lib');

const w = shared();
const secrets = {};
let asked;
before(async () => {
  const [client, vendor, loser, admin] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'VENDOR'), signIn(w, 'ADMIN')]);
  const mark = crypto.randomBytes(6).toString('hex');
  const f = fields({ imei2: imei(), streetAddress: `${mark} Hidden Street`, landmark: `Beside the ${mark} temple` });
  const r = await submit(w, client, f, undefined, { headers: { 'idempotency-key': mark } });
  assert.equal(r.status, 201, r.text);
  await submit(w, client, { ...f, brand: '' });                            // refused input
  await submit(w, client, { ...f });                                       // a duplicate
  await approve(w, admin, r.body.listing.id);
  await mustBid(w, loser, r.body.listing.id, 20000);
  const { orderId } = await mustBid(w, vendor, r.body.listing.id, 45000);
  for (const who of [client, vendor, admin]) { await w.get(`/orders/${orderId}`, who.token); await w.get(`/listings/${r.body.listing.id}`, who.token); await w.get(`/listings?searchQuery=${f.imei1}`, who.token); }
  await until('the winner\'s message', () => messages(w, vendor.phone).some((m) => m.template.name === 'order_status'));
  asked = await askOtp(w, phone());                                        // a phone without an account
  await w.post('/auth/verify-otp', { ...asked, otp: 'nonsense' });
  Object.assign(secrets, { 'the client\'s phone': client.phone.slice(3), 'the vendor\'s phone': vendor.phone.slice(3), 'the admin\'s phone': admin.phone.slice(3), 'an unknown phone': asked.phone.slice(3), 'IMEI 1': f.imei1, 'IMEI 2': f.imei2, street: `${mark} Hidden`, landmark: `the ${mark} temple`,
    'an access token': client.token, 'a refresh token': client.refreshToken });
});

const hex = (s) => Buffer.from(s).toString('hex');
function holdsNone(text, what) {
  for (const [name, s] of Object.entries(secrets)) {
    assert.ok(!text.includes(s), `${what} holds ${name} in clear`);
    assert.ok(!text.includes(hex(s)), `${what} holds ${name} in hex`);
    assert.ok(!text.includes(Buffer.from(s).toString('base64').replace(/=+$/, '').slice(0, -1)), `${what} holds ${name} in base64`);
  }
}

test('a dump of the whole database holds none of them, queues and audit log included', () => {
  const dump = execFileSync('pg_dump', ['--inserts', '-d', w.setting('DATABASE_URL')], { encoding: 'utf8', maxBuffer: 1 << 30 });
  assert.ok(dump.includes('CREATE TABLE public.listings'));
  holdsNone(dump, 'the dump');
});

test('an OTP is kept as a keyed hash only', () => {
  const row = w.sql(`SELECT row_to_json(o) FROM otps o WHERE id = '${asked.otpId}'`);
  assert.ok(!row.includes(asked.otp));
  const sha = (s) => crypto.createHash('sha256').update(s).digest('hex');
  for (const guess of [asked.otp, `${asked.phone}${asked.otp}`, `${asked.otpId}${asked.otp}`, `otp:${asked.otp}`]) assert.ok(!row.includes(sha(guess)), 'a hash without a key');
});

test('the service\'s logs hold none of them', () => {
  const dir = path.join(w.state, 'log');
  const names = fs.readdirSync(dir).filter((n) => n !== 'whatsapp.log');
  assert.ok(names.length > 3);
  for (const n of names) holdsNone(fs.readFileSync(path.join(dir, n), 'utf8'), n);
});

test('equal values are sealed differently each time', () => {
  assert.equal(w.sql('SELECT count(*) - count(DISTINCT street_sealed) FROM listings WHERE octet_length(street_sealed) > 1'), '0');
});
