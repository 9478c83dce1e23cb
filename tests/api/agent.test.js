'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { shared, signIn, liveListing, mustBid, quickListing, multipart, until, messages, photos } = require('./lib');

const w = shared();
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();

const ask = (method, p, who, json) => w.request(method, p, { token: who?.token, json });
const assign = (listing, json, who = admin) => ask('PUT', `/listings/${listing}/assign-agent`, who, json);
const step = (task, name, json, who = agent) => ask('PUT', `/agent/tasks/${task}/${name}`, who, json);
const move = (order, status, who = admin) => ask('PUT', `/orders/${order}/status`, who, { status });
const tasks = (query = '', who = agent) => ask('GET', `/agent/tasks${query}`, who);

let client, vendor, admin, agent, second;
before(async () => { [client, vendor, admin, agent, second] = await Promise.all([signIn(w, 'CLIENT', 'Anu Client'), signIn(w, 'VENDOR'), signIn(w, 'ADMIN'), signIn(w, 'AGENT'), signIn(w, 'AGENT')]); });

// A sold listing and its order: {listing, order}
async function sell(asking = 45000) {
  const [listing] = quickListing(w, client.id, { asking });
  w.sql(`DELETE FROM rate_limits WHERE key LIKE 'bids:%${vendor.id}%'`);
  return { listing, order: (await mustBid(w, vendor, listing, asking)).orderId };
}
async function mustAssign(listing, json = {}) {
  const r = await assign(listing, { agentId: agent.id, ...json });
  assert.equal(r.status, 200, r.text);
  return r.body.assignment;
}
async function mustStep(task, name, json, who) {
  const r = await step(task, name, json, who);
  assert.equal(r.status, 200, r.text);
  return r.body;
}
const orderOf = async (order, who = admin) => (await ask('GET', `/orders?limit=100${who === admin ? `&clientId=${client.id}` : ''}`, who)).body.orders.find((o) => o.id === order);

// ---- giving out ----

test('an assignment is a task with what the agent needs to go there', async () => {
  const l = await liveListing(w, client, admin, { contactName: 'Anu at the door', landmark: 'Opposite the temple' });
  const order = (await mustBid(w, vendor, l.id, 45000)).orderId;
  const scheduledAt = '2027-01-15T09:30:00+05:30';
  const r = await assign(l.id, { agentId: agent.id, priority: 'high', scheduledAt, description: '  Ring twice ' });
  assert.equal(r.status, 200, r.text);
  const { id, assignedAt, ...rest } = r.body.assignment;
  assert.match(assignedAt, TIME);
  assert.deepEqual(rest, {
    agentId: agent.id, orderId: order, type: 'pickup', priority: 'high', description: 'Ring twice',
    clientContact: { name: 'Anu at the door', phone: client.phone, address: '12 MG Road, Opposite the temple, Kochi, Kerala, 682001' },
    status: 'assigned', scheduledAt: '2027-01-15T04:00:00.000Z', acceptedAt: null, startedAt: null, completedAt: null, failedAt: null,
    commissionAmount: 2250, isPaid: false, metadata: {},
  });
  const o = await orderOf(order, agent);
  assert.deepEqual([o.agentId, o.pickupScheduledAt, o.status], [agent.id, '2027-01-15T04:00:00.000Z', 'pending_pickup']);
  assert.deepEqual((await tasks()).body.tasks.find((t) => t.id === id), r.body.assignment);
  const { listing } = (await ask('GET', `/listings/${l.id}`, agent)).body;
  assert.equal(listing.pickupAddress.streetAddress, '12 MG Road', 'the order\'s agent sees the listing whole');
  // who is told
  assert.equal(w.sql(`SELECT type, priority, data ->> 'orderId', data ->> 'taskId' FROM notifications WHERE user_id = '${agent.id}' AND data ->> 'taskId' = '${id}'`), `task_assigned|high|${order}|${id}`);
  assert.equal(w.sql(`SELECT user_id FROM events WHERE name = 'task_assigned' AND ref = '${id}'`), agent.id);
  const m = await until('the message', () => messages(w, agent.phone).find((x) => x.template.name === 'order_status' && JSON.stringify(x).includes(order)));
  assert.deepEqual(m.template.components[0].parameters.map((p) => p.text), [order, 'pending_pickup', agent.phone]);
  assert.equal(w.sql(`SELECT actor_id, action, details ->> 'agentId' FROM audit_log WHERE target = '${l.id}' AND action = 'listing.assign_agent'`), `${admin.id}|listing.assign_agent|${agent.id}`);
});

