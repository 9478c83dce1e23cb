'use strict';
// Database servers of a test's own: a primary, and a standby that streams from it.
//
//   const s = new Servers('failover');
//   s.primary('a'); s.standby('b', 'a');       s.at('b')              the folder of its socket, for DATABASE_URL
//   s.ask('b', 'SELECT …', 'selliko')          as its administrator
//   s.stop('a'); s.start('a'); s.promote('b'); s.pids('b')
//   s.close();                                 ends them all, and leaves no file
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');

const BIN = '/usr/lib/postgresql/15/bin';

class Servers {
  constructor(what) {
    this.dir = fs.mkdtempSync(`/tmp/selliko-test-${what}-`);
    const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
    this.who = process.getuid() === 0 ? { uid: id('-u'), gid: id('-g') } : {};   // as root it refuses to run
    this.own(this.dir);
    fs.chmodSync(this.dir, 0o755);
    this.names = [];
  }
  own(folder) { if (this.who.uid) fs.chownSync(folder, this.who.uid, this.who.gid); }
  run(program, ...args) { return execFileSync(path.join(BIN, program), args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], ...this.who }); }

  data(name) { return path.join(this.dir, name); }
  at(name) { return path.join(this.dir, `${name}-run`); }
  log(name) { return fs.readFileSync(path.join(this.dir, `${name}.log`), 'utf8'); }
  ask(name, text, db = 'postgres') { return execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', this.at(name), '-U', 'postgres', '-d', db, '-c', text], { encoding: 'utf8' }).trim(); }
  pids(name) { return fs.readdirSync('/proc').filter((p) => { try { return fs.readlinkSync(`/proc/${p}/cwd`) === this.data(name); } catch { return false; } }).map(Number); }

  // With the database of the service, and who may stream from it
  primary(name, settings = {}) {
    this.run('initdb', '-D', this.data(name), '-U', 'postgres', '--auth=trust', '-E', 'UTF8', '--locale=C.UTF-8');
    fs.appendFileSync(path.join(this.data(name), 'postgresql.conf'), Object.entries(settings).map(([k, v]) => `${k} = '${v}'\n`).join(''));
    this.start(name);
    this.ask(name, 'CREATE ROLE selliko LOGIN CREATEDB');
    this.ask(name, 'CREATE ROLE replicator LOGIN REPLICATION');
    this.ask(name, 'CREATE DATABASE selliko OWNER selliko');
  }
  standby(name, of) {
    this.run('pg_basebackup', '-h', this.at(of), '-U', 'replicator', '-D', this.data(name), '-R', '-C', '-S', name, '-X', 'stream', '-c', 'fast');
    this.start(name);
  }
  start(name) {
    if (!this.names.includes(name)) { this.names.push(name); fs.mkdirSync(this.at(name)); this.own(this.at(name)); }
    this.run('pg_ctl', '-D', this.data(name), '-w', '-s', '-l', path.join(this.dir, `${name}.log`), '-o', `-c unix_socket_directories=${this.at(name)} -c listen_addresses=''`, 'start');
  }
  stop(name) { this.run('pg_ctl', '-D', this.data(name), '-m', 'immediate', '-s', 'stop'); }
  promote(name) { this.run('pg_ctl', '-D', this.data(name), '-w', '-s', 'promote'); }
  close() {
    for (const name of this.names) try { this.stop(name); } catch { /* is not running */ }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

module.exports = { Servers };
