'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, own, signIn, several, claims, photos, quickListing, makeListing, approve, liveListing, mustBid, until } = require('./lib');

const w = shared();
const lonely = own();   // where this file alone decides who is an administrator
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const USER = ['createdAt', 'id', 'isActive', 'lastLogin', 'metadata', 'name', 'phone', 'role'];
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();
const get = async (p, who = admin, on = w) => {
  const r = await on.get(p, who.token);
  assert.equal(r.status, 200, `${p} ${r.text}`);
  return r.body;
};
const change = (who, wish, by = admin, on = w) => on.put(`/admin/users/${who.id}`, wish, by.token);
let admin, client, vendor, agent;

before(async () => {
  [admin, client, vendor, agent] = await Promise.all(['ADMIN', 'CLIENT', 'VENDOR', 'AGENT'].map((role) => signIn(w, role)));
});

test('nobody but an administrator gets in', async () => {
  const paths = ['/admin/dashboard', '/admin/listings/pending', '/admin/agents/available', '/admin/users', '/admin/audit-log'];
  for (const p of paths) {
    assert.equal((await w.get(p)).status, 401, p);
    for (const who of [client, vendor, agent]) {
      const r = await w.get(`${p}?page=x`, who.token);
      assert.deepEqual([r.status, r.body.code, r.body.error], [403, 'forbidden', 'Insufficient permissions'], p);
    }
  }
  for (const who of [client, vendor, agent]) {
    assert.equal((await change(client, { role: 'ADMIN' }, who)).status, 403);
    assert.equal((await change(client, { role: 7 }, who)).status, 403, 'who may not ask does not hear what was wrong');
  }
  assert.equal((await w.get('/users/me', client.token)).body.user.role, 'CLIENT');
});

// ---- the dashboard ----

test('the dashboard counts what waits, what runs and what was earned', async () => {
  const [a, c, v] = [await signIn(lonely, 'ADMIN'), await signIn(lonely), await signIn(lonely, 'VENDOR')];
  const look = () => get('/admin/dashboard', a, lonely);
  const { metrics: before_ } = await look();
  assert.deepEqual(Object.keys(before_).sort(), ['activeListings', 'availableAgents', 'pendingAssignments', 'pendingReviews', 'platformFees', 'totalRevenue']);

  const pending = await makeListing(lonely, c);
  assert.equal((await look()).metrics.pendingReviews, before_.pendingReviews + 1);
  await approve(lonely, a, pending.id);
  quickListing(lonely, c.id, { n: 3 });
  quickListing(lonely, c.id, { ends: '-1 milliseconds' });   // over, whether closed or not
  const busy = await signIn(lonely, 'AGENT');
  let { metrics } = await look();
  assert.deepEqual([metrics.pendingReviews, metrics.activeListings, metrics.availableAgents], [before_.pendingReviews, before_.activeListings + 4, before_.availableAgents + 1]);

  const [odd, even] = quickListing(lonely, c.id, { n: 2, asking: 12345.67 });
  const { orderId } = await mustBid(lonely, v, odd, '12345.67');
  await mustBid(lonely, v, even, 20000);
  ({ metrics } = await look());
  assert.deepEqual([metrics.totalRevenue, metrics.platformFees, metrics.pendingAssignments], [before_.totalRevenue + 32345.67, before_.platformFees + 246.91 + 400, before_.pendingAssignments + 2]);
  assert.equal((await lonely.put(`/orders/${orderId}/status`, { status: 'cancelled' }, a.token)).status, 200);
  ({ metrics } = await look());
  assert.deepEqual([metrics.totalRevenue, metrics.platformFees, metrics.pendingAssignments], [before_.totalRevenue + 20000, before_.platformFees + 400, before_.pendingAssignments + 1], 'a cancelled order brings nothing');

  assert.equal((await lonely.put(`/listings/${even}/assign-agent`, { agentId: busy.id }, a.token)).status, 200);
  assert.equal((await look()).metrics.pendingAssignments, before_.pendingAssignments);
  lonely.sql(`INSERT INTO agent_tasks (agent_id, order_id, type, description) SELECT '${busy.id}', o.id, 'verification', '' FROM orders o LIMIT 1`);
  for (let i = 0; i < 3; i++) {
    const [l] = quickListing(lonely, c.id);
    await mustBid(lonely, v, l, 45000);
    assert.equal((await lonely.put(`/listings/${l}/assign-agent`, { agentId: busy.id }, a.token)).status, 200);
  }
  assert.equal((await look()).metrics.availableAgents, before_.availableAgents, 'five open tasks are enough');
});

