'use strict';
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, until, sleep, signIn, liveListing, makeListing, mustBid, quickListing } = require('./lib');

const w = shared();
const wrong = (r) => (r.body.details ?? []).map((d) => d.field).sort();
const brand = `Mq${crypto.randomBytes(5).toString('hex')}`;   // nobody else's
let client, admin, a, b, cheap, dear, middle;
const look = async (q = '', token = a.token) => { const r = await w.get(`/marketplace?brand=${brand}${q}`, token); assert.equal(r.status, 200, r.text); return r.body; };
const models = async (q, token) => (await look(q, token)).listings.map((l) => l.model).join(' ');

before(async () => {
  [client, admin, a, b] = await Promise.all([signIn(w), signIn(w, 'ADMIN'), signIn(w, 'VENDOR'), signIn(w, 'VENDOR')]);
  middle = await liveListing(w, client, admin, { brand, model: 'Middle', askingPrice: '20000', condition: 'Fair' }, 3);
  cheap = await liveListing(w, client, admin, { brand, model: 'Cheap', askingPrice: '10000.50', condition: 'Good', description: 'With a velvet case' }, 1);
  dear = await liveListing(w, client, admin, { brand: brand.toUpperCase(), model: 'Dear', askingPrice: '30000', condition: 'Excellent' }, 2);
});

test('live auctions with their bids and the minutes that are left', async () => {
  let { listings, pagination } = await look();
  assert.deepEqual(pagination, { page: 1, limit: 20, total: 3, totalPages: 1, hasNext: false, hasPrev: false });
  const mine = listings.find((l) => l.id === cheap.id);
  assert.deepEqual([mine.currentBid, mine.totalBids, mine.askingPrice, mine.timeLeft], [null, 0, 10000.5, 60]);
  await mustBid(w, a, cheap.id, 5000.25); await mustBid(w, b, cheap.id, 6000);
  ({ listings } = await look());
  assert.deepEqual([listings.find((l) => l.id === cheap.id).currentBid, listings.find((l) => l.id === cheap.id).totalBids], [6000, 2], 'one who is signed in sees it at once');
  await until('everybody sees it', async () => (await look('', null)).listings.find((l) => l.id === cheap.id)?.currentBid === 6000, 10);
});

test('minutes are whole, rounded up', async () => {
  const own = `Tq${crypto.randomBytes(4).toString('hex')}`;
  quickListing(w, client.id, { brand: own, ends: '90 seconds' });
  assert.equal((await w.get(`/marketplace?brand=${own}`, a.token)).body.listings[0].timeLeft, 2);
});

test('a listing that ended is not there, whether it was closed or not', async () => {
  const own = `Eq${crypto.randomBytes(4).toString('hex')}`;
  const [over] = quickListing(w, client.id, { brand: own, ends: '-1 second' });
  const [sold] = quickListing(w, client.id, { brand: own });
  await mustBid(w, a, sold, 45000);
  await makeListing(w, client, { brand: own });
  const r = await w.get(`/marketplace?brand=${own}`, a.token);
  assert.deepEqual(r.body.listings, []);
  assert.ok(over);
});

test('brand, condition and price filter; the brand without regard to case', async () => {
  assert.equal((await look('')).listings.length, 3);
  assert.equal((await w.get(`/marketplace?brand=${brand.toLowerCase()}`, a.token)).body.listings.length, 3);
  assert.equal((await w.get(`/marketplace?brand=${brand.slice(0, -1)}`, a.token)).body.listings.length, 0, 'the whole brand');
  assert.equal(await models('&condition=Fair'), 'Middle');
  assert.equal(await models('&minPrice=20000'), 'Dear Middle');
  assert.equal(await models('&maxPrice=20000'), 'Cheap Middle');
  assert.equal(await models('&minPrice=10000.51&maxPrice=29999.99'), 'Middle');
  assert.equal(await models('&minPrice=10000.50&maxPrice=10000.50'), 'Cheap');
  assert.equal(await models('&condition=Good&minPrice=20000'), '');
});

