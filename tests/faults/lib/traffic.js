'use strict';
// People who use the service as if nothing were wrong with it, and the history of what they asked and heard.
// An answer below 500 is the service's word; anything else (5xx, a broken connection) is an unknown outcome:
// the thing may have happened or not, and who sent an Idempotency-Key asks again under it.
const http = require('node:http');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { sleep, until } = require('./service');

const INCREMENT = 10000, LOWEST = 100000, HIGHEST = 100000000;   // paise
const LIVE_WANTED = 8;

class Traffic {
  constructor(service, random, { vendors = 10, clients = 3, admins = 2, readers = 2 } = {}) {
    Object.assign(this, { service, random, wanted: { vendors, clients, admins, readers } });
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 128 });
    this.history = [];       // one entry an attempt
    this.auctions = new Map();
    this.pending = 0;
    this.going = true;
  }
  int(n) { return Math.floor(this.random() * n); }
  one(list) { return list[this.int(list.length)]; }

  // {status, text, body}; status 0 when the connection broke
  ask(method, url, token, body, headers = {}) {
    const { hostname, port } = new URL(this.service.base);
    const all = { ...headers, ...(token ? { authorization: `Bearer ${token}` } : {}), ...(body !== undefined ? { 'content-length': Buffer.byteLength(body) } : {}) };
    return new Promise((resolve) => {
      const q = http.request({ hostname, port, method, path: url, headers: all, agent: this.agent, timeout: 40000 }, (res) => {
        const chunks = [];
        res.on('data', (c) => chunks.push(c));
        res.on('error', () => resolve({ status: 0, text: '' }));
        res.on('aborted', () => resolve({ status: 0, text: '' }));
        res.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          let json;
          try { json = JSON.parse(text); } catch { /* an HTML page would be a finding of its own */ }
          resolve(json === undefined || !res.complete ? { status: 0, text } : { status: res.statusCode, text, body: json });
        });
      });
      q.on('timeout', () => q.destroy(new Error('timeout')));
      q.on('error', () => resolve({ status: 0, text: '' }));
      q.end(body);
    });
  }
  json(method, url, token, json, headers) { return this.ask(method, url, token, JSON.stringify(json), { 'content-type': 'application/json', ...headers }); }

  // One attempt, put down with its times; what is kept of the answer is up to KEEP.
  async attempt(entry, asked, keep) {
    entry.sent = Date.now();
    const r = await asked();
    entry.got = Date.now();
    entry.status = r.status;
    entry.known = r.status > 0 && r.status < 500;
    if (r.status >= 400) entry.code = r.body?.code;
    if (entry.known) Object.assign(entry, keep(r));
    if (entry.known && entry.key) entry.text = r.text;
    this.history.push(entry);
    return r;
  }

  // ---- people ----
  async signIn(role) {
    const phone = `+91${6 + crypto.randomInt(4)}${String(crypto.randomInt(1e9)).padStart(9, '0')}`;
    const added = await this.service.program('sbin/sellikoctl', 'user', 'add', '--phone', phone, '--role', role);
    if (added.code !== 0) throw new Error(added.out);
    const asked = await this.json('POST', '/auth/send-otp', null, { phone });
    const otp = await until('an OTP', () => {
      try {
        const line = fs.readFileSync(path.join(this.service.state, 'log/whatsapp.log'), 'utf8').split('\n').filter((l) => l.includes(phone.slice(1))).at(-1);
        return line && JSON.parse(line).template.components.find((c) => c.type === 'body').parameters[0].text;
      } catch { return null; }
    });
    const r = await this.json('POST', '/auth/verify-otp', null, { phone, otpId: asked.body.otpId, otp });
    if (r.status !== 200) throw new Error(`signing in: ${r.text}`);
    return { id: r.body.user.id, role, token: r.body.accessToken };
  }
  async gather() {
    const people = (role, n) => Promise.all(Array.from({ length: n }, () => this.signIn(role)));
    this.vendors = await people('VENDOR', this.wanted.vendors);
    this.clients = await people('CLIENT', this.wanted.clients);
    this.admins = await people('ADMIN', this.wanted.admins);
  }

  // ---- bids ----
  bid(vendor, listing, paise, key) {
    const rupees = `${Math.floor(paise / 100)}${paise % 100 ? `.${String(paise % 100).padStart(2, '0')}` : ''}`;
    return this.attempt({ op: 'bid', who: vendor.id, listing, paise, key },
      () => this.json('POST', '/bids', vendor.token, { listingId: listing, amount: rupees }, key ? { 'idempotency-key': key } : {}),
      ({ body: b }) => (b.bid ? { id: b.bid.id, at: Date.parse(b.bid.timestamp), instant: b.isInstantWin, order: b.orderId, says: [b.bid.listingId, b.bid.vendorId, Math.round(b.bid.amount * 100)] }
        : b.minimumBid !== undefined ? { minimum: Math.round(b.minimumBid * 100) } : {}));
  }
  learn(a, r, paise) {
    if (r.status === 201) a.high = Math.max(a.high, paise);
    if (r.body?.code === 'bid_too_low') a.high = Math.max(a.high, Math.round(r.body.minimumBid * 100) - INCREMENT);
    if (r.body?.code === 'auction_ended' || r.body?.isInstantWin) a.over ??= Date.now();
  }
  // Every attempt of a listing has an amount of its own, by which its row is told from others.
  amount(a) {
    const dice = this.random();
    let paise = dice < 0.004 ? a.asking + 100 * this.int(1000) : dice < 0.06 ? Math.max(LOWEST, a.high - this.int(50000)) : Math.max(LOWEST, a.high + INCREMENT + this.int(dice < 0.5 ? 200 : 20000));
    while (a.used.has(paise)) paise++;
    a.used.add(paise);
    return Math.min(paise, HIGHEST);
  }
  pick() {
    const now = Date.now();
    const open = [], over = [];
    for (const [id, a] of this.auctions) {
      if (a.unwanted && now > a.end) a.over ??= now;   // nobody bids on this one
      if (a.over && now - a.over > 3000) this.auctions.delete(id);
      else if (!a.unwanted) (a.over ? over : open).push(a);
    }
    if (over.length && this.random() < 0.05) return this.one(over);
    return open.length ? open[Math.floor(open.length * this.random() ** 2)] : over.length ? this.one(over) : null;   // the oldest is the hottest
  }
  async vendor(me) {
    while (this.going) {
      const a = this.pick();
      if (!a) { await sleep(100); continue; }
      const paise = this.amount(a), key = this.random() < 0.4 ? crypto.randomUUID() : undefined;
      const asks = key && this.random() < 0.1 ? 3 : 1;   // an impatient app: the same thing several times at once
      let [r] = await Promise.all(Array.from({ length: asks }, () => this.bid(me, a.id, paise, key)));
      for (let again = 0; again < 8 && key && (r.status === 0 || r.status >= 500 || this.random() < 0.05); again++) {
        await sleep(100 + 150 * again);
        r = await this.bid(me, a.id, paise, key);
      }
      this.learn(a, r, paise);
      if (key && r.status > 0 && r.status < 500 && this.random() < 0.03) await this.bid(me, a.id, this.amount(a), key);   // the key again for something else
      await sleep(r.status === 0 || r.status >= 500 ? 100 : 10 + 40 * this.random());
    }
  }

  // ---- listings ----
  form(fields) {
    const boundary = `----auction${crypto.randomBytes(8).toString('hex')}`, chunks = [];
    for (const [name, value] of Object.entries(fields)) {
      const file = Buffer.isBuffer(value) ? `; filename="${name}.jpg"\r\nContent-Type: image/jpeg` : '';
      chunks.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`), Buffer.from(value), Buffer.from('\r\n'));
    }
    return [Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)]), `multipart/form-data; boundary=${boundary}`];
  }
  submit(client, fields, mark, key) {
    const [body, type] = this.form(fields);
    return this.attempt({ op: 'create', who: client.id, mark, key },
      () => this.ask('POST', '/listings', client.token, body, { 'content-type': type, ...(key ? { 'idempotency-key': key } : {}) }),
      ({ body: b }) => (b.listing ? { id: b.listing.id } : {}));
  }
  async client(me) {
    const photo = (n) => this.photos[n % this.photos.length];
    let taken;
    while (this.going) {
      if ([...this.auctions.values()].filter((a) => !a.over).length + this.pending >= LIVE_WANTED) { await sleep(100); continue; }
      const mark = crypto.randomUUID(), key = this.random() < 0.6 ? crypto.randomUUID() : undefined;
      const dice = this.random();
      const imei = dice < 0.05 && taken ? taken : String(350000000000000 + crypto.randomInt(1e12));
      const fields = {
        brand: 'Apple', model: dice > 0.95 ? '' : 'iPhone 13', storage: '128GB', color: 'Blue', condition: 'Good', imei1: imei, batteryHealth: '88',
        askingPrice: String(this.one([12000, 60000, 300000, 900000])), description: mark, hasWarranty: 'false', streetAddress: '12 MG Road', city: 'Kochi', pincode: '682001', pickupTime: 'morning',
        devicePhoto0: photo(0), devicePhoto1: photo(1), devicePhoto2: photo(2), devicePhoto3: photo(3), ...(dice < 0.3 ? { billPhoto: photo(0) } : {}),
      };
      let r = await this.submit(me, fields, mark, key);
      for (let again = 0; again < 8 && key && (r.status === 0 || r.status >= 500 || this.random() < 0.1); again++) {
        await sleep(150 + 200 * again);
        r = await this.submit(me, fields, mark, key);
      }
      if (r.status === 201) { this.pending++; taken = imei; }
      await sleep(r.status === 0 || r.status >= 500 ? 300 : 100);
    }
  }

  // ---- the administrators' word ----
  async admin(me) {
    while (this.going) {
      const r = await this.ask('GET', '/admin/listings/pending?limit=20', me.token);
      for (const l of r.status === 200 ? r.body.listings : []) {
        if (!this.going) break;
        const approved = this.random() > 0.03, seconds = 1.5 + 5 * this.random();
        const decided = await this.attempt({ op: 'approve', who: me.id, listing: l.id, approved },
          () => this.json('PUT', `/listings/${l.id}/approve`, me.token, approved ? { approved, auctionDurationHours: Number((seconds / 3600).toFixed(9)) } : { approved, rejectionReason: 'No' }),
          ({ body: b }) => (b.listing ? { end: Date.parse(b.listing.auctionEndTime) || null } : {}));
        if (decided.status !== 409) this.pending = Math.max(0, this.pending - 1);
        const known = decided.status === 200 ? decided : await this.ask('GET', `/listings/${l.id}`, me.token);
        const now = known.body?.listing;
        if (now?.status === 'live' && !this.auctions.has(l.id)) this.auctions.set(l.id, { id: l.id, asking: Math.round(now.askingPrice * 100), end: Date.parse(now.auctionEndTime), unwanted: this.random() < 0.1, high: 0, used: this.used(l.id) });
      }
      await sleep(150 + 100 * this.random());
    }
  }
  used(id) { this.usedOf ??= new Map(); if (!this.usedOf.has(id)) this.usedOf.set(id, new Set()); return this.usedOf.get(id); }

  // ---- looking on ----
  async reader(me) {
    while (this.going) {
      const a = this.pick();
      if (a) {
        if (this.random() < 0.05) await this.ask('POST', `/listings/${a.id}/watch`, me.token);
        await this.attempt({ op: 'read', who: me.id, listing: a.id }, () => this.ask('GET', `/listings/${a.id}`, me.token),
          ({ body: b }) => ({ high: Math.round((b.currentHighestBid?.amount ?? 0) * 100), state: b.listing?.status }));
      }
      await sleep(60 + 60 * this.random());
    }
  }

  start(photos) {
    this.photos = photos;
    this.all = [...this.vendors.map((p) => this.vendor(p)), ...this.clients.map((p) => this.client(p)), ...this.admins.map((p) => this.admin(p)),
      ...Array.from({ length: this.wanted.readers }, (_, i) => this.reader(this.clients[i % this.clients.length]))];
    this.failed = Promise.all(this.all);
    this.failed.catch(() => { this.going = false; });
  }
  async finish() { this.going = false; await this.failed; this.agent.destroy(); }
}

module.exports = { Traffic, INCREMENT, LOWEST };
