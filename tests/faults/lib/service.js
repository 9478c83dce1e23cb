'use strict';
// A service that may be hurt: started by quickstart in a folder of its own, its uploads on a small disk that
// can be filled, its processes and its database within reach.  It needs Node alone, so that tests/faults/auction
// runs from a fresh clone.
const { execFile, execFileSync, spawn } = require('node:child_process');
const { promisify } = require('node:util');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { sleep, until } = require('../../api/lib/until');

const TOP = path.resolve(__dirname, '../../..');
const run = promisify(execFile);
const freePort = () => new Promise((resolve) => { const s = net.createServer(); s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); }); });
const kill = (pid, signal) => { try { process.kill(pid, signal); return true; } catch { return false; } };

class Service {
  constructor(settings, diskMB) { this.settings = settings; this.diskMB = diskMB; }

  async start() {
    const port = await freePort();
    this.state = fs.mkdtempSync(path.join(os.tmpdir(), 'selliko-auction-'));
    fs.chmodSync(this.state, 0o755);
    fs.writeFileSync(path.join(this.state, '.lock'), '');
    this.base = `http://127.0.0.1:${port}`;
    this.env = { ...process.env, PORT: String(port), STATE_DIR: this.state, API_BASE_URL: this.base, ...this.settings };
    this.ownDisk = this.mountUploads();
    await this.quickstart();
  }
  // The uploads' own disk: a tmpfs in this process's own mount namespace, which goes with it.  Where that may
  // not be had (no root), a full disk is played by taking the right to write.
  mountUploads() {
    if (process.env.SELLIKO_OWN_MOUNTS !== 'yes') return false;
    try {
      let { uid, gid } = fs.statSync(TOP);
      if (uid === 0) [uid, gid] = execFileSync('getent', ['passwd', 'selliko'], { encoding: 'utf8' }).split(':').slice(2, 4);
      fs.mkdirSync(this.uploads());
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${this.diskMB}m,mode=700,uid=${uid},gid=${gid}`, 'tmpfs', this.uploads()], { stdio: 'ignore' });
      return true;
    } catch { fs.rmSync(this.uploads(), { recursive: true, force: true }); return false; }
  }
  async stop() {
    this.resumeAll();
    await this.quickstart('stop').catch((e) => process.stderr.write(`${e.message}\n`));
    if (this.ownDisk) execFileSync('umount', ['-l', this.uploads()]);
    fs.rmSync(this.state, { recursive: true, force: true });
  }
  quickstart(...args) {
    const out = fs.openSync(path.join(this.state, 'quickstart.out'), 'w');
    return new Promise((resolve, reject) => {
      const p = spawn(path.join(TOP, 'quickstart'), args, { cwd: TOP, env: this.env, stdio: ['ignore', out, out] });
      p.on('error', reject);
      p.on('exit', (code) => {
        fs.closeSync(out);
        const text = fs.readFileSync(path.join(this.state, 'quickstart.out'), 'utf8');
        if (code === 0) resolve(text); else reject(new Error(`quickstart ${args.join(' ')} ended with ${code}: ${text.slice(-2000)}`));
      });
    });
  }
  setting(name) { return new RegExp(`^${name}=(['"]?)(.*)\\1$`, 'm').exec(fs.readFileSync(path.join(this.state, 'selliko.conf'), 'utf8'))?.[2]; }
  uploads() { return path.join(this.state, 'uploads'); }

  // One of the installed programs: {code, out}
  async program(file, ...args) {
    const env = { PATH: process.env.PATH, SELLIKO_CONF: path.join(this.state, 'selliko.conf') };
    try { return { code: 0, out: (await run(path.join(this.state, 'app', file), args, { env })).stdout.trim() }; }
    catch (e) { return { code: e.code, out: `${e.stdout}${e.stderr}`.trim() }; }
  }
  async sql(text) {
    return (await run('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', this.setting('DATABASE_URL'), '-c', text])).stdout.trim();
  }
  // Rows as objects, however many
  async rows(query) {
    const p = spawn('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', this.setting('DATABASE_URL'), '-c', `COPY (SELECT row_to_json(x)::text FROM (${query}) x) TO STDOUT`], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => { p.on('close', resolve); });
    const rows = [];
    // COPY writes a backslash as two
    for await (const line of readline.createInterface({ input: p.stdout })) rows.push(JSON.parse(line.replaceAll('\\\\', '\\')));
    if (await ended !== 0) throw new Error(`psql: ${query}`);
    return rows;
  }

  // ---- processes ----
  // Those of this instance that execute the program NAME
  pids(name) {
    const app = fs.realpathSync(path.join(this.state, 'app'));
    return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p)).map(Number).filter((p) => {
      try { const exe = fs.readlinkSync(`/proc/${p}/exe`); return exe.startsWith(`${app}/`) && path.basename(exe) === name; } catch { return false; }
    });
  }
  postgres() { return path.join(this.state, 'pg'); }
  postmaster() { try { return Number(fs.readFileSync(path.join(this.postgres(), 'postmaster.pid'), 'utf8').split('\n')[0]); } catch { return 0; } }
  databasePids() {
    const pg = fs.realpathSync(this.postgres());
    return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p)).map(Number).filter((p) => { try { return fs.readlinkSync(`/proc/${p}/cwd`) === pg && /postgres/.test(fs.readlinkSync(`/proc/${p}/exe`)); } catch { return false; } });
  }
  backends() { return this.databasePids().filter((p) => { try { return /^postgres: selliko /.test(fs.readFileSync(`/proc/${p}/cmdline`, 'utf8')); } catch { return false; } }); }
  async stopDatabase(signal) {
    kill(this.postmaster(), signal);
    await until('PostgreSQL is down', () => this.databasePids().length === 0);
  }
  async startDatabase() {
    // A killed postmaster's files, which PostgreSQL believes as long as its pid is anybody's, be it a zombie's
    if (this.databasePids().length === 0) for (const f of ['pg/postmaster.pid', 'run/.s.PGSQL.5432', 'run/.s.PGSQL.5432.lock']) fs.rmSync(path.join(this.state, f), { force: true });
    const bin = fs.readdirSync('/usr/lib/postgresql').sort((a, b) => b - a).map((v) => `/usr/lib/postgresql/${v}/bin/pg_ctl`)[0];
    const { uid, gid } = fs.statSync(this.postgres());
    const cmd = [bin, 'start', '-w', '-t', '60', '-D', this.postgres(), '-l', path.join(this.state, 'log/postgresql.log')];
    if (process.getuid() === 0) cmd.unshift('setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups');
    const p = spawn(cmd[0], cmd.slice(1), { stdio: 'ignore', env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: this.state }, cwd: '/' });
    const code = await new Promise((resolve) => { p.on('exit', resolve); });
    if (code !== 0) throw new Error('PostgreSQL does not start');
  }
  // A pause of MS
  async pause(pid, ms) {
    if (!kill(pid, 'SIGSTOP')) return;
    this.paused ??= new Set();
    this.paused.add(pid);
    await sleep(ms);
    kill(pid, 'SIGCONT');
    this.paused.delete(pid);
  }
  resumeAll() { for (const p of this.paused ?? []) kill(p, 'SIGCONT'); }

  // ---- the disk ----
  fillDisk() {
    if (!this.ownDisk) { for (const d of ['staging', 'listings']) { try { fs.chmodSync(path.join(this.uploads(), d), 0o500); } catch { /* not made yet */ } } return; }
    const fd = fs.openSync(path.join(this.uploads(), '.ballast'), 'w');
    const { bavail, bsize } = fs.statfsSync(this.uploads());
    try { for (const lump = Buffer.alloc(1 << 20), left = { n: bavail * bsize }; left.n > 0; left.n -= lump.length) fs.writeSync(fd, lump, 0, Math.min(lump.length, left.n)); } catch { /* full */ }
    fs.closeSync(fd);
  }
  freeDisk() {
    if (!this.ownDisk) { for (const d of ['staging', 'listings']) { try { fs.chmodSync(path.join(this.uploads(), d), d === 'staging' ? 0o700 : 0o755); } catch { /* not made yet */ } } return; }
    fs.rmSync(path.join(this.uploads(), '.ballast'), { force: true });
  }
}

module.exports = { Service, TOP, kill, sleep, until };
