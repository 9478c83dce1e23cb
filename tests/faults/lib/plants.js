'use strict';
// Bugs that are put into the functions of a test's own database, to see that they are found: the name, the
// function, what stands in it, what takes its place.
const PLANTS = {
  lock: { about: 'place_bids judges without locking the listings', fn: 'place_bids', from: /(\bORDER BY l\.id) FOR NO KEY UPDATE/, to: '$1' },
  notify: { about: 'settle_listings tells the winner nothing', fn: 'settle_listings', from: /(AS listing\s+FROM e WHERE) e\.made IS NOT NULL/, to: '$1 false' },
  late: { about: 'place_bids takes bids until the auction is closed, not until its end', fn: 'place_bids', from: / OR at >= l_end\[j\]/, to: '' },
};

async function plant(service, name) {
  const { fn, from, to } = PLANTS[name];
  const [{ was }] = await service.rows(`SELECT pg_get_functiondef('${fn}'::regproc) AS was`);
  const now = was.replace(from, to);
  if (now === was) throw new Error(`${fn} does not look as the planted bug expects it`);
  await service.sql(now);
}

module.exports = { PLANTS, plant };
