'use strict';
// What the sender does with each way in which the Graph API can fail: retries, pauses, stops, gives up.
const { test, describe, before, after, beforeEach } = require('node:test');
const assert = require('node:assert/strict');
const { Workshop, until, sleep } = require('./lib/sender');
const { cluster } = require('./lib/cluster');

let w;
const sentTo = (phone) => w.api.messages.filter((m) => m.body.to === phone.slice(1));
const tried = (phone) => w.api.received.filter((m) => m.body?.to === phone.slice(1));
const send = async () => { const r = await w.send().ended; assert.equal(r.code, 0, r.log); return r; };
const again = async () => { w.hurry(); return send(); };
const alerts = () => w.sql("SELECT data ->> 'message' FROM events WHERE name = 'system_alert' ORDER BY id").split('\n').filter(Boolean);
// One message, and one OTP
const one = () => { const [user] = w.addUsers(1); return { user, id: w.queueMessages([user])[0] }; };

describe('the Graph API fails', () => {
  before(async () => { w = (await Workshop.open(cluster())).install(); }, { timeout: 60000 });
  after(() => w.close());
  beforeEach(() => { w.api.clear(); w.sql('DELETE FROM whatsapp_queue; DELETE FROM service_state; DELETE FROM events; DELETE FROM whatsapp_pace'); });

  for (const code of [1, 2, 131000, 131016, 131057]) {
    test(`code ${code} is temporary: tried again after a while`, async () => {
      const { user, id } = one();
      w.api.fault({ kind: 'error', code });
      await send();
      const row = w.row(id);
      assert.deepEqual([row.status, row.error_code, tried(user.phone).length], ['queued', code, 1]);
      assert.ok(new Date(row.next_at) > Date.now() + 300, 'not at once');
      await again();
      assert.deepEqual([w.row(id).status, w.row(id).error, sentTo(user.phone).length], ['sent', null, 1]);
      assert.equal(w.note(id).sent_via_whatsapp, true);
    });
  }

  for (const code of [131026, 131047, 131049, 130472, 131051, 132000, 132001, 132012, 132015, 132016]) {
    test(`code ${code} is for ever: the message stays in the app`, async () => {
      const { user, id } = one();
      w.api.fault({ kind: 'error', code, times: 0 });
      await send();
      await again();
      assert.equal(tried(user.phone).length, 1);
      assert.deepEqual([w.row(id).status, w.row(id).error_code], ['failed', code]);
      assert.deepEqual([w.note(id).sent_via_whatsapp, w.note(id).whatsapp_status], [false, 'failed']);
      assert.equal(alerts().length, code >= 132000 ? 1 : 0);
    });
  }

  for (const code of [0, 190, 3, 10, 200, 299, 131031, 131042, 131048, 368]) {
    test(`code ${code} stops the queue, tells the admins once, and loses nothing`, async () => {
      const users = w.addUsers(40);
      const ids = w.queueMessages(users);
      w.api.fault({ kind: 'error', code, times: 0 });
      await send();
      await send();
      assert.ok(w.api.received.length <= 32, 'it does not go on trying');
      assert.equal(w.count('queued'), 40);
      assert.equal(alerts().length, 1);
      assert.equal(JSON.parse(w.sql("SELECT value FROM service_state WHERE name = 'whatsapp_queue'")).code, code);
      w.api.faults = [];
      w.sql("UPDATE service_state SET value = value || jsonb_build_object('probeAt', now()) WHERE name = 'whatsapp_queue'");
      await send();
      assert.equal(w.others(ids, 'sent'), 0, 'mended: all of it goes');
      assert.ok(users.every((u) => sentTo(u.phone).length === 1));
      assert.equal(w.sql("SELECT count(*) FROM service_state WHERE name = 'whatsapp_queue'"), '0');
      assert.equal(alerts().at(-1), 'WhatsApp messages are being sent again.');
    });
  }

  test('a stopped queue goes on by itself when it was mended', async () => {
    const users = w.addUsers(3);
    w.api.settings.token = 'another';
    w.queueMessages(users);
    const s = w.send({ args: ['--watch', '60'] });
    await until('it stops', () => alerts().length === 1);
    w.api.settings.token = w.settings.WHATSAPP_ACCESS_TOKEN;
    const begin = Date.now();
    await until('all is sent', () => w.count('sent') === 3, 30);
    assert.ok(Date.now() - begin < 15000);
    s.process.kill('SIGTERM');
    await s.ended;
  });

  for (const code of [4, 80007, 130429]) {
    test(`code ${code}: the whole queue makes a pause`, async () => {
      const users = w.addUsers(60);
      w.queueMessages(users);
      w.api.fault({ kind: 'error', code, times: 32 });
      await send();
      assert.ok(w.api.received.length <= 32, `${w.api.received.length} were tried`);
      assert.equal(w.count('failed'), 0);
      w.api.faults = [];
      await again();
      assert.equal(w.count('sent'), 60);
      assert.ok(users.every((u) => sentTo(u.phone).length === 1));
    });
  }

  test('HTTP 429 with Retry-After is a pause of that length', async () => {
    const { id } = one();
    w.api.fault({ kind: 'http', status: 429, headers: { 'Retry-After': '90' } });
    await send();
    assert.ok(new Date(w.row(id).next_at) > Date.now() + 85000);
  });

  test('code 131056: that person waits 4 s, then 16, the others do not', async () => {
    const [a, b] = w.addUsers(2);
    const [first] = w.queueMessages([a, b]);
    w.api.fault({ kind: 'error', code: 131056, to: a.phone.slice(1), times: 2 });
    await send();
    assert.equal(sentTo(b.phone).length, 1);
    const wait = () => new Date(w.row(first).next_at) - Date.now();
    assert.ok(wait() > 2500 && wait() < 6500);
    await again();
    assert.ok(wait() > 12000 && wait() < 25000);
    await again();
    assert.equal(sentTo(a.phone).length, 1);
  });

  for (const [what, fault] of Object.entries({ 'HTTP 500': { status: 500 }, 'HTTP 502 of a proxy': { status: 502, body: '<html>' }, 'HTTP 503': { status: 503, body: '{}' } })) {
    test(`${what} is tried again`, async () => {
      const { user, id } = one();
      w.api.fault({ kind: 'http', ...fault });
      await send();
      assert.equal(w.row(id).status, 'queued');
      await again();
      assert.equal(sentTo(user.phone).length, 1);
    });
  }

  test('a refused connection is tried again, also for an OTP: nothing was sent', async () => {
    const url = w.settings.WHATSAPP_API_URL;
    w.settings.WHATSAPP_API_URL = 'http://127.0.0.1:9';
    w.write();
    const { id } = one();
    const otp = w.queueOtp('+919876543210', '111111');
    await send();
    assert.deepEqual([w.row(id).status, w.row(otp).status], ['queued', 'queued']);
    w.settings.WHATSAPP_API_URL = url;
    w.write();
    await again();
    assert.deepEqual([w.row(id).status, w.row(otp).status], ['sent', 'sent']);
  });

  for (const kind of ['accept-hang', 'accept-drop', 'hang', 'drop']) {
    test(`${kind}: an OTP that may have arrived is not sent again, a message is`, async () => {
      const { user, id } = one();
      const otp = w.queueOtp('+919876543210', '222222');
      w.api.fault({ kind, times: 2 });
      await send();
      assert.deepEqual([w.row(otp).status, w.row(otp).secret], ['failed', null]);
      assert.equal(w.row(id).status, 'queued');
      await again();
      assert.equal(tried('+919876543210').length, 1);
      assert.equal(tried(user.phone).length, 2);
      assert.equal(w.row(id).status, 'sent');
    });
  }

  test('a kept connection that dies under a POST is not used to post it again', async () => {
    const [a] = w.addUsers(1);
    w.queueMessages([a]);
    const s = w.send({ args: ['--watch', '60'] });
    await until('the first is sent', () => w.count('sent') === 1);
    w.api.fault({ kind: 'drop' });
    const otp = w.queueOtp('+919876543210', '333333');
    await until('it failed', () => w.row(otp).status === 'failed');
    await sleep(300);
    s.process.kill('SIGTERM');
    await s.ended;
    assert.equal(tried('+919876543210').length, 1);
    assert.equal(w.api.mostConnections, 1, 'it was a kept connection');
  });

  test('an answer without an id, or not in JSON, is an acceptance all the same', async () => {
    const users = w.addUsers(2);
    const ids = w.queueMessages(users);
    w.api.fault({ kind: 'strange', body: '{"messages":[]}' }, { kind: 'strange', body: 'ok' });
    await send();
    await again();
    assert.ok(ids.every((id) => w.row(id).status === 'sent' && w.note(id).sent_via_whatsapp));
    assert.ok(users.every((u) => sentTo(u.phone).length === 1));
  });

  test('one id for all messages stops nothing', async () => {
    const users = w.addUsers(5);
    const ids = w.queueMessages(users);
    w.api.fault({ kind: 'strange', body: '{"messages":[{"id":"wamid.SAME"}]}', times: 0 });
    await send();
    assert.ok(ids.every((id) => w.row(id).status === 'sent' && w.note(id).sent_via_whatsapp));
    assert.equal(ids.filter((id) => w.note(id).whatsapp_message_id).length, 1);
  });

  test('errors are kept without the number they quote', async () => {
    const { user, id } = one();
    w.api.fault({ kind: 'error', code: 131026, details: `${user.phone.slice(1)} is not on WhatsApp` });
    const { log } = await send();
    assert.match(w.row(id).error, /\*\*\* is not on WhatsApp/);
    assert.ok(!log.includes(user.phone.slice(1)));
  });

  test('an OTP that expired is not sent, and its code is gone', async () => {
    const otp = w.queueOtp('+919876543210', '444444', 1);
    await sleep(1100);
    await send();
    assert.deepEqual([w.row(otp).status, w.row(otp).secret, tried('+919876543210').length], ['failed', null, 0]);
  });

  test('what cannot be opened or sent fails, and the rest goes', async () => {
    const users = w.addUsers(3);
    const ids = w.queueMessages(users);
    w.sql(`UPDATE users SET phone_sealed = '\\x00' WHERE id = '${users[0].id}'; UPDATE users SET is_active = false WHERE id = '${users[1].id}'`);
    await send();
    assert.deepEqual(ids.map((id) => w.row(id).status), ['failed', 'failed', 'sent']);
  });

  test('all that it was sent was as Meta documents it', () => { assert.deepEqual(w.api.problems, []); });
});

