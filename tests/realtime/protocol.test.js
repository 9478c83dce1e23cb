'use strict';
// Engine.IO 4 and Socket.IO 5, byte by byte, against the echo server (echo.c): what the official
// conformance suites of socketio/socket.io check, and what they leave out: limits, floods, slow
// readers, malformed bytes, the end.
const { test, describe, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { spawn, execFileSync } = require('node:child_process');
const { WebSocket } = require('ws');
const { io } = require('socket.io-client');
const { TOP, freePort, sleep, until } = require('../api/lib');

const BUILD = process.env.BUILD_DIR ?? ['build/tests', 'build'].map((d) => path.join(TOP, d)).find((d) => fs.existsSync(path.join(d, 'Makefile')));

class Echo {
  async start(env = {}) {
    execFileSync('make', ['-s', '-C', BUILD, 'tests/realtime/echo'], { stdio: ['ignore', 'ignore', 'inherit'] });
    this.port = await freePort();
    this.base = `http://127.0.0.1:${this.port}`;
    this.process = spawn(path.join(BUILD, 'tests/realtime/echo'), [String(this.port)], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    this.exited = new Promise((r) => { this.process.once('exit', (code) => r(code)); });
    await new Promise((resolve, reject) => { this.process.stdout.once('data', resolve); this.process.once('exit', (c) => reject(new Error(`echo ended with ${c}`))); });
  }
  async stop() { this.process.kill('SIGTERM'); return this.exited; }
}
const suite = (name, env, body) => describe(name, () => {
  const e = new Echo();
  before(() => e.start(env), { timeout: 120000 });
  after(async () => { assert.equal(await e.stop(), 0, 'echo ends cleanly, also to the sanitizers'); });
  body(e);
});

// One request on a connection of its own: {status, headers, text}
function ask(e, method, query, { body, headers = {}, at = '/engine.io/', signal } = {}) {
  return new Promise((resolve, reject) => {
    const q = http.request({ host: '127.0.0.1', port: e.port, method, path: `${at}?${query}`, agent: false, signal, headers: { ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }), ...headers } }, (r) => {
      let text = '';
      r.setEncoding('utf8');
      r.on('data', (d) => { text += d; });
      r.on('end', () => resolve({ status: r.statusCode, headers: r.headers, text }));
      r.on('error', reject);
    });
    q.on('error', reject);
    q.end(body);
  });
}
const POLL = 'EIO=4&transport=polling';
async function session(e, at) { return JSON.parse((await ask(e, 'GET', POLL, { at })).text.slice(1)).sid; }
const poll = (e, sid, o) => ask(e, 'GET', `${POLL}&sid=${sid}`, o);
const post = (e, sid, body, o) => ask(e, 'POST', `${POLL}&sid=${sid}`, { body, ...o });
const code = (r) => JSON.parse(r.text).code;

// A WebSocket whose messages are waited for in order; heartbeats are answered unless quiet is false
function connect(e, { at = '/engine.io/', query = 'EIO=4&transport=websocket', quiet = true } = {}) {
  const s = new WebSocket(`ws://127.0.0.1:${e.port}${at}?${query}`);
  const got = []; const waiting = [];
  s.on('error', () => {});
  s.on('message', (data, binary) => {
    const m = binary ? data : String(data);
    if (quiet && m === '2') { s.send('3'); return; }
    const w = waiting.shift();
    if (w) w(m); else got.push(m);
  });
  s.closed = new Promise((r) => { s.on('close', (c) => r(c)); });
  s.opened = new Promise((r) => { s.on('open', r); });
  s.next = (seconds = 5) => (got.length ? Promise.resolve(got.shift()) : new Promise((resolve, reject) => {
    const t = setTimeout(() => reject(new Error('no message')), seconds * 1000);
    waiting.push((m) => { clearTimeout(t); resolve(m); });
    s.closed.then((c) => { clearTimeout(t); reject(new Error(`closed with ${c}`)); });
  }));
  return s;
}
async function engine(e, o) { const s = connect(e, o); await s.next(); return s; }
async function socket(e) { const s = await engine(e, { at: '/socket.io/' }); s.send('40'); await s.next(); await s.next(); return s; }