test('without a contact name the client\'s name stands there, and a sentence of ours describes the task', async () => {
  const { listing } = await sell();
  const t = await mustAssign(listing);
  assert.equal(t.clientContact.name, 'Anu Client');
  assert.match(t.description, /iPhone 13/);
  assert.equal(t.scheduledAt, null);
});

test('what is wrong with an assignment is said of every field at once', async () => {
  const { listing, order } = await sell();
  for (const [json, fields] of [
    [{}, ['agentId']], [{ agentId: 'x' }, ['agentId']], [{ agentId: agent.id, type: 'repair' }, ['type']], [{ agentId: agent.id, priority: 'urgent' }, ['priority']],
    [{ agentId: agent.id, description: 'x'.repeat(1001) }, ['description']], [{ agentId: agent.id, scheduledAt: 'tomorrow' }, ['scheduledAt']],
    [{ agentId: agent.id, commissionAmount: 100 }, ['commissionAmount']], [{ agentId: agent.id, type: 'pickup', commissionAmount: 0 }, ['commissionAmount']],
    [{ agentId: agent.id, type: 'verification', commissionAmount: -1 }, ['commissionAmount']], [{ agentId: agent.id, type: 'verification', commissionAmount: 1000000.01 }, ['commissionAmount']],
    [{ agentId: agent.id, type: 'verification', commissionAmount: 1.005 }, ['commissionAmount']], [{ agentId: 7, type: 1, priority: [], description: {}, scheduledAt: 5, commissionAmount: 'x' }, ['agentId', 'commissionAmount', 'description', 'priority', 'scheduledAt', 'type']],
  ]) {
    const r = await assign(listing, json);
    assert.equal(r.body.code, 'validation_failed', JSON.stringify(json));
    assert.deepEqual([...new Set(wrong(r))], fields, JSON.stringify(json));
  }
  assert.equal((await orderOf(order)).agentId, null);
});

test('only administrators assign, only to active agents, only on a sold listing', async () => {
  const { listing } = await sell();
  for (const who of [client, vendor, agent]) assert.equal((await assign(listing, { agentId: agent.id }, who)).status, 403);
  assert.equal((await assign(listing, { agentId: agent.id }, null)).status, 401);
  const gone = await signIn(w, 'AGENT');
  w.sql(`UPDATE users SET is_active = false WHERE id = '${gone.id}'`);
  for (const id of [client.id, admin.id, gone.id, crypto.randomUUID()]) assert.equal((await assign(listing, { agentId: id })).status, 404);
  assert.equal((await assign(crypto.randomUUID(), { agentId: agent.id })).status, 404);
  assert.equal((await assign('x', { agentId: agent.id })).status, 404);
  const [live] = quickListing(w, client.id);
  assert.equal((await assign(live, { agentId: agent.id })).body.code, 'invalid_state');
});

test('pickup and verification belong before the pickup, delivery behind it', async () => {
  for (const [status, can] of [['pending_pickup', ['pickup', 'verification']], ['picked_up', ['delivery']], ['in_transit', ['delivery']], ['delivered', []], ['completed', []], ['cancelled', []]]) {
    const { listing, order } = await sell();
    if (status === 'cancelled') await move(order, 'cancelled');
    else for (const to of ['picked_up', 'in_transit', 'delivered', 'completed'].slice(0, ['pending_pickup', 'picked_up', 'in_transit', 'delivered', 'completed'].indexOf(status))) await move(order, to);
    for (const type of ['pickup', 'verification', 'delivery']) {
      const r = await assign(listing, { agentId: agent.id, type });
      if (can.includes(type)) assert.equal(r.status, 200, r.text); else assert.equal(r.body.code, 'invalid_state', `${type} of what is ${status}: ${r.text}`);
    }
  }
});

