'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, signIn, liveListing, mustBid } = require('./lib');

const w = shared();
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const ORDER = ['agentCommission', 'agentId', 'clientId', 'commissionRate', 'completedAt', 'deliveredAt', 'finalPrice', 'id', 'listingId', 'metadata', 'pickedUpAt', 'pickupScheduledAt', 'platformFee', 'status', 'statusHistory', 'vendorId'];
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();
const masked = (who) => `+91******${who.phone.slice(-4)}`;
let client, vendor, other, admin, agent, listing, id;

before(async () => {
  [client, vendor, other, admin, agent] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'VENDOR'), signIn(w, 'ADMIN'), signIn(w, 'AGENT')]);
  listing = await liveListing(w, client, admin);
  id = (await mustBid(w, vendor, listing.id, 45000)).orderId;
});

test('an order is seen by its parties: order, listing, client, vendor, agent', async () => {
  for (const who of [client, vendor, admin]) {
    const r = await w.get(`/orders/${id}`, who.token);
    assert.equal(r.status, 200, r.text);
    for (const k of ['order', 'listing', 'client', 'vendor', 'agent']) assert.ok(k in r.body, k);
    const { order } = r.body;
    for (const k of ORDER) assert.ok(k in order, k);
    assert.deepEqual([order.id, order.listingId, order.clientId, order.vendorId, order.agentId], [id, listing.id, client.id, vendor.id, null]);
    assert.deepEqual([order.finalPrice, order.commissionRate, order.agentCommission, order.platformFee, order.status], [45000, 5, 2250, 900, 'pending_pickup']);
    assert.equal(order.statusHistory.length, 1);
    assert.equal(order.statusHistory[0].status, 'pending_pickup');
    assert.match(order.statusHistory[0].timestamp, TIME);
    assert.equal(typeof order.statusHistory[0].updatedBy, 'string');
    assert.equal(r.body.listing.id, listing.id);
    assert.equal(r.body.listing.photos.length, 4, 'about one listing: all its photos');
    assert.deepEqual([r.body.client.id, r.body.vendor.id, r.body.agent], [client.id, vendor.id, null]);
  }
});

test('to each other client and vendor are masked, to an admin they are whole', async () => {
  assert.equal((await w.get(`/orders/${id}`, vendor.token)).body.client.phone, masked(client));
  assert.equal((await w.get(`/orders/${id}`, client.token)).body.vendor.phone, masked(vendor));
  const all = (await w.get(`/orders/${id}`, admin.token)).body;
  assert.deepEqual([all.client.phone, all.vendor.phone], [client.phone, vendor.phone]);
  assert.match((await w.get(`/orders/${id}`, vendor.token)).body.listing.imei1, /^\*{11}\d{4}$/);
  assert.equal((await w.get(`/orders/${id}`, client.token)).body.listing.imei1, listing.imei1);
});

test('strangers do not know of it', async () => {
  const stranger = await signIn(w);
  for (const who of [other, stranger, agent]) assert.equal((await w.get(`/orders/${id}`, who.token)).status, 404);
  assert.equal((await w.get(`/orders/${id}`)).status, 401);
  for (const bad of [crypto.randomUUID(), 'x']) assert.equal((await w.get(`/orders/${bad}`, client.token)).status, 404);
});

test('the list is one\'s own; an admin\'s is everybody\'s', async () => {
  for (const who of [client, vendor]) {
    const r = await w.get('/orders', who.token);
    assert.equal(r.status, 200, r.text);
    assert.deepEqual(r.body.orders.map((o) => o.id), [id]);
    for (const k of ORDER) assert.ok(k in r.body.orders[0], k);
    assert.deepEqual(r.body.pagination, { page: 1, limit: 20, total: 1, totalPages: 1, hasNext: false, hasPrev: false });
  }
  for (const who of [other, agent]) assert.deepEqual((await w.get('/orders', who.token)).body.orders, []);
  assert.deepEqual((await w.get(`/orders?clientId=${client.id}`, admin.token)).body.orders.map((o) => o.id), [id]);
  assert.deepEqual((await w.get(`/orders?vendorId=${vendor.id}&status=pending_pickup`, admin.token)).body.orders.map((o) => o.id), [id]);
  assert.deepEqual((await w.get('/orders?status=delivered', client.token)).body.orders, []);
  assert.equal((await w.get('/orders')).status, 401);
});

test('a filter naming somebody else is refused, one that is none too', async () => {
  assert.equal((await w.get(`/orders?clientId=${client.id}`, client.token)).status, 200);
  assert.equal((await w.get(`/orders?clientId=${client.id}`, vendor.token)).status, 403);
  assert.equal((await w.get(`/orders?vendorId=${vendor.id}`, other.token)).status, 403);
  assert.equal((await w.get(`/orders?agentId=${agent.id}`, client.token)).status, 403);
  assert.equal((await w.get(`/orders?agentId=${agent.id}`, agent.token)).status, 200);
  for (const q of ['status=sold', 'clientId=x', 'vendorId=1', 'agentId=x', 'page=0', 'limit=x']) assert.deepEqual(wrong(await w.get(`/orders?${q}`, client.token)), [q.split('=')[0]], q);
});

test('the order\'s agent sees all, and his number is whole to its parties', async () => {
  w.sql(`UPDATE orders SET agent_id = '${agent.id}' WHERE id = '${id}'`);
  const his = (await w.get(`/orders/${id}`, agent.token)).body;
  assert.deepEqual([his.client.phone, his.vendor.phone, his.agent.id], [client.phone, vendor.phone, agent.id]);
  assert.equal(his.listing.imei1, listing.imei1);
  assert.equal(his.listing.pickupAddress.streetAddress, '12 MG Road');
  for (const who of [client, vendor]) assert.equal((await w.get(`/orders/${id}`, who.token)).body.agent.phone, agent.phone);
  assert.deepEqual((await w.get('/orders', agent.token)).body.orders.map((o) => o.id), [id]);
});