test('orders: newest is the latest to go live', async () => {
  assert.equal(await models(''), 'Dear Cheap Middle');
  assert.equal(await models('&sortBy=newest'), 'Dear Cheap Middle');
  assert.equal(await models('&sortBy=ending-soon'), 'Cheap Dear Middle');
  assert.equal(await models('&sortBy=lowest-price'), 'Cheap Middle Dear');
  assert.equal(await models('&sortBy=highest-price'), 'Dear Middle Cheap');
});

test('search goes with every filter and order', async () => {
  assert.equal(await models('&search=velvet'), 'Cheap');
  assert.equal(await models(`&search=${encodeURIComponent('CASE velv')}`), 'Cheap');
  assert.equal(await models('&search=velvet&condition=Fair'), '');
  assert.equal(await models(`&search=${brand}&sortBy=lowest-price`), 'Cheap Middle Dear');
  assert.equal(await models('&search=nowhere'), '');
});

test('pages', async () => {
  assert.equal(await models('&sortBy=lowest-price&limit=2'), 'Cheap Middle');
  const two = await look('&sortBy=lowest-price&limit=2&page=2');
  assert.deepEqual([two.listings.map((l) => l.model).join(), two.pagination.totalPages, two.pagination.hasPrev, two.pagination.hasNext], ['Dear', 2, true, false]);
  assert.equal((await look('&limit=101')).pagination.limit, 100);
  assert.equal((await look('&limit=99999999999')).pagination.limit, 100, 'however large');
  assert.deepEqual((({ listings, pagination: { page, hasNext, hasPrev } }) => ({ listings, page, hasNext, hasPrev }))(await look('&page=2147483648')), { listings: [], page: 2147483648, hasNext: false, hasPrev: true });
});

test('a search as long as it may be is counted right as well', async () => {
  const long = Array(38).fill('case').join(' ');
  for (const search of ['velvet case', `velvet ${long}`]) {
    const r = await w.get(`/marketplace?brand=${brand}&limit=1&search=${encodeURIComponent(search)}`, a.token);
    assert.deepEqual([r.body.listings.map((l) => l.model).join(), r.body.pagination.total], ['Cheap', 1], search);
  }
  const none = await w.get(`/marketplace?brand=${brand}&page=2&search=${encodeURIComponent(`velvet ${long}`)}`, a.token);
  assert.deepEqual([none.body.listings, none.body.pagination.total], [[], 1]);
});

test('a page\'s rows are one each, also when many have the same price and time', async () => {
  const own = `Pq${crypto.randomBytes(4).toString('hex')}`;
  const ids = quickListing(w, client.id, { brand: own, n: 45 });
  for (const sortBy of ['newest', 'ending-soon', 'lowest-price', 'highest-price']) {
    const seen = [];
    for (const page of [1, 2, 3]) seen.push(...(await w.get(`/marketplace?brand=${own}&sortBy=${sortBy}&page=${page}`, a.token)).body.listings.map((l) => l.id));
    assert.deepEqual([...seen].sort(), [...ids].sort(), sortBy);
  }
});

test('an owner and an administrator see more of a listing than the others, whoever looked first', async () => {
  const own = `Fq${crypto.randomBytes(4).toString('hex')}`;
  const mine = await liveListing(w, client, admin, { brand: own, landmark: 'Near the well', contactName: 'Anu' });
  const [his] = quickListing(w, admin.id, { brand: own });
  const see = async (who) => {
    const { listings } = (await w.get(`/marketplace?brand=${own}`, who.token)).body;
    assert.deepEqual(listings.map((l) => l.id), [his, mine.id]);
    return listings[1];
  };
  for (let round = 0; round < 2; round++) {
    for (const who of [a, client, b, admin, a]) {
      const l = await see(who);
      const whole = who === client || who === admin;
      assert.equal(l.imei1.startsWith('***********'), !whole);
      assert.equal(l.pickupAddress.landmark, whole ? 'Near the well' : '');
      assert.equal(l.metadata.contactName, whole ? 'Anu' : undefined);
      assert.equal(l.clientId, client.id);
    }
  }
  assert.deepEqual({ ...(await see(a)), timeLeft: 0 }, { ...(await see(b)), timeLeft: 0 });
});