test('assigning again takes a task from who has not accepted it, but not from who has', async () => {
  const { listing, order } = await sell();
  const first = await mustAssign(listing);
  const again = await mustAssign(listing, { agentId: second.id });
  assert.equal((await orderOf(order)).agentId, second.id, 'the latest agent is the order\'s');
  const replaced = (await tasks()).body.tasks.find((t) => t.id === first.id);
  assert.equal(replaced.status, 'failed');
  assert.match(replaced.failedAt, TIME);
  assert.equal(replaced.clientContact.phone, `+91******${client.phone.slice(-4)}`, 'and the client is a stranger to him again');
  assert.equal(replaced.clientContact.address, 'Kochi, Kerala, 682001');
  assert.equal((await step(first.id, 'accept')).body.code, 'invalid_state');
  assert.equal((await ask('GET', `/orders/${order}`, agent)).status, 404);
  await mustStep(again.id, 'accept', undefined, second);
  assert.equal((await assign(listing, { agentId: agent.id })).body.code, 'invalid_state', 'accepted');
  await mustStep(again.id, 'start', undefined, second);
  assert.equal((await assign(listing, { agentId: agent.id })).body.code, 'invalid_state', 'in progress');
  await mustAssign(listing, { type: 'verification' });   // another type does not stand in its way
  await mustStep(again.id, 'fail', { reason: 'Nobody at home' }, second);
  const third = await mustAssign(listing);
  assert.notEqual(third.id, again.id);
  assert.equal(w.sql(`SELECT count(*) FROM agent_tasks WHERE order_id = '${order}'`), '4');
});

test('accepting and assigning again at the same moment: one of the two comes late', async () => {
  for (let i = 0; i < 5; i++) {
    const { listing, order } = await sell();
    const t = await mustAssign(listing);
    const [accepted, again] = await Promise.all([step(t.id, 'accept'), assign(listing, { agentId: second.id })]);
    assert.deepEqual([accepted.status, again.status].sort(), [200, 409], `${accepted.text} ${again.text}`);
    assert.equal((await orderOf(order)).agentId, accepted.status === 200 ? agent.id : second.id);
  }
});

// ---- working ----

test('what can be done with a task in each of its states', async () => {
  const can = { assigned: ['accept', 'fail'], accepted: ['start', 'complete', 'fail'], in_progress: ['complete', 'fail'], completed: [], failed: [] };
  const way = { assigned: [], accepted: ['accept'], in_progress: ['accept', 'start'], completed: ['accept', 'complete'], failed: ['fail'] };
  const becomes = { accept: 'accepted', start: 'in_progress', complete: 'completed', fail: 'failed' };
  const stamp = { accept: 'acceptedAt', start: 'startedAt', complete: 'completedAt', fail: 'failedAt' };
  const body = (name) => (name === 'fail' ? { reason: 'Why' } : undefined);
  for (const [state, names] of Object.entries(can)) {
    for (const name of Object.keys(becomes)) {
      const t = await mustAssign((await sell()).listing, { type: 'verification' });
      for (const before of way[state]) await mustStep(t.id, before, body(before));
      const r = await step(t.id, name, body(name));
      if (names.includes(name)) {
        assert.equal(r.status, 200, `${name} of what is ${state}: ${r.text}`);
        assert.equal(r.body.task.status, becomes[name]);
        assert.match(r.body.task[stamp[name]], TIME);
      } else assert.equal(r.body.code, 'invalid_state', `${name} of what is ${state}: ${r.text}`);
    }
  }
});

