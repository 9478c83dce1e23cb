'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, signIn, liveListing, mustBid, quickListing, until, messages } = require('./lib');

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

// ---- moving an order on ----

const ask = (method, path, who, json) => w.request(method, path, { token: who?.token, json });
const put = (order, who, json) => ask('PUT', `/orders/${order}/status`, who, json);
const PATH = ['pending_pickup', 'picked_up', 'in_transit', 'delivered', 'completed'];
const STATES = [...PATH, 'cancelled'];
// from, to, who may beside administrators
const STEPS = [
  ['pending_pickup', 'picked_up', ['agent']], ['picked_up', 'in_transit', ['agent']], ['in_transit', 'delivered', ['agent']],
  ['delivered', 'completed', ['vendor']], ['pending_pickup', 'cancelled', ['client', 'vendor']], ['picked_up', 'cancelled', []], ['in_transit', 'cancelled', []],
];
const stepOf = (from, to) => STEPS.find((s) => s[0] === from && s[1] === to);
const allowedTo = (from, part) => STEPS.filter((s) => s[0] === from && (part === 'admin' || s[2].includes(part))).map((s) => s[1]);

// A listing of the client's that the vendor has bought (bids are limited, which is not the matter here)
async function sell() {
  const [l] = quickListing(w, client.id);
  w.sql(`DELETE FROM rate_limits WHERE key LIKE 'bids:%${vendor.id}%'`);
  return { listing: l, orderId: (await mustBid(w, vendor, l, 45000)).orderId };
}
// An order of the client's and vendor's, with the agent, in STATE
async function orderIn(state) {
  const order = (await sell()).orderId;
  w.sql(`UPDATE orders SET agent_id = '${agent.id}' WHERE id = '${order}'`);
  for (const to of state === 'cancelled' ? ['cancelled'] : PATH.slice(1, PATH.indexOf(state) + 1)) assert.equal((await put(order, admin, { status: to })).status, 200);
  return order;
}
const stands = (order) => w.sql(`SELECT status, (SELECT count(*) FROM order_history h WHERE h.order_id = o.id), (SELECT count(*) FROM events WHERE ref = o.id) FROM orders o WHERE id = '${order}'`);

test('the whole transition matrix: six states, to six states, by everybody', async () => {
  const strangers = await Promise.all(['CLIENT', 'VENDOR', 'AGENT'].map((role) => signIn(w, role)));
  const parties = { client, vendor, agent, admin };
  let tried = 0;
  for (const from of STATES) {
    const order = await orderIn(from);
    const before = stands(order);
    for (const to of STATES) {
      const step = stepOf(from, to);
      for (const stranger of strangers) assert.equal((await put(order, stranger, { status: to })).status, 404, `${from} to ${to} by a stranger`);
      assert.equal((await put(order, null, { status: to })).status, 401);
      for (const [part, who] of Object.entries(parties)) {
        tried++;
        const what = `${from} to ${to} by ${part}`;
        if (step && (part === 'admin' || step[2].includes(part))) {
          const fresh = await orderIn(from);
          const r = await put(fresh, who, { status: to });
          assert.equal(r.status, 200, `${what}: ${r.text}`);
          assert.equal(r.body.order.status, to, what);
          assert.deepEqual([r.body.order.statusHistory.at(-1).status, r.body.order.statusHistory.at(-1).updatedBy], [to, who.id], what);
        } else {
          const r = await put(order, who, { status: to });
          assert.equal(r.body.code, step ? 'forbidden' : 'invalid_transition', `${what}: ${r.text}`);
          if (!step) assert.deepEqual(r.body.allowed, allowedTo(from, part), what);
        }
      }
    }
    assert.equal(stands(order), before, `what was refused left nothing behind (${from})`);
  }
  assert.equal(tried, 6 * 6 * 4);
});

