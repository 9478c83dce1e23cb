'use strict';
// With AUCTION_EXTEND_MINUTES a bid close to the end tops the remaining time up, and every reader sees
// the new end.  It is a setting of the whole service, so this file starts one of its own.
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { own, until, signIn, quickListing, mustBid, bid, ended } = require('./lib');

const w = own({ AUCTION_EXTEND_MINUTES: '2', BID_MIN_INCREMENT: '500', PLATFORM_FEE_PERCENT: '2.5', AGENT_COMMISSION_PERCENT: '0' });
const end = (b) => new Date(b.listing.auctionEndTime).getTime();

test('a bid close to the end tops the remaining time up, one far from it or too low does not', async () => {
  const [client, a, b] = await Promise.all([signIn(w), signIn(w, 'VENDOR'), signIn(w, 'VENDOR')]);
  const [near] = quickListing(w, client.id, { ends: '30 seconds' });
  const [far] = quickListing(w, client.id, { ends: '30 minutes' });
  const look = async (id) => end((await w.get(`/listings/${id}`, b.token)).body);
  const before = await look(far);
  await mustBid(w, a, far, 20000);
  assert.equal(await look(far), before);
  const { bid: made } = await mustBid(w, a, near, 20000);
  assert.ok(Math.abs(await look(near) - new Date(made.timestamp) - 120000) < 5);
  const shown = (await w.get('/marketplace?limit=100', b.token)).body.listings.find((l) => l.id === near);
  assert.equal(shown.timeLeft, 2);
  const extended = await look(near);
  assert.equal((await bid(w, b, near, 20499.99)).body.minimumBid, 20500, 'the configured step');
  assert.equal(await look(near), extended);
});

test('fee and commission are as configured', async () => {
  const [client, a] = await Promise.all([signIn(w), signIn(w, 'VENDOR')]);
  const [l] = quickListing(w, client.id, { asking: 25000.3 });
  const { orderId } = await mustBid(w, a, l, 25000.3);
  const { order } = (await w.get(`/orders/${orderId}`, a.token)).body;
  assert.deepEqual([order.commissionRate, order.agentCommission, order.platformFee], [0, 0, 625.01]);
  assert.equal((await until('it is sold', () => ended(w, l))).status, 'sold');
});
