'use strict';
// A bucket for tests: an S3-compatible server that judges signatures (s3rver), behind a front that refuses
// what is not signed at all, remembers what was asked, and fails on demand; and Amazon's own client to
// look into it past the service.
//
//   const b = new Bucket(); await b.start();   b.settings -> S3_* and AWS_* of the service
//   b.fault = (req) => 503                     answer so instead (0: hang up), undefined: let it pass
//   new Bucket('other')                        with more buckets; b.in('other').keys() looks into one of them
const crypto = require('crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const S3rver = require('../../node_modules/@20minutes/s3rver');
const account = require('../../node_modules/@20minutes/s3rver/lib/models/account');
const { S3Client, ListObjectsV2Command, GetObjectCommand, PutObjectCommand, DeleteObjectCommand } = require('@aws-sdk/client-s3');

const NAME = 'selliko-test';
const KEY = { accessKeyId: 'AKIDSELLIKOTESTS', secretAccessKey: 'a/secret+of=tests' };
const REGION = 'ap-south-1';
account.DUMMY_ACCOUNT.createKeyPair(KEY.accessKeyId, KEY.secretAccessKey);

// Its tokens of next pages are made with DES, which OpenSSL does no longer.
for (const f of ['createCipheriv', 'createDecipheriv']) {
  const plain = crypto[f];
  crypto[f] = (name, key, iv, ...o) => (name === 'des' ? plain('aes-128-ctr', Buffer.concat([key, key]), Buffer.concat([iv, iv]), ...o) : plain(name, key, iv, ...o));
}

class Bucket {
  constructor(...others) { this.names = [NAME, ...others]; this.name = NAME; }
  in(name) { return Object.assign(Object.create(this), { name }); }
  async start() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-bucket-'));
    this.asked = [];
    const s3 = new S3rver({ silent: true, directory: this.dir, vhostBuckets: false, configureBuckets: this.names.map((name) => ({ name })) });
    await s3.configureBuckets();
    // Two things that it lacks: folders more than one level below a prefix, and pages that are short.
    const list = s3.store.listObjects.bind(s3.store);
    s3.store.listObjects = async (name, { delimiter, ...o }) => {
      if (!delimiter) return list(name, { ...o, maxKeys: Math.min(o.maxKeys, 7) });
      const { objects } = await list(name, { ...o, maxKeys: Infinity });
      const rest = (key) => key.slice(o.prefix.length).indexOf(delimiter);
      return { objects: objects.filter((x) => rest(x.key) < 0), commonPrefixes: [...new Set(objects.filter((x) => rest(x.key) >= 0).map((x) => x.key.slice(0, o.prefix.length + rest(x.key) + 1)))], isTruncated: false };
    };
    const answer = s3.callback();
    this.server = http.createServer((req, res) => {
      this.asked.push(`${req.method} ${req.url.split('?')[0].replace(/^\/[^/]*\/?/, '')}`);
      const fault = this.fault?.(req);
      const refuse = (status, code) => { req.resume(); res.writeHead(status, { 'Content-Type': 'application/xml', Connection: 'close' }).end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`); };
      if (fault === 0) req.socket.destroy();
      else if (fault) refuse(fault, fault >= 500 ? 'SlowDown' : 'AccessDenied');
      else if (!req.headers.authorization && !req.url.includes('X-Amz-Signature=')) refuse(403, 'AccessDenied');
      else answer(req, res);
    });
    await this.listen();
    this.settings = { S3_BUCKET_NAME: NAME, S3_ENDPOINT: `http://127.0.0.1:${this.port}`, AWS_REGION: REGION, AWS_ACCESS_KEY_ID: KEY.accessKeyId, AWS_SECRET_ACCESS_KEY: KEY.secretAccessKey };
    this.client = new S3Client({ region: REGION, endpoint: this.settings.S3_ENDPOINT, forcePathStyle: true, credentials: KEY, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' });
    // This server signs a bucket's own address without the slash at its end.
    this.client.middlewareStack.add((next) => (args) => { args.request.path = args.request.path.replace(/\/$/, ''); return next(args); }, { step: 'build' });
  }
  listen() { return new Promise((resolve) => { this.server.listen(this.port ?? 0, '127.0.0.1', () => { this.port = this.server.address().port; resolve(); }); }); }
  hangUp() { return new Promise((resolve) => { this.server.close(resolve); this.server.closeAllConnections(); }); }
  async stop() {
    this.client.destroy();
    await this.hangUp();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
  async keys(prefix = '') {
    const keys = [];
    let token;
    do {
      const page = await this.client.send(new ListObjectsV2Command({ Bucket: this.name, Prefix: prefix, ContinuationToken: token }));
      keys.push(...(page.Contents ?? []).map((o) => o.Key));
      token = page.NextContinuationToken;
    } while (token);
    return keys.sort();
  }
  async read(key) {
    const o = await this.client.send(new GetObjectCommand({ Bucket: this.name, Key: key }));
    return { bytes: Buffer.from(await o.Body.transformToByteArray()), type: o.ContentType, cache: o.CacheControl, sha256: o.Metadata?.sha256 };
  }
  write(key, bytes) { return this.client.send(new PutObjectCommand({ Bucket: this.name, Key: key, Body: bytes })); }
  remove(key) { return this.client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key })); }
  // As if KEY had been written HOURS ago
  age(key, hours) {
    const then = Date.now() / 1000 - hours * 3600;
    for (const f of this.filesOf(key)) fs.utimesSync(f, then, then);
  }
  filesOf(key) {
    const folder = path.join(this.dir, this.name, path.dirname(key));
    return fs.readdirSync(folder).filter((f) => f.startsWith(path.basename(key))).map((f) => path.join(folder, f));
  }
  // Other bytes under KEY than were sent there, as many
  spoil(key) {
    const f = this.filesOf(key).find((x) => x.endsWith('_object'));
    const bytes = fs.readFileSync(f);
    bytes[bytes.length >> 1] ^= 1;
    fs.writeFileSync(f, bytes);
  }
}

module.exports = { Bucket };
