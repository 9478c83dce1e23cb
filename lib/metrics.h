/* metrics -- counters of all processes of this host, in one shared file.
 *
 * Every program maps $STATE_DIR/run/metrics.shm and adds to it with atomics, so a figure is the sum
 * over all processes, survives their crashes and restarts, and costs some nanoseconds.  Nothing in it
 * is ever locked: a process killed between any two instructions leaves a file that the others go on
 * with.  Where the file cannot be had, counting goes on in private memory: no request fails for it.
 *
 * Gauges (active_users_total, active_listings_total) are questions to the database: the status program
 * asks them when it is asked and writes them with metrics_gauge. */
#ifndef SELLIKO_METRICS_H
#define SELLIKO_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(identifier, name, help) of plain counters, and of gauges. */
#define METRICS_COUNTERS(X) \
    X(BIDS_PLACED, "bids_placed_total", "Bids that were accepted.") \
    X(ORDERS_COMPLETED, "orders_completed_total", "Orders that reached completed.") \
    X(WHATSAPP_SENT, "whatsapp_messages_sent_total", "Messages that the Graph API accepted.") \
    X(FILE_UPLOADS, "file_uploads_total", "Files that were stored for a request.")

#define METRICS_GAUGES(X) \
    X(ACTIVE_USERS, "active_users_total", "Users with a session that was used in the last 15 minutes.") \
    X(ACTIVE_LISTINGS, "active_listings_total", "Listings that are live and not ended.")

#define METRICS_ENUM(id, name, help) METRICS_##id,
enum metrics_counter { METRICS_COUNTERS(METRICS_ENUM) METRICS_N_COUNTERS };
enum metrics_gauge { METRICS_GAUGES(METRICS_ENUM) METRICS_N_GAUGES };
#undef METRICS_ENUM

/* Upper bounds of the duration histogram's buckets in microseconds. */
#define METRICS_BUCKETS_US \
    { 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000 }

/* Map STATE_DIR/run/metrics.shm, making it when it is not there.  False when that failed and private
 * memory is used; errno says why.  Once, before threads start. */
bool metrics_open(const char *state_dir);

/* Add N. */
void metrics_add(enum metrics_counter counter, uint64_t n);

/* The place of one route's figures: PROGRAM "bids", ROUTE the pattern "/listings/{uuid}", METHOD "GET".
 * Found or made once for each route at start, then used for ever.  Never NULL: when the table is full
 * (512 routes) it is a place that is not rendered. */
struct metrics_route;
struct metrics_route *metrics_route(const char *program, const char *route, const char *method);

/* Count one request of ROUTE answered with STATUS after DURATION_NS. */
void metrics_request(struct metrics_route *route, int status, uint64_t duration_ns);

/* Write everything above in Prometheus' text format 0.0.4 through WRITE, which gets CTX and pieces of
 * text.  Content-Type: text/plain; version=0.0.4; charset=utf-8. */
typedef void metrics_write_fn(void *ctx, const char *s, size_t len);
void metrics_render(metrics_write_fn *write, void *ctx);

/* Write one gauge in the same format. */
void metrics_gauge(metrics_write_fn *write, void *ctx, enum metrics_gauge gauge, int64_t value);

#endif
