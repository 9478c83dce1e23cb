'use strict';
// One request, and what holds for every answer whatever was asked: the error shape, the request id,
// the security headers, no word of who serves.  Each answer in all of these tests passes through here.
const http = require('node:http');
const net = require('node:net');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { check } = require('./openapi');

const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });

const STATUS_OF = {
  validation_failed: 400, malformed_json: 400, malformed_multipart: 400, otp_invalid: 400, otp_expired: 400, otp_used: 400,
  unauthenticated: 401, token_expired: 401, refresh_token_invalid: 401, refresh_token_reused: 401, signature_invalid: 401,
  forbidden: 403, account_disabled: 403, not_found: 404, method_not_allowed: 405,
  invalid_state: 409, invalid_transition: 409, auction_ended: 409, bid_too_low: 409, duplicate_imei: 409, idempotency_key_reused: 409,
  payload_too_large: 413, unsupported_media_type: 415, rate_limited: 429, internal: 500, unavailable: 503,
};
const SECURITY = {
  'cross-origin-opener-policy': /^same-origin$/, 'cross-origin-resource-policy': /^(same|cross)-origin$/, 'origin-agent-cluster': /^\?1$/,
  'referrer-policy': /^no-referrer$/, 'strict-transport-security': /^max-age=31536000; includeSubDomains$/, 'x-content-type-options': /^nosniff$/,
  'x-dns-prefetch-control': /^off$/, 'x-download-options': /^noopen$/, 'x-frame-options': /^(SAMEORIGIN|DENY)$/,
  'x-permitted-cross-domain-policies': /^none$/, 'x-xss-protection': /^0$/, 'content-security-policy': /\S/,
};

function checkAnswer(r) {
  const where = `${r.method} ${r.path} -> ${r.status} ${r.text.slice(0, 300)}`;
  assert.match(r.headers['x-request-id'] ?? '', /^[\w-]{8,64}$/, `${where}: X-Request-Id`);
  for (const [name, value] of Object.entries(SECURITY)) assert.match(String(r.headers[name] ?? ''), value, `${where}: ${name}`);
  assert.ok(!('x-powered-by' in r.headers), where);
  assert.ok(!/\d/.test(r.headers.server ?? ''), `${where}: Server tells a version`);
  if (r.status >= 400 && r.method !== 'HEAD') {
    assert.match(r.headers['content-type'] ?? '', /^application\/json/, where);
    checkError(r, where);
  }
  if (r.status === 401 && !String(r.body?.code).startsWith('refresh') && r.body?.code !== 'signature_invalid') assert.match(r.headers['www-authenticate'] ?? '', /^Bearer\b/, where);
  if (r.status === 405) assert.match(r.headers.allow ?? '', /[A-Z]/, where);
  if (r.status === 429) {
    assert.match(r.headers['retry-after'] ?? '', /^\d+$/, where);
    for (const h of ['limit', 'remaining', 'reset']) assert.match(r.headers[`ratelimit-${h}`] ?? '', /^\d+$/, `${where}: RateLimit-${h}`);
  }
  if (r.status === 503) assert.match(r.headers['retry-after'] ?? '', /^\d+$/, where);
}

function checkError(r, where) {
  const e = r.body;
  assert.equal(typeof e, 'object', where);
  assert.equal(e.success, false, where);
  assert.match(e.error, /\S/, where);
  assert.match(e.code, /^[a-z_]+$/, where);
  if (r.mayBeReplayed) assert.equal(typeof e.requestId, 'string');   // the first answer again, with its id
  else assert.equal(e.requestId, r.headers['x-request-id'], `${where}: requestId`);
  if (e.code in STATUS_OF) assert.equal(r.status, STATUS_OF[e.code], where);
  if (e.details !== undefined) {
    assert.ok(Array.isArray(e.details) && e.details.length > 0, where);
    for (const d of e.details) { assert.equal(typeof d.field, 'string', where); assert.match(d.message, /\S/, where); }
  }
  assert.doesNotMatch(r.text, /libpq|postgres|SQLSTATE|\/home\/|\/tmp\/|\.c:\d|nginx/i, `${where}: tells of the inside`);
}

