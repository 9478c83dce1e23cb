#!/usr/bin/env node
'use strict';
// graph-api -- a stand-in of WhatsApp's Cloud API, for tests and demonstrations.
//
//   tests/graph-api/graph-api.js [--port 9900] [--token T] [--phone-number-id ID] [--delay MS]
//       [--per-second N] [--per-person SECONDS] [--webhook URL --secret S [--statuses sent,delivered,read]]
//
// It takes POST /{version}/{phone-number-id}/messages as Meta documents it, checks everything it is sent,
// and answers as Meta does, errors included.  It limits as Meta does (80 messages a second; to one person
// one in six seconds) unless told otherwise (0: no limit).  What it accepted it announces to a webhook,
// when it is given one.
//
// GET    /_control   what was received and accepted, what was wrong with it, the most connections at a time
// PATCH  /_control   change settings: {"delayMs": 20, "perSecond": 0, "token": "new", "webhook": {…}}
// POST   /_control   a fault, or an array of them, for the next messages:
//            {"kind": "error", "code": 131056, "times": 1, "template": "bid_placed", "to": "919876543210"}
//        times (1) messages of that template and person (any) meet it; 0 means all until they are cleared.
//   error       the documented error of that code
//   http        {"status": 502, "body": "<html>", "headers": {}}: an answer that is not the API's
//   late        accepted, answered after {"delayMs"}
//   drop        the connection is closed before the message is accepted
//   hang        not accepted, and never answered
//   accept-drop, accept-hang      accepted, and then the connection is closed, or never answered
//   strange     accepted, answered with {"body"} and status 200
// DELETE /_control   forget all of it
//
// As a module: const api = await start({port: 0, …}); api.url, api.messages, api.faults, api.stop().
const http = require('node:http');
const crypto = require('node:crypto');

// The templates of the integration guide, as they would be approved.
const TEMPLATES = {
  otp_verification: { category: 'AUTHENTICATION', params: 1 },
  bid_placed: { category: 'UTILITY', params: 2 },
  order_status: { category: 'UTILITY', params: 3 },
};

// Graph API versions and the day each ends.
const VERSIONS = {
  'v17.0': '2025-09-12', 'v20.0': '2026-09-24', 'v21.0': '2027-01-21', 'v22.0': '2027-05-20',
  'v23.0': '2027-10-08', 'v24.0': '2028-02-18', 'v25.0': '2028-07-29',
};

// code -> [HTTP status, type, message]
const ERRORS = {
  0: [401, 'OAuthException', 'AuthException'],
  1: [400, 'OAuthException', 'API Unknown'],
  2: [503, 'OAuthException', 'API Service'],
  3: [500, 'OAuthException', 'API Method'],
  4: [400, 'OAuthException', 'API Too Many Calls'],
  10: [403, 'OAuthException', 'Permission Denied'],
  100: [400, 'OAuthException', 'Invalid parameter'],
  190: [401, 'OAuthException', 'Access token has expired'],
  200: [403, 'OAuthException', 'API Permission'],
  299: [403, 'OAuthException', 'API Permission'],
  368: [403, 'OAuthException', 'Temporarily blocked for policies violations'],
  2635: [400, 'OAuthException', 'You are calling a deprecated version of the API'],
  80007: [400, 'OAuthException', 'Rate limit issues'],
  130429: [400, 'OAuthException', 'Rate limit hit'],
  130472: [400, 'OAuthException', "User's number is part of an experiment"],
  131000: [500, 'OAuthException', 'Something went wrong'],
  131008: [400, 'OAuthException', 'Required parameter is missing'],
  131009: [400, 'OAuthException', 'Parameter value is not valid'],
  131016: [503, 'OAuthException', 'Service unavailable'],
  131026: [400, 'OAuthException', 'Message undeliverable'],
  131031: [403, 'OAuthException', 'Account has been locked'],
  131042: [400, 'OAuthException', 'Business eligibility payment issue'],
  131047: [400, 'OAuthException', 'Re-engagement message'],
  131048: [400, 'OAuthException', 'Spam rate limit hit'],
  131049: [400, 'OAuthException', 'This message was not delivered to maintain healthy ecosystem engagement'],
  131051: [400, 'OAuthException', 'Unsupported message type'],
  131056: [400, 'OAuthException', '(Business Account, Consumer Account) pair rate limit hit'],
  131057: [500, 'OAuthException', 'Account in maintenance mode'],
  132000: [400, 'OAuthException', 'Template Param Count Mismatch'],
  132001: [404, 'OAuthException', 'Template does not exist'],
  132012: [400, 'OAuthException', 'Template Parameter Format Mismatch'],
  132015: [400, 'OAuthException', 'Template is Paused'],
  132016: [400, 'OAuthException', 'Template is Disabled'],
};

