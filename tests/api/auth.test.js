'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { shared, until, phone, messages, otps, askOtp, signIn, signInAs, claims, forge } = require('./lib');

const w = shared();
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const verify = (o, over = {}) => w.post('/auth/verify-otp', { ...o, ...over });
const other = (otp) => String((Number(otp) + 1) % 1e6).padStart(6, '0');
const fields = (r) => r.body.details.map((d) => d.field).sort();
const forget = (what) => w.sql(`DELETE FROM rate_limits WHERE key LIKE '${what}%'`);

// ---- the OTP ----

test('an OTP is asked for: the answer says its id and how long it lives, not the code', async () => {
  const to = phone();
  const r = await w.post('/auth/send-otp', { phone: to });
  assert.equal(r.status, 200);
  assert.deepEqual(Object.keys(r.body).sort(), ['expiresIn', 'message', 'otpId', 'success']);
  assert.equal(r.body.success, true);
  assert.match(r.body.message, /\S/);
  assert.match(r.body.otpId, UUID);
  assert.equal(r.body.expiresIn, 300);
  const [m] = await until('the message', () => { const l = messages(w, to); return l.length && l; });
  assert.equal(m.messaging_product, 'whatsapp');
  assert.equal(m.to, to.slice(1));
  assert.equal(m.type, 'template');
  assert.equal(m.template.name, 'otp_verification');
  assert.equal(m.template.language.code, 'en');
  const body = m.template.components.find((c) => c.type === 'body');
  assert.match(body.parameters[0].text, /^\d{6}$/);
  const button = m.template.components.find((c) => c.type === 'button');
  assert.equal(button.sub_type, 'url');
  assert.equal(String(button.index), '0');
  assert.equal(button.parameters[0].text, body.parameters[0].text);
  assert.ok(!r.text.includes(body.parameters[0].text));
});

test('the first sign-in makes a client named after the last four digits, the next finds him again', async () => {
  const to = phone();
  const first = await verify(await askOtp(w, to));
  assert.equal(first.status, 200);
  assert.deepEqual(Object.keys(first.body).sort(), ['accessToken', 'refreshToken', 'success', 'user']);
  const u = first.body.user;
  assert.deepEqual(Object.keys(u).sort(), ['createdAt', 'id', 'isActive', 'lastLogin', 'metadata', 'name', 'phone', 'role']);
  assert.match(u.id, UUID);
  assert.equal(u.phone, to);
  assert.equal(u.name, `User ${to.slice(-4)}`);
  assert.equal(u.role, 'CLIENT');
  assert.equal(u.isActive, true);
  assert.match(u.createdAt, TIME);
  assert.match(u.lastLogin, TIME);
  assert.deepEqual(u.metadata, {});
  const again = await signInAs(w, to);
  assert.equal(again.id, u.id);
});

test('the access token has exactly the claims of the guide and lives a day', async () => {
  const c = await signIn(w);
  const [h] = c.token.split('.').map((p) => Buffer.from(p, 'base64url').toString());
  assert.equal(JSON.parse(h).alg, 'HS256');
  const p = claims(c.token);
  assert.deepEqual(Object.keys(p).sort(), ['exp', 'iat', 'phone', 'role', 'sessionId', 'userId']);
  assert.equal(p.userId, c.id);
  assert.equal(p.phone, c.phone);
  assert.equal(p.role, 'CLIENT');
  assert.match(p.sessionId, UUID);
  assert.equal(p.exp - p.iat, 86400);
  assert.ok(Math.abs(p.iat - Date.now() / 1000) < 60);
  assert.ok(Buffer.from(c.refreshToken, 'base64url').length >= 32);
});

test('an OTP is used once', async () => {
  const o = await askOtp(w, phone());
  assert.equal((await verify(o)).status, 200);
  assert.equal((await verify(o)).body.code, 'otp_used');
});

test('of five who give the same OTP at once one is signed in', async () => {
  const o = await askOtp(w, phone());
  const all = await Promise.all(Array.from({ length: 5 }, () => verify(o)));
  assert.deepEqual(all.map((r) => r.status).sort(), [200, 400, 400, 400, 400]);
  assert.deepEqual([...new Set(all.filter((r) => r.status === 400).map((r) => r.body.code))], ['otp_used']);
});

test('a wrong OTP is refused, and does not use up the right one', async () => {
  const o = await askOtp(w, phone());
  assert.equal((await verify(o, { otp: other(o.otp) })).body.code, 'otp_invalid');
  assert.equal((await verify(o)).status, 200);
});

