'use strict';
// People of every role, signed in the way people are: an OTP is asked for, read where newcomers read
// it, and given back.  Each has a phone of his own, so tests in other files never meet them.
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const assert = require('node:assert/strict');
const { until } = require('./instance');

const phone = () => `+91${6 + crypto.randomInt(4)}${String(crypto.randomInt(1e9)).padStart(9, '0')}`;

// Messages that would have gone to PHONE, oldest first: the Graph API's request bodies.
function messages(w, to) {
  let text = '';
  try { text = fs.readFileSync(path.join(w.state, 'log', 'whatsapp.log'), 'utf8'); } catch { /* none yet */ }
  const digits = to.slice(1);
  return text.split('\n').filter((l) => l.includes(digits)).map((l) => { try { return JSON.parse(l); } catch { return null; } }).filter((m) => m?.to === digits);
}
const code = (m) => m.template.components.find((c) => c.type === 'body').parameters[0].text;
const otps = (w, to) => messages(w, to).filter((m) => m.template.name === 'otp_verification').map(code);

// Ask for an OTP: {phone, otpId, otp}
async function askOtp(w, to) {
  const before = otps(w, to).length;
  const r = await w.post('/auth/send-otp', { phone: to });
  assert.equal(r.status, 200, r.text);
  const otp = await until(`an OTP for ${to}`, () => otps(w, to)[before]);
  return { phone: to, otpId: r.body.otpId, otp };
}

// {token, refreshToken, id, phone, user}
async function signInAs(w, to, o = {}) {
  const r = await w.post('/auth/verify-otp', await askOtp(w, to), null, o);
  assert.equal(r.status, 200, r.text);
  return { phone: to, id: r.body.user.id, user: r.body.user, token: r.body.accessToken, refreshToken: r.body.refreshToken };
}
async function signIn(w, role = 'CLIENT', name = null) {
  const to = phone();
  if (role !== 'CLIENT' || name) await w.ctl('user', 'add', '--phone', to, '--role', role, ...(name ? ['--name', name] : []));
  const who = await signInAs(w, to);
  assert.equal(who.user.role, role);
  return who;
}
async function several(w, role, n) {
  const all = [];
  for (let i = 0; i < n; i += 4) all.push(...await Promise.all(Array.from({ length: Math.min(4, n - i) }, () => signIn(w, role))));
  return all;
}
const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
function forge(payload, { header = { alg: 'HS256', typ: 'JWT' }, secret = 'x'.repeat(32) } = {}) {
  const b = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
  const text = `${b(header)}.${b(payload)}`;
  return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

module.exports = { phone, messages, otps, code, askOtp, signInAs, signIn, several, claims, forge };
