'use strict';
const sleep = (ms) => new Promise((r) => { setTimeout(r, ms); });

// Ask again until it is so; the contract's promises are about what happens, not how fast this machine is.
async function until(what, ask, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

module.exports = { sleep, until };
