'use strict';
// mischief.js PORT SECONDS -- everything at once, at random, against the echo server: polls given up
// half-way, posts cut short, upgrades that race with both, frames of noise, pipelined requests, clients
// that do not read.  The server is to survive it (under the sanitizers: cleanly) and to answer at the end.
const net = require('node:net');
const http = require('node:http');
const crypto = require('node:crypto');
const { WebSocket } = require('ws');

const port = Number(process.argv[2]);
const end = Date.now() + Number(process.argv[3]) * 1000;
const below = crypto.randomInt;
const oneIn = (n) => below(n) === 0;
const pick = (list) => list[below(list.length)];
const sleep = (ms) => new Promise((r) => { setTimeout(r, ms); });
const agent = new http.Agent({ keepAlive: true, maxSockets: 20 });
const tally = {};
const count = (what) => { tally[what] = (tally[what] ?? 0) + 1; };
process.on('uncaughtException', (e) => count(`exception: ${e.message.slice(0, 40)}`));

const SOUND = ['40', '40/custom,', '42["message",1]', '421["message-with-ack",{"a":[1,2]}]', '42["join","r1"]', '423["join","r2"]', '42["leave","r1"]', '42["to-room","r1",7]', '3'];
const UNSOUND = ['41', '42["flood"]', '42["kick"]', '40{"later":true}', '40{"refuse":true}', '451-["message",{"_placeholder":true,"num":0}]', '4abc', '2', '1', '5', '6', '0', '', '42["x', '44{}', '4/'];
const packet = () => (oneIn(7) ? pick(UNSOUND) : pick(SOUND));

// The answer's text, '' for none
function ask(method, path, body, giveUpAfter) {
  return new Promise((resolve) => {
    const q = http.request({ host: '127.0.0.1', port, method, path, agent: oneIn(2) ? agent : false, headers: body === undefined ? {} : { 'content-length': Buffer.byteLength(body) } }, (r) => {
      let text = '';
      r.on('data', (d) => { text += d; });
      r.on('end', () => { count(`${method} ${r.statusCode}`); resolve(text); });
      r.on('error', () => resolve(''));
    });
    q.on('error', () => resolve(''));
    q.setTimeout(3000, () => q.destroy());
    if (giveUpAfter !== undefined) setTimeout(() => q.destroy(), giveUpAfter);
    q.end(body);
  });
}

function upgrade(query) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${query.replace('polling', 'websocket')}`);
  ws.on('error', () => {});
  ws.on('open', () => { ws.send(pick(['2probe', '2probe', '2probe', '5', 'x'])); if (oneIn(4)) setTimeout(() => ws.terminate(), below(20)); });
  ws.on('message', (data) => {
    if (String(data) === '2') ws.send('3');
    if (String(data) !== '3probe') return;
    count('probed');
    if (!oneIn(5)) ws.send('5');
    for (let n = below(5); n > 0; n--) ws.send(packet());
  });
  if (oneIn(3)) setTimeout(() => ws.close(), below(300));
  setTimeout(() => ws.terminate(), 700);
}

async function poller() {
  const at = pick(['/engine.io/', '/socket.io/', '/socket.io']);
  const sid = /"sid":"([^"]+)"/.exec(await ask('GET', `${at}?EIO=4&transport=polling`))?.[1];
  if (!sid) return;
  const query = `${at}?EIO=4&transport=polling&sid=${sid}`;
  let over = false;
  const polling = (async () => {
    while (!over) {
      const text = await ask('GET', query, undefined, oneIn(12) ? below(30) : undefined);
      if (!text || text[0] === '{') return;
      if (/(^|\x1e)2(\x1e|$)/.test(text)) await ask('POST', query, '3');
    }
  })();
  for (let n = below(8); n > 0; n--) {
    await ask('POST', query, Array.from({ length: 1 + below(3) }, packet).join('\x1e'), oneIn(20) ? below(5) : undefined);
    if (oneIn(5)) ask('GET', query);
    if (oneIn(3)) await sleep(below(40));
  }
  if (oneIn(2)) upgrade(query);
  if (oneIn(3)) await ask('POST', query, '1');
  over = true;
  await Promise.race([polling, sleep(800)]);
}

async function talker() {
  const at = pick(['/engine.io/', '/socket.io/']);
  const ws = new WebSocket(`ws://127.0.0.1:${port}${at}?EIO=4&transport=websocket`);
  let alive = true;
  ws.on('error', () => {});
  ws.on('close', () => { alive = false; count('WebSocket closed'); });
  ws.on('message', (data) => { if (String(data) === '2' && !oneIn(20)) ws.send('3'); });
  await new Promise((r) => { ws.on('open', r); ws.on('close', r); });
  if (alive && at === '/socket.io/' && !oneIn(10)) ws.send('40');
  for (let n = below(30); alive && n > 0; n--) {
    ws.send(oneIn(10) ? crypto.randomBytes(below(3000)) : packet());
    if (oneIn(15)) ws.send('x'.repeat(below(70000)), { fin: oneIn(2) });
    if (oneIn(30)) { ws._socket?.pause(); setTimeout(() => ws._socket?.resume(), below(500)); }
    if (oneIn(30)) ws.ping();
    if (oneIn(4)) await sleep(below(30));
  }
  if (oneIn(2)) ws.terminate(); else ws.close();
  setTimeout(() => ws.terminate(), 500);
}

async function noise() {
  const hello = `GET /${pick(['engine', 'socket'])}.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
  const get = 'GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n';
  const bytes = pick([
    () => crypto.randomBytes(below(500)),
    () => Buffer.concat([Buffer.from(hello), crypto.randomBytes(below(600))]),
    () => Buffer.from(get.repeat(1 + below(5))),
    () => Buffer.from(get.slice(0, below(get.length))),
    () => Buffer.concat([Buffer.from(hello), Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x33, 0x88, 0x80, 0, 0, 0, 0])]),
    () => Buffer.from(`POST /engine.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\nContent-Length: ${below(2000)}\r\n\r\n${'4'.repeat(below(2000))}${get}`),
  ])();
  await new Promise((resolve) => {
    const c = net.connect(port, '127.0.0.1', () => { c.write(bytes); setTimeout(() => { if (oneIn(2)) c.destroy(); else c.end(); }, below(100)); });
    c.on('data', () => {});
    c.on('error', resolve);
    c.on('close', resolve);
    setTimeout(() => c.destroy(), 1000);
  });
}

(async () => {
  await Promise.all(Array.from({ length: 40 }, async () => { while (Date.now() < end) await Promise.race([pick([poller, talker, noise])(), sleep(4000)]); }));
  const text = await ask('GET', '/engine.io/?EIO=4&transport=polling');
  console.log(JSON.stringify(tally));
  process.exit(text[0] === '0' ? 0 : 1);
})();
