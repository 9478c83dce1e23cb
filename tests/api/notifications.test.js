'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, signIn, several, messages, quickListing, makeListing, approve, bid, mustBid, until, sleep } = require('./lib');

const w = shared();
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const KEYS = ['createdAt', 'data', 'id', 'isRead', 'message', 'priority', 'readAt', 'sentViaWhatsApp', 'title', 'type', 'userId', 'whatsappMessageId'];
const TYPES = ['auction_ending', 'auction_expired', 'auction_lost', 'auction_won', 'bid_placed', 'listing_approved', 'listing_rejected', 'order_update', 'outbid', 'task_assigned'];
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();
const told = async (who, query = '') => {
  const r = await w.get(`/notifications${query}`, who.token);
  assert.equal(r.status, 200, r.text);
  return r.body;
};
const types = async (who, query) => (await told(who, query)).notifications.map((n) => n.type);
const prefer = (who, wish) => w.put('/notifications/preferences', wish, who.token);
let client, admin, one, two, three;

before(async () => {
  [client, admin, [one, two, three]] = await Promise.all([signIn(w), signIn(w, 'ADMIN'), several(w, 'VENDOR', 3)]);
});

test('who is told of a bid: the client, and the vendor whose bid was topped', async () => {
  const [id] = quickListing(w, client.id, { asking: 30000 });
  const first = await mustBid(w, one, id, 10000);
  const second = await mustBid(w, two, id, 124950 / 10);
  const mine = (await told(client)).notifications.filter((n) => n.data.listingId === id);
  assert.deepEqual(mine.map((n) => n.type), ['bid_placed', 'bid_placed'], 'the newest first');
  assert.deepEqual(mine.map((n) => n.data.bidId), [second.bid.id, first.bid.id]);
  assert.deepEqual(mine[0].data, { listingId: id, bidId: second.bid.id, amount: 12495 });
  assert.match(mine[0].message, /₹12,495/, 'money for people');
  for (const n of mine) {
    assert.deepEqual(Object.keys(n).sort(), KEYS);
    assert.deepEqual([n.userId, n.isRead, n.readAt], [client.id, false, null]);
    assert.match(n.createdAt, TIME);
  }
  assert.deepEqual((await told(one)).notifications.map((n) => [n.type, n.data.listingId]), [['outbid', id]]);
  assert.deepEqual((await told(two)).notifications, [], 'the leader has nothing to hear');
  assert.equal((await mustBid(w, two, id, 13000)).bid.isWinning, true);
  assert.deepEqual(await types(two), [], 'nor has he when he tops himself');
});

test('who is told of the end: winner, client, losers; at an instant win "lost" stands for "outbid"', async () => {
  const [client2, [a, b, c]] = [await signIn(w), await several(w, 'VENDOR', 3)];
  const [id] = quickListing(w, client2.id, { asking: 30000 });
  await mustBid(w, a, id, 10000);
  await mustBid(w, b, id, 11000);
  const { orderId } = await mustBid(w, c, id, 30000);
  assert.deepEqual(await types(a), ['auction_lost', 'outbid']);
  assert.deepEqual(await types(b), ['auction_lost']);
  assert.deepEqual(await types(c), ['auction_won']);
  assert.deepEqual((await types(client2)).sort(), ['bid_placed', 'bid_placed', 'bid_placed', 'order_update']);
  const won = (await told(c)).notifications[0];
  assert.deepEqual(won.data, { listingId: id, orderId, amount: 30000 });
  assert.equal(won.priority, 'high');
});

test('who is told of the administrator\'s word: the client, with the reason', async () => {
  const client3 = await signIn(w);
  const [good, bad] = [await makeListing(w, client3), await makeListing(w, client3)];
  await approve(w, admin, good.id);
  assert.equal((await w.put(`/listings/${bad.id}/approve`, { approved: false, rejectionReason: 'Blurred photos' }, admin.token)).status, 200);
  const list = (await told(client3)).notifications;
  assert.deepEqual(list.map((n) => [n.type, n.data.listingId]), [['listing_rejected', bad.id], ['listing_approved', good.id]]);
  assert.equal(list[0].data.reason, 'Blurred photos');
  assert.match(list[0].message, /Blurred photos/);
});

