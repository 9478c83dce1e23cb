'use strict';
// What holds everywhere, from every layer: programs and nginx alike.  (lib/http.js checks the shape, the
// request id and the security headers of every answer in all of these files.)
const { test, before } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const zlib = require('node:zlib');
const { shared, signIn, phone } = require('./lib');

const w = shared();
const json = (body, headers) => w.request('POST', '/auth/send-otp', { body, headers: { 'content-type': 'application/json', ...headers } });
let client;
before(async () => { client = await signIn(w); });

// ---- errors ----

test('a path that is none: 404, from nginx and from the programs', async () => {
  for (const p of ['/', '/nothing', '/auth', '/auth/nothing', '/listings/x/y/z', '/bids/x', '/orders/x/y', '/users', '/users/you', '/.env', '/.git/config', '/index.php', '/auth/send-otp/', '/Listings', '/marketplace/x', '/%00', '/%ff', '/a%2fb', '/files']) {
    const r = await w.get(p, client.token);
    assert.ok([404, 400].includes(r.status), `${p}: ${r.status}`);
    if (!p.includes('%')) assert.equal(r.body.code, 'not_found', p);
  }
});

test('a path by another method: 405, with those that do', async () => {
  for (const [method, p, allow] of [['GET', '/auth/send-otp', ['POST']], ['PUT', '/auth/verify-otp', ['POST']], ['DELETE', '/listings', ['GET', 'POST']], ['POST', '/marketplace', ['GET']], ['DELETE', '/bids', ['GET', 'POST']],
    ['POST', '/orders', ['GET']], ['DELETE', '/users/me', ['GET', 'PUT']], ['PATCH', '/users/me', ['GET', 'PUT']], ['POST', '/health', ['GET']]]) {
    const r = await w.request(method, p, { token: client.token });
    assert.equal(r.status, 405, `${method} ${p}: ${r.text}`);
    assert.equal(r.body.code, 'method_not_allowed');
    for (const m of allow) assert.match(r.headers.allow, new RegExp(`\\b${m}\\b`), `${p}: ${r.headers.allow}`);
  }
  for (const method of ['TRACE', 'PROPFIND', 'FOO']) { const r = await w.request(method, '/health'); assert.ok([405, 400, 404].includes(r.status), `${method} ${r.status}`); }
});

test('a body that is not a JSON object: 400 malformed_json', async () => {
  for (const body of ['{', '}', '{"phone":', '{"phone":"x"', '{"phone":"x"}}', '{"phone":"x"} x', "{'phone':'x'}", '{phone:"x"}', '{"phone":"x",}', '{"phone":NaN}', '{"phone":undefined}',
    '/* */{}', '\u0000{}', '{}\u0000', '{"a":"\u0001"}', '{"a":"\\x"}', '{"a":"\\u12"}', '{"a":01}', '{"a":+1}', '{"a":.5}', '{"a":1.}', '<xml/>', 'phone=x']) {
    const r = await json(body);
    assert.equal(r.body.code, 'malformed_json', `${JSON.stringify(body)}: ${r.text}`);
  }
  for (const body of ['', ' ', '[]', '[{"phone":"x"}]', '"x"', '5', 'null', 'true']) assert.equal((await json(body)).status, 400, body);
});

test('JSON in bytes that are not UTF-8 is malformed', async () => {
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xe2, 0x28, 0xa1], [0xc3]]) {
    const r = await json(Buffer.concat([Buffer.from('{"phone":"'), Buffer.from(bad), Buffer.from('"}')]));
    assert.equal(r.status, 400, r.text);
    assert.equal(r.body.code, 'malformed_json');
    const deep = Buffer.concat([Buffer.from('{"metadata":{"a":"'), Buffer.from(bad), Buffer.from('"}}')]);
    const kept = await w.request('PUT', '/users/me', { token: client.token, body: deep, headers: { 'content-type': 'application/json' } });
    assert.equal(kept.body.code, 'malformed_json', kept.text);
  }
  assert.equal((await json(Buffer.from(`\ufeff{"phone":"x"}`, 'utf16le'))).status, 400);
  assert.equal((await json('{"phone":"\\ud800"}')).status, 400, 'half a surrogate pair');
  assert.equal((await json('{"phone":"\\u0000"}')).status, 400);
});

