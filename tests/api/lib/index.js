'use strict';
// The harness; each file of it says what it is for.
module.exports = {
  ...require('./instance'), ...require('./http'), ...require('./people'), ...require('./auctions'), photos: require('./photos'),
};
