'use strict';
// WhatsApp from one end to the other: what the service tells people reaches the Graph API (a stand-in that
// checks what it is sent as Meta documents it), and what Meta says of it comes back through the webhook.
const { test, after, describe } = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { execFileSync } = require('node:child_process');
const { own, until, sleep, phone, quickListing, mustBid } = require('./lib');
const graphApi = require('../graph-api/graph-api');

const APP_SECRET = 'the app secret of the tests';
const settings = {
  WHATSAPP_ACCESS_TOKEN: 'token-of-the-tests', WHATSAPP_PHONE_NUMBER_ID: '100000000000001', WHATSAPP_APP_SECRET: APP_SECRET,
  WHATSAPP_WEBHOOK_VERIFY_TOKEN: 'the word', RATE_LIMITS: 'off',
};
let api;
const w = own(settings, async () => {
  api = await graphApi.start({ token: settings.WHATSAPP_ACCESS_TOKEN, phoneNumberId: settings.WHATSAPP_PHONE_NUMBER_ID });
  settings.WHATSAPP_API_URL = api.url;
});
after(() => api.stop());

const to = (who) => api.messages.filter((m) => m.body.to === who.phone.slice(1));
const of = (who, template) => to(who).filter((m) => m.body.template.name === template);
const texts = (m) => m.body.template.components[0].parameters.map((p) => p.text);
const notes = async (who) => (await w.get('/notifications', who.token)).body.notifications;
// Asked without holding up this process, in which the stand-in lives
const status = (id) => w.sqlLater(`SELECT whatsapp_status FROM notifications WHERE whatsapp_message_id = '${id}'`);

// Somebody who signed in with what the Graph API was sent
async function signIn(role) {
  const who = { phone: phone() };
  if (role !== 'CLIENT') await w.ctl('user', 'add', '--phone', who.phone, '--role', role);
  const asked = Date.now();
  const { body: { otpId } } = await w.post('/auth/send-otp', { phone: who.phone });
  const answered = Date.now();
  const m = await until('the OTP', () => of(who, 'otp_verification')[0]);
  who.otpDelay = m.at - answered;
  assert.ok(m.at >= asked);
  const r = await w.post('/auth/verify-otp', { phone: who.phone, otpId, otp: texts(m)[0] });
  assert.equal(r.status, 200, r.text);
  return { ...who, id: r.body.user.id, token: r.body.accessToken };
}

function hook(body, { secret = APP_SECRET, signature } = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return w.request('POST', '/webhooks/whatsapp', { body: text, headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature ?? graphApi.sign(text, secret) } });
}
const statuses = (...list) => JSON.parse(graphApi.webhookBody(list.map(([id, s, more]) => ({ id, status: s, timestamp: '1', recipient_id: '919876543210', ...more }))));

// A client whose listing has a bid, and the message that told him
async function told(prepare = () => {}) {
  const [client, vendor] = [await signIn('CLIENT'), await signIn('VENDOR')];
  prepare(client);
  const [listing] = quickListing(w, client.id, { asking: 200000, model: 'iPhone 13 Pro' });
  await mustBid(w, vendor, listing, 124950);
  const m = await until('the client is told', () => of(client, 'bid_placed')[0]);
  await until('and it is recorded', async () => await status(m.id) !== '');
  return { client, vendor, listing, m };
}