test('an auction at its end: expired to its client, won and lost to its vendors', async () => {
  const [client4, [a, b]] = [await signIn(w), await several(w, 'VENDOR', 2)];
  const [bare] = quickListing(w, client4.id, { ends: '1.5 seconds' });
  const [wanted] = quickListing(w, client4.id, { ends: '2 seconds' });
  await mustBid(w, a, wanted, 10000);
  await mustBid(w, b, wanted, 10100);
  await until('both to end', async () => (await types(client4)).length === 4);
  const list = (await told(client4)).notifications;
  assert.deepEqual(list.map((n) => n.type).sort(), ['auction_expired', 'bid_placed', 'bid_placed', 'order_update']);
  assert.equal(list.find((n) => n.type === 'auction_expired').data.listingId, bare);
  assert.deepEqual((await types(a)).filter((t) => t !== 'auction_ending'), ['auction_lost', 'outbid']);
  assert.deepEqual((await types(b)).filter((t) => t !== 'auction_ending'), ['auction_won']);
});

test('an auction that ends soon is told of once, to bidders and watchers', async () => {
  const [client5, watcher, [a, b]] = [await signIn(w), await signIn(w), await several(w, 'VENDOR', 2)];
  const [id] = quickListing(w, client5.id, { ends: '20 minutes' });   // shorter than the notice
  const [later] = quickListing(w, client5.id, { ends: '3 hours' });
  await until('it to be told of', () => w.sql(`SELECT ending_sent_at FROM listings WHERE id = '${id}'`));
  const [quick] = quickListing(w, client5.id, { ends: '32 minutes' });
  for (const l of [quick, later]) {
    await mustBid(w, a, l, 10000);
    assert.equal((await w.post(`/listings/${l}/watch`, undefined, watcher.token)).status, 200);
  }
  w.sql(`UPDATE listings SET auction_end = now() + interval '29 minutes' WHERE id = '${quick}'`);
  for (const who of [a, watcher]) {
    await until('the reminder', async () => (await types(who)).includes('auction_ending'));
    const [n] = (await told(who, '?type=auction_ending')).notifications;
    assert.equal(n.data.listingId, quick);
    assert.match(n.data.auctionEndTime, TIME);
  }
  w.sql(`UPDATE listings SET auction_end = now() + interval '28 minutes' WHERE id = '${quick}'`);   // put off and near again
  await sleep(2500);
  for (const who of [a, watcher]) assert.equal((await told(who, '?type=auction_ending')).notifications.length, 1);
  assert.deepEqual(await types(b), [], 'who neither bid nor watches hears nothing');
  assert.ok(!(await types(client5)).includes('auction_ending'));
});

test('filters: unreadOnly, type, page, limit; unreadCount is over all', async () => {
  const c = await signIn(w);
  w.sql(`INSERT INTO notifications (user_id, type, priority, title, message, is_read, read_at, created_at)
    SELECT '${c.id}', CASE WHEN n % 5 = 0 THEN 'outbid' ELSE 'bid_placed' END, 'normal', 'Title ' || n, 'Message', n % 2 = 0,
           CASE WHEN n % 2 = 0 THEN now() END, now() - n * interval '1 minute' FROM generate_series(1, 130) n`);
  const titles = async (query) => { const r = await told(c, query); assert.equal(r.unreadCount, 65); return r.notifications.map((n) => Number(n.title.slice(6))); };
  const upTo = (n, f = () => true) => Array.from({ length: n }, (_, i) => i + 1).filter(f);
  assert.deepEqual(await titles(''), upTo(20));
  assert.deepEqual(await titles('?limit=7&page=3'), [15, 16, 17, 18, 19, 20, 21]);
  assert.deepEqual(await titles('?limit=1000'), upTo(100));
  assert.deepEqual(await titles('?unreadOnly=true&limit=100'), upTo(130, (n) => n % 2 === 1));
  assert.deepEqual(await titles('?unreadOnly=false&limit=5'), upTo(5));
  assert.deepEqual(await titles('?type=outbid&limit=100'), upTo(130, (n) => n % 5 === 0));
  assert.deepEqual(await titles('?type=outbid&unreadOnly=true&limit=3'), [5, 15, 25]);
  assert.deepEqual(await titles('?type=task_assigned'), []);
  assert.deepEqual(await titles('?page=9'), []);
  for (const [query, fields] of [['unreadOnly=perhaps', ['unreadOnly']], ['unreadOnly=', ['unreadOnly']], ['type=gossip', ['type']], ['type=', ['type']], ['type=bid_placed|outbid', ['type']],
    ['limit=0', ['limit']], ['page=0', ['page']], ['limit=x&page=-1&type=a', ['limit', 'page', 'type']]]) {
    const r = await w.get(`/notifications?${query}`, c.token);
    assert.equal(r.status, 400, query);
    assert.deepEqual(wrong(r), fields, query);
  }
  assert.equal((await w.get('/notifications')).status, 401);
});

