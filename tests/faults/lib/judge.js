'use strict';
// Holds the recorded history against the database.  The rules that need no history are those of sql/check.sql,
// asked through `sellikoctl check`; here is what was promised to those who asked: an answer has its row, a
// refusal has none, an unknown outcome is either whole or not there, and everybody is told what is due.
//
// The database's clock is this machine's, so its times and the history's may be compared, to SLACK.
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { INCREMENT, LOWEST } = require('./traffic');

const SLACK = 5;   // ms: two clocks read in whole ones

class Verdict {
  constructor() { this.broken = new Map(); }
  // One violation of RULE
  wrong(rule, what) { if (!this.broken.has(rule)) this.broken.set(rule, []); this.broken.get(rule).push(what); }
  hold(rule, good, what) { if (!good) this.wrong(rule, typeof what === 'function' ? what() : what); }
}

const groupBy = (list, by) => { const m = new Map(); for (const x of list) { const k = by(x); if (m.has(k)) m.get(k).push(x); else m.set(k, [x]); } return m; };
const tell = (e) => `${e.op} ${e.listing ?? e.mark} ${e.paise ?? ''} by ${e.who}${e.key ? ` key ${e.key}` : ''} sent ${new Date(e.sent).toISOString()} answered ${e.status} ${e.code ?? ''}`;
const MS = (column) => `(extract(epoch FROM ${column}) * 1000)::float8`;

async function readAll(s) {
  const [bids, listings, orders, notes, queue, events, keys, audit] = await Promise.all([
    s.rows(`SELECT id, listing_id, vendor_id, amount, nth, is_instant_win AS instant, ${MS('placed_at')} AS at FROM bids ORDER BY listing_id, nth`),
    s.rows(`SELECT id, client_id, status, description AS mark, asking_price AS asking, ${MS('auction_end')} AS "end", highest_bid_id AS highest, photo_count AS photos, bill_ext AS bill FROM listings`),
    s.rows('SELECT id, listing_id, bid_id, vendor_id, client_id, final_price AS price FROM orders'),
    s.rows("SELECT id, user_id, type, data ->> 'listingId' AS listing, data ->> 'bidId' AS bid, data ->> 'orderId' AS \"order\" FROM notifications"),
    s.rows('SELECT id, user_id, notification_id AS note, template, listing_id AS listing, order_id AS "order" FROM whatsapp_queue WHERE template <> \'otp_verification\''),
    s.rows("SELECT name, listing_id AS listing, user_id, ref, data ->> 'status' AS status FROM events"),
    s.rows('SELECT user_id, route, key, status FROM idempotency_keys'),
    s.rows("SELECT action, target FROM audit_log WHERE action LIKE 'listing.%'"),
  ]);
  return { bids, listings, orders, notes, queue, events, keys, audit };
}

