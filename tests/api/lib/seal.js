'use strict';
// Seals a value as the service does (lib/crypto.h), from ENCRYPTION_KEY and the wrapped key in the
// database, so that rows which a test lays by SQL read like any others.
const crypto = require('node:crypto');

const rings = new Map();

function open(key, aad, sealed) {
  const d = crypto.createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12));
  d.setAAD(Buffer.from(aad));
  d.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([d.update(sealed.subarray(12, -16)), d.final()]);
}

// {version, key} of the newest data key
function newest(w) {
  const [version, wrapped] = w.sql("SELECT version, encode(wrapped, 'hex') FROM encryption_keys WHERE purpose = 'seal' ORDER BY version DESC LIMIT 1").split('|');
  const master = w.setting('ENCRYPTION_KEY');
  const id = `${master} ${version} ${wrapped}`;
  if (!rings.has(id)) {
    const wrapping = Buffer.from(crypto.hkdfSync('sha256', master, '', 'selliko key wrapping 1', 32));
    rings.set(id, { version: Number(version), key: open(wrapping, `data key:seal:${version}`, Buffer.from(wrapped, 'hex')) });
  }
  return rings.get(id);
}

// (field, row, plain) -> an SQL literal, all under the newest key
function sealer(w) {
  const { version, key } = newest(w);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(version);
  return (field, row, plain) => {
    const nonce = crypto.randomBytes(12);
    const c = crypto.createCipheriv('aes-256-gcm', key, nonce);
    c.setAAD(Buffer.from(`${field}:${row}`));
    return `'\\x${Buffer.concat([head, nonce, c.update(plain), c.final(), c.getAuthTag()]).toString('hex')}'::bytea`;
  };
}

module.exports = { sealer };