// {token, json, body, headers, unchecked, timeout, agent} -> {status, headers, text, body, buffer}
function request(base, method, path, o = {}) {
  const url = new URL(base);
  const headers = { ...o.headers };
  let body = o.body;
  if (o.json !== undefined) { body = JSON.stringify(o.json); headers['content-type'] ??= 'application/json'; }
  if (o.token) headers.authorization ??= `Bearer ${o.token}`;
  if (body !== undefined && headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) headers['content-length'] = Buffer.byteLength(body);
  return new Promise((resolve, reject) => {
    const q = http.request({ host: url.hostname, port: url.port, method, path, headers, agent: o.again ? new http.Agent() : o.agent ?? agent, timeout: o.timeout ?? 60000 }, (res) => {
      const chunks = [];
      res.on('data', (c) => chunks.push(c));
      res.on('error', reject);
      res.on('end', () => {
        const buffer = Buffer.concat(chunks);
        const r = { method, path, mayBeReplayed: 'idempotency-key' in headers, status: res.statusCode, headers: res.headers, rawHeaders: res.rawHeaders, buffer, text: buffer.toString('utf8') };
        if (/^application\/json/.test(res.headers['content-type'] ?? '') && buffer.length) {
          try { r.body = JSON.parse(r.text); } catch { r.body = undefined; }
        }
        try {
          if (!o.unchecked) { checkAnswer(r); check({ method, url: path, requestHeaders: headers, requestBody: o.json, status: r.status, headers: r.headers, body: buffer }); }
          resolve(r);
        } catch (e) { reject(e); }
      });
    });
    q.on('timeout', () => q.destroy(new Error(`${method} ${path}: no answer`)));
    // A kept connection that nginx closed meanwhile, and that was not looked at: what only reads is asked again, over a new one.
    q.on('error', (e) => {
      if (q.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(e.code) && method === 'GET' && !o.again) request(base, method, path, { ...o, again: true }).then(resolve, reject);
      else reject(e);
    });
    q.end(body);
  });
}

// Bytes on a connection of their own, for what no HTTP library would send.  The answer's text.
function raw(base, bytes, { wait = 10000, shut = true } = {}) {
  const url = new URL(base);
  return new Promise((resolve, reject) => {
    const chunks = [];
    const s = net.connect({ host: url.hostname, port: url.port, allowHalfOpen: true }, () => { if (shut) s.end(bytes); else s.write(bytes); });
    const timer = setTimeout(() => s.destroy(new Error('no answer')), wait);
    s.on('data', (c) => chunks.push(c));
    s.on('error', (e) => { clearTimeout(timer); if (chunks.length) resolve(Buffer.concat(chunks).toString('latin1')); else reject(e); });
    s.on('close', () => { clearTimeout(timer); resolve(Buffer.concat(chunks).toString('latin1')); });
    s.on('end', () => s.end());
  });
}

// The first answer in raw text, parsed and checked like the others.
function parseRaw(text, method = 'RAW') {
  const [head, ...rest] = text.split('\r\n\r\n');
  const [line, ...fields] = head.split('\r\n');
  const headers = Object.fromEntries(fields.map((f) => [f.slice(0, f.indexOf(':')).toLowerCase(), f.slice(f.indexOf(':') + 1).trim()]));
  let body = rest.join('\r\n\r\n');
  if (headers['content-length']) body = body.slice(0, Number(headers['content-length']));
  const r = { method, path: '', status: Number(line.split(' ')[1]), headers, text: body };
  try { r.body = JSON.parse(body); } catch { /* not JSON */ }
  checkAnswer(r);
  return r;
}

// Parts {name, value} or {name, data, filename, type} -> a multipart body.  Options make it wrong in known ways.
function multipart(parts, { boundary = `----selliko${crypto.randomBytes(8).toString('hex')}`, last = true } = {}) {
  const chunks = [];
  for (const p of parts) {
    const file = p.data !== undefined ? `; filename="${p.filename ?? `${p.name}.jpg`}"\r\nContent-Type: ${p.type ?? 'image/jpeg'}` : '';
    chunks.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${p.name}"${file}\r\n${p.headers ?? ''}\r\n`), Buffer.from(p.data ?? String(p.value)), Buffer.from('\r\n'));
  }
  if (last) chunks.push(Buffer.from(`--${boundary}--\r\n`));
  return { body: Buffer.concat(chunks), headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } };
}

module.exports = { request, raw, parseRaw, multipart, checkAnswer, STATUS_OF };