test('five wrong tries kill it', async () => {
  const o = await askOtp(w, phone());
  for (let i = 0; i < 5; i++) assert.equal((await verify(o, { otp: other(o.otp) })).body.code, 'otp_invalid');
  forget('verify-otp');
  const r = await verify(o);
  assert.equal(r.status, 400);
  assert.match(r.body.code, /^otp_/);
});

test('a newer OTP voids the one before', async () => {
  const to = phone();
  const first = await askOtp(w, to);
  const second = await askOtp(w, to);
  const r = await verify(first);
  assert.equal(r.status, 400);
  assert.match(r.body.code, /^otp_/);
  assert.equal((await verify(second)).status, 200);
});

test('an OTP is bound to its phone and to its id', async () => {
  const a = await askOtp(w, phone());
  const b = await askOtp(w, phone());
  assert.equal((await verify(a, { phone: b.phone })).body.code, 'otp_invalid');
  assert.equal((await verify(a, { otpId: b.otpId })).body.code, 'otp_invalid');
  assert.equal((await verify(a, { otpId: crypto.randomUUID() })).body.code, 'otp_invalid');
  assert.equal((await verify(a)).status, 200);
});

test('an OTP expires', async () => {
  const o = await askOtp(w, phone());
  w.sql(`UPDATE otps SET expires_at = now() - interval '1 millisecond' WHERE id = '${o.otpId}'`);
  assert.equal((await verify(o)).body.code, 'otp_expired');
});

test('known, unknown and disabled phones are answered alike; to a disabled one nothing is sent', async () => {
  const known = await signIn(w);
  const disabled = await signIn(w);
  w.sql(`UPDATE users SET is_active = false WHERE id = '${disabled.id}'`);
  const before = messages(w, disabled.phone).length;
  const answers = [];
  for (const to of [known.phone, phone(), disabled.phone]) answers.push(await w.post('/auth/send-otp', { phone: to }));
  for (const r of answers) {
    assert.equal(r.status, 200);
    assert.equal(r.body.message, answers[0].body.message);
    assert.equal(r.body.expiresIn, 300);
    assert.match(r.body.otpId, UUID);
  }
  await askOtp(w, phone());   // a message after it has arrived
  assert.equal(messages(w, disabled.phone).length, before);
});

test('an account that was disabled after the OTP was sent does not sign in', async () => {
  const c = await signIn(w);
  const o = await askOtp(w, c.phone);
  w.sql(`UPDATE users SET is_active = false WHERE id = '${c.id}'`);
  assert.equal((await verify(o)).body.code, 'account_disabled');
});

test('phones that are none are refused', async () => {
  for (const bad of ['', '9876543210', '+915876543210', '+91987654321', '+9198765432100', '+919876543a10', '+1 9876543210', '+91 9876543210', 9876543210, null, true, {}, [], ['+919876543210'], '+919876543210\u0000', '+91९८७६५४३२१०']) {
    const r = await w.post('/auth/send-otp', { phone: bad });
    assert.equal(r.body.code, 'validation_failed', JSON.stringify(bad));
    assert.deepEqual(fields(r), ['phone']);
  }
  assert.deepEqual(fields(await w.post('/auth/send-otp', {})), ['phone']);
});

test('all wrong fields are told of at once', async () => {
  assert.deepEqual(fields(await w.post('/auth/verify-otp', { phone: 'x', otp: '12345', otpId: 'y' })), ['otp', 'otpId', 'phone']);
  assert.deepEqual(fields(await w.post('/auth/verify-otp', {})), ['otp', 'otpId', 'phone']);
  assert.deepEqual(fields(await w.post('/auth/refresh-token', {})), ['refreshToken']);
});

test('text is trimmed', async () => {
  const to = phone();
  const before = otps(w, to).length;
  const r = await w.post('/auth/send-otp', { phone: `  ${to}\n` });
  assert.equal(r.status, 200, r.text);
  const otp = await until('the OTP', () => otps(w, to)[before]);
  assert.equal((await verify({ phone: ` ${to}`, otp: ` ${otp} `, otpId: `${r.body.otpId} ` })).status, 200);
});

// ---- limits ----

