'use strict';
// From a form to a live auction and its bids, in one call each.
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { multipart } = require('./http');
const photos = require('./photos');
const { until } = require('./instance');
const { sealer } = require('./seal');

// Fifteen digits that pass Luhn and were never seen before
function imei() {
  const body = `35${String(crypto.randomInt(1e12)).padStart(12, '0')}`;
  const sum = [...body].reduce((s, c, i) => { const d = i % 2 ? Number(c) * 2 : Number(c); return s + (d > 9 ? d - 9 : d); }, 0);
  return body + ((10 - (sum % 10)) % 10);
}
const fields = (over = {}) => ({
  brand: 'Apple', model: 'iPhone 13', storage: '128GB', color: 'Blue', condition: 'Good', imei1: imei(), batteryHealth: '88', askingPrice: '45000',
  description: 'One owner, no scratches.', hasWarranty: 'false', streetAddress: '12 MG Road', city: 'Kochi', state: 'Kerala', pincode: '682001', pickupTime: 'morning', ...over,
});
const fourPhotos = () => Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.small(i + 1)]));

// Fields (undefined: left out) and files {name: bytes | {data, filename, type}} -> a form's parts
function parts(over = {}, files = fourPhotos()) {
  const list = Object.entries(fields(over)).filter(([, v]) => v !== undefined).map(([name, value]) => ({ name, value }));
  for (const [name, f] of Object.entries(files)) if (f !== undefined) list.push({ name, ...(Buffer.isBuffer(f) ? { data: f } : f) });
  return list;
}
function submit(w, client, over = {}, files = undefined, o = {}) {
  const form = multipart(parts(over, files), o.form);
  return w.request('POST', '/listings', { token: client.token, body: form.body, headers: { ...form.headers, ...o.headers } });
}
async function makeListing(w, client, over, files) {
  const r = await submit(w, client, over, files);
  assert.equal(r.status, 201, r.text);
  return r.body.listing;
}
async function approve(w, admin, id, hours = 24) {
  const r = await w.put(`/listings/${id}/approve`, { approved: true, auctionDurationHours: hours }, admin.token);
  assert.equal(r.status, 200, r.text);
  return r.body.listing;
}
const seconds = (n) => n / 3600;
async function liveListing(w, client, admin, over, hours) { return approve(w, admin, (await makeListing(w, client, over)).id, hours); }
const bid = (w, vendor, listingId, amount, headers) => w.post('/bids', { listingId, amount }, vendor.token, { headers });
async function mustBid(w, vendor, listingId, amount) {
  const r = await bid(w, vendor, listingId, amount);
  assert.equal(r.status, 201, r.text);
  return r.body;
}
// Until the auction is over: the listing as TOKEN sees it
const ended = (w, id, token) => until(`the end of ${id}`, async () => { const { listing } = (await w.get(`/listings/${id}`, token)).body; return listing.status !== 'live' && listing; });

// A listing's row without photos on disk, straight in the database, where only SQL's part is of interest
function quickListing(w, clientId, { asking = 45000, ends = '24 hours', n = 1, brand = 'Apple', model = 'iPhone 13', description = '' } = {}) {
  const quote = (s) => `'${String(s).replace(/'/g, "''")}'`;
  const seal = sealer(w);
  const rows = Array.from({ length: n }, () => {
    const id = crypto.randomUUID();
    return `('${id}'::uuid, ${seal('listings.imei1', id, imei())}, ${seal('listings.street', id, '12 MG Road')})`;
  });
  return w.sql(`INSERT INTO listings (id, client_id, brand, model, storage, color, condition, imei1_sealed, imei1_hash, imei1_last4, battery_health, asking_price,
      description, photo_count, has_warranty, street_sealed, city, state, pincode, pickup_time, status, approved_at, auction_end)
    SELECT id, '${clientId}', ${quote(brand)}, ${quote(model)}, '128GB', 'Blue', 'Good', imei, sha256(gen_random_uuid()::text::bytea), '2345', 88, ${Math.round(asking * 100)},
      ${quote(description)}, 4, false, street, 'Kochi', 'Kerala', '682001', 'morning', 'live', clock_timestamp(), now() + interval '${ends}'
    FROM (VALUES ${rows.join(', ')}) v (id, imei, street) RETURNING id`).split('\n');
}

module.exports = { imei, fields, fourPhotos, parts, submit, makeListing, approve, liveListing, bid, mustBid, ended, seconds, quickListing };