test('nesting without end is refused, and the program lives', async () => {
  for (const n of [100, 10000, 400000]) {
    for (const body of [`${'['.repeat(n)}${']'.repeat(n)}`, `${'{"a":'.repeat(n)}1${'}'.repeat(n)}`, '['.repeat(n)].filter((x) => x.length < 1 << 20)) assert.equal((await json(body)).status, 400);
  }
  const deep = `{"metadata":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`;
  assert.equal((await w.request('PUT', '/users/me', { token: client.token, body: deep, headers: { 'content-type': 'application/json' } })).status, 400);
  assert.equal((await w.get('/users/me', client.token)).status, 200);
});

test('1 MB of JSON is 1,048,576 bytes, inclusive', async () => {
  const sized = (n) => { const text = JSON.stringify({ phone: 'x' }); return text + ' '.repeat(n - text.length); };
  assert.equal((await json(sized(1 << 20))).body.code, 'validation_failed');
  assert.equal((await json(sized((1 << 20) + 1))).body.code, 'payload_too_large');
  assert.equal((await json(sized(3 << 20))).body.code, 'payload_too_large');
});

test('another kind of body: 415', async () => {
  for (const t of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', 'application/jsonx', '']) assert.equal((await w.request('POST', '/auth/send-otp', { body: '{"phone":"x"}', headers: { 'content-type': t } })).body.code, 'unsupported_media_type', t);
  for (const t of ['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset=UTF-8']) assert.equal((await w.request('POST', '/auth/send-otp', { body: '{"phone":"x"}', headers: { 'content-type': t } })).body.code, 'validation_failed', t);
});

test('JSON in another charset, or packed, is another kind of body', async () => {
  for (const t of ['application/json; charset=utf-16', 'application/json;charset=latin1', 'application/json; charset="iso-8859-1"']) assert.equal((await json('{"phone":"x"}', { 'content-type': t })).body.code, 'unsupported_media_type', t);
  const packed = zlib.gzipSync('{"phone":"x"}');
  assert.equal((await json(packed, { 'content-encoding': 'gzip' })).body.code, 'unsupported_media_type');
  assert.equal((await json('{"phone":"x"}', { 'content-encoding': 'identity' })).body.code, 'validation_failed');
});

test('who may not ask does not hear what was wrong with the question, not even that it was no JSON', async () => {
  const gone = await signIn(w);
  assert.equal((await w.post('/auth/logout', {}, gone.token)).status, 200);
  for (const [body, type] of [['{', 'application/json'], ['[]', 'application/json'], ['{}', 'application/json'], ['x', 'text/plain'], [' '.repeat((1 << 20) + 1).slice(0, 1 << 20), 'application/json']]) {
    const ask = (token) => w.request('POST', '/bids', { token, body, headers: { 'content-type': type } });
    assert.equal((await ask(client.token)).body.code, 'forbidden', type);
    assert.equal((await ask(gone.token)).body.code, 'unauthenticated', type);
  }
});

test('a status line is one, with the blank behind the code', async () => {
  for (const [bytes, line] of [['GET /health HTTP/1.1', '200 OK'], ['GET /users/me HTTP/1.1', '401 Unauthorized'], ['PATCH /users/me HTTP/1.1', '405 Method Not Allowed'], ['GET /auth/x HTTP/1.1', '404 Not Found']]) {
    const text = await w.raw(`${bytes}\r\nHost: x\r\nConnection: close\r\n\r\n`, { shut: false });
    assert.equal(text.split('\r\n')[0], `HTTP/1.1 ${line}`);
  }
});

test('keys that nobody asked for are ignored, __proto__ too', async () => {
  const r = await json(`{"phone":"${phone()}","__proto__":{"a":1},"constructor":5,"":1}`);
  assert.equal(r.status, 200, r.text);
});

test('what is no HTTP is answered by nginx in the same shape', async () => {
  for (const [bytes, status] of [['GARBAGE\r\n\r\n', 400], ['GET /health HTTP/1.1\r\n\r\n', 400], [`GET /${'x'.repeat(40000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414], [`GET /health HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(40000)}\r\n\r\n`, 431],
    ['GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400], ['GET /health HTTP/9.9\r\nHost: x\r\n\r\n', 505], ['POST /auth/send-otp HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['POST /auth/send-otp HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n', 400], ['POST /auth/send-otp HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}', 400]]) {
    const r = await w.rawAnswer(Buffer.from(bytes, 'latin1'), { shut: false, wait: 5000 }).catch((e) => ({ error: e, status: e.message }));
    assert.equal(r.status, status, `${bytes.slice(0, 40)}: ${r.error ?? r.text}`);
    assert.equal(r.body.success, false);
  }
});

test('a chunked body is a body; one that never comes does no harm', async () => {
  const body = JSON.stringify({ phone: 'x' });
  const chunked = `POST /auth/send-otp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  assert.match(await w.raw(chunked, { shut: false }), /^HTTP\/1\.1 400[^]*validation_failed/);
  await w.raw('POST /auth/send-otp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"pho').catch(() => {});
  assert.equal((await w.get('/health')).status, 200);
});

test('a path or query with anything in it comes to no harm', async () => {
  for (const q of ['%', '%zz', 'page=%', 'page=1&page=2', '&&&', '=', 'a=b=c', `x=${'y'.repeat(6000)}`, 'page=%EF%BC%91', 'limit=+5', 'searchQuery=%F0%9F%98%80']) {
    const r = await w.get(`/listings?${q}`, client.token);
    assert.ok([200, 400].includes(r.status), `${q}: ${r.status}`);
  }
});

// ---- requests have ids ----

test('every answer has a request id of its own, that no client can choose', async () => {
  const [a, b] = [await w.get('/health'), await w.get('/health', null, { headers: { 'x-request-id': 'mine\\"}' } })];
  assert.notEqual(a.headers['x-request-id'], b.headers['x-request-id']);
  assert.notEqual(b.headers['x-request-id'], 'mine\\"}');
});

test('a log line has the request id and the route\'s pattern, not the path, the query or a token', async () => {
  const { until } = require('./lib');
  const id = crypto.randomUUID();
  const r = await w.get(`/listings/${id}?secret=hush`, client.token);
  const line = await until('the line', () => w.log('listings').split('\n').find((l) => l.includes(r.headers['x-request-id'])), 10);
  const parsed = JSON.parse(line);
  assert.ok(line.includes('/listings/{'), line);
  assert.ok(!line.includes(id) && !line.includes('hush') && !line.includes(client.token) && !line.includes(client.phone), line);
  assert.equal(typeof parsed, 'object');
  for (const name of ['nginx-access', 'nginx-error', 'nginx']) assert.ok(!w.log(name).includes('hush') && !w.log(name).includes(id), name);
});

// ---- who may ask from where ----

const ALLOWED = 'http://localhost:3000';
test('a preflight from an allowed origin: 204 with what may be sent', async () => {
  for (const p of ['/listings', '/auth/send-otp', '/bids', '/nothing']) {
    const r = await w.request('OPTIONS', p, { headers: { origin: ALLOWED, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,idempotency-key' } });
    assert.equal(r.status, 204, p);
    assert.equal(r.text, '');
    assert.equal(r.headers['access-control-allow-origin'], ALLOWED);
    for (const m of ['GET', 'POST', 'PUT', 'DELETE']) assert.match(r.headers['access-control-allow-methods'], new RegExp(m));
    for (const h of ['authorization', 'content-type', 'idempotency-key']) assert.match(r.headers['access-control-allow-headers'].toLowerCase(), new RegExp(h));
    assert.match(r.headers.vary ?? '', /origin/i);
    const traced = await w.request('OPTIONS', p, { headers: { origin: ALLOWED, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization, baggage,x-requested-with' } });
    for (const h of ['authorization', 'baggage', 'x-requested-with', 'content-type']) assert.ok(traced.headers['access-control-allow-headers'].toLowerCase().split(/, ?/).includes(h), h);
    const odd = await w.request('OPTIONS', p, { headers: { origin: ALLOWED, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x, "; y=z' } });
    assert.equal(odd.headers['access-control-allow-headers'], 'Authorization, Content-Type, Idempotency-Key');
  }
});

test('no other origin is ever reflected, errors included', async () => {
  for (const origin of ['http://evil.example', 'http://localhost:3000.evil.example', 'http://localhost:30001', 'https://localhost:3000', 'null', 'http://localhost:3000/', 'HTTP://x', 'http://evilhttp://localhost:3000']) {
    for (const [method, p, o] of [['OPTIONS', '/listings', { headers: { 'access-control-request-method': 'POST' } }], ['GET', '/health', {}], ['GET', '/nothing', {}], ['POST', '/auth/send-otp', { json: {} }], ['GET', '/users/me', {}], ['GET', '/marketplace', {}]]) {
      const r = await w.request(method, p, { ...o, headers: { ...o.headers, origin } });
      assert.ok(!('access-control-allow-origin' in r.headers), `${origin} at ${method} ${p}: ${r.headers['access-control-allow-origin']}`);
    }
  }
});

test('an allowed origin may read answers and errors of every layer, with their ids', async () => {
  for (const [method, p, o] of [['GET', '/health', {}], ['GET', '/nothing', {}], ['POST', '/auth/send-otp', { json: {} }], ['GET', '/users/me', {}], ['GET', '/marketplace', {}], ['DELETE', '/listings', {}], ['POST', '/auth/send-otp', { body: 'x'.repeat(2 << 20), headers: { 'content-type': 'application/json' } }], ['GET', '/files/listings/x/device/photo1_full.jpg', {}]]) {
    const r = await w.request(method, p, { ...o, headers: { ...o.headers, origin: ALLOWED } });
    assert.equal(r.headers['access-control-allow-origin'], ALLOWED, `${method} ${p} ${r.status}`);
    assert.equal(r.rawHeaders.filter((h) => h.toLowerCase() === 'access-control-allow-origin').length, 1);
    assert.match(r.headers['access-control-expose-headers'] ?? '', /X-Request-Id/i);
    assert.match(r.headers.vary ?? '', /origin/i);
  }
});

test('a public page cached for one origin is not given to another', async () => {
  const q = `/marketplace?search=${crypto.randomBytes(6).toString('hex')}`;
  assert.equal((await w.get(q, null, { headers: { origin: ALLOWED } })).headers['access-control-allow-origin'], ALLOWED);
  assert.ok(!('access-control-allow-origin' in (await w.get(q, null, { headers: { origin: 'http://evil.example' } })).headers));
  assert.equal((await w.get(q, null, { headers: { origin: ALLOWED } })).headers['access-control-allow-origin'], ALLOWED);
});

// ---- HEAD, caching ----

test('HEAD is GET without its body', async () => {
  for (const p of ['/health', '/marketplace', '/listings', '/nothing', '/users/me']) {
    const [head, get] = [await w.request('HEAD', p), await w.get(p)];
    assert.equal(head.status, get.status, p);
    assert.equal(head.text, '');
    assert.equal(head.headers['content-type'], get.headers['content-type']);
  }
  assert.equal((await w.request('HEAD', '/users/me', { token: client.token })).status, 200);
});

test('what is somebody\'s own is kept in no cache', async () => {
  for (const p of ['/users/me', '/auth/sessions', '/listings', '/marketplace', '/orders']) {
    const r = await w.get(p, client.token);
    assert.doesNotMatch(r.headers['cache-control'] ?? '', /public|max-age=[1-9]/, p);
  }
  assert.match((await w.get('/users/me', client.token)).headers['cache-control'] ?? '', /no-store|private|no-cache/);
});

test('a public page is never one of somebody who is signed in', async () => {
  const q = `/listings?clientId=${client.id}`;
  const mine = await w.get(q, client.token);
  assert.equal(mine.status, 200);
  const public_ = await w.get(q);
  assert.equal(public_.body.listings.filter((l) => l.status === 'pending').length, 0);
  // nor may a browser's cache give what it kept for everyone to who has signed in since
  for (const p of [q, '/listings', '/marketplace', '/marketplace?page=1']) assert.match((await w.get(p)).headers.vary ?? '', /authorization/i, p);
});

test('JSON says that it is UTF-8 JSON', async () => {
  for (const p of ['/health', '/marketplace', '/nothing']) assert.match((await w.get(p)).headers['content-type'], /^application\/json/);
});