test('a listing reads the same here as anywhere else', async () => {
  const own = `Sq${crypto.randomBytes(4).toString('hex')}`;
  const l = await liveListing(w, client, admin, { brand: own, description: 'Says "hello", \\ and \u20b9' });
  await mustBid(w, b, l.id, 4000);
  for (const who of [a, client]) {
    const { photos, ...alone } = (await w.get(`/listings/${l.id}`, who.token)).body.listing;
    for (let i = 0; i < 2; i++) {
      const { currentBid, totalBids, timeLeft, ...listed } = (await w.get(`/marketplace?brand=${own}`, who.token)).body.listings[0];
      assert.deepEqual([currentBid, totalBids, photos.length > 3, timeLeft > 0], [4000, 1, true, true]);
      assert.deepEqual({ ...listed, views: 0 }, { ...alone, views: 0 });
    }
  }
});

test('what changes in a listing is seen at once: its looks, its watchers, its end, its text', async () => {
  const own = `Cq${crypto.randomBytes(4).toString('hex')}`;
  const [id] = quickListing(w, client.id, { brand: own });
  const now = async () => (await w.get(`/marketplace?brand=${own}`, a.token)).body.listings[0];
  const before = await now();
  assert.deepEqual([before.views, before.watcherCount], [0, 0]);
  await w.get(`/listings/${id}`, b.token);
  await w.post(`/listings/${id}/watch`, {}, b.token);
  assert.deepEqual([(await now()).views, (await now()).watcherCount], [1, 1]);
  w.sql(`UPDATE listings SET auction_end = auction_end + interval '1 hour' WHERE id = '${id}'`);
  const later = await now();
  assert.equal(Date.parse(later.auctionEndTime) - Date.parse(before.auctionEndTime), 3600e3);
  assert.equal(later.timeLeft, before.timeLeft + 60);
  w.sql(`UPDATE listings SET description = 'Another text' WHERE id = '${id}'`);
  assert.equal((await now()).description, 'Another text');
});

test('every filter goes with every order and page, also where few pass it', async () => {
  const own = `Gq${crypto.randomBytes(4).toString('hex')}`;
  quickListing(w, client.id, { brand: own, n: 30 });
  const [one] = quickListing(w, client.id, { brand: own, asking: 76543.21 });
  for (const sortBy of ['newest', 'ending-soon', 'lowest-price', 'highest-price']) {
    const few = (await w.get(`/marketplace?brand=${own}&minPrice=76543.21&maxPrice=76543.21&sortBy=${sortBy}`, a.token)).body;
    assert.deepEqual([few.listings.map((l) => l.id), few.pagination.total], [[one], 1], sortBy);
    const all = [];
    for (let page = 1; page <= 7; page++) all.push(...(await w.get(`/marketplace?brand=${own}&sortBy=${sortBy}&limit=5&page=${page}`, a.token)).body.listings.map((l) => l.id));
    assert.equal(new Set(all).size, 31, sortBy);
    const deep = (await w.get(`/marketplace?sortBy=${sortBy}&limit=20&page=4`, a.token)).body;
    assert.ok(deep.pagination.total >= 60 + deep.listings.length);
  }
});

test('filters that many listings pass give the same rows as those that few pass', async () => {
  const own = `Wq${crypto.randomBytes(4).toString('hex')}`;
  const many = [];
  for (let i = 0; i < 5; i++) many.push(...quickListing(w, client.id, { brand: own, asking: 23456.78, n: 202 }));
  w.sql(`UPDATE listings SET approved_at = now() - random() * interval '1 day', auction_end = now() + random() * interval '1 day' + interval '1 hour' WHERE brand = '${own}'`);
  await w.get('/marketplace', a.token);   // which way to take is judged by the totals that are known
  for (const [sortBy, order] of [['newest', 'approved_at DESC, id DESC'], ['ending-soon', 'auction_end, id'], ['lowest-price', 'asking_price, id'], ['highest-price', 'asking_price DESC, id DESC']]) {
    const right = w.sql(`SELECT id FROM listings WHERE brand = '${own}' ORDER BY ${order} LIMIT 40`).split('\n');
    for (const filters of [`search=${own}`, `search=${own.toUpperCase()}&condition=Good&minPrice=20000&maxPrice=23456.78`, `brand=${own}`, `brand=${own}&condition=Good`, `brand=${own}&minPrice=20000&maxPrice=23456.78`, 'minPrice=23456.78&maxPrice=23456.78']) {
      const got = [];
      for (const page of [1, 2]) {
        const { listings, pagination } = (await w.get(`/marketplace?${filters}&sortBy=${sortBy}&page=${page}`, a.token)).body;
        got.push(...listings.map((l) => l.id));
        assert.equal(pagination.total, many.length, `${filters} ${sortBy}`);
      }
      assert.deepEqual(got, right, `${filters} ${sortBy}`);
    }
  }
  w.sql(`UPDATE listings SET status = 'expired' WHERE brand = '${own}'`);
});