test('send-otp: three a minute and phone, then 429 with its headers; what is malformed does not count', async () => {
  const to = phone();
  for (let i = 0; i < 5; i++) await w.post('/auth/send-otp', { phone: `${to}0` });
  for (let i = 0; i < 3; i++) assert.equal((await w.post('/auth/send-otp', { phone: to })).status, 200);
  const r = await w.post('/auth/send-otp', { phone: to });
  assert.equal(r.body.code, 'rate_limited');
  assert.equal(r.headers['ratelimit-limit'], '3');
  assert.equal(r.headers['ratelimit-remaining'], '0');
  assert.ok(Number(r.headers['retry-after']) >= 1 && Number(r.headers['retry-after']) <= 60);
  assert.equal((await w.post('/auth/send-otp', { phone: phone() })).status, 200, 'another phone is not limited');
});

test('verify-otp: five in five minutes and phone', async () => {
  const o = await askOtp(w, phone());
  for (let i = 0; i < 5; i++) assert.equal((await verify(o, { otp: other(o.otp) })).status, 400);
  const r = await verify(o);
  assert.equal(r.body.code, 'rate_limited');
  assert.equal(r.headers['ratelimit-limit'], '5');
  assert.ok(Number(r.headers['retry-after']) <= 300);
});

// ---- tokens ----

test('a token that was tampered with is refused', async () => {
  const c = await signIn(w);
  const [h, p, s] = c.token.split('.');
  const b = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
  const admin = { ...claims(c.token), role: 'ADMIN' };
  const flipped = Buffer.from(s, 'base64url');
  flipped[0] ^= 1;
  const bad = {
    'another payload': `${h}.${b(admin)}.${s}`,
    'alg none': `${b({ alg: 'none', typ: 'JWT' })}.${p}.`,
    'alg None with the signature': `${b({ alg: 'None' })}.${p}.${s}`,
    'no signature': `${h}.${p}.`,
    'two parts': `${h}.${p}`,
    'four parts': `${c.token}.${s}`,
    'a flipped bit': `${h}.${p}.${flipped.toString('base64url')}`,
    'another secret': forge(admin),
    'an empty secret': forge(admin, { secret: '' }),
    garbage: 'x',
    'a refresh token': c.refreshToken,
    'a very long one': 'a'.repeat(6000),
    'bytes beyond ASCII': 'ä.ö.ü',
  };
  for (const [what, token] of Object.entries(bad)) {
    const r = await w.get('/users/me', null, { headers: { authorization: Buffer.from(`Bearer ${token}`).toString('latin1') } });
    assert.equal(r.status, 401, what);
    assert.equal(r.body.code, 'unauthenticated', what);
  }
  for (const authorization of ['Bearer', 'Bearer ', 'Basic dTpw', c.token, `Token ${c.token}`, `Bearer ${c.token} x`]) assert.equal((await w.get('/users/me', null, { headers: { authorization } })).status, 401, authorization.slice(0, 20));
  assert.equal((await w.get('/users/me')).body.code, 'unauthenticated');
});

test('no alg but HS256 is accepted, even rightly signed; an expired token says so; a session must exist', async () => {
  const c = await signIn(w);
  const secret = w.setting('JWT_SECRET');
  const p = claims(c.token);
  const me = (token) => w.get('/users/me', token);
  assert.equal((await me(forge(p, { secret }))).status, 200, 'the forger knows the secret');
  for (const alg of ['HS512', 'HS384', 'RS256', 'none', 'hs256', '']) assert.equal((await me(forge(p, { secret, header: { alg, typ: 'JWT' } }))).status, 401, alg);
  const now = Math.floor(Date.now() / 1000);
  assert.equal((await me(forge({ ...p, iat: now - 100, exp: now - 1 }, { secret }))).body.code, 'token_expired');
  assert.equal((await me(forge({ ...p, sessionId: crypto.randomUUID() }, { secret }))).status, 401);
  const stranger = await signIn(w);
  assert.equal((await me(forge({ ...p, userId: stranger.id }, { secret }))).status, 401, 'a session of somebody else');
  for (const gone of ['userId', 'sessionId', 'exp', 'role']) assert.equal((await me(forge({ ...p, [gone]: undefined }, { secret }))).status, 401, `without ${gone}`);
});