test('reading one is reading it once, and only one\'s own', async () => {
  const [c, other] = [await signIn(w), await signIn(w)];
  w.sql(`INSERT INTO notifications (user_id, type, priority, title, message) SELECT '${c.id}', 'bid_placed', 'normal', 'T', 'M' FROM generate_series(1, 3)`);
  const { notifications: [n], unreadCount } = await told(c);
  assert.equal(unreadCount, 3);
  const read = (who, id) => w.put(`/notifications/${id}/read`, undefined, who.token);
  assert.deepEqual([(await read(other, n.id)).status, (await read(admin, n.id)).status], [404, 404]);
  assert.deepEqual((await read(c, n.id)).body, { success: true });
  const after = await told(c);
  assert.equal(after.unreadCount, 2);
  const { readAt } = after.notifications.find((x) => x.id === n.id);
  assert.match(readAt, TIME);
  await sleep(20);
  assert.equal((await read(c, n.id.toUpperCase())).status, 200, 'twice is fine');
  assert.equal((await told(c)).notifications.find((x) => x.id === n.id).readAt, readAt, 'and changes nothing');
  for (const id of [crypto.randomUUID(), 'x', '1']) assert.equal((await read(c, id)).status, 404);
  assert.equal((await w.put(`/notifications/${n.id}/read`)).status, 401);
  const body = await w.request('PUT', `/notifications/${n.id}/read`, { token: c.token, body: 'no JSON', headers: { 'content-type': 'text/plain' } });
  assert.equal(body.status, 200, 'a body is not read');
});

test('marking all as read counts those that were not', async () => {
  const [c, other] = [await signIn(w), await signIn(w)];
  for (const who of [c, other]) w.sql(`INSERT INTO notifications (user_id, type, priority, title, message) SELECT '${who.id}', 'bid_placed', 'normal', 'T', 'M' FROM generate_series(1, 50)`);
  const all = () => w.put('/notifications/mark-all-read', undefined, c.token);
  await w.put(`/notifications/${(await told(c)).notifications[0].id}/read`, undefined, c.token);
  const counts = (await Promise.all(Array.from({ length: 5 }, all))).map((r) => r.body.markedCount);
  assert.equal(counts.reduce((a, b) => a + b), 49, `five at once count each of them once: ${counts}`);
  assert.deepEqual((await all()).body, { success: true, markedCount: 0 });
  const { notifications, unreadCount } = await told(c);
  assert.equal(unreadCount, 0);
  assert.ok(notifications.every((n) => n.isRead && TIME.test(n.readAt)));
  assert.equal((await told(other)).unreadCount, 50, 'nobody else\'s');
});

test('preferences: all on at first, changed one by one, unknown types refused', async () => {
  const c = await signIn(w);
  const first = await w.get('/notifications/preferences', c.token);
  assert.equal(first.status, 200, first.text);
  assert.equal(first.body.preferences.whatsapp, true);
  assert.deepEqual(Object.keys(first.body.preferences.types).sort(), TYPES);
  assert.ok(Object.values(first.body.preferences.types).every((on) => on === true));

  const off = (await prefer(c, { types: { outbid: false, bid_placed: false } })).body;
  assert.equal(off.success, true);
  assert.deepEqual(TYPES.filter((t) => !off.preferences.types[t]), ['bid_placed', 'outbid']);
  const merged = (await prefer(c, { whatsapp: false, types: { outbid: true, task_assigned: false } })).body.preferences;
  assert.deepEqual([merged.whatsapp, TYPES.filter((t) => !merged.types[t])], [false, ['bid_placed', 'task_assigned']]);
  for (const nothing of [{}, { types: {} }, { types: null, whatsapp: null }]) assert.deepEqual((await prefer(c, nothing)).body.preferences, merged);
  assert.deepEqual((await w.get('/notifications/preferences', c.token)).body.preferences, merged);

  for (const [wish, fields] of [[{ types: { gossip: true } }, ['types']], [{ types: { '': true } }, ['types']], [{ types: { 'bid_placed|outbid': true } }, ['types']], [{ types: { bid: true } }, ['types']],
    [{ types: { outbid: 'no' } }, ['types.outbid']], [{ types: { outbid: null } }, ['types.outbid']], [{ types: ['outbid'] }, ['types']], [{ types: 'all' }, ['types']],
    [{ whatsapp: 'perhaps' }, ['whatsapp']], [{ whatsapp: 1, types: { outbid: 0, gossip: 1 } }, ['types', 'types.outbid', 'whatsapp']]]) {
    const r = await prefer(c, wish);
    assert.equal(r.status, 400, JSON.stringify(wish));
    assert.deepEqual(wrong(r), fields, JSON.stringify(wish));
  }
  assert.deepEqual((await w.get('/notifications/preferences', c.token)).body.preferences, merged, 'nothing of what was refused was done');
  assert.equal((await w.get('/notifications/preferences')).status, 401);
  assert.equal((await prefer({ token: null }, {})).status, 401);
});

