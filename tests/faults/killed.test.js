'use strict';
// kill -9 of any program: the requests it had in hand fail, nothing else, and nothing is half done.
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { own, until, signIn, several, liveListing, mustBid, bid, submit, askOtp, phone, photos, quickListing, ended } = require('../api/lib');

const w = own({ RATE_LIMITS: 'off' });
let client, admin, vendors;
before(async () => { [client, admin] = await Promise.all([signIn(w), signIn(w, 'ADMIN')]); vendors = await several(w, 'VENDOR', 4); });

function kill(name) { const all = w.pids(name); for (const p of all) { try { process.kill(p, 'SIGKILL'); } catch { /* gone already */ } } return all.length; }
const ask = (p, token) => w.request('GET', p, { token, unchecked: true }).then((r) => r.status, () => 0);

const probes = { auth: '/users/me', listings: '/listings', bids: '/marketplace', orders: '/orders', status: '/health' };
for (const [program, p] of Object.entries(probes)) {
  test(`${program} is killed: a new one serves`, { timeout: 60000 }, async () => {
    for (let i = 0; i < 3; i++) {
      await until(`${program} runs`, () => w.pids(program).length > 0, 20);
      assert.ok(kill(program) > 0);
      await until(`${p} again`, async () => await ask(p, client.token) === 200, 20);
      for (const [other, q] of Object.entries(probes)) if (other !== program) assert.equal(await ask(q, client.token), 200, `${other} was not touched`);
    }
  });
}

test('bids under fire: what was answered stands, what was not answered is whole or not there', { timeout: 120000 }, async () => {
  const ids = quickListing(w, client.id, { asking: 900000, n: 4 });
  const answered = new Map(ids.map((id) => [id, []]));
  let going = true;
  const bidder = async (v, id, from) => {
    for (let amount = from; going && amount < 800000; amount += 400) {
      const r = await w.request('POST', '/bids', { json: { listingId: id, amount }, token: v.token, unchecked: true }).catch(() => null);
      if (r?.status === 201) answered.get(id).push(r.body.bid.id);
      else if (r && ![409, 502, 503, 504].includes(r.status)) assert.fail(`${r.status} ${r.text}`);
    }
  };
  const all = ids.flatMap((id) => vendors.map((v, i) => bidder(v, id, 10000 + i * 100)));
  for (let i = 0; i < 5; i++) { await new Promise((r) => { setTimeout(r, 400); }); kill('bids'); }
  await new Promise((r) => { setTimeout(r, 1000); });
  going = false;
  await Promise.all(all);
  for (const id of ids) {
    const stands = w.sql(`SELECT id FROM bids WHERE listing_id = '${id}'`).split('\n');
    assert.ok(answered.get(id).length > 0);
    for (const b of answered.get(id)) assert.ok(stands.includes(b), 'an answered bid is lost');
    assert.equal(w.sql(`SELECT bid_count = (SELECT count(*) FROM bids b WHERE b.listing_id = l.id) AND highest_amount = (SELECT max(amount) FROM bids b WHERE b.listing_id = l.id)
      AND highest_bid_id = (SELECT b.id FROM bids b WHERE b.listing_id = l.id ORDER BY amount DESC LIMIT 1)
      AND (SELECT count(*) FROM events e WHERE e.listing_id = l.id AND name = 'new_bid') = bid_count FROM listings l WHERE id = '${id}'`), 't');
  }
});

test('figures outlive the program that counted them, and what it had in hand does not', { timeout: 60000 }, async () => {
  const figure = async (line) => Number((await w.request('GET', '/metrics', { unchecked: true })).text.split('\n').find((l) => l.startsWith(`${line} `))?.slice(line.length));
  const placed = await figure('bids_placed_total');
  assert.ok(placed > 0);
  const all = Array.from({ length: 20 }, () => ask('/marketplace'));
  assert.ok(kill('bids') > 0);
  await Promise.all(all);
  await until('bids again', async () => await ask('/marketplace') === 200, 20);
  assert.ok(await figure('bids_placed_total') >= placed);
  assert.equal(await figure('selliko_processes{program="bids"}'), w.pids('bids').length);
  assert.ok(await figure('selliko_requests_in_hand{program="bids"}') <= 1, 'those of the dead are not counted');
});

test('listings is killed in the middle of uploads: a listing is whole or not there', { timeout: 120000 }, async () => {
  const files = Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.jpeg(2000, 1500, i)]));
  const answers = [];
  let going = true;
  const sender = async () => { while (going) answers.push(await submit(w, client, {}, files).catch((e) => ({ status: 0, text: e.message }))); };
  const all = [sender(), sender()];
  try {
    for (let i = 0; i < 4; i++) { await new Promise((r) => { setTimeout(r, 700); }); kill('listings'); }
    await until('uploads work again', async () => answers.length > 0 && answers.at(-1).status === 201, 80);
  } finally {   // who went on sending would keep the tests after this one from their end
    going = false;
    await Promise.all(all);
  }
  for (const r of answers) assert.ok([201, 0, 502, 503, 504].includes(r.status), r.text);
  const rows = w.sql(`SELECT id FROM listings WHERE client_id = '${client.id}' AND status = 'pending'`).split('\n').filter(Boolean);
  for (const id of rows) assert.equal(fs.readdirSync(path.join(w.uploads(), 'listings', id, 'device')).length, 16, 'a listing without its photos');
  for (const r of answers) if (r.status === 201) assert.ok(rows.includes(r.body.listing.id));
});