// What Meta would refuse in BODY: [code, details], or null when it is all right.
function judge(body) {
  const keys = (o, allowed) => Object.keys(o).find((k) => !allowed.includes(k));
  const wrong = (details) => [100, details];

  if (typeof body !== 'object' || body === null || Array.isArray(body)) return wrong('The body is not a JSON object');
  const extra = keys(body, ['messaging_product', 'recipient_type', 'to', 'type', 'template', 'biz_opaque_callback_data']);
  if (extra) return wrong(`Unexpected key "${extra}" on param "message"`);
  if (body.messaging_product !== 'whatsapp') return wrong('(#100) The parameter messaging_product is required.');
  if (body.recipient_type !== undefined && body.recipient_type !== 'individual') return wrong('recipient_type must be individual');
  if (typeof body.to !== 'string' || !/^[1-9]\d{7,14}$/.test(body.to)) return [131009, `to must be digits with country code, not ${JSON.stringify(body.to)}`];
  if (body.type !== 'template') return wrong('type must be template outside of a conversation');
  const t = body.template;
  if (typeof t !== 'object' || t === null) return [131008, 'template is missing'];
  if (keys(t, ['name', 'language', 'components'])) return wrong(`Unexpected key "${keys(t, ['name', 'language', 'components'])}" on param "template"`);
  const known = Object.hasOwn(TEMPLATES, t.name) && TEMPLATES[t.name];
  if (!known || t.language?.code !== 'en') return [132001, `template name (${t.name}) does not exist in ${t.language?.code}`];
  if (!Array.isArray(t.components)) return [132000, 'components are missing'];

  const texts = (c) => {
    if (!Array.isArray(c.parameters)) return [131008, 'parameters are missing'];
    for (const p of c.parameters) {
      if (p?.type !== 'text' || typeof p.text !== 'string' || keys(p, ['type', 'text'])) return [132012, 'a parameter must be {type: text, text}'];
      if (p.text === '') return [131008, 'text of a parameter is empty'];
      if (/[\n\r\t]| {5}/.test(p.text)) return [132012, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"];
      if (p.text.length > 1024) return [132012, 'text of a parameter is too long'];
    }
    return null;
  };
  const bodies = t.components.filter((c) => c?.type === 'body');
  const buttons = t.components.filter((c) => c?.type === 'button');
  if (bodies.length !== 1 || bodies.length + buttons.length !== t.components.length) return [132000, 'exactly one body component is expected'];
  const badText = t.components.map(texts).find(Boolean);
  if (badText) return badText;
  if (bodies[0].parameters.length !== known.params) return [132000, `body: number of localizable_params (${bodies[0].parameters.length}) does not match the expected number of params (${known.params})`];
  if (known.category === 'AUTHENTICATION') {
    const [b] = buttons;
    if (buttons.length !== 1 || b.sub_type !== 'url' || b.index !== '0' || b.parameters.length !== 1) return [132000, 'buttons: Button at index 0 of type Url requires a parameter'];
    if (b.parameters[0].text !== bodies[0].parameters[0].text) return [132012, 'the button must carry the code of the body'];
    if (b.parameters[0].text.length > 15) return [132012, 'the code is too long'];
  } else if (buttons.length) {
    return [132000, 'the template has no button'];
  }
  return null;
}

class GraphApi {
  constructor(settings) {
    this.settings = {
      token: 'test-token', phoneNumberId: '100000000000001', version: null, delayMs: 0, perSecond: 80, perPerson: 6, today: new Date(), webhook: null, ...settings,
    };
    this.clear();
    this.sockets = new Set();
    this.server = http.createServer({ keepAliveTimeout: 60_000 }, (req, res) => this.request(req, res));
    this.server.on('connection', (s) => {
      this.sockets.add(s);
      this.mostConnections = Math.max(this.mostConnections, this.sockets.size);
      s.on('close', () => this.sockets.delete(s));
    });
  }

  clear() {
    this.received = [];        // every POST of a message: {at, body, outcome}
    this.messages = [];        // those that were accepted: {at, id, body}
    this.problems = [];        // what Meta would not have understood
    this.faults = [];
    this.timers = new Set();
    this.recent = [];
    this.lastTo = new Map();
    this.mostConnections = this.sockets?.size ?? 0;
    this.webhooks = { sent: 0, refused: [] };
  }

  start() {
    return new Promise((resolve, reject) => {
      this.server.on('error', reject);
      this.server.listen(this.settings.port ?? 0, '127.0.0.1', () => { this.url = `http://127.0.0.1:${this.server.address().port}`; resolve(this); });
    });
  }
  stop() {
    for (const t of this.timers) clearTimeout(t);
    for (const s of this.sockets) s.destroy();
    return new Promise((resolve) => { this.server.close(() => resolve()); });
  }
  later(ms, f) { const t = setTimeout(() => { this.timers.delete(t); f(); }, ms); this.timers.add(t); }

  request(req, res) {
    const at = Date.now();
    const chunks = [];
    req.on('data', (c) => chunks.push(c));
    req.on('error', () => {});
    req.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      if (req.url.split('?')[0] === '/_control') this.control(req, res, text);
      else this.message(req, res, text, at);
    });
  }

  control(req, res, text) {
    const json = (o) => { res.setHeader('Content-Type', 'application/json'); res.end(JSON.stringify(o)); };
    try {
      if (req.method === 'GET') {
        return json({ received: this.received, accepted: this.messages, problems: this.problems, mostConnections: this.mostConnections, webhooks: this.webhooks });
      }
      if (req.method === 'DELETE') this.clear();
      else if (req.method === 'PATCH') Object.assign(this.settings, JSON.parse(text));
      else if (req.method === 'POST') this.fault(...[JSON.parse(text)].flat());
      else res.statusCode = 405;
    } catch (e) {
      res.statusCode = 400;
      return json({ error: e.message });
    }
    return json({ success: res.statusCode === 200 });
  }

  fault(...faults) {
    for (const f of faults) this.faults.push({ times: 1, ...f, left: f.times === 0 ? Infinity : f.times ?? 1 });
  }

  // The error CODE as Meta writes it
  refuse(res, code, details) {
    const [status, type, message] = ERRORS[code] ?? [400, 'OAuthException', 'An unknown error'];
    res.writeHead(status, { 'Content-Type': 'application/json; charset=UTF-8' });
    res.end(JSON.stringify({ error: {
      message: `(#${code}) ${message}`, type, code, error_data: { messaging_product: 'whatsapp', details: details ?? message }, fbtrace_id: crypto.randomBytes(8).toString('base64url'),
    } }));
  }

  message(req, res, text, at) {
    const entry = { at, path: req.url, body: null, outcome: null };
    const refuse = (code, details, problem = false) => {
      entry.outcome = `error ${code}`;
      if (problem) this.problems.push({ code, details, text });
      this.refuse(res, code, details);
    };
    this.received.push(entry);
    const [, version, id, rest] = req.url.split('/');
    if (req.method !== 'POST' || rest !== 'messages') return refuse(100, `Unsupported ${req.method} request of ${req.url}`, true);
    if (!/^v\d+\.\d$/.test(version) || !VERSIONS[version] || (this.settings.version && version !== this.settings.version)) return refuse(2635, `unknown version ${version}`, true);
    if (new Date(VERSIONS[version]) <= this.settings.today) return refuse(2635, `version ${version} has ended`, true);
    if (req.headers.authorization !== `Bearer ${this.settings.token}`) return refuse(190);
    if (id !== this.settings.phoneNumberId) return refuse(100, `Object with ID '${id}' does not exist`, true);
    if (!/^application\/json\b/.test(req.headers['content-type'] ?? '')) return refuse(100, 'Content-Type must be application/json', true);
    try { entry.body = JSON.parse(text); } catch { return refuse(100, 'The body is not JSON', true); }
    const bad = judge(entry.body);
    if (bad) return refuse(...bad, true);

    const { to, template: { name } } = entry.body;
    // Limits come first, so that a fault is met by a message that would have been accepted.
    this.recent = this.recent.filter((t) => at - t < 1000);
    if (this.settings.perSecond > 0 && this.recent.length >= this.settings.perSecond) return refuse(130429);
    if (this.settings.perPerson > 0 && at - (this.lastTo.get(to) ?? -Infinity) < this.settings.perPerson * 1000) return refuse(131056);
    const fault = this.faults.find((f) => f.left > 0 && (!f.template || f.template === name) && (!f.to || f.to === to));
    if (fault) fault.left--;
    if (fault?.kind === 'error') return refuse(fault.code, fault.details);
    if (fault?.kind === 'http') {
      entry.outcome = `http ${fault.status}`;
      res.writeHead(fault.status, { 'Content-Type': 'text/html', ...fault.headers });
      return res.end(fault.body ?? '');
    }
    if (fault?.kind === 'drop') { entry.outcome = 'drop'; return res.destroy(); }
    if (fault?.kind === 'hang') { entry.outcome = 'hang'; return undefined; }

    this.recent.push(at);
    this.lastTo.set(to, at);
    const accepted = { at, id: `wamid.${crypto.randomBytes(24).toString('base64url')}`, body: entry.body };
    this.messages.push(accepted);
    entry.outcome = 'accepted';
    const hook = fault?.webhook ? { ...this.settings.webhook, ...fault.webhook } : this.settings.webhook;
    if (hook) this.announce(accepted, hook);
    if (fault?.kind === 'accept-drop') return res.destroy();
    if (fault?.kind === 'accept-hang') return undefined;
    const answer = () => {
      if (res.destroyed) return;
      res.writeHead(200, { 'Content-Type': 'application/json; charset=UTF-8' });
      res.end(fault?.kind === 'strange' ? fault.body : JSON.stringify({
        messaging_product: 'whatsapp', contacts: [{ input: to, wa_id: to }], messages: [{ id: accepted.id, message_status: 'accepted' }],
      }));
    };
    const ms = fault?.kind === 'late' ? fault.delayMs : this.settings.delayMs;
    if (ms > 0) this.later(ms, answer); else answer();
    return undefined;
  }

  // Status webhooks for a message: {url, secret, statuses, delayMs, stepMs, twice, reverse, errors, together}
  announce(message, hook) {
    let statuses = (hook.statuses ?? ['sent', 'delivered', 'read']).map((status) => statusOf(message, status, hook.errors));
    if (hook.reverse) statuses.reverse();
    if (hook.twice) statuses = statuses.flatMap((s) => [s, s]);
    if (hook.together) { this.later(hook.delayMs ?? 0, () => this.deliver(webhookBody(statuses), hook)); return; }
    statuses.forEach((s, i) => this.later((hook.delayMs ?? 0) + i * (hook.stepMs ?? 5), () => this.deliver(webhookBody([s]), hook)));
  }
  async deliver(body, hook) {
    try {
      const r = await fetch(hook.url, { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...(hook.secret ? { 'X-Hub-Signature-256': sign(body, hook.secret) } : {}) } });
      await r.arrayBuffer();
      this.webhooks.sent++;
      if (r.status !== 200) this.webhooks.refused.push(r.status);
    } catch (e) { this.webhooks.refused.push(e.message); }
  }
}

