'use strict';
// What is done to the service while people use it.  Each kind of harm leaves the service as it found it, or
// to those who have to mend it: multiwatch, the supervisor, PostgreSQL.
const { kill, sleep, until } = require('./service');

const one = (random, list) => list[Math.floor(random() * list.length)];
const killAll = (pids) => { for (const p of pids) kill(p, 'SIGKILL'); };

const KINDS = {
  'a bids worker is killed': (s, r) => killAll([one(r, s.pids('bids'))].filter(Boolean)),
  'all bids workers are killed': (s) => killAll(s.pids('bids')),
  'the closer is killed': (s) => killAll(s.pids('selliko-close-auctions')),
  'the sender and the reminder are killed': (s) => killAll([...s.pids('selliko-send-whatsapp'), ...s.pids('selliko-remind')]),
  'the listings workers are killed': (s) => killAll(s.pids('listings')),
  'photo workers are killed': (s) => killAll(s.pids('selliko-photo')),
  'another program is killed': (s, r) => killAll(s.pids(one(r, ['auth', 'admin', 'orders', 'agent', 'notifications', 'files', 'status', 'selliko-gateway']))),
  'a bids worker is paused': (s, r) => s.pause(one(r, s.pids('bids')), 200 + 900 * r()),
  'the closer is paused': (s, r) => Promise.all(s.pids('selliko-close-auctions').map((p) => s.pause(p, 500 + 1000 * r()))),
  'backends are paused': (s, r) => Promise.all(s.backends().filter(() => r() < 0.5).map((p) => s.pause(p, 200 + 600 * r()))),
  'a backend is killed': (s, r) => killAll([one(r, s.backends())].filter(Boolean)),
  'all sessions are cut': (s) => s.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()'),
  'PostgreSQL is stopped at once and started': async (s, r) => { await s.stopDatabase('SIGQUIT'); await sleep(300 * r()); await s.startDatabase(); },
  'PostgreSQL is killed and started': async (s) => {
    kill(s.postmaster(), 'SIGKILL');
    await sleep(100);
    killAll(s.databasePids());
    await until('PostgreSQL is gone', () => s.databasePids().length === 0);
    await s.startDatabase();
  },
  'the uploads\' disk is full': async (s, r) => { s.fillDisk(); await sleep(800 + 800 * r()); s.freeDisk(); },
};

// Until END: all kinds in a random order, then again in another one.  What was done, and how often.
async function harm(service, random, end, note) {
  const done = {};
  const pause = Math.min(3000, Math.max(300, (end - Date.now()) / Object.keys(KINDS).length - 400));
  let deck = [];
  await sleep(pause / 2);
  while (Date.now() < end - 500) {
    if (deck.length === 0) deck = Object.keys(KINDS).map((k) => [random(), k]).sort((a, b) => a[0] - b[0]).map(([, k]) => k);
    const kind = deck.pop();
    note(kind);
    // Harm may meet harm: a process that is gone already, a database that is still coming up
    await Promise.resolve(KINDS[kind](service, random)).catch((e) => note(`  ${e.message.split('\n')[0]}`));
    done[kind] = (done[kind] ?? 0) + 1;
    await sleep(pause * (0.5 + random()));
  }
  return done;
}

// All is given back and the service is well.
async function heal(service) {
  service.resumeAll();
  service.freeDisk();
  if (service.databasePids().length === 0) await service.startDatabase();
  await until('the service is healthy again', () => fetch(`${service.base}/health`).then((r) => r.status === 200, () => false), 90);
}

module.exports = { harm, heal, KINDS };
