'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { shared } = require('./lib');

const w = shared();

test('health: the guide\'s fields, and what was checked', async () => {
  const r = await w.get('/health');
  assert.equal(r.status, 200);
  for (const k of ['status', 'timestamp', 'uptime', 'memory', 'version', 'checks']) assert.ok(k in r.body, k);
  assert.equal(r.body.status, 'healthy');
  assert.match(r.body.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Math.abs(new Date(r.body.timestamp) - Date.now()) < 60000);
  assert.equal(typeof r.body.uptime, 'number');
  assert.ok(r.body.uptime >= 0);
  assert.equal(typeof r.body.memory, 'object');
  assert.match(r.body.version, /\d/);
  assert.equal(typeof r.body.checks, 'object');
  assert.ok(Object.keys(r.body.checks).length > 0);
});

test('health is asked often: it is not kept, and no token is needed', async () => {
  const [a, b] = [await w.get('/health'), await w.get('/health')];
  assert.ok(b.body.timestamp >= a.body.timestamp);
  assert.doesNotMatch(a.headers['cache-control'] ?? '', /max-age=[1-9]/);
});

test('every part runs', async () => {
  assert.match(await w.quickstart('status'), /running/);
});