test('a muted type is not made at all; without WhatsApp it is made for the app alone', async () => {
  const [c, v, v2] = [await signIn(w), await signIn(w, 'VENDOR'), await signIn(w, 'VENDOR')];
  await prefer(c, { types: { bid_placed: false } });
  await prefer(v, { whatsapp: false });
  const [id] = quickListing(w, c.id, { asking: 30000 });
  await mustBid(w, v, id, 10000);
  await mustBid(w, v2, id, 11000);
  assert.deepEqual(await types(c), []);
  assert.deepEqual(await types(v), ['outbid']);
  await mustBid(w, v, id, 30000);
  await until('the order\'s message to the client', () => messages(w, c.phone).some((m) => m.template.name === 'order_status'));
  assert.deepEqual(messages(w, v.phone).map((m) => m.template.name), ['otp_verification']);
  assert.ok(!messages(w, c.phone).some((m) => m.template.name === 'bid_placed'));
  await until('that it was sent', async () => (await told(c)).notifications.find((n) => n.type === 'order_update')?.sentViaWhatsApp);
});

test('a refused bid tells nobody', async () => {
  const c = await signIn(w);
  const [id] = quickListing(w, c.id, { asking: 30000 });
  await mustBid(w, one, id, 10000);
  const before_ = (await told(c)).unreadCount;
  assert.equal((await bid(w, two, id, 10000)).status, 409);
  assert.equal((await bid(w, three, crypto.randomUUID(), 10000)).status, 404);
  assert.equal((await told(c)).unreadCount, before_);
});

// The list of one who has read it before is made of what was kept, as long as nothing has changed.
test('a list that was read before shows at once what is new, what was read, and what was sent', async () => {
  const [reader, buyer] = [await signIn(w), await signIn(w, 'VENDOR')];
  const twice = async (query = '') => {
    const [first, again] = [await told(reader, query), await told(reader, query)];
    const unsent = (list) => list.map(({ sentViaWhatsApp, whatsappMessageId, ...n }) => n);   // which may be at any moment
    assert.deepEqual([unsent(again.notifications), again.unreadCount], [unsent(first.notifications), first.unreadCount], 'read twice it reads the same');
    return first;
  };
  const counts = async () => [(await twice()).notifications.length, (await twice('?unreadOnly=true')).notifications.length, (await twice('?type=bid_placed')).notifications.length, (await twice()).unreadCount];
  assert.deepEqual(await counts(), [0, 0, 0, 0]);
  const [id] = quickListing(w, reader.id, { asking: 30000 });
  await mustBid(w, buyer, id, 10000);
  assert.deepEqual(await counts(), [1, 1, 1, 1]);
  await mustBid(w, buyer, id, 11000);
  assert.deepEqual(await counts(), [2, 2, 2, 2]);
  const [{ id: newest }] = (await twice()).notifications;
  assert.equal((await w.put(`/notifications/${newest}/read`, undefined, reader.token)).status, 200);
  assert.deepEqual(await counts(), [2, 1, 2, 1]);
  assert.deepEqual((await twice()).notifications.map((n) => n.isRead), [true, false]);
  await until('one was sent', async () => (await twice()).notifications.some((n) => n.sentViaWhatsApp));
  assert.equal((await w.put('/notifications/mark-all-read', undefined, reader.token)).status, 200);
  assert.deepEqual(await counts(), [2, 0, 2, 0]);
  assert.deepEqual((await twice()).notifications.map((n) => n.isRead), [true, true]);
});
