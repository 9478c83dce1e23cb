'use strict';
// What an operator's tools make of /metrics: Prometheus scrapes it, the alerts and the dashboard ask for
// what is there, and the figures are those of what happened.
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { shared, signIn, makeListing, liveListing, mustBid, until, freePort, TOP } = require('./lib');

const w = shared();
const scrape = async () => (await w.get('/metrics', undefined, { unchecked: true })).text;
// The sum of NAME's series whose labels match
async function figure(name, labels = {}) {
  let sum = 0;
  for (const [, l, v] of (await scrape()).matchAll(new RegExp(`^${name}(\\{.*\\})? (\\S+)$`, 'gm'))) if (Object.entries(labels).every(([k, x]) => l?.includes(`${k}="${x}"`))) sum += Number(v);
  return sum;
}
const namesOf = (text) => new Set([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, n, t]) => (t === 'histogram' ? [`${n}_bucket`, `${n}_sum`, `${n}_count`] : [n])));

test('promtool finds nothing wrong but two names that the guide gives', async () => {
  let said = '';
  try { execFileSync('promtool', ['check', 'metrics'], { input: await scrape(), stdio: ['pipe', 'pipe', 'pipe'] }); } catch (e) { said = `${e.stdout}${e.stderr}`; }
  assert.deepEqual(said.split('\n').filter(Boolean).sort(), ['active_listings_total', 'active_users_total'].map((n) => `${n} non-counter metrics should not have "_total" suffix`));
});

test('the guide\'s eight names are there, with program, route, method and status', async () => {
  const text = await scrape();
  for (const [name, type] of Object.entries({ api_requests_total: 'counter', api_request_duration_seconds: 'histogram', active_users_total: 'gauge', active_listings_total: 'gauge',
    bids_placed_total: 'counter', orders_completed_total: 'counter', whatsapp_messages_sent_total: 'counter', file_uploads_total: 'counter' })) assert.match(text, new RegExp(`^# TYPE ${name} ${type}$`, 'm'));
  assert.match(text, /^api_requests_total\{program="status",route="\/metrics",method="GET",status="200"\} \d+$/m);
  assert.match(text, /^api_request_duration_seconds_bucket\{program="status",route="\/metrics",method="GET",le="0\.005"\} \d+$/m);
});

test('figures are of what happened, once each', async () => {
  const [client, admin, vendor] = await Promise.all([signIn(w), signIn(w, 'ADMIN'), signIn(w, 'VENDOR')]);
  const names = ['bids_placed_total', 'file_uploads_total', 'selliko_photo_seconds_count', 'selliko_db_round_trip_seconds_count'];
  const before_ = Object.fromEntries(await Promise.all(names.map(async (n) => [n, await figure(n)])));
  const posted = await figure('api_requests_total', { program: 'bids', route: '/bids', method: 'POST', status: '201' });
  const l = await liveListing(w, client, admin);
  await mustBid(w, vendor, l.id, 20000);
  await until('the bid is counted', async () => await figure('api_requests_total', { program: 'bids', route: '/bids', method: 'POST', status: '201' }) > posted);
  assert.ok(await figure('bids_placed_total') >= before_.bids_placed_total + 1);
  assert.ok(await figure('file_uploads_total') >= before_.file_uploads_total + 4);
  assert.ok(await figure('selliko_photo_seconds_count') >= before_.selliko_photo_seconds_count + 4);
  assert.ok(await figure('selliko_db_round_trip_seconds_count') >= before_.selliko_db_round_trip_seconds_count + 3);
  assert.ok(await figure('active_listings_total') >= 1);
  assert.ok(await figure('active_users_total') >= 3);
});

test('every part that runs shows, and the gateway has read the events of just now', async () => {
  for (const p of ['auth', 'listings', 'bids', 'orders', 'agent', 'admin', 'notifications', 'files', 'status', 'gateway']) assert.ok(await figure('selliko_processes', { program: p }) >= 1, p);
  assert.ok(Date.now() / 1000 - await figure('selliko_events_read_timestamp_seconds') < 10);
  assert.ok(await figure('selliko_db_connections_limit', { program: 'bids' }) >= 1);
  assert.equal(await figure('selliko_database_up'), 1);
});