// ---- what was answered ----
function judgeBids(v, history, db) {
  const attempts = history.filter((e) => e.op === 'bid');
  const rowOf = new Map(db.bids.map((b) => [`${b.listing_id} ${b.amount}`, b]));
  const rowsById = new Map(db.bids.map((b) => [b.id, b]));
  const listings = new Map(db.listings.map((l) => [l.id, l]));
  const orderOf = new Map(db.orders.map((o) => [o.listing_id, o]));
  const claimed = new Set();

  for (const [, group] of groupBy(attempts, (e) => `${e.listing} ${e.paise}`)) {
    const e = group[0], row = rowOf.get(`${e.listing} ${e.paise}`);
    const accepted = group.filter((x) => x.status === 201), refused = group.filter((x) => x.known && x.status !== 201);
    if (row) {
      claimed.add(row.id);
      v.hold('a bid\'s row is its sender\'s', row.vendor_id === e.who, () => tell(e));
      // An unknown outcome ends nothing: a statement of a program that was killed goes on in the database.
      v.hold('a bid\'s time lies between its request and its answer', group.some((x) => row.at >= x.sent - SLACK && (!x.known || row.at <= x.got + SLACK)), () => `${tell(e)}; placed ${new Date(row.at).toISOString()}`);
      const later = group.filter((x) => x.sent > row.at + SLACK && x.known && x.status !== 201 && e.key);
      v.hold('a key\'s later answers are its first', later.length === 0, () => tell(later[0]));
    } else {
      v.hold('an acknowledged bid is there', accepted.length === 0, () => tell(accepted[0]));
    }
    v.hold('a refused bid is not there', !(row && refused.length && !accepted.length && (e.key || group.length === refused.length)), () => tell(refused[0]));
    for (const a of accepted) {
      if (!row) continue;
      v.hold('an accepted bid is as its answer says', a.id === row.id && a.at === Math.floor(row.at + 1e-4) && a.instant === row.instant && a.says.join() === [row.listing_id, row.vendor_id, row.amount].join(), () => `${tell(a)}; row ${JSON.stringify(row)}`);
      v.hold('an instant win\'s answer names its order', (a.order ?? null) === (row.instant ? orderOf.get(row.listing_id)?.id : null), () => tell(a));
      const end = listings.get(a.listing)?.end;
      v.hold('no bid that was sent at or after the end is accepted', e.key || a.sent < end + SLACK, () => `${tell(a)}; end ${new Date(end).toISOString()}`);
    }
    for (const x of refused) {
      const l = listings.get(x.listing), best = orderOf.get(x.listing);
      if (x.code === 'auction_ended') v.hold('who hears that an auction is over hears it after its end', l.end <= x.got + SLACK || (best && rowsById.get(best.bid_id).instant && rowsById.get(best.bid_id).at <= x.got + SLACK), () => tell(x));
      else if (x.code === 'bid_too_low') {
        v.hold('who hears that a bid is too low bid too low', x.paise < x.minimum, () => tell(x));
        const before = rowOf.get(`${x.listing} ${x.minimum - INCREMENT}`);
        v.hold('the least bid that is told is above one that stands', x.minimum === l.asking || x.minimum === LOWEST || (before && before.at <= x.got + SLACK), () => `${tell(x)}; least ${x.minimum}`);
      } else v.hold('a bid is refused for a reason', ['idempotency_key_reused'].includes(x.code), () => tell(x));
    }
  }
  for (const b of db.bids) v.hold('no bid is there that nobody sent', claimed.has(b.id), b.id);

  for (const [listing, rows] of groupBy(db.bids, (b) => b.listing_id)) {
    for (let i = 1; i < rows.length; i++) {
      const [a, b] = [rows[i - 1], rows[i]];
      v.hold('amounts and times strictly rise', b.amount > a.amount && b.at > a.at && b.nth === a.nth + 1, () => `${listing}: ${JSON.stringify(a)} ${JSON.stringify(b)}`);
      v.hold('a bid is above the one before it by the increment, or reaches the asking price', b.amount >= a.amount + INCREMENT || b.amount >= listings.get(listing).asking, () => `${listing}: ${a.amount} ${b.amount}`);
    }
  }
}

// Every key once: one answer, to the letter, and one thing made.
function judgeKeys(v, history, db) {
  const kept = new Set(db.keys.map((k) => `${k.user_id} ${k.key}`));
  const creations = groupBy(db.listings, (l) => l.mark);
  for (const [, all] of groupBy(history.filter((e) => e.key), (e) => `${e.who} ${e.key}`)) {
    const known = all.filter((e) => e.known && e.status !== 429), other = (e) => e.code === 'idempotency_key_reused';
    const answers = new Set(known.filter((e) => !other(e)).map((e) => `${e.status} ${e.text}`));
    v.hold('a key has one answer', answers.size <= 1, () => `${known.map(tell).join('; ')}: ${[...answers].join(' | ').slice(0, 600)}`);
    v.hold('an answer under a key is kept', known.length === 0 || known.every((e) => e.status === 401) || kept.has(`${all[0].who} ${all[0].key}`), () => tell(known[0]));
    if (all[0].op === 'create') v.hold('a key makes one listing', (creations.get(all[0].mark)?.length ?? 0) <= 1, () => tell(all[0]));
    const bodies = groupBy(known, (e) => e.paise ?? e.mark);
    v.hold('a key is one body\'s', [...bodies.values()].filter((es) => es.some((e) => !other(e))).length <= 1, () => known.map(tell).join('; '));
  }
}

