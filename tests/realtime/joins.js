'use strict';
// joins.js PORT PID [MILLIONS=1] -- by hand: so many million joins, each of a room of its own, and as many leaves, against the
// echo server of that PID.  Prints its memory on the way: it stays what it was.
const fs = require('node:fs');
const { WebSocket } = require('ws');

const [port, pid, millions = '1'] = process.argv.slice(2);
const all = 2e6 * Number(millions);
const memory = () => /VmRSS:\s+(\d+ kB)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
let asked = 0; let answered = 0;

for (let client = 0; client < 8; client++) {
  const s = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`);
  const ask = () => {
    if (asked >= all) return;
    s.send(`421["join","room-${asked}"]`);
    s.send(`422["leave","room-${asked}"]`);
    asked += 2;
  };
  s.on('message', (data) => {
    const text = String(data);
    if (text[0] === '0') s.send('40');
    else if (text === '2') s.send('3');
    else if (text.startsWith('40')) for (let i = 0; i < 250; i++) ask();
    else if (text.startsWith('43')) {
      if (text !== '431[true]' && text !== '432[true]') throw new Error(text);
      if (answered++ % (all / 10) === 0 || answered === all) console.log(`${answered} of ${all}: ${memory()}`);
      if (answered === all) process.exit();
      if (text.startsWith('432')) ask();
    }
  });
  s.on('close', () => { throw new Error('closed'); });
}
