#!/usr/bin/env node
// coverage.js BUILD_DIR -- which lines have run, of C and of SQL functions; fails when a line of what matters most did not.
//
// C is counted by gcov (a build with --enable-coverage), PL/pgSQL by plpgsql_check's profiler, statement by
// statement, and a function in SQL, which is one statement, by its calls (tests/sql/run leaves both in
// BUILD_DIR/sql-coverage).  A line that no test can run is excused where it
// stands, and says why:
//
//     abort();   /* LCOV_EXCL_LINE: the random generator failed */
//     /* LCOV_EXCL_START: the kernel refuses */ … /* LCOV_EXCL_STOP */
//
// (in SQL behind --).  lcov knows these marks, too.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const TOP = path.resolve(__dirname, '..');
const BUILD = path.resolve(process.argv[2] ?? path.join(TOP, 'build/coverage'));

// Auctions (bids, their batches, the closing, how they are told), orders, tokens, sessions, money, sealing, forms, what
// is kept of pages, and all that is decided in the database.
const WHOLE = new Set([
  'cgi-bin/bids.c', 'cgi-bin/batch.c', 'cgi-bin/market.c', 'cgi-bin/orders.c', 'cron/selliko-close-auctions.c', 'realtime/feed.c',
  'realtime/handover.c', 'lib/idempotency.c', 'lib/token.c', 'cgi-bin/auth.c', 'lib/dbreq.c', 'lib/money.c', 'lib/crypto.c', 'lib/encoding.c',
  'lib/multipart.c', 'lib/fileurl.c', 'lib/kept.c', 'lib/fragment.c', 'lib/totals.c', 'lib/clock.h',
  'sql/008_add_triggers.sql', 'sql/009_common_functions.sql', 'sql/010_auction_functions.sql', 'sql/011_whatsapp_functions.sql',
  'sql/012_auth_functions.sql', 'sql/013_listing_functions.sql', 'sql/014_order_functions.sql', 'sql/015_admin_functions.sql',
]);

/** file -> line -> how often it ran */
const ran = new Map();
const count = (file, line, n) => {
  if (!ran.has(file)) ran.set(file, new Map());
  const lines = ran.get(file);
  lines.set(line, (lines.get(line) ?? 0) + n);
};

// ---- C ----
function* counters(dir) {
  for (const e of fs.readdirSync(dir, { withFileTypes: true })) {
    const file = path.join(dir, e.name);
    if (e.isDirectory()) yield* counters(file);
    else if (e.name.endsWith('.gcda') && fs.statSync(file).size > 0) yield file;
  }
}
const gcov = (files) => spawnSync('gcov', ['--json-format', '--stdout', ...files], { maxBuffer: 1 << 29, cwd: BUILD, encoding: 'utf8' });

// A process that is killed while it writes what it counted leaves half a file: that one says nothing.  One that was
// written whole and does not fit says that what ran is not what was built since.
const torn = [];
function outputOf(files) {
  const { stdout, stderr, status } = gcov(files);
  if (status === 0 && !/mismatch|overrun|corrupt/.test(stderr)) return stdout;
  if (files.length > 1) return files.map((f) => outputOf([f])).join('\n');
  if (/stamp mismatch/.test(stderr) && fs.statSync(files[0]).size > 64) {
    console.log(`gcov ended with ${status} (were sources changed while the tests ran?): ${stderr.slice(0, 1000)}`);
    process.exit(1);
  }
  torn.push(path.relative(BUILD, files[0]));
  return '';
}
// In slices, because the output of all at once is large.  A source that is compiled several times (a test includes
// what it tests) has run where one of them has.
const gcda = [...counters(BUILD)];
for (let i = 0; i < gcda.length; i += 8) {
  for (const text of outputOf(gcda.slice(i, i + 8)).split('\n')) {
    if (!text.startsWith('{')) continue;
    const about = JSON.parse(text);
    for (const f of about.files) {
      const file = path.relative(TOP, path.resolve(about.current_working_directory, f.file));
      if (!/^(lib|cgi-bin|cron|ctl|realtime)\/.*\.[ch]$/.test(file)) continue;
      for (const l of f.lines) count(file, l.line_number, l.count);
    }
  }
}
for (const file of torn) console.log(`${file}: written by halves by a process that was killed; what it counted is lost`);