test('recent activity: the 20 newest, whatever they are', async () => {
  const { recentActivity: all } = await get('/admin/dashboard');
  assert.ok(all.length <= 20);
  for (const a of all) {
    assert.deepEqual(Object.keys(a).sort(), ['message', 'timestamp', 'type']);
    assert.match(a.timestamp, TIME);
    assert.match(a.message, /\S/);
  }
  assert.deepEqual(all.map((a) => a.timestamp), all.map((a) => a.timestamp).sort().reverse());

  const [a, c, v] = [await signIn(lonely, 'ADMIN'), await signIn(lonely, 'CLIENT', 'Anna K'), await signIn(lonely, 'VENDOR')];
  const listing = await liveListing(lonely, c, a, { brand: 'Nokia', model: '3310' });
  await mustBid(lonely, v, listing.id, 10000);
  await mustBid(lonely, v, listing.id, 45000);
  const { recentActivity } = await get('/admin/dashboard', a, lonely);
  assert.equal(recentActivity.length, 20);
  const of = (type) => recentActivity.filter((x) => x.type === type).map((x) => x.message);
  assert.match(of('order_created')[0], /Nokia 3310.*₹45,000/);
  assert.equal(of('bid_placed').filter((m) => /Nokia 3310/.test(m)).length, 2);
  assert.match(of('listing_approved')[0], /approved/);
  assert.ok(of('listing_submitted').some((m) => /Nokia 3310.*₹45,000/.test(m)));
  assert.ok(of('user_joined').some((m) => /Anna K/.test(m)));
  assert.doesNotMatch(JSON.stringify(recentActivity), /[6-9]\d{9}/, 'no phone number');
});

// ---- what waits ----

test('pending listings: the oldest first, whole', async () => {
  const c = await signIn(w);
  const made = [await makeListing(w, c), await makeListing(w, c, { contactName: 'Anna' }), await makeListing(w, c)];
  const { listings } = await get('/admin/listings/pending');
  const mine = listings.filter((l) => l.clientId === c.id);
  assert.deepEqual(mine.map((l) => l.id), made.map((l) => l.id));
  assert.deepEqual([mine[1].imei1, mine[1].pickupAddress.streetAddress, mine[1].metadata.contactName], [made[1].imei1, '12 MG Road', 'Anna']);
  assert.ok(listings.every((l) => l.status === 'pending'));
  assert.ok(!('photos' in mine[0]), 'a list carries no sizes');
  assert.deepEqual((await get('/admin/listings/pending?limit=2')).listings.length, 2);
  const [first] = (await get('/admin/listings/pending?limit=1')).listings;
  const [second] = (await get('/admin/listings/pending?limit=1&page=2')).listings;
  assert.ok(first.submittedAt <= second.submittedAt && first.id !== second.id);
  assert.deepEqual((await get('/admin/listings/pending?page=10000')).listings, []);
  assert.deepEqual(wrong(await w.get('/admin/listings/pending?page=0&limit=a', admin.token)), ['limit', 'page']);
  await approve(w, admin, made[0].id);
  assert.ok(!(await get('/admin/listings/pending')).listings.some((l) => l.id === made[0].id));
});

