#!/usr/bin/env node
'use strict';
// webhook.js [--state DIR] [--seconds 15] [--per-second 25]: how long the instance of DIR (STATE_DIR) takes for
// signed webhooks of one to five statuses each, about messages that it knows.  To be run while something else
// is going on (the load driver's bids).  Meta asks for a median under 250 ms.
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { webhookBody, sign } = require('../graph-api/graph-api');

const { values: o } = parseArgs({ options: { state: { type: 'string', default: process.env.STATE_DIR ?? 'var' }, seconds: { type: 'string', default: '15' }, 'per-second': { type: 'string', default: '25' } } });
const conf = Object.fromEntries(fs.readFileSync(path.join(o.state, 'selliko.conf'), 'utf8').split('\n').filter((l) => l.includes('=')).map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1).replace(/^(['"])(.*)\1$/, '$2')]));
const ids = execFileSync('psql', ['-XqAt', '-d', conf.DATABASE_URL, '-c', `
  WITH chosen AS (SELECT id FROM notifications WHERE whatsapp_message_id IS NULL ORDER BY created_at LIMIT 5000)
  UPDATE notifications n SET whatsapp_message_id = 'wamid.' || n.id, whatsapp_status = 'sent', sent_via_whatsapp = true FROM chosen WHERE n.id = chosen.id RETURNING whatsapp_message_id`],
{ encoding: 'utf8', maxBuffer: 16 << 20 }).trim().split('\n');
const agent = new http.Agent({ keepAlive: true });
const times = [];
const failed = {};
let next = 0;

function post() {
  const list = Array.from({ length: 1 + Math.floor(Math.random() * 5) }, () => ({ id: ids[Math.floor(Math.random() * ids.length)], status: ['sent', 'delivered', 'read'][Math.floor(Math.random() * 3)], timestamp: '1', recipient_id: '919876543210' }));
  const body = webhookBody(list);
  const begin = process.hrtime.bigint();
  const req = http.request({ host: '127.0.0.1', port: conf.PORT, method: 'POST', path: '/webhooks/whatsapp', agent,
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), ...(conf.WHATSAPP_APP_SECRET ? { 'X-Hub-Signature-256': sign(body, conf.WHATSAPP_APP_SECRET) } : {}) } }, (res) => {
    res.resume();
    res.on('end', () => { if (res.statusCode === 200) times.push(Number(process.hrtime.bigint() - begin) / 1e6); else failed[res.statusCode] = (failed[res.statusCode] ?? 0) + 1; });
  });
  req.on('error', (e) => { failed[e.code] = (failed[e.code] ?? 0) + 1; });
  req.end(body);
}

const timer = setInterval(() => {
  if (++next > Number(o.seconds) * Number(o['per-second'])) {
    clearInterval(timer);
    setTimeout(() => {
      times.sort((a, b) => a - b);
      const at = (q) => Number(times[Math.min(times.length - 1, Math.floor(times.length * q))]?.toFixed(1));
      console.log(JSON.stringify({ webhooks: times.length, p50ms: at(0.5), p90ms: at(0.9), p99ms: at(0.99), maxMs: at(1), failed }));
      agent.destroy();
    }, 1000);
  } else { post(); }
}, 1000 / Number(o['per-second']));
