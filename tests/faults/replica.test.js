'use strict';
// Public pages come from a standby (DATABASE_REPLICA_URL) as long as it is not behind, from the primary else; nobody
// notices but by the servers' logs.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { own, until, sleep, signIn, several, bid, mustBid, quickListing } = require('../api/lib');
const { Servers } = require('./lib/servers');

const s = new Servers('replica');
const settings = { RATE_LIMITS: 'off' };
const w = own(settings, async () => {
  s.primary('a', { log_statement: 'all' });   // with its parameters: each page below has a word of its own
  s.standby('b', 'a');
  settings.DATABASE_URL = `postgresql://selliko@/selliko?host=${s.at('a')}`;
  settings.DATABASE_REPLICA_URL = `postgresql://selliko@/selliko?host=${s.at('b')}`;
});
let client, vendors;

before(async () => {
  await w.started;
  client = await signIn(w, 'CLIENT');
  vendors = await several(w, 'VENDOR', 2);
}, { timeout: 600000 });
after(() => s.close());

const word = () => `Oq${crypto.randomBytes(6).toString('hex')}`;
const said = (name, what) => s.log(name).includes(`= '${what}'`);
const paths = { marketplace: (q) => `/marketplace?brand=${q}`, listings: (q) => `/listings?searchQuery=${q}` };

// Asks for a page that was never asked for, until SERVER is the one that was asked for it; the page must be well each time
function comesFrom(server, page, token) {
  return until(`a page of /${page} comes from ${server}`, async () => {
    const q = word();
    quickListing(w, client.id, { brand: q });
    const r = await w.get(paths[page](q), token);
    assert.equal(r.status, 200, r.text);
    assert.deepEqual(r.body.listings.map((l) => l.brand), [q], 'the listing is on its page');
    await sleep(100);
    assert.equal(said('a', q) || said('b', q), true);
    return !said(server === 'a' ? 'b' : 'a', q);
  });
}
const isAsked = async () => { for (const page of Object.keys(paths)) await comesFrom('b', page); };

// Ten pages in a row, of which none came from the standby, as long as it is as it is
async function isLeftAlone() {
  await comesFrom('a', 'marketplace');
  for (let i = 0; i < 10; i++) {
    const q = word();
    quickListing(w, client.id, { brand: q });
    for (const path of Object.values(paths)) {
      const r = await w.get(path(q));
      assert.equal(r.status, 200, r.text);
      assert.deepEqual(r.body.listings.map((l) => l.brand), [q]);
    }
    assert.equal(said('b', q), false);
  }
}

test('pages for nobody in particular come from the standby, in sessions that may only read', async () => {
  await isAsked();
  assert.match(s.log('b'), /set_config\('default_transaction_read_only', 'on', false\)/);
});

test('who is signed in reads what he wrote: from the primary', async () => {
  for (const page of Object.keys(paths)) {
    const q = word();
    quickListing(w, client.id, { brand: q });
    assert.equal((await w.get(paths[page](q), client.token)).body.listings.length, 1);
    assert.equal(said('b', q), false);
  }
});

test('while replay is paused the primary serves, and afterwards the standby again', { timeout: 120000 }, async () => {
  s.ask('b', 'SELECT pg_wal_replay_pause()');
  await isLeftAlone();
  s.ask('b', 'SELECT pg_wal_replay_resume()');
  await isAsked();
});

test('a standby that lags now and then: a bid is on every page that is asked for two seconds after it', { timeout: 120000 }, async () => {
  const q = word();
  const [listing] = quickListing(w, client.id, { brand: q, asking: 900000 });
  const taken = [];   // [when it was answered, amount]
  let over = false;
  const bids = (async () => { for (let n = 1000; !over; n += 100) { await mustBid(w, vendors[n / 100 % 2], listing, n); taken.push([Date.now(), n]); await sleep(40); } })();
  const lag = (async () => { while (!over) { s.ask('b', 'SELECT pg_wal_replay_pause()'); await sleep(1800); s.ask('b', 'SELECT pg_wal_replay_resume()'); await sleep(500); } })();
  const look = async () => {
    for (let i = 0; !over; i++) {
      const asked = Date.now();
      const r = await w.get(`${paths.marketplace(q)}${i % 2 ? `&limit=${10 + i % 50}` : ''}`);
      assert.equal(r.status, 200, r.text);
      const due = taken.filter(([at]) => at <= asked - 2000).at(-1);
      if (due) assert.ok(r.body.listings[0].currentBid >= due[1], `${r.body.listings[0].currentBid} is shown two seconds after ${due[1]}`);
      await sleep(20);
    }
  };
  const all = Promise.all([bids, lag, look(), look()]);
  try { await Promise.race([sleep(10000), all]); } finally { over = true; await all; }
  assert.ok(s.log('b').split(`= '${q}'`).length > 3, 'some of the pages came from the standby');
  await isAsked();
});

test('a standby that says nothing any more, and one that is killed, cost nobody an error', { timeout: 120000 }, async () => {
  const stopped = s.pids('b');
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  try { await isLeftAlone(); } finally { for (const pid of stopped) try { process.kill(pid, 'SIGCONT'); } catch { /* has gone */ } }
  await isAsked();
  s.stop('b');
  await isLeftAlone();
  assert.equal((await bid(w, vendors[0], quickListing(w, client.id)[0], 2000)).status, 201);
  assert.match(await w.ctl('doctor'), /^WARN +replica +/m);
  s.start('b');
  await isAsked();
  assert.match(await w.ctl('doctor'), /^ok +replica +/m);
});

test('a standby that was promoted is none any more', { timeout: 120000 }, async () => {
  s.promote('b');
  await isLeftAlone();
  assert.match(await w.ctl('doctor'), /^WARN +replica +.* is no standby of/m);
});