test('the role is the database\'s, whatever the token says, and at once', async () => {
  const c = await signIn(w);
  const secret = w.setting('JWT_SECRET');
  const asked = { listingId: crypto.randomUUID(), amount: 2000 };
  assert.equal((await w.post('/bids', asked, forge({ ...claims(c.token), role: 'VENDOR' }, { secret }))).status, 403);
  assert.equal((await w.post('/bids', asked, c.token)).body.error, 'Insufficient permissions');
  await w.ctl('user', 'add', '--phone', c.phone, '--role', 'VENDOR');
  assert.equal((await w.post('/bids', asked, c.token)).status, 404);
  assert.equal((await w.get('/users/me', c.token)).body.user.role, 'VENDOR');
});

// ---- refreshing ----

test('a refresh token is rotated at each use', async () => {
  const c = await signIn(w);
  const r = await w.post('/auth/refresh-token', { refreshToken: c.refreshToken });
  assert.equal(r.status, 200);
  assert.deepEqual(Object.keys(r.body).sort(), ['accessToken', 'refreshToken', 'success']);
  assert.notEqual(r.body.refreshToken, c.refreshToken);
  assert.equal(claims(r.body.accessToken).sessionId, claims(c.token).sessionId);
  assert.equal((await w.get('/users/me', r.body.accessToken)).status, 200);
  assert.equal((await w.get('/users/me', c.token)).status, 200, 'the access token before lives on');
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: r.body.refreshToken })).status, 200);
});

test('used again within the grace it gets a new pair: a lost answer signs nobody out', async () => {
  const c = await signIn(w);
  const all = await Promise.all(Array.from({ length: 4 }, () => w.post('/auth/refresh-token', { refreshToken: c.refreshToken })));
  for (const r of all) {
    assert.equal(r.status, 200, r.text);
    assert.equal((await w.get('/users/me', r.body.accessToken)).status, 200);
  }
  for (const r of all) assert.equal((await w.post('/auth/refresh-token', { refreshToken: r.body.refreshToken })).status, 200);
});

test('used again later it revokes the whole session', async () => {
  const c = await signIn(w);
  const next = (await w.post('/auth/refresh-token', { refreshToken: c.refreshToken })).body;
  w.sql(`UPDATE refresh_tokens SET used_at = used_at - interval '1 minute' WHERE session_id = '${claims(c.token).sessionId}' AND used_at IS NOT NULL`);
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: c.refreshToken })).body.code, 'refresh_token_reused');
  assert.equal((await w.get('/users/me', c.token)).status, 401);
  assert.equal((await w.get('/users/me', next.accessToken)).status, 401);
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: next.refreshToken })).status, 401);
});

test('what is no refresh token, or an old one, is refused', async () => {
  for (const t of ['x', 'A'.repeat(43), crypto.randomBytes(32).toString('base64url')]) assert.equal((await w.post('/auth/refresh-token', { refreshToken: t })).body.code, 'refresh_token_invalid');
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: 5 })).status, 400);
  const c = await signIn(w);
  w.sql(`UPDATE refresh_tokens SET expires_at = now() WHERE session_id = '${claims(c.token).sessionId}'`);
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: c.refreshToken })).body.code, 'refresh_token_invalid');
});

// ---- sessions ----

test('logging out ends the session at once, and only that one', async () => {
  const to = phone();
  const one = await signInAs(w, to);
  const two = await signInAs(w, to);
  const r = await w.post('/auth/logout', undefined, one.token);
  assert.equal(r.status, 200);
  assert.deepEqual(r.body, { success: true });
  assert.equal((await w.get('/users/me', one.token)).body.code, 'unauthenticated');
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: one.refreshToken })).status, 401);
  assert.equal((await w.get('/users/me', two.token)).status, 200);
  assert.equal((await w.post('/auth/logout')).status, 401);
});

test('sessions are listed with where they are from, and ended one by one', async () => {
  const to = phone();
  const one = await signInAs(w, to, { headers: { 'user-agent': 'First phone' } });
  const two = await signInAs(w, to, { headers: { 'user-agent': 'Second phone' } });
  const { sessions } = (await w.get('/auth/sessions', two.token)).body;
  assert.equal(sessions.length, 2);
  for (const s of sessions) {
    assert.deepEqual(Object.keys(s).sort(), ['createdAt', 'current', 'id', 'lastUsedAt', 'userAgent']);
    assert.match(s.createdAt, TIME);
    assert.match(s.lastUsedAt, TIME);
    assert.equal(s.current, s.id === claims(two.token).sessionId);
  }
  assert.deepEqual(sessions.map((s) => s.userAgent).sort(), ['First phone', 'Second phone']);
  const stranger = await signIn(w);
  assert.equal((await w.del(`/auth/sessions/${claims(one.token).sessionId}`, stranger.token)).status, 404, 'another\'s session is none');
  assert.equal((await w.del(`/auth/sessions/${crypto.randomUUID()}`, two.token)).status, 404);
  assert.equal((await w.del('/auth/sessions/x', two.token)).status, 404);
  assert.equal((await w.del(`/auth/sessions/${claims(one.token).sessionId}`, two.token)).status, 200);
  assert.equal((await w.get('/users/me', one.token)).status, 401);
  assert.equal((await w.get('/auth/sessions', two.token)).body.sessions.length, 1);
  assert.equal((await w.del(`/auth/sessions/${claims(one.token).sessionId}`, two.token)).status, 404, 'twice');
});