function judgeListings(v, history, db, s) {
  const byMark = groupBy(db.listings, (l) => l.mark), byId = new Map(db.listings.map((l) => [l.id, l]));
  const attempts = groupBy(history.filter((e) => e.op === 'create'), (e) => e.mark);
  for (const [mark, group] of attempts) {
    const rows = byMark.get(mark) ?? [], made = group.filter((e) => e.status === 201), unknown = group.filter((e) => !e.known);
    v.hold('an acknowledged listing is there', made.every((e) => byId.get(e.id)?.mark === mark && byId.get(e.id).client_id === e.who), () => tell(made[0]));
    v.hold('a listing is there once an attempt', rows.length <= new Set([...made.map((e) => e.id), ...unknown.map((e) => (e.key ? e.key : e))]).size, () => tell(group[0]));
    v.hold('a refused listing is not there', rows.length === 0 || made.length + unknown.length > 0, () => tell(group[0]));
    for (const e of group.filter((x) => x.known && x.status !== 201)) v.hold('a listing is refused for a reason', ['validation_failed', 'duplicate_imei'].includes(e.code), () => tell(e));
  }
  for (const l of db.listings) v.hold('no listing is there that nobody sent', attempts.has(l.mark), l.id);

  const decided = groupBy(history.filter((e) => e.op === 'approve'), (e) => e.listing);
  const audited = groupBy(db.audit, (a) => a.target);
  for (const l of db.listings) {
    const said = (decided.get(l.id) ?? []).filter((e) => e.status === 200);
    v.hold('a listing is decided once, and the audit log says so', said.length <= 1 && (audited.get(l.id)?.length ?? 0) === (l.status === 'pending' ? 0 : 1), () => `${l.id} ${l.status}: ${said.map(tell).join('; ')}`);
    for (const e of said) v.hold('a decision stands', e.approved ? ['live', 'sold', 'expired'].includes(l.status) && Math.abs(e.end - l.end) <= 1 : l.status === 'rejected', () => `${tell(e)}; ${JSON.stringify(l)}`);
  }

  // A reader sees no less than what was acknowledged before he asked, and nothing that is not so.
  const amounts = new Set(db.bids.map((b) => `${b.listing_id} ${b.amount}`));
  const accepted = groupBy(history.filter((e) => e.op === 'bid' && e.status === 201), (e) => e.listing);
  for (const [id, reads] of groupBy(history.filter((e) => e.op === 'read' && e.status === 200), (e) => e.listing)) {
    const told = (accepted.get(id) ?? []).sort((a, b) => a.got - b.got);
    let i = 0, most = 0;
    for (const e of reads.sort((a, b) => a.sent - b.sent)) {
      while (i < told.length && told[i].got < e.sent) most = Math.max(most, told[i++].paise);
      v.hold('a reader sees what was acknowledged before he asked', e.high >= most, () => `${tell(e)}: ${e.high} after ${most}`);
      v.hold('a reader sees no bid that is not there', e.high === 0 || amounts.has(`${id} ${e.high}`), () => `${tell(e)}: ${e.high}`);
      v.hold('what a reader saw ended stays ended', e.state === 'live' || e.state === byId.get(id).status, () => `${tell(e)}: ${e.state}, now ${byId.get(id).status}`);
    }
  }
  judgeFiles(v, history, db, s);
}

// ---- files ----
function folders(s) { try { return fs.readdirSync(path.join(s.uploads(), 'listings')); } catch { return []; } }
function stages(s) { try { return fs.readdirSync(path.join(s.uploads(), 'staging')); } catch { return []; } }

