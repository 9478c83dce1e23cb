#!/usr/bin/env node
'use strict';
// reads.js OURS.json PEER.json [--rounds 5] [--duration 5] [--only a,b]: what is read most, on two targets in turn.
//
// The load driver (BENCH_DRIVER) has no orders and no tasks to ask for, so both databases are filled with equally many
// (reads/*.sql) on the first run; agents sign in by the development log.  The targets are the driver's, with the member
// "databaseUrl" and, in the second one, "fill": the file that fills it.  Printed as by compare.js: A ÷ B, the median of
// the pairs and their range; CPU is that of all processes of a target, for one request.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { parseArgs } = require('node:util');

const driver = process.env.BENCH_DRIVER || path.resolve(__dirname, '../../../shared/bench');
const m = require(path.join(driver, 'measure.js'));

const AGENTS = 40;
const { values: o, positionals } = parseArgs({ allowPositionals: true, options: {
  rounds: { type: 'string', default: '5' }, duration: { type: 'string', default: '5' }, only: { type: 'string' }, 'no-wait': { type: 'boolean', default: false },
} });
const tmp = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-reads-'));
process.on('exit', () => fs.rmSync(tmp, { recursive: true, force: true }));

const sql = (t, ...args) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', t.databaseUrl, ...args], { encoding: 'utf8' }).trim();

// Agents with living tokens, and rows for everybody; what was made is remembered beside the target's data.
async function fill(t) {
  const kept = `${t.data}.reads`;
  if (!fs.existsSync(kept)) {
    const agents = [];
    await t.must('POST', '/auth/send-otp', { json: { phone: t.newPhone() } });   // the log begins with the first one
    while (!fs.existsSync(t.otpLog)) await new Promise((r) => { setTimeout(r, 50); });
    for (let i = 0; i < AGENTS; i++) {
      const { user, refreshToken } = await t.signIn(t.newPhone());
      sql(t, '-c', `UPDATE users SET role = 'AGENT' WHERE id = '${user.id}'`);
      const { accessToken } = await t.must('POST', '/auth/refresh-token', { json: { refreshToken } });   // knows the role
      agents.push({ id: user.id, token: accessToken });
    }
    sql(t, '-v', `agents={${agents.map((a) => a.id)}}`, '-f', t.fill || path.join(__dirname, 'reads/ours.sql'));
    fs.writeFileSync(kept, JSON.stringify(agents), { mode: 0o600 });
  }
  t.seed.agents = JSON.parse(fs.readFileSync(kept, 'utf8'));
}

const with_tokens = (list, at) => (t) => t.seed[list].map((u) => `${at}\t${u.token}`);
const live = async (t, ctx) => (await ctx.survey(t)).map((l) => l.id);
// what is asked for, and how many of what an answer holds: so many that both do the same work
const ROWS = {
  orders: [with_tokens('clients', '/orders'), (b) => b.orders.length === 20 && b.pagination.total],
  'orders-agent': [with_tokens('agents', '/orders'), (b) => b.orders.length === 20 && b.pagination.total],
  tasks: [with_tokens('agents', '/agent/tasks'), (b) => b.tasks.length],
  notifications: [with_tokens('clients', '/notifications'), (b) => b.notifications.length],
  listing: [async (t, ctx) => (await live(t, ctx)).filter((_, i) => i % 3 === 0).map((id, i) => `/listings/${id}\t${t.seed.vendors[i % t.seed.vendors.length].token}`), (b) => b.bids.length],
  'marketplace-auth': null,   // the driver's own
};

async function prepare(name, t, ctx) {
  if (ROWS[name] === null) {
    const state = await m.scenarios[name].prepare(t, ctx);
    if (state.skip) throw new Error(state.skip);
    return { state };
  }
  const list = await ROWS[name][0](t, ctx);
  const [at, token] = list[0].split('\t');
  const count = ROWS[name][1](await t.must('GET', at, { token }));
  if (!count) throw new Error(`${t.name}: ${at} has not the rows that it should`);
  const file = path.join(tmp, `${t.name}-${name}`);
  fs.writeFileSync(file, `${list.join('\n')}\n`);
  m.scenarios[name] = { ...m.scenarios[name], round: m.scenarios.listing.round };
  return { state: { file }, count };
}

const ratio = (a, b, f) => {
  const list = a.map((x, i) => f(x) / f(b[i])).filter((x) => x > 0 && Number.isFinite(x));
  return list.length ? `${m.median(list).toFixed(2)} [${Math.min(...list).toFixed(2)}..${Math.max(...list).toFixed(2)}]` : '–';
};

async function main() {
  if (positionals.length !== 2) throw new Error('reads.js OURS.json PEER.json [--rounds N] [--duration S] [--only a,b]');
  const [A, B] = positionals.map((f) => new m.Target(JSON.parse(fs.readFileSync(f, 'utf8'))));
  const ctx = m.context();
  for (const t of [A, B]) await fill(t);
  const settings = { duration: Number(o.duration), connections: 32 };
  console.log(`${A.name} ÷ ${B.name}, median [min..max] of ${o.rounds} pairs\n`);
  console.log(m.tableHead(['row', 'per second', 'p99', 'CPU / request', `${A.name} a second`, `${A.name} CPU ms`, `${B.name} CPU ms`, `bytes`, 'note']));
  for (const name of o.only ? o.only.split(',') : Object.keys(ROWS)) {
    const [a, b] = [await prepare(name, A, ctx), await prepare(name, B, ctx)];
    if (a.count !== b.count) throw new Error(`${name}: ${a.count} and ${b.count} rows are not alike`);
    if (!o['no-wait'] && !await m.quiet()) console.error(`${name}: the machine never became quiet`);
    const ra = [];
    const rb = [];
    for (const [t, s] of [[A, a.state], [B, b.state]]) await m.round(name, t, s, { ...settings, duration: 2 });
    for (let i = 0; i < Number(o.rounds); i++) {
      const pair = [async () => ra.push(await m.round(name, A, a.state, settings)), async () => rb.push(await m.round(name, B, b.state, settings))];
      for (const f of i % 2 ? pair.reverse() : pair) await f();
    }
    const [sa, sb] = [m.summary(name, A, ra), m.summary(name, B, rb)];
    const flags = [sa, sb].filter((s) => s.invalid || s.noisy).map((s) => `${s.target}: ${s.invalid ? 'INVALID' : `NOISY ${(100 * s.foreign).toFixed(0)} %`}`);
    console.log(m.tableRow([name, ratio(ra, rb, (x) => x.perSecond), ratio(ra, rb, (x) => x.p99), ratio(ra, rb, (x) => x.cpuPer1000), sa.perSecond.toFixed(0),
      sa.cpuPer1000?.toFixed(3) ?? '–', sb.cpuPer1000?.toFixed(3) ?? '–', `${sa.bytes} : ${sb.bytes}`, flags.join('; ')]));
  }
  for (const t of [A, B]) t.agent.destroy();
}
main().catch((e) => { console.error(e.message); process.exitCode = 1; });