describe('how fast it may go', () => {
  before(async () => {
    w = (await Workshop.open(cluster(), { settings: { WHATSAPP_RATE_PER_SECOND: '80', WHATSAPP_PERSON_SECONDS: '6' }, api: { perPerson: 6 } })).install();
  }, { timeout: 60000 });
  after(() => w.close());

  test('80 messages a second and no more', async () => {
    w.queueMessages(w.addUsers(240));
    await send();
    const at = w.api.messages.map((m) => m.at);
    assert.equal(at.length, 240);
    assert.ok(at.at(-1) - at[0] < 9000, `${at.at(-1) - at[0]} ms`);
    // Counted where they left: this process, busy, may hear several at once.  A batch is four messages.
    const most = Number(w.sql("SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY posted_at RANGE BETWEEN CURRENT ROW AND '1 second' FOLLOWING) AS n FROM whatsapp_queue) x"));
    assert.ok(most <= 84, `${most} in a second`);
  });

  test('one message in six seconds to one person, in their order; an OTP goes first and at once', async () => {
    const [user, other] = w.addUsers(2);
    w.queueMessages([user, user, other], (i) => [`order ${i}`, 'delivered']);
    const s = w.send({ args: ['--watch', '60'] });
    await until('two', () => sentTo(user.phone).length === 2);
    const [first, second] = sentTo(user.phone);
    assert.ok(second.at - first.at >= 6000 && second.at - first.at < 12000, `${second.at - first.at} ms`);
    assert.deepEqual([first, second].map((m) => m.body.template.components[0].parameters[0].text), ['order 0', 'order 1']);
    assert.ok(sentTo(other.phone)[0].at < first.at + 1000, 'nobody else waits');
    w.api.settings.perPerson = 0;
    const asked = Date.now();
    w.queueOtp(user.phone, '555555');
    await until('the OTP', () => sentTo(user.phone).length === 3);
    assert.ok(sentTo(user.phone)[2].at - asked < 1000);
    s.process.kill('SIGTERM');
    await s.ended;
  });

  test('a message that is announced goes out within a second', async () => {
    const s = w.send({ args: ['--watch', '60'] });
    await sleep(1500);
    const took = [];
    for (let i = 0; i < 5; i++) {
      const asked = Date.now();
      w.queueOtp(`+91987654400${i}`, '666666');
      await until('it', () => sentTo(`+91987654400${i}`).length === 1);
      took.push(Date.now() - asked);
    }
    took.sort((a, b) => a - b);
    assert.ok(took[2] < 1000, `${took} ms`);   // a busy machine may hold one up
    s.process.kill('SIGTERM');
    await s.ended;
  });
});