describe('messages', { concurrency: 6 }, () => {
  test('an OTP reaches the Graph API within a second, in body and button', async () => {
    const who = await signIn('CLIENT');
    assert.ok(who.otpDelay < 1000, `${who.otpDelay} ms`);
    const [m] = to(who);
    assert.match(texts(m)[0], /^\d{6}$/);
    assert.equal(m.body.template.components[1].parameters[0].text, texts(m)[0]);
  });

  test('a bid is told to the client, the amount as people write it; the notification says that it was sent', async () => {
    const { client, m } = await told();
    assert.deepEqual(texts(m), ['Apple iPhone 13 Pro', '₹1,24,950']);
    const n = (await notes(client)).find((x) => x.type === 'bid_placed');
    assert.deepEqual([n.sentViaWhatsApp, n.whatsappMessageId], [true, m.id]);
  });

  test('bids that follow while a message waits its turn replace it: the last one is told', async () => {
    const { client, vendor, listing } = await told();
    const other = await signIn('VENDOR');
    for (const [who, amount] of [[other, 125950], [vendor, 126950], [other, 127950]]) await mustBid(w, who, listing, amount);
    await until('the second message', () => of(client, 'bid_placed')[1], 15);
    const [first, second] = of(client, 'bid_placed');
    assert.deepEqual(texts(second), ['Apple iPhone 13 Pro', '₹1,27,950']);
    assert.ok(second.at - first.at >= 6000, 'and no sooner than after six seconds');
    await sleep(1500);
    assert.equal(of(client, 'bid_placed').length, 2);
  });

  test('a sale is told to both with the whole order id, its status and who comes', async () => {
    const [client, vendor] = [await signIn('CLIENT'), await signIn('VENDOR')];
    const [listing] = quickListing(w, client.id, { asking: 50000 });
    const { bid } = await mustBid(w, vendor, listing, 50000);
    assert.ok(bid);
    const [order] = w.sql(`SELECT id FROM orders WHERE listing_id = '${listing}'`).split('\n');
    for (const who of [client, vendor]) {
      const m = await until('a message', () => of(who, 'order_status')[0], 20);
      assert.deepEqual(texts(m), [order, 'pending_pickup', 'not assigned yet']);
    }
  });

  test('once an agent is there his whole number is in the message', async () => {
    const [client, vendor, agent] = [await signIn('CLIENT'), await signIn('VENDOR'), await signIn('AGENT')];
    const [listing] = quickListing(w, client.id, { asking: 50000 });
    w.sql(`UPDATE users SET whatsapp_enabled = false WHERE id = '${vendor.id}'`);
    await mustBid(w, vendor, listing, 50000);
    w.sql(`UPDATE orders SET agent_id = '${agent.id}' WHERE listing_id = '${listing}'`);
    const m = await until('a message', () => of(client, 'order_status')[0], 20);
    assert.equal(texts(m)[2], agent.phone);
    assert.equal(of(vendor, 'order_status').length, 0, 'and who wants no messages gets none');
  });

  test('a dump of the database shows no phone and no code', async () => {
    const who = await signIn('CLIENT');
    const code = texts(to(who)[0])[0];
    const dump = execFileSync('pg_dump', ['--data-only', w.setting('DATABASE_URL')], { encoding: 'utf8', maxBuffer: 256 << 20 });
    assert.ok(!dump.includes(who.phone.slice(3)));
    assert.doesNotMatch(dump, new RegExp(`(^|\\t|")${code}($|\\t|")`, 'm'));
    assert.ok(!w.log('send-whatsapp').includes(who.phone.slice(3)));
  });
});