test('a disabled account is out at once: 403 with its token, and no new one', async () => {
  const c = await signIn(w);
  w.sql(`UPDATE users SET is_active = false WHERE id = '${c.id}'`);
  const r = await w.get('/users/me', c.token);
  assert.equal(r.status, 403);
  assert.equal(r.body.code, 'account_disabled');
  assert.equal((await w.post('/auth/refresh-token', { refreshToken: c.refreshToken })).body.code, 'account_disabled');
  w.sql(`UPDATE users SET is_active = true WHERE id = '${c.id}'`);
  assert.equal((await w.get('/users/me', c.token)).status, 200);
});

// ---- the profile ----

test('one sees and changes one\'s own name and metadata, nothing else', async () => {
  const c = await signIn(w);
  const me = await w.get('/users/me', c.token);
  assert.deepEqual(Object.keys(me.body).filter((k) => k !== 'success'), ['user']);
  assert.equal(me.body.user.id, c.id);
  assert.equal(me.body.user.phone, c.phone);
  const r = await w.put('/users/me', { name: '  Anu Thomas ', metadata: { language: 'ml', 'naïve': [1, null, { a: true }] } }, c.token);
  assert.equal(r.status, 200, r.text);
  assert.equal(r.body.success, true);
  assert.equal(r.body.user.name, 'Anu Thomas');
  assert.deepEqual(r.body.user.metadata, { language: 'ml', 'naïve': [1, null, { a: true }] });
  assert.equal((await w.put('/users/me', { name: 'Ammu' }, c.token)).body.user.metadata.language, 'ml', 'what is left out stays');
  await w.put('/users/me', { name: 'Ammu', role: 'ADMIN', isActive: false, phone: '+919999999999' }, c.token);
  const { user } = (await w.get('/users/me', c.token)).body;
  assert.deepEqual([user.role, user.isActive, user.phone], ['CLIENT', true, c.phone]);
});

test('the name has 1 to 100 characters, the metadata is an object', async () => {
  const c = await signIn(w);
  for (const name of ['', '   ', 'x'.repeat(101), 5, {}, 'a\u0000b']) assert.deepEqual(fields(await w.put('/users/me', { name }, c.token)), ['name'], JSON.stringify(name).slice(0, 30));
  for (const name of ['x', 'x'.repeat(100), 'അ'.repeat(100), '😀'.repeat(100)]) assert.equal((await w.put('/users/me', { name }, c.token)).body.user?.name, name);
  for (const metadata of ['x', 5, [], true]) assert.deepEqual(fields(await w.put('/users/me', { metadata }, c.token)), ['metadata'], JSON.stringify(metadata));
  assert.equal((await w.put('/users/me', { name: 'x' })).status, 401);
});

test('a number that would not be kept as it is, is refused', async () => {
  const c = await signIn(w);
  const put = (text) => w.request('PUT', '/users/me', { token: c.token, body: `{"metadata":{"n":${text}}}`, headers: { 'content-type': 'application/json' } });
  for (const n of ['100000000000000000000', '-100000000000000000000', '1e400']) assert.equal((await put(n)).body.code, 'validation_failed', n);
  for (const n of ['9007199254740993', '-9223372036854775807', '1.25', '0', '-7', '18446744073709551614']) {
    assert.equal((await put(n)).status, 200, n);
    assert.ok((await w.get('/users/me', c.token)).text.replace(/\s/g, '').includes(`"metadata":{"n":${n}}`), n);
  }
});

test('the demo vendor is a vendor', async () => {
  const v = await signInAs(w, '+919876543220');
  assert.equal(v.user.role, 'VENDOR');
});