test('available agents: least busy first, with what they did and earned', async () => {
  const [c, v, [busy, idle, gone]] = [await signIn(w), await signIn(w, 'VENDOR'), await several(w, 'AGENT', 3)];
  const sell = async () => { const [l] = quickListing(w, c.id, { asking: 20000 }); return { listing: l, order: (await mustBid(w, v, l, 20000)).orderId }; };
  const give = async (to) => {
    const s = await sell();
    const r = await w.put(`/listings/${s.listing}/assign-agent`, { agentId: to.id }, admin.token);
    assert.equal(r.status, 200, r.text);
    return { ...s, task: r.body.assignment.id };
  };
  const step = async (task, verb, body, who = busy) => assert.equal((await w.put(`/agent/tasks/${task}/${verb}`, body, who.token)).status, 200, verb);
  const done = await give(busy);
  await step(done.task, 'accept');
  await step(done.task, 'complete', {});
  const done2 = await give(busy);
  await step(done2.task, 'accept');
  await step(done2.task, 'complete', {});
  const failed = await give(busy);
  await step(failed.task, 'fail', { reason: 'Nobody at home' });
  for (const [s, rating] of [[done, 4], [done2, 5]]) {
    for (const status of ['in_transit', 'delivered']) assert.equal((await w.put(`/orders/${s.order}/status`, { status }, busy.token)).status, 200);
    assert.equal((await w.post(`/orders/${s.order}/rating`, { rating }, c.token)).status, 200);
  }
  await give(busy);
  const { agents } = await get('/admin/agents/available');
  const find = (who) => agents.find((a) => a.id === who.id);
  const { activeTasks, completionRate, totalEarnings, rating, ...user } = find(busy);
  assert.deepEqual({ activeTasks, completionRate, totalEarnings, rating }, { activeTasks: 1, completionRate: 66.7, totalEarnings: 2000, rating: 4.5 });
  assert.deepEqual(Object.keys(user).sort(), USER);
  assert.deepEqual([user.phone, user.role], [busy.phone, 'AGENT']);
  const { activeTasks: n, completionRate: rate, totalEarnings: earned, rating: stars } = find(idle);
  assert.deepEqual([n, rate, earned, stars], [0, 0, 0, 0]);
  assert.deepEqual(agents.map((a) => a.activeTasks), agents.map((a) => a.activeTasks).sort((x, y) => x - y));
  for (let i = 0; i < 4; i++) await give(busy);
  assert.equal((await change(gone, { isActive: false })).status, 200);
  const ids = (await get('/admin/agents/available')).agents.map((a) => a.id);
  assert.ok(!ids.includes(busy.id), 'five open tasks');
  assert.ok(!ids.includes(gone.id), 'disabled');
  assert.ok(ids.includes(idle.id));
});

// ---- people ----

test('users are found by role, by whole phone and by part of the name', async () => {
  const mark = crypto.randomBytes(4).toString('hex');
  const people = [await signIn(w, 'CLIENT', `Ann ${mark} 100%`), await signIn(w, 'VENDOR', `Bea ${mark}_x`), await signIn(w, 'VENDOR', `Élodie ${mark}`)];
  const found = async (query) => (await get(`/admin/users?${new URLSearchParams(query)}`)).users.map((u) => u.id);
  assert.deepEqual(await found({ search: mark }), people.map((p) => p.id).reverse(), 'the newest first');
  assert.deepEqual(await found({ search: mark, role: 'CLIENT' }), [people[0].id]);
  assert.deepEqual(await found({ search: `ea ${mark.toUpperCase()}` }), [people[1].id]);
  assert.deepEqual(await found({ search: `  élodie ${mark} ` }), [people[2].id]);
  assert.deepEqual(await found({ search: `${mark} 100%` }), [people[0].id], 'signs of patterns are letters here');
  assert.deepEqual(await found({ search: `${mark}%` }), []);
  assert.deepEqual(await found({ search: `${mark}_` }), [people[1].id]);
  const ten = people[1].phone.slice(3);
  for (const search of [`+91${ten}`, ten, `91${ten}`, `+91 ${ten.slice(0, 5)} ${ten.slice(5)}`, `${ten.slice(0, 5)}-${ten.slice(5)}`]) assert.deepEqual(await found({ search }), [people[1].id], search);
  assert.deepEqual((await get(`/admin/users?search=+91${ten}`)).users.map((u) => u.phone), [people[1].phone], 'a plus that was not escaped');
  for (const search of [ten.slice(6), `+91******${ten.slice(6)}`]) assert.ok((await found({ search, role: 'VENDOR' })).includes(people[1].id), search);
  assert.deepEqual(await found({ search: ten, role: 'CLIENT' }), []);
  for (const search of [ten.slice(0, 9), ten.slice(1), `${ten}0`]) assert.ok(!(await found({ search })).includes(people[1].id), `no part of a phone: ${search}`);

  const page = await get(`/admin/users?search=${mark}&limit=2&page=2`);
  assert.deepEqual(page.users.map((u) => u.id), [people[0].id]);
  assert.deepEqual(page.pagination, { page: 2, limit: 2, total: 3, totalPages: 2, hasNext: false, hasPrev: true });
  for (const u of page.users) {
    assert.deepEqual(Object.keys(u).sort(), USER);
    assert.deepEqual([u.phone, u.role, u.isActive, u.metadata], [people[0].phone, 'CLIENT', true, {}]);
    assert.match(u.lastLogin, TIME);
  }
  assert.ok((await get('/admin/users?role=ADMIN&limit=100')).users.every((u) => u.role === 'ADMIN'));
  assert.deepEqual(wrong(await w.get('/admin/users?role=KING&page=-1&limit=', admin.token)), ['limit', 'page', 'role']);
  assert.equal((await w.get(`/admin/users?search=${'x'.repeat(101)}`, admin.token)).status, 400);
});

