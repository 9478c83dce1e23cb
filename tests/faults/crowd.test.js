'use strict';
// More than can be done: what waits keeps nothing else waiting, and what would wait too long is refused at once.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { own, until, signIn, submit, quickListing } = require('../api/lib');

// The photo worker waits until its gate is opened, so that forms are in hand for as long as the test wants
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-crowd-'));
fs.chmodSync(dir, 0o755);
const gate = path.join(dir, 'gate');
const worker = path.join(dir, 'worker');
const w = own({ RATE_LIMITS: 'off', PHOTO_WORKER: worker });
let client;
after(() => fs.rmSync(dir, { recursive: true, force: true }));
const crowd = new http.Agent({ maxSockets: 1000 });
before(async () => {
  await w.started;
  const real = path.join(fs.realpathSync(path.join(w.state, 'app')), 'libexec/selliko/libexec/selliko-photo');
  fs.writeFileSync(worker, `#!/bin/sh\nwhile ! [ -e ${gate} ]; do sleep 0.1; done\nexec ${real} "$@"\n`, { mode: 0o755 });
  client = await signIn(w);
});

test('forty forms whose photos are worked on keep no short request of their program waiting, and the next form is refused at once', { timeout: 120000 }, async () => {
  const [listing] = quickListing(w, client.id, { asking: 900000, n: 1 });
  const answers = [];
  const forms = Array.from({ length: 45 }, () => submit(w, client).then((r) => { answers.push(r.status); return r; }));
  await until('five are refused', () => answers.length === 5, 60);
  assert.deepEqual(answers, [503, 503, 503, 503, 503]);
  for (let i = 0; i < 20; i++) assert.equal((await w.get(`/listings/${listing}`)).status, 200);
  assert.equal(answers.length, 5, 'the forms still wait');
  fs.writeFileSync(gate, '');
  await Promise.all(forms);
  assert.deepEqual(answers.filter((s) => s !== 503), Array(40).fill(201));
  assert.equal((await submit(w, client)).status, 201, 'and there is room again');
});

test('a program that does not come on is given 512 requests and no more: the others hear 503 with Retry-After at once, and the 512 are answered when it goes on', { timeout: 120000 }, async () => {
  const stopped = w.pids('bids');
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  const answers = [];
  // unlike addresses, so that none waits in the page cache for another one's answer
  const all = Array.from({ length: 600 }, (_, i) => w.request('GET', `/marketplace?page=${i + 1}`, { agent: crowd }).then((r) => { answers.push(r.status); return r; }));
  try {
    await until('the rest is refused', () => answers.length >= 600 - 512, 60);
    assert.ok(answers.every((s) => s === 503));
    assert.equal((await w.get('/health')).status, 200, 'other programs are not concerned');
  } finally {
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
  }
  await Promise.all(all);
  assert.equal(answers.filter((s) => s === 503).length, 600 - 512);
  assert.equal(answers.filter((s) => s === 200).length, 512);
});