function judgeFiles(v, history, db, s) {
  const rows = new Map(db.listings.map((l) => [l.id, l]));
  const there = new Set(folders(s));
  for (const l of db.listings) {
    const wanted = [...Array(l.photos).keys()].flatMap((n) => ['_thumb.jpg', '_medium.jpg', '_full.jpg', '.webp'].map((x) => `device/photo${n + 1}${x}`)).concat(l.bill ? [`bill/bill.${l.bill}`] : []);
    for (const f of wanted) {
      let size = 0;
      try { size = fs.statSync(path.join(s.uploads(), 'listings', l.id, f)).size; } catch { /* not there */ }
      v.hold('a listing has its files', size > 0, () => `${l.id}/${f}`);
    }
  }
  // A program that was killed between rename and commit leaves a folder: one for an unknown outcome at most.
  const lost = [...there].filter((id) => !rows.has(id)), unknown = history.filter((e) => e.op === 'create' && !e.known).length;
  v.hold('a refused listing leaves no file', lost.length <= unknown, () => `${lost.length} folders without a listing, ${unknown} unknown outcomes: ${lost.slice(0, 5).join(', ')}`);
  v.lost = lost.length;
}

// What a crash left is thrown away by the purge: as if a day had gone by.
async function judgePurge(v, db, s) {
  execFileSync('find', [s.uploads(), '-exec', 'touch', '-h', '-d', '2 days ago', '{}', '+']);
  const { code, out } = await s.program('libexec/selliko/cron/selliko-purge');
  v.hold('the purge ends well', code === 0, out);
  const rows = new Set(db.listings.map((l) => l.id)), left = folders(s);
  v.hold('no file is without a listing after the purge', left.every((id) => rows.has(id)), () => left.filter((id) => !rows.has(id)).join(', '));
  v.hold('the purge takes no listing\'s files', left.length === rows.size, () => `${left.length} folders, ${rows.size} listings`);
  v.hold('no stage is left after the purge', stages(s).length === 0, () => stages(s).join(', '));
}

