/* metrics -- counters of all processes of this host, in one shared file.
 *
 * Every program maps $STATE_DIR/run/metrics.shm and adds to it with atomics, so a figure is the sum
 * over all processes, survives their crashes and restarts, and costs some nanoseconds.  Nothing in it
 * is ever locked: a process killed between any two instructions leaves a file that the others go on
 * with.  Where the file cannot be had, counting goes on in private memory: no request fails for it.
 *
 * What one process knows of itself just now (METRICS_OWN) lies in a place of its own, which it holds by a
 * lock on the file: the kernel lets go of that when the process dies, however it dies, so a figure of a
 * dead process is never shown and a place never lost.
 *
 * Gauges that are questions to the database are the status program's business (cgi-bin/gauges.c), which
 * writes them with metrics_value. */
#ifndef SELLIKO_METRICS_H
#define SELLIKO_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(identifier, name, help) of plain counters. */
#define METRICS_COUNTERS(X) \
    X(BIDS_PLACED, "bids_placed_total", "Bids that were accepted.") \
    X(ORDERS_COMPLETED, "orders_completed_total", "Orders that reached completed.") \
    X(WHATSAPP_SENT, "whatsapp_messages_sent_total", "Messages that the Graph API accepted.") \
    X(WHATSAPP_FAILED, "whatsapp_messages_failed_total", "Messages that the Graph API refused for good.") \
    X(DB_FAILURES, "selliko_db_failures_total", "Round trips to the database that failed, refusals of sessions excepted.") \
    X(PHOTO_FAILURES, "selliko_photo_failures_total", "Photos that failed for a reason of ours, not of the file.") \
    X(FILE_UPLOADS, "file_uploads_total", "Files that were stored for a request.")

/* Durations, of all programs together. */
#define METRICS_HISTOGRAMS(X) \
    X(DB_ROUND_TRIP, "selliko_db_round_trip_seconds", "From sending statements to the last of their answers.") \
    X(DB_WAIT, "selliko_db_pool_wait_seconds", "What requests waited for one of their process's connections.") \
    X(PHOTO, "selliko_photo_seconds", "The work on one photo, from its worker's start to its end.")

/* What a process knows of itself; shown by program, as the sum over its processes, once one of them has
 * said it. */
#define METRICS_OWN(X) \
    X(REQUESTS, "selliko_requests_in_hand", "Requests that are worked on just now.") \
    X(THREADS, "selliko_threads", "Requests that can be worked on at the same time.") \
    X(DB_IN_USE, "selliko_db_connections_in_use", "Connections of the pool that a request holds.") \
    X(DB_LIMIT, "selliko_db_connections_limit", "Connections that the pool may have.") \
    X(CLIENTS, "selliko_gateway_clients", "Clients that are connected to the gateway.") \
    X(EVENTS_READ_MS, "selliko_events_read_timestamp_seconds", "When all events were read last; of several processes, the latest to lag.")

#define METRICS_ENUM(id, name, help) METRICS_##id,
enum metrics_counter { METRICS_COUNTERS(METRICS_ENUM) METRICS_N_COUNTERS };
enum metrics_histogram { METRICS_HISTOGRAMS(METRICS_ENUM) METRICS_N_HISTOGRAMS };
enum metrics_own { METRICS_OWN(METRICS_ENUM) METRICS_N_OWN };
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

/* Count one duration. */
void metrics_observe(enum metrics_histogram histogram, uint64_t duration_ns);

/* Take a place for this process's own figures; it is called PROGRAM there.  Once, after metrics_open.
 * Without one (256 are taken, no file) the next two do nothing that is seen. */
void metrics_process(const char *program);
void metrics_own_add(enum metrics_own figure, int64_t n);
void metrics_own_set(enum metrics_own figure, int64_t value);

/* Write everything above in Prometheus' text format 0.0.4 through WRITE, which gets CTX and pieces of
 * text.  Content-Type: text/plain; version=0.0.4; charset=utf-8. */
typedef void metrics_write_fn(void *ctx, const char *s, size_t len);
void metrics_render(metrics_write_fn *write, void *ctx);

/* Write one gauge in the same format: VALUE is a number as text, LABELS what stands between the braces, or
 * NULL. */
void metrics_value(metrics_write_fn *write, void *ctx, const char *name, const char *help, const char *labels,
                   const char *value);

#endif