// ---- SQL ----
// A function's first line is what follows its AS $$.
const bodies = new Map();
for (const name of fs.readdirSync(path.join(TOP, 'sql'))) {
  let fn = null;
  fs.readFileSync(path.join(TOP, 'sql', name), 'utf8').split('\n').forEach((text, i) => {
    fn = text.match(/^CREATE (?:OR REPLACE )?FUNCTION ([a-z_0-9]+)/)?.[1] ?? fn;
    if (fn && /\bAS (\$\$|')/.test(text)) {
      bodies.set(fn, { file: `sql/${name}`, line: i + 1 });
      fn = null;
    }
  });
}
const sqlCounts = path.join(BUILD, 'sql-coverage');
for (const text of fs.existsSync(sqlCounts) ? fs.readFileSync(sqlCounts, 'utf8').split('\n') : []) {
  const [fn, line, n] = text.split(' ');
  const body = bodies.get(fn);
  if (body) {
    body.counted = true;
    count(body.file, body.line + Number(line) - 1, Number(n));
  }
}

// ---- excuses ----
let bad = 0;
const complain = (text) => { bad++; console.log(text); };
function excused(file, lines) {
  const set = new Set();
  let since = null;
  lines.forEach((text, i) => {
    const mark = text.match(/LCOV_EXCL_(LINE|START|STOP)(:? *)([^*]*)/);
    if (mark && mark[1] !== 'STOP' && (!mark[2].startsWith(':') || mark[3].trim().length < 5)) {
      complain(`${file}:${i + 1}: an excuse that says nothing`);
    }
    if (mark?.[1] === 'START') since = i + 1;
    if (since !== null || mark?.[1] === 'LINE') set.add(i + 1);
    if (mark?.[1] === 'STOP') since = null;
  });
  if (since !== null) complain(`${file}:${since}: an excuse without an end`);
  return set;
}

// ---- what came of it ----
const table = [];
const missing = [];
for (const file of WHOLE) {
  if (!ran.has(file)) complain(`${file}: nothing of it was counted`);
}
for (const [fn, body] of fs.existsSync(sqlCounts) ? bodies : []) {
  if (WHOLE.has(body.file) && !body.counted) complain(`${body.file}:${body.line}: ${fn}() was not counted`);
}
for (const [file, lines] of [...ran].sort()) {
  const text = fs.readFileSync(path.join(TOP, file), 'utf8').split('\n');
  const excuse = excused(file, text);
  let all = 0, run = 0;
  for (const [line, n] of [...lines].sort((a, b) => a[0] - b[0])) {
    if (excuse.has(line)) continue;
    all++;
    if (n > 0) run++;
    else if (WHOLE.has(file)) missing.push(`${file}:${line}: ${text[line - 1].trim()}`);
  }
  table.push([file, run, all, excuse.size]);
}
const percent = (run, all) => (all ? (100 * run / all).toFixed(1) : '-').padStart(6);
console.log('   lines    run      %  excused');
for (const [file, run, all, excuses] of table) {
  console.log(`${String(all).padStart(8)}${String(run).padStart(7)} ${percent(run, all)} ${String(excuses || '').padStart(8)}  ${WHOLE.has(file) ? '*' : ' '} ${file}`);
}
for (const [name, is] of [['C', (f) => !f.endsWith('.sql')], ['SQL functions', (f) => f.endsWith('.sql')]]) {
  const rows = table.filter(([f]) => is(f));
  const run = rows.reduce((n, r) => n + r[1], 0), all = rows.reduce((n, r) => n + r[2], 0);
  console.log(`${String(all).padStart(8)}${String(run).padStart(7)} ${percent(run, all)}            ${name}`);
}
console.log('* every line must run in a test, or say beside it why it cannot');
for (const line of missing) complain(line);
console.log(bad ? `${bad} lines or excuses to look at` : 'all of them do');
process.exit(bad ? 1 : 0);
