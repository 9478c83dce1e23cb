'use strict';
// The sender, killed at every step between taking a message and recording the answer: nothing is lost, and
// nothing is sent twice except where the API cannot tell.  An OTP is never sent twice.
const { test, describe, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { Workshop, until, sleep } = require('./lib/sender');
const { cluster } = require('./lib/cluster');

const OTP = '012345';
const sentTo = (w, phone) => w.api.messages.filter((m) => m.body.to === phone.slice(1));
const otps = (w) => w.api.messages.filter((m) => m.body.template.name === 'otp_verification');

// A queue of three messages and an OTP, and what to ask about them afterwards
function fill(w) {
  const users = w.addUsers(3);
  const ids = w.queueMessages(users);
  const otp = w.queueOtp('+919876543210', OTP);
  return { users, ids, otp, rows: () => ids.map((id) => w.row(id)), times: () => users.map((u) => sentTo(w, u.phone).length) };
}

async function dies(w, fault) {
  const { signal, log } = await w.send({ fault }).ended;
  assert.equal(signal, 'SIGKILL', log);
}
async function finishes(w) {
  const { code, log } = await w.send().ended;
  assert.equal(code, 0, log);
}

for (const live of [true, false]) {
  const name = live ? 'posting' : 'writing the development log';
  describe(`killed while ${name}`, () => {
    let w;
    before(async () => { w = (await Workshop.open(cluster(), { live })).install(); }, { timeout: 60000 });
    after(() => w.close());
    const all = () => (live ? w.api.messages.map((m) => m.body) : w.logLines());
    const count = (q) => [...q.users.map((u) => u.phone), '+919876543210'].map((p) => all().filter((m) => m.to === p.slice(1) && m.template).length);
    let offset;
    const fresh = () => { offset = all().filter((m) => m.to === '919876543210').length; w.sql('DELETE FROM whatsapp_queue'); return fill(w); };
    const now = (q) => { const c = count(q); c[3] -= offset; return c; };

    test('after taking: everything is sent by the next sender, at once and once', async () => {
      const q = fresh();
      await dies(w, 'taken');
      assert.deepEqual(now(q), [0, 0, 0, 0]);
      assert.deepEqual(q.rows().map((r) => r.status), ['sending', 'sending', 'sending']);
      await finishes(w);
      assert.deepEqual(now(q), [1, 1, 1, 1]);
      assert.ok(q.rows().every((r) => r.status === 'sent' && r.attempts === 1));
    });

    test(live ? 'after marking: the messages are sent once; an OTP, which may have been posted, is not sent' : 'after marking: everything is written once', async () => {
      const q = fresh();
      await dies(w, 'marked');
      assert.deepEqual(now(q), [0, 0, 0, 0]);
      await finishes(w);
      assert.deepEqual(now(q), [0, 0, 0, 0], 'while a POST may be under way nobody else begins one');
      w.endLeases();
      await finishes(w);
      assert.deepEqual(now(q), live ? [1, 1, 1, 0] : [1, 1, 1, 1]);
      if (live) {
        assert.equal(w.row(q.otp).status, 'failed');
        assert.equal(w.row(q.otp).secret, null);
      }
    });

    test(live ? 'after the answer: the API cannot tell, so messages are sent again and OTPs are not' : 'after writing: the log tells, nothing is written again', async () => {
      const q = fresh();
      await dies(w, live ? 'answered' : 'posted');
      await sleep(100);   // what it had put on the wire arrives
      const first = now(q);
      assert.ok(first.some((n) => n === 1));
      w.endLeases();
      await finishes(w);
      const second = now(q);
      if (live) {
        assert.deepEqual(second.slice(0, 3).map((n) => n >= 1), [true, true, true], 'no message is lost');
        assert.equal(second[3], first[3], 'no OTP is sent a second time');
        assert.ok(second.slice(0, 3).every((n, i) => n === first[i] + 1), 'each of them once more');
      } else {
        assert.deepEqual(second, [1, 1, 1, 1]);
      }
    });

    test('after recording: nothing is sent again', async () => {
      const q = fresh();
      await dies(w, 'recorded');
      const recorded = [...q.ids, q.otp].map((id) => w.row(id).status === 'sent');
      assert.ok(recorded.some(Boolean));
      const first = now(q);
      w.endLeases();
      await finishes(w);
      now(q).forEach((n, i) => { if (recorded[i]) assert.equal(n, first[i]); });
      if (!live) assert.deepEqual(now(q), [1, 1, 1, 1]);
    });
    if (!live) {
      test('between writing and recording all of them: nothing is written again', async () => {
        const q = fresh();
        await dies(w, 'answered');
        assert.deepEqual(now(q), [1, 1, 1, 1]);
        w.endLeases();
        await finishes(w);
        assert.deepEqual(now(q), [1, 1, 1, 1]);
        assert.ok(q.rows().every((r) => r.status === 'sent'));
      });
    }
  });
}

describe('killed while the API works', () => {
  let w;
  before(async () => { w = (await Workshop.open(cluster(), { settings: { WHATSAPP_TIMEOUT_SECONDS: '5' } })).install(); }, { timeout: 60000 });
  after(() => w.close());

  test('a webhook about the message shows that it was accepted: it is not sent again', async () => {
    const [user] = w.addUsers(1);
    const [id] = w.queueMessages([user]);
    w.api.fault({ kind: 'accept-hang' });
    const s = w.send();
    await until('it is accepted', () => sentTo(w, user.phone).length === 1);
    s.process.kill('SIGKILL');
    await s.ended;
    const wamid = sentTo(w, user.phone)[0].id;
    w.sql(`SELECT whatsapp_status('{${wamid}}', '{delivered}', '{0}', ARRAY['${w.hash(user.phone)}'::bytea])`);
    w.endLeases();
    await finishes(w);
    assert.equal(sentTo(w, user.phone).length, 1);
    assert.deepEqual([w.row(id).status, w.row(id).message_id], ['sent', wamid]);
    assert.deepEqual([w.note(id).sent_via_whatsapp, w.note(id).whatsapp_status], [true, 'delivered']);
  });

  test('without one: a message is sent again, an OTP is not', async () => {
    const [user] = w.addUsers(1);
    const [id] = w.queueMessages([user]);
    const otp = w.queueOtp('+919876543211', OTP);
    w.api.fault({ kind: 'accept-hang', times: 2 });
    const s = w.send();
    await until('both are accepted', () => sentTo(w, user.phone).length === 1 && sentTo(w, '+919876543211').length === 1);
    s.process.kill('SIGKILL');
    await s.ended;
    w.endLeases();
    await finishes(w);
    assert.equal(sentTo(w, user.phone).length, 2, 'the API cannot tell');
    assert.equal(w.row(id).status, 'sent');
    assert.equal(sentTo(w, '+919876543211').length, 1);
    assert.equal(w.row(otp).status, 'failed');
  });

  test('killed again and again at any moment: nothing is lost, and only what was under way may come twice', async () => {
    w.api.settings.delayMs = 15;
    const users = w.addUsers(600);
    w.queueMessages(users);
    let underWay = 0;
    for (let kills = 0; w.count('queued') + w.count('sending') > 0; kills++) {
      assert.ok(kills < 200, 'it gets on');
      const s = w.send();
      // Ever later, for where it is slow it would never come to anything
      const early = sleep(20 + Math.random() * (120 + 20 * kills)).then(() => true);
      if (await Promise.race([early, s.ended.then(() => false)])) {
        s.process.kill('SIGKILL');
        await s.ended;
        underWay += Number(w.sql("SELECT count(*) FROM whatsapp_queue WHERE status = 'sending' AND posted_at IS NOT NULL"));
      }
      w.endLeases();
    }
    const times = users.map((u) => sentTo(w, u.phone).length);
    assert.ok(times.every((n) => n >= 1), 'no message is lost');
    const twice = times.reduce((sum, n) => sum + n - 1, 0);
    assert.ok(twice <= underWay, `${twice} came again, ${underWay} were under way at a kill`);
    w.api.settings.delayMs = 0;
  });

  test('asked to end, it waits for the answers and records them', async () => {
    const users = w.addUsers(10);
    const ids = w.queueMessages(users);
    w.api.settings.delayMs = 400;
    const s = w.send({ args: ['--watch', '60'] });
    await until('they are under way', () => users.every((u) => sentTo(w, u.phone).length === 1));
    s.process.kill('SIGTERM');
    const { code } = await s.ended;
    w.api.settings.delayMs = 0;
    assert.equal(code, 0);
    assert.equal(w.others(ids, 'sent'), 0);
  });

  test('four senders at once: each message is sent once', async () => {
    const users = w.addUsers(400);
    w.queueMessages(users);
    w.api.settings.delayMs = 5;
    const all = await Promise.all([1, 2, 3, 4].map(() => w.send({ args: [] }).ended));
    w.api.settings.delayMs = 0;
    assert.deepEqual(all.map((s) => s.code), [0, 0, 0, 0]);
    assert.ok(users.every((u) => sentTo(w, u.phone).length === 1));
  });

  test('the database drops its connections while messages are under way: each is sent once, and recorded', async () => {
    const users = w.addUsers(300);
    const ids = w.queueMessages(users);
    w.api.settings.delayMs = 30;
    const s = w.send({ args: ['--watch', '60'] });
    for (let i = 0; i < 8; i++) {
      await sleep(60);
      w.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'selliko-send-whatsapp' AND datname = current_database()");
    }
    await until('all are recorded', async () => { await sleep(200); return w.others(ids, 'sent') === 0; }, 60);
    s.process.kill('SIGTERM');
    assert.equal((await s.ended).code, 0);
    w.api.settings.delayMs = 0;
    assert.ok(users.every((u) => sentTo(w, u.phone).length === 1), JSON.stringify(users.map((u) => sentTo(w, u.phone).length).filter((n) => n !== 1)));
  });

  test('nothing of it was anything that Meta would not take', () => { assert.deepEqual(w.api.problems, []); });
  test('OTPs among it came once at most', () => { assert.ok(otps(w).length <= 1); });
});