const statusOf = (message, status, errors) => ({
  id: message.id, status, timestamp: String(Math.floor(message.at / 1000)), recipient_id: message.body.to,
  ...(status === 'failed' ? { errors: errors ?? [{ code: 131026, title: 'Message undeliverable', message: 'Message undeliverable' }] } : {}),
});
const webhookBody = (statuses, phoneNumberId = '100000000000001') => JSON.stringify({
  object: 'whatsapp_business_account',
  entry: [{ id: '200000000000001', changes: [{ value: { messaging_product: 'whatsapp', metadata: { display_phone_number: '15550783881', phone_number_id: phoneNumberId }, statuses }, field: 'messages' }] }],
});
const sign = (body, secret) => `sha256=${crypto.createHmac('sha256', secret).update(body).digest('hex')}`;
const start = (settings) => new GraphApi(settings).start();

module.exports = { start, judge, statusOf, webhookBody, sign };

if (require.main === module) {
  const { values: v } = require('node:util').parseArgs({ options: Object.fromEntries(
    ['port', 'token', 'phone-number-id', 'version', 'delay', 'per-second', 'per-person', 'webhook', 'secret', 'statuses'].map((n) => [n, { type: 'string' }])) });
  const given = Object.entries({
    token: v.token, phoneNumberId: v['phone-number-id'], version: v.version, delayMs: v.delay && Number(v.delay),
    perSecond: v['per-second'] && Number(v['per-second']), perPerson: v['per-person'] && Number(v['per-person']),
    webhook: v.webhook && { url: v.webhook, secret: v.secret, statuses: v.statuses?.split(',') },
  }).filter(([, value]) => value !== undefined);
  start({ port: Number(v.port ?? 9900), ...Object.fromEntries(given) }).then(
    (api) => console.log(`Graph API stand-in: WHATSAPP_API_URL=${api.url} WHATSAPP_ACCESS_TOKEN=${api.settings.token} WHATSAPP_PHONE_NUMBER_ID=${api.settings.phoneNumberId}`),
    (e) => { console.error(e.message); process.exit(1); });
}
