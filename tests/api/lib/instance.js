'use strict';
// Where the service under test is.  ./runtests names a running instance (SELLIKO_TEST_BASE,
// SELLIKO_TEST_STATE); without it, or where a test needs settings of its own, quickstart starts one
// in a folder under /tmp, which is stopped and removed afterwards.
const { before, after } = require('node:test');
const { execFile, execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { request, raw, parseRaw } = require('./http');
const { sleep, until } = require('./until');

const TOP = path.resolve(__dirname, '../../..');
function freePort() {
  return new Promise((resolve) => { const s = net.createServer(); s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); }); });
}

class Instance {
  constructor(settings) { this.settings = settings; }

  // The named instance
  attach(base, state) { this.base = base.replace(/\/$/, ''); this.state = state; this.env = { ...process.env, STATE_DIR: state, PORT: new URL(base).port }; }

  // One of its own
  async start() {
    const port = await freePort();
    this.state = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-test-'));
    fs.chmodSync(this.state, 0o755);
    this.base = `http://127.0.0.1:${port}`;
    this.env = { ...process.env, PORT: String(port), STATE_DIR: this.state, API_BASE_URL: this.base, ...this.settings };
    this.own = true;
    await this.quickstart();
  }
  async stop() {
    if (!this.own) return;
    await this.quickstart('stop').catch((e) => process.stderr.write(`${e.message}\n`));
    fs.rmSync(this.state, { recursive: true, force: true });
  }

  // Its output goes to a file: what it starts inherits the descriptors, and a pipe would never end.
  quickstart(...args) {
    const out = path.join(os.tmpdir(), `selliko-quickstart-${process.pid}-${Math.random().toString(36).slice(2)}`);
    const fd = fs.openSync(out, 'w+');
    return new Promise((resolve, reject) => {
      const p = spawn(path.join(TOP, 'quickstart'), args, { cwd: TOP, env: this.env, stdio: ['ignore', fd, fd] });
      p.on('error', reject);
      p.on('exit', (code) => {
        const text = fs.readFileSync(out, 'utf8');
        fs.closeSync(fd);
        fs.rmSync(out);
        if (code === 0) resolve(text.trim()); else reject(new Error(`quickstart ${args.join(' ')} ended with ${code}: ${text.slice(-2000)}`));
      });
    });
  }
  async ctl(...args) { await this.started; return this.quickstart('ctl', ...args); }

  setting(name) {
    const line = fs.readFileSync(path.join(this.state, 'selliko.conf'), 'utf8').split('\n').find((l) => l.startsWith(`${name}=`));
    return line?.slice(name.length + 1).replace(/^(['"])(.*)\1$/, '$2');
  }
  // What the database holds, past the service: rows of text
  sql(text) {
    return execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', this.setting('DATABASE_URL'), '-c', text], { encoding: 'utf8', maxBuffer: 64 << 20 }).trim();
  }
  async sqlLater(text) {
    const { stdout } = await promisify(execFile)('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', this.setting('DATABASE_URL'), '-c', text], { maxBuffer: 64 << 20 });
    return stdout.trim();
  }
  uploads() { return path.join(this.state, 'uploads'); }
  // Processes of this instance that execute the program NAME
  pids(name) {
    const app = fs.realpathSync(path.join(this.state, 'app'));
    return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p)).map(Number).filter((p) => {
      try { const exe = fs.readlinkSync(`/proc/${p}/exe`); return exe.startsWith(`${app}/`) && path.basename(exe) === name; } catch { return false; }
    });
  }
  log(name) { try { return fs.readFileSync(path.join(this.state, 'log', `${name}.log`), 'utf8'); } catch { return ''; } }

  async request(method, p, o) { await this.started; return request(this.base, method, p, o); }
  get(p, token, o) { return this.request('GET', p, { token, ...o }); }
  post(p, json, token, o) { return this.request('POST', p, { json, token, ...o }); }
  put(p, json, token, o) { return this.request('PUT', p, { json, token, ...o }); }
  del(p, token, o) { return this.request('DELETE', p, { token, ...o }); }
  raw(bytes, o) { return raw(this.base, bytes, o); }
  async rawAnswer(bytes, o) { return parseRaw(await this.raw(bytes, o)); }
}

function shared() {
  if (!process.env.SELLIKO_TEST_BASE) return own();
  const w = new Instance({});
  w.attach(process.env.SELLIKO_TEST_BASE, process.env.SELLIKO_TEST_STATE);
  return w;
}

// The hooks of a file begin side by side, so every request waits until the instance has started.
// PREPARE runs before it starts, and may still change the settings (a port that is known only then).
function own(settings = {}, prepare = async () => {}) {
  const w = new Instance(settings);
  w.started = prepare().then(() => w.start());
  w.started.catch(() => {});   // told by the hook
  before(() => w.started, { timeout: 600000 });
  after(() => w.stop(), { timeout: 120000 });
  return w;
}

module.exports = { Instance, shared, own, until, sleep, freePort, TOP };