test('a task is its agent\'s alone', async () => {
  const t = await mustAssign((await sell()).listing);
  for (const name of ['accept', 'start', 'complete', 'fail']) {
    const json = name === 'fail' ? { reason: 'x' } : undefined;
    assert.equal((await step(t.id, name, json, second)).status, 404);
    for (const who of [client, vendor, admin]) assert.equal((await step(t.id, name, json, who)).status, 403);
    assert.equal((await step(t.id, name, json, null)).status, 401);
    assert.equal((await step(crypto.randomUUID(), name, json)).status, 404);
  }
  for (const who of [client, vendor, admin]) assert.equal((await tasks('', who)).status, 403);
  assert.ok(!(await tasks('', second)).body.tasks.some((x) => x.id === t.id));
  for (const json of [{}, { reason: '' }, { reason: '  ' }, { reason: 'x'.repeat(501) }, { reason: 5 }, { reason: null }]) assert.deepEqual(wrong(await step(t.id, 'fail', json)), ['reason']);
  assert.deepEqual(wrong(await step(t.id, 'complete', { notes: 'x'.repeat(1001), verificationPhotos: 'x' })), ['notes', 'verificationPhotos']);
  assert.equal((await mustStep(t.id, 'fail', { reason: ' Nobody\nat home ' })).task.metadata.reason, 'Nobody\nat home');
});

test('completing a pickup brings the order to picked_up, a delivery to delivered, through in_transit', async () => {
  const { listing, order } = await sell();
  const pickup = await mustAssign(listing);
  await mustStep(pickup.id, 'accept');
  assert.equal((await orderOf(order)).status, 'pending_pickup');
  const done = await mustStep(pickup.id, 'complete', { notes: ' All fine ' });
  assert.equal(done.commissionEarned, 2250);
  assert.deepEqual(done.task.metadata, { notes: 'All fine' });
  let o = await orderOf(order);
  assert.deepEqual(o.statusHistory.map((h) => [h.status, h.updatedBy]), [['pending_pickup', vendor.id], ['picked_up', agent.id]]);
  assert.match(o.pickedUpAt, TIME);

  const delivery = await mustAssign(listing, { type: 'delivery', agentId: second.id, commissionAmount: '150.25' });
  assert.equal(delivery.commissionAmount, 150.25);
  await mustStep(delivery.id, 'accept', undefined, second);
  await mustStep(delivery.id, 'start', undefined, second);
  assert.equal((await mustStep(delivery.id, 'complete', {}, second)).commissionEarned, 150.25);
  o = await orderOf(order, vendor);
  assert.deepEqual(o.statusHistory.map((h) => h.status), ['pending_pickup', 'picked_up', 'in_transit', 'delivered']);
  assert.match(o.deliveredAt, TIME);
  for (const who of [client, vendor, second]) {
    assert.equal(w.sql(`SELECT string_agg(data ->> 'status', ',' ORDER BY created_at) FROM notifications WHERE user_id = '${who.id}' AND type = 'order_update' AND data ->> 'orderId' = '${order}' AND data ? 'status'`),
      who === second ? 'delivered' : 'picked_up,delivered');
  }
  assert.equal((await ask('PUT', `/orders/${order}/status`, vendor, { status: 'completed' })).status, 200);
});

test('a completion finds the order where it was moved by hand, and pays all the same', async () => {
  const { listing, order } = await sell();
  const t = await mustAssign(listing);
  await mustStep(t.id, 'accept');
  await move(order, 'picked_up', agent);
  await move(order, 'in_transit', agent);
  assert.equal((await mustStep(t.id, 'complete')).commissionEarned, 2250);
  const o = await orderOf(order);
  assert.deepEqual(o.statusHistory.map((h) => h.status), ['pending_pickup', 'picked_up', 'in_transit']);
  const d = await mustAssign(listing, { type: 'delivery' });
  assert.equal(d.commissionAmount, 0);
  await mustStep(d.id, 'accept');
  assert.equal((await mustStep(d.id, 'complete')).commissionEarned, 0);
  assert.equal((await orderOf(order)).status, 'delivered');
});

test('a task is completed once, however often it is said at the same moment', async () => {
  const { listing, order } = await sell();
  const t = await mustAssign(listing);
  await mustStep(t.id, 'accept');
  const all = await Promise.all(Array.from({ length: 6 }, () => step(t.id, 'complete', {})));
  assert.equal(all.filter((r) => r.status === 200).length, 1);
  assert.equal(w.sql(`SELECT count(*) FROM order_history WHERE order_id = '${order}'`), '2');
});

