'use strict';
// A database server for a Workshop: that of the instance that ./runtests names, else the one that
// SELLIKO_TEST_DATABASE names.
const fs = require('node:fs');
const path = require('node:path');

function cluster() {
  if (process.env.SELLIKO_TEST_STATE) {
    const conf = fs.readFileSync(path.join(process.env.SELLIKO_TEST_STATE, 'selliko.conf'), 'utf8');
    return /^DATABASE_URL=(['"]?)(.*)\1$/m.exec(conf)[2];
  }
  if (process.env.SELLIKO_TEST_DATABASE) return process.env.SELLIKO_TEST_DATABASE;
  throw new Error('run me by ./runtests, or name a database in SELLIKO_TEST_DATABASE');
}

module.exports = { cluster };