test('the photo worker is killed: that upload fails or is tried again, the program lives', { timeout: 60000 }, async () => {
  const files = Object.fromEntries([0, 1, 2, 3].map((i) => [`devicePhoto${i}`, photos.large(i)]));
  const one = submit(w, client, {}, files);
  await until('a worker', () => kill('selliko-photo') > 0, 20).catch(() => {});
  const r = await one;
  assert.ok([201, 500, 503].includes(r.status), `${r.status} ${r.text}`);
  assert.equal((await submit(w, client)).status, 201);
});

test('the utilities are killed: what is due is done by those that follow', { timeout: 120000 }, async () => {
  for (const name of ['selliko-close-auctions', 'selliko-send-whatsapp']) { await until(name, () => w.pids(name).length, 20); kill(name); }
  const [l] = quickListing(w, client.id, { ends: '1 second' });
  assert.equal((await ended(w, l)).status, 'expired');
  await askOtp(w, phone());
});

test('everything is killed: quickstart brings it up again with all data', { timeout: 300000 }, async () => {
  const l = await liveListing(w, client, admin);
  await mustBid(w, vendors[0], l.id, 20000);
  const run = fs.realpathSync(path.join(w.state, 'run'));
  const pg = fs.realpathSync(path.join(w.state, 'pg'));
  for (const p of fs.readdirSync('/proc').filter((x) => /^\d+$/.test(x) && Number(x) !== process.pid)) {
    try { const cwd = fs.readlinkSync(`/proc/${p}/cwd`); if (cwd === run || cwd === pg) process.kill(Number(p), 'SIGKILL'); } catch { /* gone */ }
  }
  await until('nobody answers', async () => await ask('/health') === 0);
  await w.quickstart();
  const r = await w.get(`/listings/${l.id}`, client.token);
  assert.equal(r.status, 200);
  assert.equal(r.body.currentHighestBid.amount, 20000);
  assert.equal((await w.get('/users/me', vendors[0].token)).status, 200, 'sessions live on');
  const photo = new URL(r.body.listing.photos[0].full);
  assert.equal((await w.get(photo.pathname + photo.search)).status, 200);
  await bid(w, vendors[1], l.id, 45000);
  assert.equal((await ended(w, l.id, client.token)).status, 'sold');
});

test('nginx, a spawner and the gateway are killed: each is started again', { timeout: 120000 }, async () => {
  const pid = (name) => Number(fs.readFileSync(path.join(w.state, 'run', `${name}.pid`), 'utf8').split(' ')[0]);
  for (const [name, p, status] of [['nginx', '/health', 200], ['orders', '/orders', 200], ['gateway', '/socket.io/?EIO=4&transport=polling', 200]]) {
    process.kill(pid(name), 'SIGKILL');
    await until(`${name} again`, async () => await ask(p, client.token) === status, 40);
  }
});

test('a setting that is not right: quickstart says which, and what runs runs on', { timeout: 120000 }, async () => {
  await until('all run', () => w.quickstart('status').then(() => true, () => false), 40);
  const before = w.pids('auth');
  const env = w.env;
  w.env = { ...env, BID_MIN_INCREMENT: 'much', SENTRY_DSN: 'there' };
  await assert.rejects(w.quickstart(), /BID_MIN_INCREMENT: [^]*SENTRY_DSN: /);
  w.env = env;
  assert.deepEqual(w.pids('auth'), before);
  assert.match(await w.ctl('setting', 'BID_MIN_INCREMENT'), /^10000$/m);
  await w.quickstart('status');
});

test('quickstart stop: every program leaves by itself, and none is left', { timeout: 120000 }, async () => {
  await until('all run', () => w.quickstart('status').then(() => true, () => false), 40);
  const run = fs.realpathSync(path.join(w.state, 'run'));
  await w.quickstart('stop');
  for (const name of ['auth', 'listings', 'bids', 'orders', 'files', 'status']) assert.equal(JSON.parse(w.log(name).trim().split('\n').at(-1)).message, 'stopped', `${name} was killed`);
  const left = fs.readdirSync('/proc').filter((p) => { try { return fs.readlinkSync(`/proc/${p}/cwd`).startsWith(run); } catch { return false; } });
  assert.deepEqual(left, []);
  await assert.rejects(w.quickstart('status'));
  await w.quickstart();
  assert.equal((await w.get('/users/me', client.token)).status, 200);
});