// ---- the list and its sums ----

test('sums are exact to the paisa, over all completed tasks, whatever the filters', async () => {
  const who = await signIn(w, 'AGENT');
  let paise = 0, done = 0;
  for (const asking of [1000.1, 33333.33, 1234.5, 99999.99, 1000.11]) {
    const { listing } = await sell(asking);
    const t = await mustAssign(listing, { agentId: who.id });
    const commission = Math.round(asking * 100) * 5;   // hundredths of a paisa
    assert.equal(Math.round(t.commissionAmount * 100), Math.floor((commission + 50) / 100), `half-up of ${asking}`);
    await mustStep(t.id, 'accept', undefined, who);
    if (asking === 1234.5) { await mustStep(t.id, 'fail', { reason: 'x' }, who); continue; }
    assert.equal((await mustStep(t.id, 'complete', {}, who)).commissionEarned, t.commissionAmount);
    paise += Math.floor((commission + 50) / 100);
    done++;
  }
  for (const q of ['', '?status=assigned', '?priority=low', '?date=2020-01-01', '?limit=1']) {
    const { body } = await tasks(q, who);
    assert.equal(Math.round(body.totalCommission * 100), paise);
    assert.equal(body.totalCommission, paise / 100);
    assert.equal(body.completedToday, done);
  }
  assert.deepEqual((({ totalCommission, completedToday, tasks: t }) => [totalCommission, completedToday, t])((await tasks('', await signIn(w, 'AGENT'))).body), [0, 0, []]);
});

test('the list is the newest first, filtered by status, priority and the day in Kerala', async () => {
  const who = await signIn(w, 'AGENT');
  const made = [];
  for (const priority of ['high', 'normal', 'low']) made.unshift(await mustAssign((await sell()).listing, { agentId: who.id, priority }));
  const ids = async (q) => (await tasks(q, who)).body.tasks.map((t) => made.findIndex((m) => m.id === t.id));
  assert.deepEqual(await ids(''), [0, 1, 2]);
  assert.deepEqual(await ids('?priority=high'), [2]);
  await mustStep(made[1].id, 'accept', undefined, who);
  assert.deepEqual(await ids('?status=accepted'), [1]);
  assert.deepEqual(await ids('?status=assigned&priority=low'), [0]);
  assert.deepEqual(await ids('?limit=2'), [0, 1]);
  assert.deepEqual(await ids('?limit=2&page=2'), [2]);
  // 18:29:59.9 UTC is the last moment of the day in Kerala, 18:30 the next day's first
  w.sql(`UPDATE agent_tasks SET assigned_at = '2026-03-10 18:29:59.9+00' WHERE id = '${made[1].id}'`);
  w.sql(`UPDATE agent_tasks SET assigned_at = '2026-03-10 18:30:00+00' WHERE id = '${made[2].id}'`);
  assert.deepEqual(await ids('?date=2026-03-10'), [1]);
  assert.deepEqual(await ids('?date=2026-03-11'), [2]);
  assert.deepEqual(await ids('?date=2026-03-09'), []);
  const today = new Date(Date.now() + 5.5 * 3600e3).toISOString().slice(0, 10);
  assert.deepEqual(await ids(`?date=${today}`), [0]);
  for (const q of ['status=done', 'status=', 'priority=urgent', 'date=today', 'date=2026-02-30', 'date=2026-3-1', 'page=0', 'limit=x']) assert.deepEqual(wrong(await tasks(`?${q}`, who)), [q.split('=')[0]], q);
});