test('a step leaves its time, notes and place in the order and its history', async () => {
  const order = await orderIn('pending_pickup');
  const steps = [
    [agent, { status: 'picked_up', notes: '  Box and charger included  ', location: { lat: 1.1 + 2.2, lng: 1e-7 } }],
    [agent, { status: 'in_transit', notes: '', location: { lat: '-0.5', lng: 180 } }],
    [agent, { status: 'delivered', notes: null, location: null }],
    [vendor, { status: 'completed' }],
  ];
  let last;
  for (const [who, json] of steps) {
    const r = await w.put(`/orders/${order}/status`, json, who.token);
    assert.equal(r.status, 200, r.text);
    last = r.body.order;
  }
  assert.deepEqual(last.statusHistory.map((h) => h.status), PATH);
  assert.deepEqual(last.statusHistory.map((h) => h.updatedBy), [vendor.id, agent.id, agent.id, agent.id, vendor.id]);
  assert.deepEqual(last.statusHistory.map((h) => h.notes), [null, 'Box and charger included', null, null, null]);
  assert.deepEqual(last.statusHistory.map((h) => h.location), [null, { lat: 1.1 + 2.2, lng: 1e-7 }, { lat: -0.5, lng: 180 }, null, null]);
  const at = last.statusHistory.map((h) => h.timestamp);
  assert.deepEqual([...at].sort(), at);
  for (const [key, i] of [['pickedUpAt', 1], ['deliveredAt', 3], ['completedAt', 4]]) {
    assert.match(last[key], TIME);
    assert.ok(Math.abs(Date.parse(last[key]) - Date.parse(at[i])) < 1000, key);
  }
  assert.deepEqual((await w.get(`/orders/${order}`, client.token)).body.order, last);
});

test('what is wrong with a step is said of every field at once, and nothing changes', async () => {
  const order = await orderIn('pending_pickup');
  const before = stands(order);
  for (const [json, fields] of [
    [{}, ['status']], [{ status: 'sold' }, ['status']], [{ status: 5 }, ['status']], [{ status: null }, ['status']],
    [{ status: 'picked_up', notes: 'x'.repeat(1001) }, ['notes']], [{ status: 'picked_up', notes: 7 }, ['notes']],
    [{ status: 'x', notes: ['a'], location: { lat: 91 } }, ['location.lat', 'location.lng', 'notes', 'status']],
    [{ status: 'picked_up', location: { lat: 9, lng: 180.01 } }, ['location.lng']], [{ status: 'picked_up', location: { lat: -90.5, lng: 1 } }, ['location.lat']],
    [{ status: 'picked_up', location: { lat: 'north', lng: true } }, ['location.lat', 'location.lng']],
    [{ status: 'picked_up', location: 'Kochi' }, ['location']], [{ status: 'picked_up', location: [9, 76] }, ['location']],
  ]) {
    const r = await put(order, agent, json);
    assert.equal(r.body.code, 'validation_failed', JSON.stringify(json));
    assert.deepEqual(wrong(r), fields, JSON.stringify(json));
  }
  for (const body of ['{"status":"picked_up","location":{"lat":NaN,"lng":1}}', '{"status":"picked_up","location":{"lat":Infinity,"lng":1}}']) {
    assert.equal((await w.request('PUT', `/orders/${order}/status`, { token: agent.token, body, headers: { 'content-type': 'application/json' } })).status, 400, body);
  }
  assert.equal(stands(order), before);
  assert.equal((await put(order, agent, { status: 'picked_up', notes: 'x'.repeat(1000) })).status, 200);
});

test('of steps taken at the same moment exactly one is', async () => {
  const order = await orderIn('pending_pickup');
  const all = await Promise.all([[agent, 'picked_up'], [admin, 'picked_up'], [client, 'cancelled'], [vendor, 'cancelled'], [agent, 'picked_up'], [client, 'cancelled']]
    .map(([who, status]) => put(order, who, { status })));
  const won = all.filter((r) => r.status === 200);
  // (an administrator may still cancel what is picked up, none of these may)
  assert.equal(won.length, 1, all.map((r) => r.text).join('\n'));
  for (const r of all) assert.ok(r.status === 200 || ['invalid_transition', 'forbidden'].includes(r.body.code), r.text);
  assert.equal(w.sql(`SELECT count(*) FROM order_history WHERE order_id = '${order}'`), '2');
});