describe('the webhook', { concurrency: 6 }, () => {
  test('Meta\'s handshake gets its challenge back as plain text', async () => {
    const ask = (q) => w.get(`/webhooks/whatsapp?${new URLSearchParams(q)}`);
    const good = { 'hub.mode': 'subscribe', 'hub.verify_token': 'the word', 'hub.challenge': '1158201444' };
    const r = await ask(good);
    assert.deepEqual([r.status, r.text], [200, '1158201444']);
    assert.match(r.headers['content-type'], /^text\/plain/);
    for (const bad of [{ ...good, 'hub.verify_token': 'a word' }, { ...good, 'hub.mode': 'unsubscribe' }, { 'hub.challenge': '1' }, {}]) assert.equal((await ask(bad)).status, 403);
  });

  test('what Meta did not sign is refused', async () => {
    const { m } = await told();
    const body = statuses([m.id, 'read']);
    const text = JSON.stringify(body);
    for (const o of [{ secret: 'another' }, { signature: '' }, { signature: 'sha256=' }, { signature: graphApi.sign(`${text} `, APP_SECRET) }, { signature: graphApi.sign(text, APP_SECRET).slice(0, -2) }]) {
      const r = await hook(body, o);
      assert.deepEqual([r.status, r.body.code], [401, 'signature_invalid']);
    }
    const r = await w.request('POST', '/webhooks/whatsapp', { body: text, headers: { 'content-type': 'application/json' } });
    assert.equal(r.status, 401);
    assert.equal(await status(m.id), 'sent');
    assert.equal((await hook('{"entry":')).body.code, 'malformed_json');
  });

  test('statuses only move forward', async () => {
    const { m } = await told();
    for (const [say, then] of [['sent', 'sent'], ['delivered', 'delivered'], ['sent', 'delivered'], ['failed', 'delivered'], ['read', 'read'], ['delivered', 'read'], ['failed', 'read']]) {
      assert.equal((await hook(statuses([m.id, say]))).status, 200);
      assert.equal(await status(m.id), then, `after ${say}`);
    }
  });

  test('a failure is kept unless the message was delivered', async () => {
    const { m } = await told();
    await hook(statuses([m.id, 'failed', { errors: [{ code: 131026, title: 'Message undeliverable' }] }]));
    assert.equal(await status(m.id), 'failed');
    await hook(statuses([m.id, 'sent']));
    assert.equal(await status(m.id), 'failed');
  });

  test('one bad entry, and what is not known, stop nothing', async () => {
    const [a, b] = [(await told()).m, (await told()).m];
    const body = statuses(['wamid.nobody', 'read'], [a.id, 'delivered']);
    body.entry.unshift(null, { changes: 7 }, { changes: [{ value: { statuses: [{ id: 7 }, null, { id: a.id, status: 'eaten' }] } }] });
    body.entry.push(statuses([b.id, 'read']).entry[0]);
    assert.equal((await hook(body)).status, 200);
    assert.deepEqual([await status(a.id), await status(b.id)], ['delivered', 'read']);
    for (const strange of [{}, { object: 'page' }, { entry: 7 }, { entry: [{ changes: [{ field: 'messages', value: { messages: [{ from: '1', text: { body: 'hi' } }] } }] }] }]) {
      assert.equal((await hook(strange)).status, 200);
    }
  });

  test('3 MB are read and more is refused', async () => {
    const { m } = await told();
    const body = statuses([m.id, 'read']);
    const size = () => Buffer.byteLength(JSON.stringify(body));
    const list = body.entry[0].changes[0].value.statuses;
    while (size() < 2.9e6) for (let i = 0; i < 2000 && size() + 300 * 100 < 3 * 1024 * 1024; i += 100) for (let k = 0; k < 100; k++) list.unshift({ id: `wamid.${crypto.randomBytes(24).toString('hex')}`, status: 'delivered', timestamp: '1', recipient_id: '919876543210' });
    body.pad = '';
    body.pad = 'x'.repeat(3 * 1024 * 1024 - size());
    assert.equal(size(), 3 * 1024 * 1024);
    const r = await hook(body);
    assert.equal(r.status, 200, r.text);
    assert.equal(await status(m.id), 'read');
    body.pad += 'x';
    assert.equal((await hook(body)).status, 413);
  });

  for (const [how, o] of Object.entries({ 'in order': {}, 'twice': { twice: true }, 'in reverse': { reverse: true }, 'late and together': { together: true, delayMs: 700 }, 'before the answer': { stepMs: 0 } })) {
    test(`statuses that come ${how} end as read`, async () => {
      const { m } = await told((client) => api.fault({
        kind: 'late', delayMs: how === 'before the answer' ? 500 : 1, to: client.phone.slice(1), template: 'bid_placed', webhook: { url: `${w.base}/webhooks/whatsapp`, secret: APP_SECRET, ...o },
      }));
      await until('read', async () => await status(m.id) === 'read', 15);
    });
  }
});

describe('afterwards', () => {
  test('replayed a hundred times it changes nothing', async () => {
    const { m } = await told();
    const body = JSON.stringify(statuses([m.id, 'delivered'], [m.id, 'read'], ['wamid.unknown', 'sent']));
    await hook(body);
    const all = () => w.sql("SELECT md5(string_agg(n::text, '|' ORDER BY n.id)) FROM notifications n")
      + w.sql("SELECT md5(string_agg(q::text, '|' ORDER BY q.id)) FROM whatsapp_queue q WHERE q.status IN ('sent', 'failed')")
      + w.sql('SELECT count(*), max(id) FROM events') + w.sql('SELECT count(*) FROM service_state');
    await until('nothing else is under way', () => w.sql("SELECT count(*) FROM whatsapp_queue WHERE status IN ('queued', 'sending')") === '0', 40);
    await sleep(500);
    const before_ = all();
    const versions = w.sql(`SELECT xmin FROM notifications WHERE whatsapp_message_id = '${m.id}'`);
    const answers = await Promise.all(Array.from({ length: 100 }, () => hook(body)));
    assert.ok(answers.every((r) => r.status === 200));
    assert.equal(all(), before_);
    assert.equal(w.sql(`SELECT xmin FROM notifications WHERE whatsapp_message_id = '${m.id}'`), versions, 'the row was not even written');
  });

  test('Meta would have taken all of it', () => { assert.deepEqual(api.problems, []); });
  test('and took every webhook that was announced', () => { assert.deepEqual(api.webhooks.refused, []); });
});