test('completedToday begins at midnight in Kerala', async () => {
  const who = await signIn(w, 'AGENT');
  const t = await mustAssign((await sell()).listing, { agentId: who.id });
  await mustStep(t.id, 'accept', undefined, who);
  await mustStep(t.id, 'complete', {}, who);
  assert.equal((await tasks('', who)).body.completedToday, 1);
  w.sql(`UPDATE agent_tasks SET completed_at = ((now() AT TIME ZONE 'Asia/Kolkata')::date::timestamp AT TIME ZONE 'Asia/Kolkata') - interval '1 ms' WHERE id = '${t.id}'`);
  assert.equal((await tasks('', who)).body.completedToday, 0);
  w.sql(`UPDATE agent_tasks SET completed_at = ((now() AT TIME ZONE 'Asia/Kolkata')::date::timestamp AT TIME ZONE 'Asia/Kolkata') WHERE id = '${t.id}'`);
  assert.equal((await tasks('', who)).body.completedToday, 1);
  assert.equal((await tasks('', who)).body.totalCommission, 2250);
});

// ---- verification photos ----

function upload(order, data, who = agent, parts = undefined) {
  const form = multipart(parts ?? [{ name: 'orderId', value: order }, { name: 'photo', data }]);
  return w.request('POST', '/files/verification', { token: who?.token, body: form.body, headers: form.headers });
}
const fetchFile = (url) => { const { pathname, search } = new URL(url); return w.request('GET', pathname + search, { unchecked: true }); };

test('a verification photo is made fit to publish, stored with its order, and served by its signed URL alone', async () => {
  const { listing, order } = await sell();
  await mustAssign(listing);
  for (const data of [photos.small(1), photos.png(), photos.webp()]) {
    const r = await upload(order, data);
    assert.equal(r.status, 201, r.text);
    const { pathname, search } = new URL(r.body.url);
    assert.match(pathname, new RegExp(`^/files/verification/${order}/[0-9a-f-]{36}\\.jpg$`));
    const got = await fetchFile(r.body.url);
    assert.equal(got.status, 200);
    assert.deepEqual([got.buffer[0], got.buffer[1]], [0xff, 0xd8], 'a JPEG whatever was sent');
    assert.equal((await fetchFile(r.body.url.split('?')[0])).status, 403);
    assert.equal((await w.request('GET', `/files/verification/${crypto.randomUUID()}/${path.basename(pathname)}${search}`, { unchecked: true })).status, 403);
  }
  assert.equal(fs.readdirSync(path.join(w.uploads(), 'verification', order)).length, 3);
});

test('who is not the order\'s agent, and what is no photo, is refused and leaves nothing', async () => {
  const { listing, order } = await sell();
  await mustAssign(listing);
  const jpeg = photos.small(1);
  assert.equal((await upload(order, jpeg, second)).status, 404);
  for (const who of [client, vendor, admin]) assert.equal((await upload(order, jpeg, who)).status, 403);
  assert.equal((await upload(order, jpeg, null)).status, 401);
  assert.equal((await upload(crypto.randomUUID(), jpeg)).status, 404);
  assert.deepEqual(wrong(await upload('x', jpeg)), ['orderId']);
  assert.deepEqual(wrong(await upload(order, null, agent, [])), ['orderId', 'photo']);
  assert.deepEqual(wrong(await upload(order, null, agent, [{ name: 'orderId', value: order }, { name: 'photo', value: 'text' }])), ['photo']);
  for (const bad of [photos.pdf(), photos.gif(), Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), jpeg.subarray(0, 60)]) assert.deepEqual(wrong(await upload(order, bad)), ['photo']);
  assert.equal((await upload(order, Buffer.concat([jpeg, Buffer.alloc(5 * 1024 * 1024 + 1 - jpeg.length)]))).body.code, 'payload_too_large');
  assert.equal((await ask('POST', '/files/verification', agent, { orderId: order })).body.code, 'unsupported_media_type');
  assert.ok(!fs.existsSync(path.join(w.uploads(), 'verification', order)));
});

