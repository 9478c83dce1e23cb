#!/usr/bin/env node
'use strict';
// idle.js [--clients 20000] [--seconds 60]: so many WebSockets through nginx, all at once and silent but for the heartbeat, at
// the instance of STATE_DIR (started with RATE_LIMITS=off, and GATEWAYS=2 where a process may have 20,000 descriptors).
// Prints how many came up, how many are lost afterwards, and what gateways and nginx take for one.
const { fork } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { parseArgs } = require('node:util');

const EACH = 5000;   // clients a process
const REQUEST = 'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
const frame = (text) => Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

// A process of clients: connected as Socket.IO clients are, then there.
async function clients(port, n) {
  let up = 0; let lost = 0;
  const one = () => new Promise((done) => {
    const s = net.connect(port, '127.0.0.1', () => s.write(REQUEST));
    let asked = false; let there = false;
    s.on('data', (data) => {
      if (!there && data.includes('40{"sid"')) { there = true; up++; done(); }
      if (!asked && data.includes('0{"sid"')) { asked = true; s.write(frame('40')); }
      if (data.length === 3 && data[2] === 0x32) s.write(frame('3'));
    });
    s.on('error', () => {});
    s.on('close', () => { if (there) lost++; done(); });
  });
  for (let i = 0; i < n; i += 100) await Promise.all(Array.from({ length: Math.min(100, n - i) }, one));
  process.send({ up });
  process.on('message', () => process.send({ lost }, () => process.exit()));
}

async function main() {
  const { values: o } = parseArgs({ options: { clients: { type: 'string', default: '20000' }, seconds: { type: 'string', default: '60' } } });
  const state = path.resolve(process.env.STATE_DIR ?? path.join(__dirname, '../../var'));
  const port = /^PORT='?(\d+)/m.exec(fs.readFileSync(path.join(state, 'selliko.conf'), 'utf8'))[1];
  const children = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  const root = (name) => fs.readFileSync(path.join(state, `run/${name}.pid`), 'utf8').split(/\s/)[0];
  const tree = (pid) => [pid, ...children(pid).flatMap(tree)];
  const memory = () => [...tree(root('nginx')), ...tree(root('supervisor')).filter((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('selliko-gateway'))]
    .reduce((kb, pid) => kb + Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]), 0);
  const before = memory();
  const began = Date.now();
  const processes = [];
  for (let left = Number(o.clients); left > 0; left -= EACH) processes.push(fork(__filename, [], { env: { ...process.env, IDLE: `${port} ${Math.min(EACH, left)}` } }));
  const all = async (ask, what) => (await Promise.all(processes.map((p) => new Promise((done) => { p.once('message', (m) => done(m[what])); if (ask) p.send(ask); })))).reduce((a, b) => a + b);
  const up = await all(null, 'up');
  console.log(`${up} of ${o.clients} connected after ${((Date.now() - began) / 1000).toFixed(0)} s; ${((memory() - before) / up).toFixed(1)} kB each in gateways and nginx`);
  await sleep(1000 * Number(o.seconds));
  console.log(`${await all('report', 'lost')} lost in ${o.seconds} s`);
}

if (process.env.IDLE) clients(...process.env.IDLE.split(' ').map(Number));
else main();