// ---- what people are told ----
function judgeNews(v, db) {
  const due = new Map(), owe = (...key) => due.set(key.join(' '), (due.get(key.join(' ')) ?? 0) + 1);
  const listings = new Map(db.listings.map((l) => [l.id, l])), byListing = groupBy(db.bids, (b) => b.listing_id);
  const orders = groupBy(db.orders, (o) => o.listing_id);
  const announced = groupBy(db.events, (e) => e.name), count = (name, by) => { const m = new Map(); for (const e of announced.get(name) ?? []) m.set(by(e), (m.get(by(e)) ?? 0) + 1); return m; };
  const newBids = count('new_bid', (e) => e.ref), told = count('notification', (e) => `${e.user_id} ${e.ref}`), ends = count('auction_ended', (e) => `${e.listing} ${e.status}`);
  const won = count('auction_won', (e) => e.ref), submitted = count('listing_submitted', (e) => e.ref), moved = count('order_update', (e) => `${e.user_id} ${e.ref}`);

  for (const l of db.listings) {
    const bids = byListing.get(l.id) ?? [], best = bids.at(-1), sold = orders.get(l.id) ?? [];
    if (['live', 'sold', 'expired'].includes(l.status)) owe('listing_approved', l.client_id, l.id, '');
    if (l.status === 'rejected') owe('listing_rejected', l.client_id, l.id, '');
    bids.forEach((b, i) => {
      owe('bid_placed', l.client_id, l.id, b.id);
      if (i > 0 && bids[i - 1].vendor_id !== b.vendor_id && !b.instant) owe('outbid', bids[i - 1].vendor_id, l.id, b.id);
      v.hold('a bid is announced once', newBids.get(b.id) === 1, () => `${b.id}: ${newBids.get(b.id) ?? 0} times`);
    });
    v.hold('every auction that is over was closed', ['pending', 'rejected', 'sold', 'expired'].includes(l.status), () => `${l.id} ${l.status}`);
    v.hold('a listing with bids is sold, one without expires', l.status === 'sold' ? best : l.status === 'expired' ? !best : true, l.id);
    v.hold('a sold listing has one order, of its highest bid', sold.length === (l.status === 'sold' ? 1 : 0) && (!sold.length || (sold[0].bid_id === best?.id && sold[0].price === best.amount && sold[0].vendor_id === best.vendor_id && l.highest === best.id)), () => `${l.id}: ${JSON.stringify(sold)}`);
    v.hold('a listing is announced once', submitted.get(l.id) === 1, l.id);
    if (l.status === 'sold' || l.status === 'expired') v.hold('an end is announced once', ends.get(`${l.id} ${l.status}`) === 1 && (l.status === 'expired' || won.get(best?.id) === 1), l.id);
    if (l.status === 'expired') owe('auction_expired', l.client_id, l.id, '');
    for (const o of sold) {
      owe('auction_won', best?.vendor_id, l.id, '');
      owe('order_update', l.client_id, l.id, '');
      for (const who of new Set(bids.map((b) => b.vendor_id))) if (who !== best.vendor_id) owe('auction_lost', who, l.id, '');
      v.hold('an order is announced to both', moved.get(`${o.client_id} ${o.id}`) === 1 && moved.get(`${o.vendor_id} ${o.id}`) === 1, o.id);
    }
  }
  const are = new Map();
  for (const n of db.notes) {
    const key = [n.type, n.user_id, n.listing, n.bid ?? ''].join(' ');
    are.set(key, (are.get(key) ?? 0) + 1);
    v.hold('a notification is announced once', told.get(`${n.user_id} ${n.id}`) === 1, () => `${n.id} ${key}`);
  }
  for (const [key, n] of due) v.hold('notifications are as many as due', are.get(key) === n, () => `${key}: ${are.get(key) ?? 0}, not ${n}`);
  for (const [key, n] of are) {
    if (key.startsWith('auction_ending ')) v.hold('nobody is reminded twice', n === 1, key);   // an auction may be over before it is reminded of
    else v.hold('nobody is told what is not so', due.has(key), () => `${key}: ${n}`);
  }

  // WhatsApp: one for each order's party; of bids the newest is told, and each in its place once at most.
  const nth = new Map(db.bids.map((b) => [b.id, b.nth])), notes = new Map(db.notes.map((n) => [n.id, n]));
  const queued = groupBy(db.queue, (q) => q.note);
  for (const n of db.notes.filter((x) => ['auction_won', 'order_update'].includes(x.type))) v.hold('messages are as many as due', queued.get(n.id)?.length === 1 && queued.get(n.id)[0].template === 'order_status' && queued.get(n.id)[0].user_id === n.user_id, () => `${n.type} ${n.id}: ${queued.get(n.id)?.length ?? 0}`);
  for (const [key, group] of groupBy(db.notes.filter((x) => ['bid_placed', 'outbid'].includes(x.type)), (n) => `${n.user_id} ${n.listing}`)) {
    const newest = group.reduce((a, b) => (nth.get(b.bid) > nth.get(a.bid) ? b : a));
    v.hold('the newest bid is told by WhatsApp', queued.get(newest.id)?.length === 1, () => `${key}: ${newest.id}`);
  }
  for (const q of db.queue) {
    const n = notes.get(q.note), fits = n && n.user_id === q.user_id && n.listing === q.listing && listings.has(q.listing)
      && (q.template === 'bid_placed' ? ['bid_placed', 'outbid'] : ['auction_won', 'order_update']).includes(n.type);
    v.hold('a message is of one notification', fits && queued.get(q.note).length === 1, () => JSON.stringify(q));
  }
}

// {broken: Map(rule -> [what]), db}
async function judge(service, history) {
  const v = new Verdict();
  const checked = await service.program('sbin/sellikoctl', 'check', '--quiet');
  v.hold('sellikoctl check can be run', [0, 1].includes(checked.code), checked.out);
  if (checked.code === 1) for (const line of checked.out.split('\n')) v.wrong(`check: ${line.replace(/^FAIL {2}/, '').replace(/: broken by.*/, '')}`, line);
  const db = await readAll(service);
  judgeBids(v, history, db);
  judgeKeys(v, history, db);
  judgeListings(v, history, db, service);
  judgeNews(v, db);
  for (const e of history) v.hold('no answer is 500', e.status !== 500, () => tell(e));
  await judgePurge(v, db, service);
  return { broken: v.broken, db, lost: v.lost };
}

module.exports = { judge };
