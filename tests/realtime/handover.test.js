'use strict';
// A WebSocket without TLS is handed over: after its 101 nginx is out of it, and the gateway holds the connection itself
// (realtime/handover.c).  Nobody but nginx's restart notices: what is answered, limited and logged stays as it was.
const { test, before, after, describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { io } = require('socket.io-client');
const { own, until, sleep, signIn, several, mustBid, quickListing, TOP } = require('../api/lib');

const BUILD = process.env.BUILD_DIR ?? ['build/tests', 'build'].map((d) => path.join(TOP, d)).find((d) => fs.existsSync(path.join(d, 'Makefile')));
const NEEDS_MODULE = { skip: !fs.existsSync(path.join(BUILD ?? '', 'realtime/ngx_http_handover_module.so')) && 'built without nginx-dev' };

describe('handover', () => {
  const w = own({ GATEWAY_HANDOVER: 'on', GATEWAY_CLIENTS_PER_ADDRESS: '20', RATE_LIMITS: 'send-otp=3/60,verify-otp=5/300,bids=1000/60' });
  const open = new Set();
  after(() => open.forEach((s) => (s.destroy ? s.destroy() : s.disconnect())));
  const hangUp = async () => { open.forEach((s) => (s.destroy ? s.destroy() : s.disconnect())); open.clear(); await sleep(200); };
  let bidders; let owner;
  before(async () => {
    await w.started;
    execFileSync('make', ['-s', '-C', BUILD, 'tests/realtime/hand'], { stdio: ['ignore', 'ignore', 'inherit'] });
    owner = await signIn(w, 'CLIENT');
    bidders = await several(w, 'VENDOR', 4);
  }, { timeout: 600000 });

  const pidOf = (name) => Number(fs.readFileSync(path.join(w.state, 'run', `${name}.pid`), 'utf8').split(' ')[0]);
  const replaced = (name, old) => { try { return pidOf(name) !== old; } catch { return false; } };
  const childrenOf = (pid) => { try { return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number); } catch { return []; } };
  const workers = () => childrenOf(pidOf('nginx'));
  const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).map((f) => { try { return fs.readlinkSync(`/proc/${pid}/fd/${f}`); } catch { return ''; } });
  // Which of the service's processes have the connection that a client sees as its own from PORT
  function holders(port) {
    const hex = port.toString(16).toUpperCase().padStart(4, '0');
    const line = fs.readFileSync('/proc/net/tcp', 'utf8').split('\n').map((l) => l.trim().split(/\s+/)).find((f) => f[2]?.endsWith(`:${hex}`) && f[1].endsWith(`:${Number(new URL(w.base).port).toString(16).toUpperCase().padStart(4, '0')}`));
    if (!line) return [];
    const inode = `socket:[${line[9]}]`;
    const has = (pid) => { try { return descriptors(pid).includes(inode); } catch { return false; } };   // it may have ended meanwhile
    return [['gateway', pidOf('gateway')], ...workers().map((p) => ['nginx', p])].filter(([, p]) => has(p)).map(([name]) => name);
  }

  const frame = (text) => Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
  const HEAD = (query = 'EIO=4&transport=websocket', more = '') => `GET /socket.io/?${query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${more}\r\n`;
  // Sends bytes, keeps what comes
  async function say(bytes) {
    await w.started;
    const s = net.connect(Number(new URL(w.base).port), '127.0.0.1');
    open.add(s);
    s.text = '';
    s.setEncoding('latin1');
    s.on('data', (d) => { s.text += d; });
    s.on('error', () => {});
    s.ended = new Promise((r) => { s.on('close', r); });
    await new Promise((r) => { s.on('connect', r); });
    s.write(bytes);
    return s;
  }
  // status and headers of an answer, but for what differs each time
  const answer = (s) => { const [first, ...rest] = s.text.split('\r\n\r\n')[0].split('\r\n'); return [first, ...rest.filter((h) => !/^(date|x-request-id):/i.test(h))]; };
  async function watcher(id, options) {
    const s = io(w.base, { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 300, ...options });
    open.add(s);
    Object.assign(s, { seen: [], breaks: 0 });
    s.on('new_bid', (e) => s.seen.push(e.newHighestBid));
    s.on('disconnect', () => { s.breaks++; });
    await new Promise((r) => { s.once('connect', r); });
    assert.equal((await s.timeout(30000).emitWithAck('join_room', { listingId: id })).success, true);
    return s;
  }

  test('nginx keeps nothing of a WebSocket that is open, and has logged it', NEEDS_MODULE, async () => {
    const s = await say(HEAD());
    await until('the handshake', () => s.text.includes('0{"sid"'));
    assert.deepEqual(holders(s.localPort), ['gateway']);
    const id = /x-request-id: (\w+)/i.exec(s.text)[1];
    const line = await until('the log', () => w.log('nginx-access').split('\n').find((l) => l.includes(id)));
    assert.equal(JSON.parse(line).status, 101);
    s.write(frame('40'));
    await until('the answer', () => s.text.includes('40{"sid"'));
    await hangUp();
  });

  test('a session that polled and upgraded is handed over to the gateway that owns it', NEEDS_MODULE, async () => {
    const [id] = quickListing(w, owner.id, { asking: 900000 });
    const s = await watcher(id, {});
    await until('the upgrade', () => s.io.engine.transport.name === 'websocket');
    assert.deepEqual(await until('the handover', () => { const h = holders(s.io.engine.transport.ws._socket.localPort); return h.length && h; }), ['gateway']);
    await mustBid(w, bidders[0], id, 2000);
    await until('the bid', () => s.seen.length === 1);
    await hangUp();
  });

  test('who sends more than his request is relayed, loses nothing, and is told the same headers', async () => {
    const relayed = await say(Buffer.concat([Buffer.from(HEAD()), frame('40')]));
    await until('the answer', () => relayed.text.includes('40{"sid"'));
    if (!NEEDS_MODULE.skip) assert.deepEqual(holders(relayed.localPort), ['nginx']);
    const handed = await say(HEAD());
    await until('the handshake', () => handed.text.includes('0{"sid"'));
    assert.deepEqual(answer(handed), answer(relayed));
    for (const s of [handed, relayed]) {
      assert.match(s.text, /\r\nx-request-id: \w{32}\r\n/i);
      assert.match(s.text, /\r\ncontent-security-policy: default-src 'none'/i);
      assert.doesNotMatch(s.text, /x-handover/i);
    }
    await hangUp();
  });

  test('what is refused is refused in the same way, whether it could have been handed over or not', async () => {
    const long = `X-Long: ${'a'.repeat(7000)}\r\n`;
    for (const [what, request] of Object.entries({
      'another version': HEAD('EIO=3&transport=websocket'), 'another transport': HEAD('EIO=4&transport=polling'), 'nobody\'s session': HEAD('EIO=4&transport=websocket&sid=g1-nobody'),
      'a header too long': HEAD(undefined, `X-Long: ${'a'.repeat(20000)}\r\n`), 'headers beyond the gateway\'s room': HEAD(undefined, long.repeat(3)),
      'an absurd header': HEAD(undefined, 'X-Odd: \x01\xff\r\n: nothing\r\n'), 'no key': HEAD().replace(/Sec-WebSocket-Key.*\r\n/, ''), 'a key too long': HEAD().replace('dGhl', 'a'.repeat(300)),
      'no Connection': HEAD().replace('Connection: Upgrade\r\n', ''), 'its own X-Handover': HEAD('EIO=3&transport=websocket', 'X-Handover: yes\r\n'),
    })) {
      const [a, b] = [await say(request), await say(Buffer.concat([Buffer.from(request, 'latin1'), frame('40')]))];
      await Promise.race([Promise.all([a.ended, b.ended]), until(what, () => a.text.includes('\r\n\r\n') && b.text.includes('\r\n\r\n'))]);
      assert.deepEqual(answer(a)[0], answer(b)[0], what);
      await hangUp();
    }
    assert.equal((await w.get('/health')).status, 200);
  });

  test('a client that asks for the handover itself gets the descriptor of nobody, and is served', async () => {
    const s = await say(Buffer.concat([Buffer.from(HEAD(undefined, 'X-Handover: yes\r\nX-Real-IP: 192.0.2.9\r\n')), frame('40')]));
    await until('the answer', () => s.text.includes('40{"sid"'));
    await hangUp();
  });

  test('the limit of clients from one address counts those that were handed over', NEEDS_MODULE, async () => {
    const all = [];
    for (let i = 0; i < 20; i++) all.push(await say(HEAD()));
    await until('all are in', () => all.every((s) => s.text.includes('0{"sid"')));
    const more = await say(HEAD());
    await until('the refusal', () => more.text.includes('\r\n\r\n'));
    assert.match(more.text, /^HTTP\/1.1 429 /);
    all.pop().destroy();
    await until('room for another', async () => { const s = await say(HEAD()); await until('an answer', () => s.text.includes('\r\n\r\n')); return s.text.startsWith('HTTP/1.1 101'); });
    await hangUp();
  });

  test('nginx may be reloaded, lose its workers and be started again: who was handed over hears on', { ...NEEDS_MODULE, timeout: 120000 }, async () => {
    const [id] = quickListing(w, owner.id, { asking: 900000 });
    const sockets = [await watcher(id, { transports: ['websocket'] }), await watcher(id, { transports: ['websocket'] })];
    const hear = async (amount) => {
      await until('nginx is there', async () => { try { return (await w.get('/health')).status === 200; } catch { return false; } });
      await mustBid(w, bidders[0], id, amount);
      await until('the bid', () => sockets.every((s) => s.seen.at(-1) === amount));
    };
    await hear(2000);
    process.kill(pidOf('nginx'), 'SIGHUP');
    await sleep(300);
    await hear(3000);
    for (const p of workers()) process.kill(p, 'SIGKILL');
    await hear(4000);
    const old = pidOf('nginx');
    process.kill(old, 'SIGQUIT');
    await until('another nginx', () => replaced('nginx', old));
    await hear(5000);
    assert.deepEqual(sockets.map((s) => [s.breaks, s.seen]), [[0, [2000, 3000, 4000, 5000]], [0, [2000, 3000, 4000, 5000]]]);
    await hangUp();
  });

  // Both sides held still at known points: nginx when it has passed on a request, the gateway before it has answered
  async function between(then) {
    const gateway = pidOf('gateway'); const others = workers();
    process.kill(gateway, 'SIGSTOP');
    try {
      const s = await say(HEAD());
      await sleep(200);
      others.forEach((p) => process.kill(p, 'SIGSTOP'));
      process.kill(gateway, 'SIGCONT');
      try { await then(gateway); } finally { others.forEach((p) => process.kill(p, 'SIGCONT')); }
      return s;
    } finally { try { process.kill(gateway, 'SIGCONT'); } catch { /* it has gone */ } }
  }

  test('an nginx that comes back in time hands over, one that comes too late relays, and no byte is lost', NEEDS_MODULE, async () => {
    for (const [wait, holder] of [[300, 'gateway'], [1800, 'nginx']]) {
      const s = await between(() => sleep(wait));
      await until('the handshake', () => s.text.includes('0{"sid"'));
      assert.equal(s.text.split('0{"sid"').length, 2);
      assert.deepEqual(holders(s.localPort), [holder]);
      s.write(frame('40'));
      await until('the answer', () => s.text.includes('40{"sid"'));
    }
    await hangUp();
  });

  test('a gateway that ends, or is killed, between its 101 and the descriptor: its client hears that at once, and the next one serves him', NEEDS_MODULE, async () => {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const old = pidOf('gateway');
      const s = await between(async (gateway) => { await sleep(300); process.kill(gateway, signal); await until('its end', () => replaced('gateway', old)); });
      await s.ended;
      // All of a goodbye, 1001, or nothing
      assert.match(s.text, signal === 'SIGTERM' ? /^HTTP\/1.1 101 [^]*0\{"sid"[^]*\x88\x02\x03\xe9$/ : /^HTTP\/1.1 101 [^]*\r\n\r\n$/);
      await until('another gateway', async () => { const again = await say(HEAD()); await Promise.race([again.ended, until('an answer', () => again.text.includes('\r\n\r\n'))]); return again.text.startsWith('HTTP/1.1 101 '); });
      await hangUp();
    }
  });

  test('only the service itself can come to the socket where descriptors are taken', () => {
    assert.equal(fs.statSync(path.join(w.state, 'run/gateway.sock')).mode & 0o777, 0o660);
  });

  test('a gateway that does not keep to what was agreed costs its client his connection at most', NEEDS_MODULE, async () => {
    const at = path.join(w.state, 'run/gateway.sock');
    const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
    const ACCEPT = `${SWITCH}X-Handover: yes\r\n\r\n`;
    let act = (c) => c.end('HTTP/1.1 200 OK\r\nX-Fake: yes\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    const fake = net.createServer((c) => { c.on('error', () => {}); c.once('data', (d) => act(c, d.toString('latin1'))); });
    await new Promise((r) => { fake.listen(`${at}.fake`, r); });
    fs.chmodSync(`${at}.fake`, 0o666);
    fs.renameSync(`${at}.fake`, at);   // the one that stood there listens on, where nobody finds it
    try {
      process.kill(pidOf('nginx'), 'SIGHUP');   // and no connection to it is kept
      await until('nginx comes to this one', async () => (await w.raw('GET /socket.io/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', { shut: false })).includes('X-Fake'));
      const meet = async (how, bytes = HEAD()) => { act = how; const s = await say(bytes); await Promise.race([s.ended, until('an answer', () => s.text.includes('\r\n\r\n'))]); return s; };

      const more = await meet((c) => c.write(`${ACCEPT}and more`));
      await until('what came with the 101', () => more.text.endsWith('\r\n\r\nand more'));
      assert.deepEqual(holders(more.localPort), ['nginx']);

      let heard = '';
      const unasked = await meet((c, said) => { heard = said; c.on('data', (d) => { heard += d.toString('latin1'); }); c.write(ACCEPT); }, Buffer.concat([Buffer.from(HEAD()), Buffer.from('early')]));
      await until('what the client said early', () => heard.endsWith('\r\n\r\nearly'));
      assert.doesNotMatch(heard, /x-handover/i);
      assert.deepEqual(holders(unasked.localPort), ['nginx']);

      const silent = await meet((c) => c.write(`${SWITCH}\r\n`));
      assert.deepEqual(holders(silent.localPort), ['nginx'], 'it did not ask');

      const ordinary = await meet((c) => c.end('HTTP/1.1 200 OK\r\nX-Handover: yes\r\nContent-Length: 4\r\n\r\nbody'));
      await until('the body', () => ordinary.text.endsWith('\r\n\r\nbody'));
      assert.doesNotMatch(ordinary.text, /x-handover/i);

      assert.match((await meet((c) => c.end())).text, /^HTTP\/1.1 502 /);
      for (const [what, how] of Object.entries({
        'is gone when the descriptor comes': (c) => c.end(ACCEPT),
        'answers in pieces and never takes it': (c) => { c.write(ACCEPT.slice(0, 60)); setTimeout(() => { c.pause(); c.write(ACCEPT.slice(60)); setTimeout(() => c.destroy(), 300); }, 100); },
      })) {
        const s = await meet(how);
        await s.ended;
        assert.match(s.text, /^HTTP\/1.1 101 [^]*\r\n\r\n$/, what);
      }
    } finally {
      fake.close();
      await hangUp();
      const old = pidOf('gateway');
      process.kill(old, 'SIGTERM');
      await until('a gateway at its place again', () => replaced('gateway', old));
    }
    await until('a client is served', async () => { const s = await say(HEAD()); await Promise.race([s.ended, until('an answer', () => s.text.includes('\r\n\r\n'))]); return s.text.startsWith('HTTP/1.1 101 '); });
    await hangUp();
    // A worker that still held, or did not know, a connection of its own would say so when it ends.
    const old = workers();
    process.kill(pidOf('nginx'), 'SIGHUP');
    await until('the old workers are gone', () => !old.some((p) => workers().includes(p)));
    assert.deepEqual(w.log('nginx-error').split('\n').filter((l) => l && !/exited on signal 9/.test(l)), []);
  });

  test('whatever comes where a descriptor is expected, the gateway stays, and nobody is told what was not his', async () => {
    const hand = (how) => execFileSync(path.join(BUILD, 'tests/realtime/hand'), [path.join(w.state, 'run/gateway.sock'), how], { encoding: 'utf8', timeout: 30000 }).trim();
    const before = descriptors(pidOf('gateway')).length;
    assert.equal(hand('right'), '101 accepted there:0{ there:40');
    assert.equal(hand('early'), '101 accepted there:0{ there:40');
    assert.equal(hand('two'), '101 accepted there:0{ there:40', 'the second is dropped');
    assert.equal(hand('silence'), '101 accepted silent here:0{', 'relayed after a while');
    assert.equal(hand('data'), '101 accepted here:0{ here:40', 'relayed at once');
    assert.equal(hand('file'), '101 accepted here:closed');
    assert.match(hand('datagram'), /^101 accepted there:(closed|nothing) there:(closed|nothing)$/);
    assert.equal(hand('late'), '101 accepted here:0{ there:closed');
    for (let i = 0; i < 20; i++) hand('gone');
    await until('no descriptor stays', () => descriptors(pidOf('gateway')).length <= before);
  });

  test('a gateway at its limit of descriptors still takes what replaces one, also after it had lost the one it holds back for that', async () => {
    const pid = pidOf('gateway');
    const { uid, gid } = fs.statSync(w.state);
    const limit = (n) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${n}:`], process.getuid() === 0 ? { uid, gid } : {});
    const hand = (how) => execFileSync(path.join(BUILD, 'tests/realtime/hand'), [path.join(w.state, 'run/gateway.sock'), how], { encoding: 'utf8', timeout: 30000 }).trim();
    const heldBack = () => descriptors(pid).filter((d) => d === '/dev/null').length;
    const before = descriptors(pid).length;
    const atTheLimit = async () => {
      // Numbers below the limit are what there is: the one held back must be among them, so those that are free below it are taken.
      const numbers = (what = () => true) => fs.readdirSync(`/proc/${pid}/fd`).filter(what).map(Number);
      const spare = Math.max(...numbers((n) => { try { return fs.readlinkSync(`/proc/${pid}/fd/${n}`) === '/dev/null'; } catch { return false; } }));
      let free = 0;
      for (; ; free++) {
        if (numbers().includes(free)) continue;
        if (free > spare) break;
        const taking = net.connect(path.join(w.state, 'run/gateway.sock'));
        taking.on('error', () => {});
        open.add(taking);
        await until('its number is taken', () => numbers().includes(free));
      }
      const before = descriptors(pid).length;
      limit(free + 1); // one number is left, and the connection takes it
      try {
        assert.equal(hand('right'), '101 accepted there:0{ there:40');
        await until('that one is gone', () => descriptors(pid).length <= before);
        assert.match(hand('datagram'), /^101 accepted there:(closed|nothing) there:(closed|nothing)$/, 'and lets go of what cannot');
        await until('that one is gone, too', () => descriptors(pid).length <= before);
        assert.equal(hand('right'), '101 accepted there:0{ there:40', 'with room for the next one');
        await until('and that one', () => descriptors(pid).length <= before);
      } finally { limit(1024); }
    };
    await atTheLimit();
    const held = heldBack();
    limit(3);            // not one
    const waits = net.connect(path.join(w.state, 'run/gateway.sock'));
    open.add(waits);
    waits.on('error', () => {});
    await until('it has given away what it held back', () => heldBack() < held);
    limit(1024);
    // (At the next connection; or the one after, if the limit was lifted between its look for a descriptor and the connection.)
    await until('it holds one back again', () => { assert.equal(hand('right'), '101 accepted there:0{ there:40'); return heldBack() === held; });
    waits.destroy();
    await until('all is as it was', () => descriptors(pid).length <= before);
    await atTheLimit();
  });
});

describe('handover turned off', () => {
  const w = own({ GATEWAY_HANDOVER: 'off' });
  test('WebSockets are relayed, as they are where nginx has no module', async () => {
    await w.started;
    execFileSync('make', ['-s', '-C', BUILD, 'tests/realtime/hand'], { stdio: ['ignore', 'ignore', 'inherit'] });
    const said = execFileSync(path.join(BUILD, 'tests/realtime/hand'), [path.join(w.state, 'run/gateway.sock'), 'data'], { encoding: 'utf8' }).trim();
    assert.match(said, /^101 not-accepted here:/);
    const s = io(w.base, { transports: ['websocket'] });
    await new Promise((r) => { s.once('connect', r); });
    s.disconnect();
  });
});
