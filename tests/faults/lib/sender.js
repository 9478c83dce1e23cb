'use strict';
// A workshop for the WhatsApp sender alone: a database of its own, freshly migrated, in the cluster of the
// instance under test, a stand-in of the Graph API, and senders that are started and killed by the test.
//
//   const w = await Workshop.open(url of any database of the cluster, {settings of the sender})
//   w.queueOtp(phone, code), w.queueMessage(phone…), w.send({fault, args}) -> a running sender
const { execFileSync, spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const graphApi = require('../../graph-api/graph-api');
const { sleep, until } = require('../../api/lib/until');

const TOP = path.resolve(__dirname, '../../..');
const BUILD = process.env.BUILD_DIR ?? path.join(TOP, 'build');

const psql = (url, text, input) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', url, ...(text ? ['-c', text] : [])],
  { encoding: 'utf8', input, maxBuffer: 64 << 20, stdio: ['pipe', 'pipe', 'pipe'] }).trim();

// The same cluster, another database
function sibling(url, name) {
  if (!/^postgres(ql)?:\/\//.test(url)) return `${url} dbname=${name}`;
  return url.replace(/^(postgres(?:ql)?:\/\/[^/?]*)(\/[^?]*)?/, `$1/${name}`);
}

class Workshop {
  // LIVE false: no access token, so that messages go to the development log.
  static async open(admin, { settings = {}, api = {}, live = true } = {}) {
    const w = new Workshop();
    w.admin = admin;
    w.name = `sender_${process.pid}_${crypto.randomBytes(3).toString('hex')}`;
    w.url = sibling(admin, w.name);
    w.state = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-sender-'));
    fs.mkdirSync(path.join(w.state, 'run'));
    w.senders = new Set();
    w.api = await graphApi.start({ perSecond: 0, perPerson: 0, ...api });
    const secret = () => crypto.randomBytes(24).toString('hex');
    w.settings = {
      SELLIKO_ENV: 'development', STATE_DIR: w.state, DATABASE_URL: w.url, JWT_SECRET: secret(), ENCRYPTION_KEY: secret(), FILE_URL_SECRET: secret(),
      WHATSAPP_API_URL: w.api.url, WHATSAPP_PHONE_NUMBER_ID: w.api.settings.phoneNumberId, WHATSAPP_TIMEOUT_SECONDS: '1',
      WHATSAPP_RATE_PER_SECOND: '0', WHATSAPP_PERSON_SECONDS: '0', LOG_LEVEL: 'info', ...(live ? { WHATSAPP_ACCESS_TOKEN: w.api.settings.token } : {}), ...settings,
    };
    w.write();
    // make check has built the sender with places to die at; a test that is run alone has not.
    execFileSync('make', ['-s', '-C', BUILD, 'ctl/sellikoctl', 'cron/selliko-send-whatsapp', 'tests/faults/send-whatsapp'], { stdio: ['ignore', 'ignore', 'inherit'] });
    psql(admin, `CREATE DATABASE ${w.name}`);
    execFileSync(path.join(BUILD, 'ctl', 'sellikoctl'), ['migrate', '--sql', path.join(TOP, 'sql')], { env: w.env(), stdio: ['ignore', 'ignore', 'pipe'] });
    w.keys();
    return w;
  }
  write() {
    fs.writeFileSync(path.join(this.state, 'selliko.conf'), Object.entries(this.settings).map(([k, v]) => `${k}=${v}\n`).join(''), { mode: 0o600 });
  }
  env() { return { PATH: process.env.PATH, HOME: this.state, SELLIKO_CONF: path.join(this.state, 'selliko.conf'), ...(process.env.ASAN_OPTIONS ? { ASAN_OPTIONS: process.env.ASAN_OPTIONS } : {}) }; }
  async close() {
    for (const s of this.senders) s.process.kill('SIGKILL');
    await Promise.all([...this.senders].map((s) => s.ended));
    await this.api.stop();
    // As in cron/selliko-backup
    try { psql(this.admin, `DROP DATABASE ${this.name} WITH (FORCE)`); } catch { psql(this.admin, `DROP DATABASE ${this.name}`); }
    fs.rmSync(this.state, { recursive: true, force: true });
  }
  sql(text, input) { return psql(this.url, text, input); }

  // ---- what the programs do in C: keys unwrapped, values sealed and hashed (lib/crypto.h) ----
  keys() {
    const wrapping = Buffer.from(crypto.hkdfSync('sha256', this.settings.ENCRYPTION_KEY, '', 'selliko key wrapping 1', 32));
    const unwrap = (purpose) => {
      const [version, hex] = this.sql(`SELECT version, encode(wrapped, 'hex') FROM encryption_keys WHERE purpose = '${purpose}' ORDER BY version DESC LIMIT 1`).split('|');
      const blob = Buffer.from(hex, 'hex');
      const d = crypto.createDecipheriv('aes-256-gcm', wrapping, blob.subarray(0, 12));
      d.setAAD(Buffer.from(`data key:${purpose}:${version}`));
      d.setAuthTag(blob.subarray(-16));
      return { version: Number(version), key: Buffer.concat([d.update(blob.subarray(12, -16)), d.final()]) };
    };
    this.sealKey = unwrap('seal');
    this.hashKey = unwrap('hash');
  }
  seal(field, uuid, text) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(this.sealKey.version);
    const nonce = crypto.randomBytes(12);
    const c = crypto.createCipheriv('aes-256-gcm', this.sealKey.key, nonce);
    c.setAAD(Buffer.from(`${field}:${uuid}`));
    const sealed = Buffer.concat([c.update(text), c.final()]);
    return `\\x${Buffer.concat([head, nonce, sealed, c.getAuthTag()]).toString('hex')}`;
  }
  hash(phone) { return `\\x${crypto.createHmac('sha256', this.hashKey.key).update(`phone:${phone}`).digest('hex')}`; }

  // ---- what happens in the service ----
  addUsers(n, role = 'CLIENT') {
    const users = Array.from({ length: n }, (_, i) => ({ id: crypto.randomUUID(), phone: `+919${String(100000000 + (this.nextPhone = (this.nextPhone ?? 0) + 1)).slice(-9)}` }));
    this.sql(null, `INSERT INTO users (id, phone_hash, phone_sealed, phone_last4, name, role) VALUES ${users.map((u) => `('${u.id}', '${this.hash(u.phone)}', '${this.seal('users.phone', u.id, u.phone)}', '${u.phone.slice(-4)}', 'Somebody', '${role}')`).join(',\n')};`);
    return users;
  }
  queueOtp(phone, code, seconds = 300) {
    const id = crypto.randomUUID();
    return Number(this.sql(`SELECT queue_otp('${id}', '${this.seal('whatsapp_queue.recipient', id, phone)}', '${this.seal('whatsapp_queue.secret', id, code)}', now() + interval '${seconds} s', '${this.hash(phone)}'); NOTIFY selliko_whatsapp`));
  }
  // One order_status message to each user; ids in that order
  queueMessages(users, params = (i) => [`order ${i}`, 'pending_pickup']) {
    return this.sql(null, `WITH q AS (INSERT INTO whatsapp_queue (user_id, notification_id, template, params)
      SELECT u, n, 'order_status', p::jsonb FROM unnest(ARRAY[${users.map((u) => `'${u.id}'`).join(',')}]::uuid[], ARRAY[${users.map((_, i) => `'${JSON.stringify(params(i))}'`).join(',')}]) WITH ORDINALITY AS x(u, p, nth),
      LATERAL told(u) n ORDER BY nth RETURNING id) SELECT string_agg(id::text, ',' ORDER BY id) FROM q; NOTIFY selliko_whatsapp;`).split(',').map(Number);
  }
  row(id) { return JSON.parse(this.sql(`SELECT row_to_json(q) FROM whatsapp_queue q WHERE id = ${id}`)); }
  // How many of these rows are not STATUS.  (One question: psql stops this process, and the stand-in with it.)
  others(ids, status) { return Number(this.sql(`SELECT count(*) FROM whatsapp_queue WHERE id IN (${ids.join(',')}) AND status <> '${status}'`)); }
  note(id) { return JSON.parse(this.sql(`SELECT row_to_json(n) FROM notifications n JOIN whatsapp_queue q ON q.notification_id = n.id WHERE q.id = ${id}`)); }
  count(status) { return Number(this.sql(`SELECT count(*) FROM whatsapp_queue WHERE status = '${status}'`)); }
  // Whatever a dead sender posted is judged when its lease is over: now.
  endLeases() { this.sql("UPDATE whatsapp_queue SET lease_until = now() WHERE status = 'sending'"); }
  // What waits for another try: now.
  hurry() { this.sql("UPDATE whatsapp_queue SET next_at = now() WHERE status = 'queued'; UPDATE whatsapp_pace SET next_at = now()"); }

  // ---- senders ----
  // One that runs: {process, ended: a promise of {code, signal, log}}.  FAULT names the step at which it dies.
  send({ fault, args = ['--verbose'], env = {} } = {}) {
    const program = fault ? path.join(BUILD, 'tests/faults/send-whatsapp') : path.join(BUILD, 'cron/selliko-send-whatsapp');
    const p = spawn(program, args, { env: { ...this.env(), ...env, ...(fault ? { SELLIKO_FAULT: fault } : {}) }, stdio: ['ignore', 'ignore', 'pipe'] });
    const sender = { process: p, log: '' };
    p.stderr.on('data', (d) => { sender.log += d; });
    sender.ended = new Promise((resolve) => { p.on('close', (code, signal) => { this.senders.delete(sender); resolve({ code, signal, log: sender.log }); }); });
    this.senders.add(sender);
    return sender;
  }
  logLines() { try { return fs.readFileSync(path.join(this.state, 'log/whatsapp.log'), 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)); } catch { return []; } }

  install() {
    this.sql(`CREATE FUNCTION told(u uuid) RETURNS uuid LANGUAGE sql VOLATILE AS $$
      INSERT INTO notifications (user_id, type, priority, title, message) VALUES (u, 'order_update', 'high', 'T', 'M') RETURNING id $$`);
    return this;
  }
}

module.exports = { Workshop, until, sleep, TOP, BUILD, graphApi };