test('its people hear of each step: in the app, on their screens, by WhatsApp', async () => {
  const order = await orderIn('pending_pickup');
  await put(order, agent, { status: 'picked_up' });
  for (const who of [client, vendor, agent]) {
    assert.equal(w.sql(`SELECT type, data ->> 'status' FROM notifications WHERE user_id = '${who.id}' AND data ->> 'orderId' = '${order}' ORDER BY created_at DESC LIMIT 1`), 'order_update|picked_up');
    assert.equal(w.sql(`SELECT data ->> 'status' FROM events WHERE name = 'order_update' AND user_id = '${who.id}' AND ref = '${order}' ORDER BY id DESC LIMIT 1`), 'picked_up');
    const m = await until('the message', () => messages(w, who.phone).find((x) => x.template.name === 'order_status' && JSON.stringify(x).includes(order) && JSON.stringify(x).includes('"picked_up"')));
    assert.deepEqual(m.template.components[0].parameters.map((p) => p.text), [order, 'picked_up', agent.phone]);
  }
});

test('an administrator\'s step is in the audit log, a party\'s is not', async () => {
  const order = await orderIn('pending_pickup');
  await put(order, agent, { status: 'picked_up' });
  assert.equal(w.sql(`SELECT count(*) FROM audit_log WHERE target = '${order}'`), '0');
  await put(order, admin, { status: 'in_transit' });
  assert.equal(w.sql(`SELECT actor_id, action, details ->> 'from', details ->> 'to' FROM audit_log WHERE target = '${order}'`), `${admin.id}|order.status|picked_up|in_transit`);
});

test('a cancelled order leaves its listing sold and ends its open tasks', async () => {
  const { listing: l, orderId: order } = await sell();
  const { assignment } = (await w.put(`/listings/${l}/assign-agent`, { agentId: agent.id }, admin.token)).body;
  assert.equal((await w.put(`/agent/tasks/${assignment.id}/accept`, undefined, agent.token)).status, 200);
  assert.equal((await put(order, vendor, { status: 'cancelled' })).status, 200);
  assert.equal((await w.get(`/listings/${l}`)).body.listing.status, 'sold');
  for (const step of ['start', 'complete']) assert.equal((await w.put(`/agent/tasks/${assignment.id}/${step}`, {}, agent.token)).body.code, 'invalid_state');
  assert.equal(w.sql(`SELECT status, metadata ->> 'reason' FROM agent_tasks WHERE id = '${assignment.id}'`), 'failed|The order was cancelled.');
});

// ---- rating ----

const rate = (order, who, json) => ask('POST', `/orders/${order}/rating`, who, json);

test('the client rates a delivered order, once; nobody else does', async () => {
  const order = await orderIn('in_transit');
  assert.equal((await rate(order, client, { rating: 5 })).body.code, 'invalid_state');
  await put(order, agent, { status: 'delivered' });
  for (const who of [vendor, agent, admin]) assert.equal((await rate(order, who, { rating: 5 })).body.code, 'forbidden');
  assert.equal((await rate(order, other, { rating: 5 })).status, 404);
  assert.equal((await rate(order, null, { rating: 5 })).status, 401);
  assert.equal((await rate(crypto.randomUUID(), client, { rating: 5 })).status, 404);
  for (const rating of [0, 6, 4.5, '4.0', '', null, undefined, true]) assert.deepEqual(wrong(await rate(order, client, { rating })), ['rating'], String(rating));
  assert.deepEqual(wrong(await rate(order, client, { rating: 9, comment: 'x'.repeat(1001) })), ['comment', 'rating']);
  const all = await Promise.all([1, 2, 3, 4, 5].map((rating) => rate(order, client, { rating, comment: ' Quick and kind ' })));
  const won = all.filter((r) => r.status === 200);
  assert.equal(won.length, 1, 'five at the same moment: one counts');
  assert.equal(won[0].body.order.ratingComment, 'Quick and kind');
  for (const r of all) assert.ok(r === won[0] || r.body.code === 'invalid_state', r.text);
  await put(order, vendor, { status: 'completed' });
  assert.equal((await rate(order, client, { rating: 1 })).body.code, 'invalid_state', 'not again when it is completed');
  assert.equal((await w.get(`/orders/${order}`, vendor.token)).body.order.rating, won[0].body.order.rating);
});