suite('Engine.IO', {}, (e) => {
  test('the handshake says who one is and what holds', async () => {
    const r = await ask(e, 'GET', POLL);
    assert.equal(r.status, 200);
    assert.equal(r.headers['access-control-allow-origin'], undefined);
    const { sid, ...rest } = JSON.parse(r.text.slice(1));
    assert.match(sid, /^echo-[\w-]{20}$/);
    assert.deepEqual(rest, { upgrades: ['websocket'], pingInterval: 300, pingTimeout: 200, maxPayload: 1000000 });
    assert.deepEqual(JSON.parse((await connect(e).next()).slice(1)).upgrades, []);
    assert.equal((await ask(e, 'GET', POLL, { headers: { origin: 'http://a.example' } })).headers['access-control-allow-origin'], '*');
    assert.equal((await ask(e, 'OPTIONS', POLL, { headers: { origin: 'http://a.example' } })).status, 204);
  });

  test('what is no handshake is refused, each in its way', async () => {
    for (const [method, query, expected] of [['GET', 'transport=polling', 5], ['GET', 'EIO=abc&transport=polling', 5], ['GET', 'EIO=3&transport=polling', 5], ['GET', 'EIO=4', 0],
      ['GET', 'EIO=4&transport=abc', 0], ['GET', 'EIO=4&transport=websocket', 3], ['POST', POLL, 2], ['PUT', POLL, 2], ['GET', `${POLL}&sid=nobody`, 1], ['GET', `${POLL}&sid=${'x'.repeat(500)}`, 1], ['POST', `${POLL}&sid=`, 1]]) {
      const r = await ask(e, method, query, { body: method === 'POST' ? '' : undefined });
      assert.equal(r.status, 400, `${method} ${query}`);
      assert.equal(code(r), expected, `${method} ${query}`);
    }
    assert.equal((await ask(e, 'GET', POLL, { at: '/elsewhere/' })).status, 404);
    for (const query of ['transport=websocket', 'EIO=abc&transport=websocket', 'EIO=4', 'EIO=4&transport=abc', 'EIO=4&transport=websocket&sid=nobody']) await connect(e, { query }).closed;
    assert.equal((await ask(e, 'POST', POLL, { headers: { 'transfer-encoding': 'chunked' }, body: undefined })).status, 411);
  });

  test('messages come back as they were sent, text and binary', async () => {
    const sid = await session(e);
    for (const body of ['4hello', '4test1\x1e4test2\x1e4test3', '4hello\x1ebAQIDBA==', '4é€😀\x1e4']) {
      const r = await post(e, sid, body);
      assert.deepEqual([r.status, r.text], [200, 'ok']);
      assert.equal((await poll(e, sid)).text, body);
    }
    const s = await engine(e);
    s.send('4hello');
    assert.equal(await s.next(), '4hello');
    for (const size of [0, 1, 125, 126, 511, 512, 513, 65535, 65536, 999999]) {
      s.send(Buffer.alloc(size, 7));
      assert.deepEqual(await s.next(), Buffer.alloc(size, 7));
    }
    s.send(`4${'é'.repeat(200000)}`);
    assert.equal(await s.next(), `4${'é'.repeat(200000)}`);
    s.close();
  });

  test('a poll that waits is answered when there is something to say', async () => {
    const sid = await session(e);
    const waiting = poll(e, sid);
    await sleep(50);
    await post(e, sid, '4now');
    assert.equal((await waiting).text, '4now');
  });

  test('what is malformed ends that session: type, base64, UTF-8, an empty packet, a client\'s ping', async () => {
    for (const body of ['abc', '', '4a\x1e', 'b*', 'bA', '2', '0', Buffer.from([0x34, 0xff])]) {
      const sid = await session(e);
      assert.equal((await post(e, sid, body)).status, 400, String(body));
      assert.equal((await poll(e, sid)).status, 400, String(body));
    }
    for (const m of ['abc', '', '2', '0', '7']) { const s = await engine(e); s.send(m); await s.closed; }
    const s = await engine(e);
    s.send(Buffer.from([0x34, 0xc3, 0x28]), { binary: false });
    await s.closed;
  });

  test('of two polls the first is sent away, the second refused; of two posts likewise', async () => {
    const sid = await session(e);
    const first = poll(e, sid);
    await sleep(20);
    assert.equal((await poll(e, sid)).status, 400);
    assert.equal((await first).text, '1');
    assert.equal((await poll(e, sid)).status, 400);

    const other = await session(e);
    const slow = net.connect(e.port, '127.0.0.1');
    slow.on('error', () => {});
    slow.write(`POST /engine.io/?${POLL}&sid=${other} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n4a`);
    await sleep(30);
    assert.equal((await post(e, other, '4b')).status, 400);
    slow.destroy();
  });

  test('a poll that the client gives up ends the session', async () => {
    const sid = await session(e);
    const stop = new AbortController();
    const waiting = poll(e, sid, { signal: stop.signal }).catch(() => 'given up');
    await sleep(20);
    stop.abort();
    assert.equal(await waiting, 'given up');
    assert.equal((await poll(e, sid)).status, 400);
  });

  test('the server pings, and misses who does not answer', async () => {
    const sid = await session(e);
    for (let i = 0; i < 3; i++) { assert.equal((await poll(e, sid)).text, '2'); assert.equal((await post(e, sid, '3')).status, 200); }
    const dead = await session(e);
    const s = connect(e, { quiet: false });
    await s.next();
    for (let i = 0; i < 3; i++) { assert.equal(await s.next(), '2'); s.send('3'); }
    assert.equal(await s.next(), '2');
    const at = Date.now();
    await s.closed;
    assert.ok(Date.now() - at < 400);
    assert.equal((await poll(e, dead)).status, 400);
  });

  test('closing: the waiting poll hears a noop, or the next one does, and then nobody', async () => {
    for (const wait of [true, false]) {
      const sid = await session(e);
      const waiting = wait && poll(e, sid);
      if (wait) await sleep(20);
      assert.equal((await post(e, sid, '1')).text, 'ok');
      assert.equal((await (waiting || poll(e, sid))).text, '6');
      assert.equal((await poll(e, sid)).status, 400);
    }
    const s = await engine(e);
    s.send('1');
    await s.closed;
  });

  test('the upgrade: probe, noop, and what was waiting goes on by WebSocket', async () => {
    const sid = await session(e);
    const query = `EIO=4&transport=websocket&sid=${sid}`;
    const waiting = poll(e, sid);
    const s = connect(e, { query });
    await s.opened;
    s.send('2probe');
    assert.equal(await s.next(), '3probe');
    assert.equal((await waiting).text, '6');
    assert.equal((await poll(e, sid)).text, '6');
    await post(e, sid, '4late');
    s.send('5');
    assert.equal(await s.next(), '4late');
    s.send('4hello');
    assert.equal(await s.next(), '4hello');
    assert.equal((await poll(e, sid)).status, 400);
    assert.equal((await post(e, sid, '4x')).status, 400);
    await connect(e, { query }).closed;   // one WebSocket a session
    s.send('4still');
    assert.equal(await s.next(), '4still');
    s.close();
  });

  test('a probe that does not know how, or goes away, leaves the session polling', async () => {
    const sid = await session(e);
    const query = `EIO=4&transport=websocket&sid=${sid}`;
    for (const m of ['5', '4hello', '2', 'x']) { const s = connect(e, { query }); await s.opened; s.send(m); await s.closed; }
    const s = connect(e, { query });
    await s.opened;
    s.send('2probe');
    assert.equal(await s.next(), '3probe');
    s.terminate();
    await sleep(50);
    await post(e, sid, '4here');
    let heard;
    do heard = (await poll(e, sid)).text.split('\x1e').filter((packet) => packet !== '2'); while (heard.length === 0);   // its ping may be due
    assert.deepEqual(heard, ['4here']);
  });

  test('a message of more than maxPayload is refused: 413, 1009', async () => {
    const sid = await session(e);
    assert.equal((await post(e, sid, `4${'x'.repeat(1000000)}`)).status, 413);
    const s = await engine(e);
    s.send(`4${'x'.repeat(1000000)}`);
    assert.equal(await s.closed, 1009);
    const t = await engine(e);
    for (let i = 0; i < 20; i++) t.send('x'.repeat(60000), { fin: false });   // in fragments
    assert.equal(await t.closed, 1009);
  });

  test('bytes that are no HTTP and no WebSocket frame harm nobody else', async () => {
    const s = await engine(e);
    const say = (bytes) => new Promise((r) => { const c = net.connect(e.port, '127.0.0.1', () => c.end(bytes)); c.on('data', () => {}); c.on('error', r); c.on('close', r); });
    const upgrade = `GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
    for (const bytes of ['\0\0\0', 'GET', 'GET / HTTP/1.1\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', `POST /engine.io/?${POLL} HTTP/1.1\r\nContent-Length: -5\r\n\r\n`,
      `POST /engine.io/?${POLL} HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n`, `GET /engine.io/?${'a=b&'.repeat(3000)} HTTP/1.1\r\n\r\n`, 'GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n',
      `${upgrade}\x81\x05hello`, `${upgrade}\x83\x80\0\0\0\0`, `${upgrade}\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff`, `${upgrade}\x89\xff`]) await say(Buffer.from(bytes, 'latin1'));
    s.send('4well');
    assert.equal(await s.next(), '4well');
    s.close();
  });
});

suite('mischief', {}, (e) => {
  test('five seconds of everything at once, and it still answers', { timeout: 60000 }, async () => {
    const p = spawn(process.execPath, [path.join(__dirname, 'mischief.js'), String(e.port), '5'], { stdio: ['ignore', 'ignore', 'inherit'] });
    assert.equal(await new Promise((r) => { p.once('exit', r); }), 0);
  });
});

suite('Socket.IO', {}, (e) => {
  test('connecting gives a sid, and the auth payload arrives', async () => {
    const s = await engine(e, { at: '/socket.io/' });
    s.send('40');
    const own = JSON.parse((await s.next()).slice(2));
    assert.deepEqual(Object.keys(own), ['sid']);
    assert.equal(await s.next(), '42["auth",{}]');
    s.send('40/custom,{"token":"abc"}');
    assert.match(await s.next(), /^40\/custom,\{"sid":"[\w-]{20}"\}$/);
    assert.equal(await s.next(), '42/custom,["auth",{"token":"abc"}]');
    s.send('40/random');
    assert.equal(await s.next(), '44/random,{"message":"Invalid namespace"}');
    s.send('2["x"]');
    await s.closed;
  });

  test('who does not begin with a connect, or never does, is sent away', async () => {
    for (const m of ['4abc', '42["message"]', '41', '43[]']) { const s = await engine(e, { at: '/socket.io/' }); s.send(m); await s.closed; }
    const s = await engine(e, { at: '/socket.io/' });
    const at = Date.now();
    await s.closed;
    assert.ok(Date.now() - at > 800);
  });

  test('events and acknowledgements, with and without attachments, byte by byte', async () => {
    const s = await socket(e);
    s.send('42["message",1,"2",{"3":[true]}]');
    assert.equal(await s.next(), '42["message-back",1,"2",{"3":[true]}]');
    s.send('42["message", 1.0 ,"\\u00e9",{ "a" : 1e2 }]');
    assert.equal(await s.next(), '42["message-back",1.0 ,"\\u00e9",{ "a" : 1e2 }]');
    s.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    assert.equal(await s.next(), '43456[1,"2",{"3":[false]}]');
    const args = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    for (const [ask1, answer] of [[`452-["message",${args}]`, `452-["message-back",${args}]`], [`452-789["message-with-ack",${args}]`, `462-789[${args}]`]]) {
      s.send(ask1);
      s.send(Buffer.from([1, 2, 3]));
      s.send(Buffer.from([4, 5, 6]));
      assert.equal(await s.next(), answer);
      assert.deepEqual(await s.next(), Buffer.from([1, 2, 3]));
      assert.deepEqual(await s.next(), Buffer.from([4, 5, 6]));
    }
    s.close();
  });

  test('what is malformed ends that session', async () => {
    for (const m of ['4abc', '42{}', '42', '42[]', '42[{}]', '42abc["message-with-ack"]', '42["connect"]', '42["a"', '40', '44{"message":"x"}', '452-["a"]x', '451["a"]', '4511-["a"]', `42${'['.repeat(200)}${']'.repeat(200)}`]) {
      const s = await socket(e);
      s.send(m);
      await s.closed;
    }
    const s = await socket(e);
    s.send('451-["message",{"_placeholder":true,"num":0}]');
    s.send('42["message"]');   // where an attachment should come
    await s.closed;
    const t = await socket(e);
    t.send(Buffer.from([1]));   // of nothing
    await t.closed;
  });

  test('leaving a namespace leaves the connection', async () => {
    const s = await socket(e);
    s.send('40/custom');
    await s.next();
    await s.next();
    s.send('41/custom');
    s.send('42["message","still here"]');
    assert.equal(await s.next(), '42["message-back","still here"]');
    s.send('42/custom,["message"]');
    await s.closed;
  });

  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`socket.io-client, ${transports}: events, attachments, acknowledgements, refusals, rooms`, async () => {
      const [a, b] = [0, 1].map(() => io(e.base, { transports, forceNew: true }));
      await Promise.all([a, b].map((s) => new Promise((r) => { s.once('connect', r); })));
      const back = new Promise((r) => { a.once('message-back', (...args) => r(args)); });
      a.emit('message', 'é', { deep: [Buffer.from([1, 2])] }, null);
      assert.deepEqual(await back, ['é', { deep: [Buffer.from([1, 2])] }, null]);
      assert.deepEqual(await a.emitWithAck('message-with-ack', Buffer.from('x')), Buffer.from('x'));
      for (const s of [a, b]) assert.equal(await s.emitWithAck('join', 'r'), true);
      const heard = [a, b].map((s) => new Promise((r) => { s.once('from-room', (...args) => r(args)); }));
      a.emit('to-room', 'r', 42);
      assert.deepEqual(await Promise.all(heard), [['r', 42], ['r', 42]]);
      const no = io(e.base, { transports, forceNew: true, auth: { refuse: true } });
      const why = await new Promise((r) => { no.once('connect_error', r); });
      assert.equal(why.message, 'refused');
      assert.deepEqual(why.data, { code: 'test' });
      const later = io(e.base, { transports, forceNew: true, auth: { later: true } });
      assert.deepEqual(await new Promise((r) => { later.once('auth', r); }), { later: true });
      const kicked = new Promise((r) => { b.once('disconnect', r); });
      b.emit('kick');
      assert.equal(await kicked, 'io server disconnect');
      for (const s of [a, b, no, later]) s.disconnect();
    });
  }
});

suite('under pressure', { ECHO_QUIET: '1', ECHO_LIMIT: '50', ECHO_RATE: '50' }, (e) => {
  test('a client that does not read is dropped, and the others do not notice', async () => {
    const lazy = await socket(e);
    const other = await socket(e);
    lazy._socket.pause();
    lazy.send('42["flood"]');   // 10 MB for it
    for (let i = 0; i < 10; i++) {
      const at = Date.now();
      other.send(`42["message",${i}]`);
      assert.equal(await other.next(), `42["message-back",${i}]`);
      assert.ok(Date.now() - at < 200);
    }
    lazy._socket.resume();
    await lazy.closed;
    other.close();
  });

  test('who polls no more is dropped as well', async () => {
    const sid = await session(e, '/socket.io/');
    const at = '/socket.io/';
    await post(e, sid, '40', { at });
    await post(e, sid, '42["flood"]', { at });
    assert.equal((await poll(e, sid, { at })).status, 400);
  });

  test('an address has so many sessions, and as they go others may come', async () => {
    const headers = (ip) => ({ headers: { 'x-real-ip': ip } });
    const many = await Promise.all(Array.from({ length: 50 }, () => ask(e, 'GET', POLL, headers('192.0.2.7'))));
    assert.ok(many.every((r) => r.status === 200));
    const r = await ask(e, 'GET', POLL, headers('192.0.2.7'));
    assert.equal(r.status, 429);
    assert.equal((await ask(e, 'GET', POLL, headers('192.0.2.8'))).status, 200);
    for (let i = 0; i < 50; i++) assert.equal((await ask(e, 'GET', POLL, headers(`2001:db8:0:1::${i}`))).status, 200);
    assert.equal((await ask(e, 'GET', POLL, headers('2001:db8:0:1:ffff::1'))).status, 429);   // the same /64
    assert.equal((await ask(e, 'GET', POLL, headers('2001:db8:0:2::1'))).status, 200);
    await post(e, JSON.parse(many[0].text.slice(1)).sid, '1');
    assert.equal((await ask(e, 'GET', POLL, headers('192.0.2.7'))).status, 200);
  });

  test('a session has a rate, and so many rooms', async () => {
    const s = await socket(e);
    for (let i = 0; i < 4; i++) {
      s.send(`42${i}["join","room ${i}"]`);
      assert.equal(await s.next(), `43${i}[${i < 3}]`);
    }
    for (let i = 0; i < 100; i++) s.send('42["nothing"]');
    await s.closed;
  });

  test('SIGTERM sends everyone away with a close, and they come back', async () => {
    const s = await socket(e);
    const sid = await session(e);
    const waiting = poll(e, sid);
    const client = io(e.base, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100 });
    await new Promise((r) => { client.once('connect', r); });
    const why = new Promise((r) => { client.once('disconnect', r); });
    await sleep(100);
    e.process.kill('SIGTERM');
    assert.equal(await s.closed, 1001);
    assert.equal((await waiting).text, '1');
    assert.match(await why, /^transport (close|error)$/);
    assert.equal(await e.exited, 0);
    const { port } = e;
    e.process = spawn(path.join(BUILD, 'tests/realtime/echo'), [String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    e.exited = new Promise((r) => { e.process.once('exit', r); });
    await until('it is back', () => client.connected, 10);
    client.disconnect();
  });
});