test('role, name and state of a user change; what is left out stays', async () => {
  const who = await signIn(w);
  const r = await change(who, { role: 'VENDOR' });
  assert.equal(r.status, 200, r.text);
  assert.deepEqual(Object.keys(r.body).sort(), ['success', 'user']);
  assert.deepEqual(Object.keys(r.body.user).sort(), USER);
  assert.deepEqual([r.body.user.id, r.body.user.role, r.body.user.name, r.body.user.isActive, r.body.user.phone], [who.id, 'VENDOR', who.user.name, true, who.phone]);
  assert.equal((await change(who, { name: '  New Name ' })).body.user.name, 'New Name');
  const same = (await change(who, {})).body.user;
  assert.deepEqual([same.role, same.name], ['VENDOR', 'New Name']);
  assert.deepEqual((await change(who, { role: null, isActive: null, name: null })).body.user, same);
  for (const [wish, fields] of [[{ role: 'KING' }, ['role']], [{ role: 'ANONYMOUS' }, ['role']], [{ isActive: 'perhaps' }, ['isActive']], [{ name: '' }, ['name']], [{ name: 'x'.repeat(101) }, ['name']],
    [{ role: 1, isActive: 2, name: 3 }, ['isActive', 'name', 'role']]]) {
    const bad = await change(who, wish);
    assert.equal(bad.status, 400, JSON.stringify(wish));
    assert.deepEqual(wrong(bad), fields, JSON.stringify(wish));
  }
  assert.deepEqual((await change(who, {})).body.user, same);
  for (const id of [crypto.randomUUID(), 'x']) assert.equal((await w.put(`/admin/users/${id}`, { name: 'X' }, admin.token)).status, 404);
});

test('a new role holds at once, whatever the token says', async () => {
  const who = await signIn(w);
  const [listing] = quickListing(w, client.id, { asking: 20000 });
  assert.equal((await w.post('/bids', { listingId: listing, amount: 10000 }, who.token)).status, 403);
  await change(who, { role: 'VENDOR' });
  assert.equal(claims(who.token).role, 'CLIENT');
  await mustBid(w, who, listing, 10000);
  await change(who, { role: 'ADMIN' });
  assert.equal((await w.get('/admin/dashboard', who.token)).status, 200);
  await change(who, { role: 'CLIENT' });
  assert.equal((await w.get('/admin/dashboard', who.token)).status, 403);
});

test('a disabled account is out at once, everywhere, until it is enabled', async () => {
  const who = await signIn(w, 'VENDOR');
  const [listing] = quickListing(w, client.id, { asking: 20000 });
  await mustBid(w, who, listing, 10000);
  assert.equal((await change(who, { isActive: false })).body.user.isActive, false);
  for (const r of [await w.get('/users/me', who.token), await w.get('/notifications', who.token), await w.get('/marketplace', who.token), await w.post('/bids', { listingId: listing, amount: 11000 }, who.token),
    await w.post('/auth/refresh-token', { refreshToken: who.refreshToken })]) {
    assert.deepEqual([r.status, r.body.code], [403, 'account_disabled'], r.path);
  }
  await change(who, { isActive: true });
  assert.equal((await w.get('/users/me', who.token)).status, 200);
});