test('a completed order can be rated, a cancelled one cannot', async () => {
  assert.equal((await rate(await orderIn('completed'), client, { rating: '3' })).body.order.rating, 3);
  assert.equal((await rate(await orderIn('cancelled'), client, { rating: 3 })).body.code, 'invalid_state');
});

// The list of one who has read it before is made of what was kept, as long as nothing has changed.
test('a list that was read before shows each change at once, to each of the order\'s parties', async () => {
  const [buyer, carrier, successor] = await Promise.all([signIn(w, 'VENDOR'), signIn(w, 'AGENT'), signIn(w, 'AGENT')]);
  const seller = await signIn(w);
  const sells = async () => (await mustBid(w, buyer, quickListing(w, seller.id)[0], 45000)).orderId;
  const listed = async (who, query = '') => {
    const [first, again] = [await w.get(`/orders${query}`, who.token), await w.get(`/orders${query}`, who.token)];
    assert.equal(first.status, 200, first.text);
    assert.equal(again.text.replace(/"requestId":"[^"]*"/, ''), first.text.replace(/"requestId":"[^"]*"/, ''), 'read twice it reads the same');
    return first.body.orders;
  };
  const agrees = async (...parties) => {
    for (const who of parties) for (const o of await listed(who)) assert.deepEqual(o, (await w.get(`/orders/${o.id}`, admin.token)).body.order);
  };
  const order = await sells();
  await agrees(seller, buyer);
  w.sql(`UPDATE orders SET agent_id = '${carrier.id}' WHERE id = '${order}'`);
  for (const [status, who] of [['picked_up', carrier], ['in_transit', carrier], ['delivered', carrier], ['completed', buyer]]) {
    assert.equal((await put(order, who, { status, notes: `Now ${status}` })).status, 200);
    for (const party of [seller, buyer, carrier]) assert.equal((await listed(party))[0].status, status);
    assert.deepEqual((await listed(seller, '?status=completed')).length, status === 'completed' ? 1 : 0);
    await agrees(seller, buyer, carrier);
  }
  assert.equal((await rate(order, seller, { rating: 4 })).status, 200);
  for (const party of [seller, buyer, carrier]) assert.equal((await listed(party))[0].rating, 4);
  w.sql(`UPDATE orders SET agent_id = '${successor.id}' WHERE id = '${order}'`);
  assert.deepEqual([(await listed(carrier)).length, (await listed(successor)).length, (await listed(seller))[0].agentId], [0, 1, successor.id]);

  const second = await sells();
  for (const party of [seller, buyer]) assert.deepEqual((await listed(party)).map((o) => o.id), [second, order]);
  assert.deepEqual((await listed(seller, '?limit=1&page=2')).map((o) => o.id), [order]);
  // a part in another role than his own
  w.sql(`UPDATE orders SET agent_id = '${seller.id}' WHERE id = '${id}'`);
  assert.equal((await listed(seller)).length, 3);
  w.sql(`UPDATE orders SET agent_id = '${agent.id}' WHERE id = '${id}'`);
  assert.deepEqual((await listed(seller)).map((o) => o.id), [second, order]);
  // who became an administrator sees everybody's, and his own again when he is none any more
  w.sql(`UPDATE users SET role = 'ADMIN' WHERE id = '${seller.id}'`);
  assert.ok((await w.get('/orders', seller.token)).body.pagination.total > 2);
  w.sql(`UPDATE users SET role = 'CLIENT' WHERE id = '${seller.id}'`);
  assert.deepEqual((await listed(seller)).map((o) => o.id), [second, order]);
  w.sql(`UPDATE sessions SET revoked_at = now() WHERE user_id = '${seller.id}'`);
  assert.equal((await w.get('/orders', seller.token)).status, 401, 'who may not ask is told nothing that was kept');
});