test('a completion names photos of its own order, and each answer signs them anew', async () => {
  const { listing, order } = await sell();
  const t = await mustAssign(listing);
  const other = await sell();
  await mustAssign(other.listing);
  await mustStep(t.id, 'accept');
  const mine = [(await upload(order, photos.small(1))).body.url, (await upload(order, photos.small(2))).body.url];
  const foreign = (await upload(other.order, photos.small(3))).body.url;
  const [base, query] = mine[0].split('?');
  for (const [list, fields] of [
    [[foreign], ['verificationPhotos[0]']], [[mine[0], foreign], ['verificationPhotos[1]']], [['https://example.com/x.jpg', 5, null], ['verificationPhotos[0]', 'verificationPhotos[1]', 'verificationPhotos[2]']],
    [[base], ['verificationPhotos[0]']], [[`${base}?${query.replace(/.$/, (c) => (c === 'A' ? 'B' : 'A'))}`], ['verificationPhotos[0]']],
    [[mine[0].replace(/[0-9a-f-]{36}\.jpg/, `${crypto.randomUUID()}.jpg`)], ['verificationPhotos[0]']],
    [Array(21).fill(mine[0]), ['verificationPhotos']], [{ 0: mine[0] }, ['verificationPhotos']], [mine[0], ['verificationPhotos']],
  ]) assert.deepEqual(wrong(await step(t.id, 'complete', { verificationPhotos: list })), fields, JSON.stringify(list));
  assert.equal((await orderOf(order)).status, 'pending_pickup');
  const done = await mustStep(t.id, 'complete', { notes: 'x', verificationPhotos: mine });
  assert.deepEqual(done.task.metadata.verificationPhotos.map((u) => u.split('?')[0]), mine.map((u) => u.split('?')[0]), 'in their order');
  const shown = (await tasks()).body.tasks.find((x) => x.id === t.id);
  for (const url of shown.metadata.verificationPhotos) assert.equal((await fetchFile(url)).status, 200);
});

// As long as nothing has changed, a list is made of what was kept when it was read before.
test('a list that was read before shows each change at once: of the task, its client, its order\'s agent', async () => {
  const [courier, another, lister] = await Promise.all([signIn(w, 'AGENT'), signIn(w, 'AGENT'), signIn(w, 'CLIENT', 'Before')]);
  const sold = async () => {
    const [listing] = quickListing(w, lister.id);
    w.sql(`DELETE FROM rate_limits WHERE key LIKE 'bids:%${vendor.id}%'`);
    return { listing, order: (await mustBid(w, vendor, listing, 45000)).orderId };
  };
  const listed = async (who = courier, query = '') => {
    const [first, again] = [await tasks(query, who), await tasks(query, who)];
    assert.equal(first.status, 200, first.text);
    assert.deepEqual(again.body.tasks, first.body.tasks, 'read twice it reads the same');
    return first.body.tasks;
  };
  const { listing } = await sold();
  const { id } = await mustAssign(listing, { agentId: courier.id });
  assert.deepEqual((await listed()).map((t) => [t.id, t.status, t.clientContact.name, t.clientContact.phone]), [[id, 'assigned', 'Before', lister.phone]]);
  assert.equal((await ask('PUT', '/users/me', lister, { name: 'After' })).status, 200);
  assert.equal((await listed())[0].clientContact.name, 'After');
  await mustStep(id, 'accept', undefined, courier);
  assert.equal((await listed())[0].status, 'accepted');
  assert.deepEqual(await listed(courier, '?status=assigned'), []);
  const done = (await mustStep(id, 'complete', { notes: 'All there' }, courier)).task;
  assert.deepEqual(await listed(), [done]);
  assert.equal((await tasks('', courier)).body.totalCommission, done.commissionAmount);

  const next = await sold();
  const given = await mustAssign(next.listing, { agentId: courier.id });
  assert.deepEqual((await listed()).map((t) => t.id), [given.id, id]);
  await mustAssign(next.listing, { agentId: another.id });
  const [lost] = await listed();
  assert.deepEqual([lost.status, lost.clientContact.phone], ['failed', `+91******${lister.phone.slice(-4)}`], 'to who is not its agent any more the client is a stranger');
  assert.equal((await listed(another))[0].clientContact.phone, lister.phone);
  w.sql(`UPDATE listings SET city = 'Thrissur' WHERE id = '${listing}'`);
  assert.match((await listed())[1].clientContact.address, /Thrissur/);
});
