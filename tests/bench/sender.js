#!/usr/bin/env node
'use strict';
// sender.js [MESSAGES] [--delay MS] [--database URL]: how long one sender takes for a queue of order_status
// messages, its limits off, to a stand-in that answers after MS (20); and its memory and connections.
// BUILD_DIR names the build; the database is made in the cluster of URL and removed afterwards.
const fs = require('node:fs');
const { parseArgs } = require('node:util');
const { Workshop } = require('../faults/lib/sender');

const { values, positionals } = parseArgs({ allowPositionals: true, options: { delay: { type: 'string', default: '20' }, database: { type: 'string', default: 'postgresql:///postgres' } } });
const n = Number(positionals[0] ?? 5000);

(async () => {
  const w = (await Workshop.open(values.database, { api: { delayMs: Number(values.delay) } })).install();
  try {
    w.queueMessages(w.addUsers(n));
    w.sql('ANALYZE');
    const begin = process.hrtime.bigint();
    const sender = w.send({ args: [] });
    let peak = 0;
    const timer = setInterval(() => {
      try { peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${sender.process.pid}/status`, 'utf8'))?.[1] ?? 0)); } catch { /* gone */ }
    }, 20);
    const { code, log } = await sender.ended;
    clearInterval(timer);
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
    const once = new Set(w.api.messages.map((m) => m.body.to)).size;
    console.log(JSON.stringify({
      messages: n, sent: w.api.messages.length, once, recorded: w.count('sent'), exit: code, seconds: Number(seconds.toFixed(2)),
      perSecond: Math.round(n / seconds), peakMegabytes: Number((peak / 1024).toFixed(1)), connections: w.api.mostConnections, problems: w.api.problems.length,
    }));
    if (log) process.stderr.write(log);
  } finally { await w.close(); }
})();
