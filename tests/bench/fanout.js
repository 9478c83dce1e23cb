#!/usr/bin/env node
'use strict';
// fanout.js [--rounds 3] [--subscribers 1000] [--bids 80]: where the time goes until a thousand subscribers have heard of a
// bid.  Beside the instance of STATE_DIR a second nginx is started with the same configuration, and behind it, in
// the gateway's place, a program that only writes (least.c); then the same without nginx between them.  The
// subscribers are the load driver's (BENCH_DRIVER): what they themselves take is in all of its figures.
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const top = path.join(__dirname, '../..');
const { values: o } = parseArgs({ options: { rounds: { type: 'string', default: '3' }, subscribers: { type: 'string', default: '1000' }, bids: { type: 'string', default: '80' } } });
const state = path.resolve(process.env.STATE_DIR ?? path.join(top, 'var'));
const build = process.env.BUILD_DIR ?? path.join(top, 'build');
const driver = process.env.BENCH_DRIVER ?? path.join(top, '../shared/bench');
const port = Number(/^PORT='?(\d+)/m.exec(fs.readFileSync(path.join(state, 'selliko.conf'), 'utf8'))[1]);
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });
const at = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];

// The instance's nginx again: another port, another scratch space, another gateway.
const dir = fs.mkdtempSync('/tmp/selliko-fanout-');
fs.chmodSync(dir, 0o711);
function secondNginx() {
  for (const name of fs.readdirSync(path.join(state, 'nginx')).filter((n) => n.endsWith('.conf'))) {
    const text = fs.readFileSync(path.join(state, 'nginx', name), 'utf8')
      .replaceAll(`${state}/nginx`, dir).replaceAll(`${state}/log`, dir).replace(/^.*listen \[::1\].*$/m, '').replaceAll(`:${port} `, `:${port + 1} `)
      .replace(/unix:\S*gateway\.sock/g, `unix:${dir}/least.sock`).replace(/^worker_shutdown_timeout.*$/m, 'worker_shutdown_timeout 1s; user root;');
    fs.writeFileSync(path.join(dir, name), text);
  }
  for (const d of ['cache', 'body', 'fastcgi', 'proxy', 'uwsgi', 'scgi']) fs.mkdirSync(path.join(dir, d));
  return spawn('/usr/sbin/nginx', ['-e', `${dir}/error.log`, '-c', `${dir}/nginx.conf`, '-g', 'daemon off;'], { stdio: 'inherit' });
}
function cpuSeconds(root) {
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(root)], { encoding: 'utf8' }).trim().split(/\s+/);
  return children.reduce((sum, pid) => sum + Number(fs.readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9, 0);
}

async function round(title, where, url, nginx) {
  const least = spawn(path.join(build, 'tests/bench/least'), [where, o.subscribers, o.bids], { stdio: ['ignore', 'pipe', 'inherit'] });
  let told = '';
  least.stdout.on('data', (d) => { told += d; });
  await sleep(300);
  const subscribers = spawn(process.execPath, [path.join(driver, 'subscribers.js'), url, 'any', o.subscribers], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const said = (what) => new Promise((done) => { subscribers.on('message', (m) => m.t === what && done(m)); });
  await said('ready');
  const before = nginx && cpuSeconds(nginx.pid);
  while (told.split('\n').length <= Number(o.bids)) await sleep(50);
  await sleep(500);
  const relayed = nginx ? cpuSeconds(nginx.pid) - before : 0;
  subscribers.send('report');
  const { got } = await said('report');
  subscribers.send('bye');
  least.kill();
  const all = [];
  const written = [];
  for (const [paise, from, to] of told.trim().split('\n').map((l) => l.split(' ').map(Number))) {
    written.push((to - from) / 1e6);
    for (const t of got[paise]) all.push((Number(t) - from) / 1e6);
  }
  all.sort((a, b) => a - b);
  written.sort((a, b) => a - b);
  console.log(`| ${title} | ${at(written, 0.5).toFixed(1)} | ${at(all, 0.5).toFixed(1)} | ${at(all, 0.99).toFixed(1)} | ${nginx ? ((1e6 * relayed) / all.length).toFixed(1) : ''} |`);
}
(async () => {
  execFileSync('make', ['-s', '-C', build, 'tests/bench/least'], { stdio: 'inherit' });
  const nginx = secondNginx();
  await sleep(500);
  console.log('| ms from the first write | all written | p50 received | p99 | nginx CPU µs a frame |\n|---|--:|--:|--:|--:|');
  for (let i = 0; i < Number(o.rounds); i++) {
    await round('behind nginx', `${dir}/least.sock`, `http://127.0.0.1:${port + 1}`, nginx);
    await round('alone', String(port + 2), `http://127.0.0.1:${port + 2}`);
  }
  nginx.kill('SIGQUIT');
  await new Promise((done) => { nginx.on('close', done); });
  fs.rmSync(dir, { recursive: true });
})();
