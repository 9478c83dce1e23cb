#!/usr/bin/env node
'use strict';
// fanout.js [--rounds 3] [--subscribers 1000] [--bids 80]: where the time goes until a thousand subscribers have heard of a
// bid.  Beside the instance of STATE_DIR a second nginx is started with the same configuration, and behind it, in
// the gateway's place, a program that only writes (least.c); then the same without nginx between them.  The
// subscribers are the load driver's (BENCH_DRIVER): what they themselves take is in all of its figures.
//
// fanout.js OURS.json PEER.json [--rounds 3] [--bids 200]: what a proxy costs each of two services (targets as the driver
// has them), from a bid's answer to its receipt: both without one, the subscribers straight at a gateway of their own, and
// both behind nginx, the peer behind one that does nothing else.  Also each service as it is met; and, in turn with them, the
// least that can be had: a program that only writes, and what the subscribers take for frames that are all there already.
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const top = path.join(__dirname, '../..');
const { values: o, positionals: targets } = parseArgs({ allowPositionals: true,
  options: { rounds: { type: 'string', default: '3' }, subscribers: { type: 'string', default: '1000' }, bids: { type: 'string' } } });
const state = path.resolve(process.env.STATE_DIR ?? path.join(top, 'var'));
const build = process.env.BUILD_DIR ?? path.join(top, 'build');
const driver = process.env.BENCH_DRIVER ?? path.join(top, '../shared/bench');
const port = Number(/^PORT='?(\d+)/m.exec(fs.readFileSync(path.join(state, 'selliko.conf'), 'utf8'))[1]);
const bids = o.bids ?? (targets.length ? '200' : '80');
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
  const children = fs.readFileSync(`/proc/${root}/task/${root}/children`, 'utf8').trim().split(' ');
  return children.reduce((sum, pid) => sum + Number(fs.readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9, 0);
}

// The least that a thousand subscribers can take: told by a program that does nothing else, as it writes.  Or, with alone, by
// frames that were all there before the subscribers were let go on: their own part, which no server can shorten.
async function told({ where, url, nginx, alone }) {
  const least = spawn(path.join(build, 'tests/bench/least'), [where, o.subscribers, bids, ...(alone ? ['asked'] : [])], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  least.stdout.on('data', (d) => { said += d; });
  await sleep(300);
  const subscribers = spawn(process.execPath, [path.join(driver, 'subscribers.js'), url, 'any', o.subscribers], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const heard = (what) => new Promise((done) => { subscribers.on('message', (m) => m.t === what && done(m)); });
  await heard('ready');
  const before = nginx && cpuSeconds(nginx.pid);
  const since = [];
  for (let i = 0; alone && i < Number(bids); i++) {
    subscribers.kill('SIGSTOP');
    await sleep(2);
    least.stdin.write('\n');
    while (said.split('\n').length <= i + 1) await sleep(1);
    since.push(Number(process.hrtime.bigint()));
    subscribers.kill('SIGCONT');
    await sleep(45);
  }
  while (said.split('\n').length <= Number(bids)) await sleep(50);
  await sleep(500);
  const relayed = nginx ? cpuSeconds(nginx.pid) - before : 0;
  subscribers.send('report');
  const { got } = await heard('report');
  subscribers.send('bye');
  least.kill();
  const all = [];
  const written = [];
  said.trim().split('\n').forEach((line, i) => {
    const [paise, from, to] = line.split(' ').map(Number);
    written.push((to - from) / 1e6);
    for (const t of got[paise]) all.push((Number(t) - (since[i] ?? from)) / 1e6);
  });
  all.sort((x, y) => x - y);
  written.sort((x, y) => x - y);
  return { written: at(written, 0.5), p50: at(all, 0.5), p99: at(all, 0.99), cpuServer: relayed, requests: all.length };
}
function print(title, r) {
  console.log(`| ${title} | ${r.written.toFixed(1)} | ${r.p50.toFixed(1)} | ${r.p99.toFixed(1)} | ${r.cpuServer ? ((1e6 * r.cpuServer) / r.requests).toFixed(1) : ''} |`);
}

async function least() {
  const nginx = secondNginx();
  await sleep(500);
  console.log('| ms from the first write | all written | p50 received | p99 | nginx CPU µs a frame |\n|---|--:|--:|--:|--:|');
  for (let i = 0; i < Number(o.rounds); i++) {
    print('behind nginx', await told({ where: `${dir}/least.sock`, url: `http://127.0.0.1:${port + 1}`, nginx }));
    print('without nginx', await told({ where: String(port + 2), url: `http://127.0.0.1:${port + 2}` }));
    print('the subscribers alone, from when all was written', await told({ where: String(port + 2), url: `http://127.0.0.1:${port + 2}`, alone: true }));
  }
  nginx.kill('SIGQUIT');
  await new Promise((done) => { nginx.on('close', done); });
}

// ---- beside another service ------------------------------------------------------------------------
// A relay as anybody would set it up, with as many workers as ours.
function peersNginx(peerUrl) {
  fs.writeFileSync(path.join(dir, 'relay.conf'), `
user root; worker_processes auto; pid ${dir}/relay.pid; error_log ${dir}/relay.log alert;
events { worker_connections 8192; }
http {
  access_log ${dir}/relay-access.log combined buffer=32k flush=1s;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  map $http_upgrade $connection_upgrade { "" ""; default upgrade; }
  upstream peer { server ${new URL(peerUrl).host}; keepalive 64; }
  server {
    listen 127.0.0.1:${port + 1} backlog=4096;
    location / {
      proxy_pass http://peer; proxy_http_version 1.1; proxy_read_timeout 120s; proxy_buffering off;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}`);
  return spawn('/usr/sbin/nginx', ['-e', `${dir}/relay.log`, '-c', `${dir}/relay.conf`, '-g', 'daemon off;'], { stdio: 'inherit' });
}

async function beside() {
  const m = require(path.join(driver, 'measure'));
  const [ours, peer] = targets.map((f) => new m.Target(JSON.parse(fs.readFileSync(f, 'utf8'))));
  for (const d of ['body', 'fastcgi', 'proxy', 'uwsgi', 'scgi']) fs.mkdirSync(path.join(dir, d));
  const nginx = peersNginx(peer.baseUrl);
  const gateway = spawn(path.join(state, 'app/libexec/selliko/realtime/selliko-gateway'), [],
    { env: { SELLIKO_CONF: path.join(state, 'selliko.conf'), GATEWAY_NAME: 'bench', GATEWAY_LISTEN: `127.0.0.1:${port + 2}` }, stdio: ['ignore', 'ignore', fs.openSync(path.join(dir, 'gateway.log'), 'w')] });
  const more = (spec, pid) => ({ command: `${spec.command}; echo ${pid}` });
  // Of a round the subscribers take the target's address; its requests go where they always go.
  const straight = Object.assign(Object.create(ours), { baseUrl: `http://127.0.0.1:${port + 2}`, server: more(ours.server, gateway.pid) });
  const relayed = Object.assign(Object.create(peer), { baseUrl: `http://127.0.0.1:${port + 1}`, port: port + 1, server: more(peer.server, nginx.pid) });
  const ways = { 'ours, straight': straight, 'peer, straight': peer, 'ours behind nginx': ours, 'peer behind nginx': relayed };
  const bounds = { 'least, straight': false, 'subscribers alone': true };
  const got = Object.fromEntries([...Object.keys(ways), ...Object.keys(bounds)].map((w) => [w, []]));
  const tops = new Map([[ours, await m.scenarios.fanout.prepare(ours, m.context())], [peer, await m.scenarios.fanout.prepare(peer, m.context())]]);
  for (let i = 0; i < Number(o.rounds); i++) {
    const turn = Object.entries(ways);
    for (const [name, t] of i % 2 ? turn.reverse() : turn) {
      const r = await m.round('fanout', t, tops.get(tops.has(t) ? t : Object.getPrototypeOf(t)), { subscribers: Number(o.subscribers), bids: Number(bids) });
      if (r.errorShare > 0) console.error(`${name}: ${(100 * r.errorShare).toFixed(2)} % of the deliveries are missing`);
      got[name].push(r);
      console.error(`${name}: p50 ${r.p50.toFixed(1)} p99 ${r.p99.toFixed(1)} ms, server ${((1e6 * r.cpuServer) / r.requests).toFixed(1)} µs a delivery, others ${(100 * r.foreign).toFixed(0)} % of the machine`);
    }
    for (const [name, alone] of Object.entries(bounds)) {
      const r = await told({ where: String(port + 3), url: `http://127.0.0.1:${port + 3}`, alone });
      got[name].push(r);
      console.error(`${name}: p50 ${r.p50.toFixed(1)} p99 ${r.p99.toFixed(1)} ms`);
    }
  }
  const share = (a, b, f) => {
    const list = got[a].map((x, i) => f(x) / f(got[b][i])).sort((x, y) => x - y);
    return `${m.median(list).toFixed(2)} [${list[0].toFixed(2)}..${list.at(-1).toFixed(2)}]`;
  };
  console.log('| | p50 | p99 | server CPU |\n|---|--:|--:|--:|');
  for (const [a, b] of [['ours, straight', 'peer, straight'], ['ours behind nginx', 'peer behind nginx'], ['ours behind nginx', 'peer, straight'],
    ['ours behind nginx', 'ours, straight'], ['peer behind nginx', 'peer, straight'],
    ['least, straight', 'peer, straight'], ['subscribers alone', 'peer, straight'], ['subscribers alone', 'ours, straight']]) {
    console.log(`| ${a} ÷ ${b} | ${share(a, b, (r) => r.p50)} | ${share(a, b, (r) => r.p99)} | ${bounds[a] === undefined ? share(a, b, (r) => r.cpuServer / r.requests) : ''} |`);
  }
  for (const t of [ours, peer, relayed]) t.agent.destroy();
  for (const [child, signal] of [[nginx, 'SIGQUIT'], [gateway, 'SIGTERM']]) {
    child.kill(signal);
    await new Promise((done) => { child.on('close', done); });
  }
}

(async () => {
  try {
    execFileSync('make', ['-s', '-C', build, 'tests/bench/least'], { stdio: 'inherit' });
    await (targets.length === 2 ? beside() : least());
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
})();