test('every deed is in the audit log: who, what, when, from where', async () => {
  const [boss, who, c] = [await signIn(w, 'ADMIN'), await signIn(w), await signIn(w)];
  const listing = await makeListing(w, c);
  const other = await makeListing(w, c);
  await approve(w, boss, listing.id);
  await w.put(`/listings/${other.id}/approve`, { approved: false, rejectionReason: 'Blurred' }, boss.token);
  await change(who, { role: 'AGENT', isActive: true, name: 'Somebody Else' }, boss);
  await change(who, {}, boss);   // nothing
  await change(who, { role: 'KING' }, boss);
  const mine = await get(`/admin/audit-log?actorId=${boss.id}`);
  assert.deepEqual(mine.entries.map((e) => [e.action, e.target]), [['user.update', who.id], ['listing.reject', other.id], ['listing.approve', listing.id], ['user.sign_in', boss.id]], 'the newest first');
  for (const e of mine.entries) {
    assert.deepEqual(Object.keys(e).sort(), ['action', 'actorId', 'details', 'id', 'ip', 'target', 'timestamp']);
    assert.equal(e.actorId, boss.id);
    assert.match(e.ip, /^(127\.0\.0\.1|::1)$/);
    assert.match(e.timestamp, TIME);
  }
  assert.deepEqual(mine.entries[0].details, { role: { from: 'CLIENT', to: 'AGENT' }, isActive: { from: true, to: true }, name: true });
  assert.equal(mine.entries[1].details.reason, 'Blurred');
  assert.deepEqual(mine.pagination, { page: 1, limit: 20, total: 4, totalPages: 1, hasNext: false, hasPrev: false });
  assert.deepEqual((await get(`/admin/audit-log?actorId=${boss.id}&action=listing.approve`)).entries.map((e) => e.target), [listing.id]);
  assert.deepEqual((await get(`/admin/audit-log?actorId=${boss.id}&limit=1&page=2`)).entries.map((e) => e.action), ['listing.reject']);
  assert.ok((await get('/admin/audit-log?action=user.sign_in&limit=100')).entries.every((e) => e.action === 'user.sign_in'));
  assert.deepEqual((await get('/admin/audit-log?action=no.such')).entries, []);
  assert.deepEqual(wrong(await w.get('/admin/audit-log?actorId=me&action=&limit=0', admin.token)), ['action', 'actorId', 'limit']);
  assert.ok(!JSON.stringify(mine).includes(who.phone.slice(3)), 'no personal data');
});

// ---- the last administrator ----

test('the last active administrator cannot be removed, not even by two at once', async () => {
  const demo = { phone: '+919988877665' };
  const [one, two] = await several(lonely, 'ADMIN', 2);
  // The others, the demonstration's among them
  for (const u of (await get('/admin/users?role=ADMIN&limit=100', one, lonely)).users) {
    if (u.id !== one.id && u.id !== two.id) assert.equal((await change(u, { isActive: false }, one, lonely)).status, 200);
    if (u.phone === demo.phone) demo.id = u.id;
  }
  const both = await Promise.all([change(one, { role: 'CLIENT' }, two, lonely), change(two, { isActive: false }, one, lonely)]);
  assert.equal(both.filter((r) => r.status === 200).length, 1, both.map((r) => r.text).join('\n'));
  const [last] = both[0].status === 200 ? [two] : [one];
  for (const wish of [{ isActive: false }, { role: 'CLIENT' }, { role: 'VENDOR', isActive: true }, { role: 'ADMIN', isActive: false }]) {
    const r = await change(last, wish, last, lonely);
    assert.deepEqual([r.status, r.body.code], [409, 'invalid_state'], JSON.stringify(wish));
  }
  assert.equal((await change(last, { name: 'Last', role: 'ADMIN', isActive: true }, last, lonely)).status, 200);
  assert.equal((await change(demo, { isActive: true }, last, lonely)).status, 200);
  assert.equal((await change(last, { role: 'CLIENT' }, last, lonely)).status, 200, 'with another one it is no matter');
});