test('a phone that waits, and a message that is late, are seen', async () => {
  const client = await signIn(w);
  const queued = await figure('selliko_whatsapp_queue_late_seconds');
  assert.ok(queued >= 0);
  const pending = await figure('selliko_listings_pending');
  await makeListing(w, client);
  assert.ok(await figure('selliko_listings_pending') >= Math.min(pending, 1));
  assert.ok(await figure('selliko_listings_pending_oldest_seconds') > 0);
});

test('the alerts fire when they should: promtool tries each', () => {
  const cwd = path.join(TOP, 'contrib/prometheus');
  assert.match(execFileSync('promtool', ['check', 'rules', 'rules.yml'], { cwd, encoding: 'utf8' }), /SUCCESS/);
  assert.match(execFileSync('promtool', ['test', 'rules', 'rules-test.yml'], { cwd, encoding: 'utf8' }), /SUCCESS/);
  const tried = fs.readFileSync(path.join(cwd, 'rules-test.yml'), 'utf8');
  for (const [, name] of fs.readFileSync(path.join(cwd, 'rules.yml'), 'utf8').matchAll(/- alert: (\w+)/g)) assert.ok(tried.includes(`alertname: ${name}\n`), name);
});

test('alerts and dashboard ask for nothing that /metrics does not give', async () => {
  const there = namesOf(await scrape());
  const dashboard = JSON.parse(fs.readFileSync(path.join(TOP, 'contrib/grafana/dashboard.json'), 'utf8'));
  const asked = fs.readFileSync(path.join(TOP, 'contrib/prometheus/rules.yml'), 'utf8').match(/^ +(expr|sum|\/|and|histogram).*$/gm).join('\n')
    + dashboard.panels.flatMap((p) => (p.targets ?? []).map((t) => t.expr)).join('\n');
  const absent = new Set(['selliko_backup_timestamp_seconds', 'selliko_backup_verified_timestamp_seconds', 'selliko_backup_size_bytes']);   // until there is one
  for (const [name] of asked.matchAll(/\b(api|selliko|bids|orders|whatsapp|file|active)_[a-z_]+\b/g)) assert.ok(there.has(name) || absent.has(name), name);
});

let prometheus, base, dir;
before(async () => {
  await w.started;
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-test-prometheus-'));
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  fs.writeFileSync(path.join(dir, 'prometheus.yml'), `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ['${path.join(TOP, 'contrib/prometheus/rules.yml')}']
scrape_configs:
  - job_name: selliko
    static_configs: [{targets: ['${new URL(w.base).host}']}]
`);
  prometheus = spawn('prometheus', [`--config.file=${dir}/prometheus.yml`, `--storage.tsdb.path=${dir}/data`, `--web.listen-address=127.0.0.1:${port}`], { stdio: 'ignore' });
  prometheus.on('error', () => {});   // told by the test that waits for it
});
after(async () => {
  if (prometheus.exitCode === null) { prometheus.kill('SIGTERM'); await new Promise((r) => { prometheus.on('exit', r); }); }
  fs.rmSync(dir, { recursive: true, force: true });
});
const ask = async (p) => { const r = await fetch(base + p).catch(() => null); return r?.ok ? (await r.json()).data : undefined; };
const query = async (q) => (await ask(`/api/v1/query?query=${encodeURIComponent(q)}`))?.result;

test('Prometheus scrapes it, keeps it, and evaluates the alerts on it', { timeout: 90000 }, async () => {
  await until('a good scrape', async () => (await query('up{job="selliko"}'))?.[0]?.value[1] === '1', 60);
  const [target] = (await ask('/api/v1/targets')).activeTargets;
  assert.deepEqual([target.health, target.lastError], ['up', '']);
  const last = (await query('sum(api_requests_total{program="status",route="/metrics"})'))[0].value[1];
  await until('it counts on', async () => Number((await query('sum(api_requests_total{program="status",route="/metrics"})'))[0].value[1]) > Number(last), 20);
  const rules = await until('rules were evaluated', async () => { const g = (await ask('/api/v1/rules'))?.groups; return g?.[0]?.rules.every((r) => r.health !== 'unknown') && g; }, 30);
  assert.deepEqual(rules[0].rules.filter((r) => r.health !== 'ok').map((r) => `${r.name}: ${r.lastError}`), []);
  assert.deepEqual(rules[0].rules.filter((r) => r.state === 'firing').map((r) => r.name), []);
});