describe('without an access token', () => {
  before(async () => { w = (await Workshop.open(cluster(), { live: false })).install(); }, { timeout: 60000 });
  after(() => w.close());

  test('in development the exact request bodies are appended to the log', async () => {
    const [user] = w.addUsers(1);
    const [id] = w.queueMessages([user], () => ['order 1', 'picked_up']);
    w.queueOtp('+919876543210', '012345');
    await send();
    const text = (t) => ({ type: 'text', text: t });
    assert.deepEqual(w.logLines(), [
      { messaging_product: 'whatsapp', recipient_type: 'individual', to: '919876543210', type: 'template', template: { name: 'otp_verification', language: { code: 'en' }, components: [
        { type: 'body', parameters: [text('012345')] }, { type: 'button', sub_type: 'url', index: '0', parameters: [text('012345')] }] } },
      { messaging_product: 'whatsapp', recipient_type: 'individual', to: user.phone.slice(1), type: 'template', template: { name: 'order_status', language: { code: 'en' }, components: [
        { type: 'body', parameters: ['order 1', 'picked_up', 'not assigned yet'].map(text) }] } },
    ]);
    assert.deepEqual([w.row(id).status, w.note(id).sent_via_whatsapp], ['sent', true]);
    assert.equal(w.api.received.length, 0);
  });

  test('in production they wait', async () => {
    w.settings.SELLIKO_ENV = 'production';
    w.write();
    const lines = w.logLines().length;
    const { id } = one();
    const { log } = await send();
    assert.equal(w.row(id).status, 'queued');
    assert.equal(w.logLines().length, lines);
    assert.match(log, /WHATSAPP_ACCESS_TOKEN is not set/);
  });
});