test('a total is that of the filters that were asked for, whatever these look like', async () => {
  const own = `Kq${crypto.randomBytes(4).toString('hex')}`, like = `${own} like`;
  quickListing(w, client.id, { n: 3, brand: own });
  quickListing(w, client.id, { n: 2, brand: '-|-', model: like });
  const total = async (path) => (await w.get(path, a.token)).body.pagination.total;
  // Of each pair the second is asked when the first one's total is still remembered. (A page beyond the last one is counted.)
  for (const [first, second, least] of [
    ['/marketplace?brand=-&page=2&limit=1', '/marketplace?limit=1', 5],
    ['/marketplace?search=-&page=2&limit=1', '/marketplace?limit=1', 5],
    ['/listings?searchQuery=-&page=2&limit=1', '/listings?limit=1', 5],
    [`/marketplace?search=${own}|-&page=2&limit=1`, `/marketplace?search=${own}&limit=1`, 3],
    [`/marketplace?search=${own}|-|-&page=9&limit=1`, `/marketplace?search=${own}&brand=-|-&limit=1`, 2],
    ['/admin/audit-log?action=-&page=2&limit=1', '/admin/audit-log?limit=1', 2],
  ]) {
    if (first.startsWith('/admin')) await w.get(first, admin.token); else await total(first);
    const n = first.startsWith('/admin') ? (await w.get(second, admin.token)).body.pagination.total : await total(second);
    assert.ok(n >= least, `${second} after ${first}: ${n}`);
  }
});

test('a filter that is not of its type or set is refused', async () => {
  for (const [q, field] of [['condition=good', 'condition'], ['condition=', 'condition'], ['minPrice=x', 'minPrice'], ['maxPrice=1e5', 'maxPrice'], ['minPrice=-1', 'minPrice'], ['minPrice=1.001', 'minPrice'], ['sortBy=oldest', 'sortBy'], ['sortBy=', 'sortBy'],
    ['page=0', 'page'], ['limit=0', 'limit'], ['limit=ten', 'limit']]) {
    const r = await w.get(`/marketplace?${q}`, a.token);
    assert.equal(r.body.code, 'validation_failed', q);
    assert.deepEqual(wrong(r), [field], q);
  }
  assert.deepEqual(wrong(await w.get('/marketplace?condition=x&sortBy=y&page=z')), ['condition', 'page', 'sortBy']);
  assert.equal((await w.get('/marketplace?search=%00')).status, 400);
  assert.equal((await w.get('/marketplace?search=%ff%fe')).status, 400);
});

test('a bad token is refused, not treated as nobody', async () => {
  assert.equal((await w.get('/marketplace', 'x.y.z')).status, 401);
});

test('what anybody sees holds no name and no id of a bidder', async () => {
  const text = (await w.get(`/marketplace?brand=${brand}`)).text;
  for (const who of [a, b]) assert.ok(!text.includes(who.id));
  assert.ok(!text.includes('MG Road'));
});

test('what everybody sees is two seconds old at most, also by one look after a pause', async () => {
  const own = `Oq${crypto.randomBytes(4).toString('hex')}`;
  const [l] = quickListing(w, client.id, { brand: own });
  const page = `/marketplace?brand=${own}`;
  await sleep(1010 - (Date.now() % 1000));   // as a second begins: what is kept by whole seconds is kept longest now
  assert.equal((await w.get(page)).body.listings[0].currentBid, null);
  await mustBid(w, b, l, 20000);
  await sleep(2200);
  assert.equal((await w.get(page)).body.listings[0].currentBid, 20000);
});
