/* gauges -- how much of everything there is just now, for /metrics: what the database and the file system
 * say when they are asked.  (What the programs count themselves is lib/metrics.) */
#ifndef SELLIKO_GAUGES_H
#define SELLIKO_GAUGES_H

#include "arena.h"
#include "db.h"
#include "metrics.h"

/* Ask DB and write all gauges.  While it is away, those it knows are left out and selliko_database_up is 0. */
void gauges_render(struct db *db, struct arena *a, metrics_write_fn *write, void *ctx);

#endif
