'use strict';
// A program of an instance, run as the user of the service, who owns the state folder.
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const who = (w) => { const { uid, gid } = fs.statSync(w.state); return process.getuid() === 0 ? { uid, gid } : {}; };

// FILE is below the installed release: 'sbin/sellikoctl'.  What .ended comes to is {code, signal, out, err}.
function start(w, file, args = [], env = {}) {
  const p = spawn(path.join(w.state, 'app', file), args, { cwd: '/', env: { PATH: '/usr/bin:/bin', SELLIKO_CONF: path.join(w.state, 'selliko.conf'), ...env }, ...who(w) });
  let out = '', err = '';
  p.stdout.on('data', (c) => { out += c; });
  p.stderr.on('data', (c) => { err += c; });
  p.ended = new Promise((resolve) => { p.on('close', (code, signal) => resolve({ code, signal, out, err })); });
  return p;
}
const cron = (name) => `libexec/selliko/cron/${name}`;

// The database alone, as an administrator would start it, as long as WHAT takes
async function databaseAlone(w, what) {
  const pg = path.join(w.state, 'pg');
  const pgCtl = (...a) => execFileSync('/usr/lib/postgresql/15/bin/pg_ctl', ['-D', pg, '-w', '-s', ...a], { cwd: '/', stdio: 'ignore', ...who(w) });
  pgCtl('-l', path.join(w.state, 'log/postgresql.log'), 'start');
  try { await what(); } finally { pgCtl('-m', 'fast', 'stop'); }
}

module.exports = { start, cron, databaseAlone, who };
