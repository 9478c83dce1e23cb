/* gauges -- see gauges.h. */
#include "gauges.h"

#include "config.h"
#include "metrics.h"

#include <stdio.h>
#include <sys/statvfs.h>

/* Name, meaning, and the SQL that gives the figure: null is not shown.  Asked at each scrape, so each
 * costs the rows it counts and no more: what grows for ever is not counted but read at an index's end. */
#define GAUGES(X) \
    X(active_users_total, "Users with a session that was used in the last 15 minutes.", \
      "SELECT count(DISTINCT user_id) FROM sessions WHERE revoked_at IS NULL AND expires_at > now()" \
      " AND last_used_at > now() - interval '15 minutes'") \
    X(active_listings_total, "Listings that are live and not ended.", \
      "SELECT count(*) FROM listings WHERE status = 'live' AND auction_end > now()") \
    X(selliko_listings_pending, "Listings that wait for an administrator.", \
      "SELECT count(*) FROM listings WHERE status = 'pending'") \
    X(selliko_listings_pending_oldest_seconds, "How long the first of them has been waiting.", \
      "SELECT coalesce((SELECT extract(epoch FROM now() - submitted_at) FROM listings WHERE status = 'pending'" \
      " ORDER BY submitted_at, id LIMIT 1), 0)") \
    X(selliko_orders_unassigned, "Orders that wait for an agent.", \
      "SELECT count(*) FROM orders WHERE status = 'pending_pickup' AND agent_id IS NULL") \
    X(selliko_auctions_overdue, "Auctions that are over and not closed.", \
      "SELECT count(*) FROM listings WHERE status = 'live' AND auction_end < now()") \
    X(selliko_auctions_overdue_seconds, "How long the first of them has been over.", \
      "SELECT coalesce((SELECT extract(epoch FROM now() - auction_end) FROM listings WHERE status = 'live'" \
      " AND auction_end < now() ORDER BY auction_end, id LIMIT 1), 0)") \
    X(selliko_whatsapp_queue_messages, "Messages that wait to be sent, or to be tried again.", \
      "SELECT count(*) FROM whatsapp_queue WHERE status = 'queued'") \
    X(selliko_whatsapp_queue_sending, "Messages that a sender has in hand.", \
      "SELECT count(*) FROM whatsapp_queue WHERE status = 'sending'") \
    X(selliko_whatsapp_queue_late_seconds, "How long the message has been due that is due longest.", \
      "SELECT coalesce((SELECT greatest(0, extract(epoch FROM now() - next_at)) FROM whatsapp_queue" \
      " WHERE status = 'queued' ORDER BY next_at, id LIMIT 1), 0)") \
    X(selliko_whatsapp_queue_stopped, "1 when the queue was stopped by an answer that an administrator must mend.", \
      "SELECT count(*) FROM service_state WHERE name = 'whatsapp_queue' AND (value ->> 'stopped')::boolean") \
    X(selliko_events_kept, "Events between the oldest that is kept and the newest.", \
      "SELECT coalesce((SELECT id FROM events ORDER BY id DESC LIMIT 1) - (SELECT id FROM events ORDER BY id LIMIT 1) + 1, 0)") \
    X(selliko_events_oldest_seconds, "Age of the oldest event: more than a day and selliko-purge does not run.", \
      "SELECT coalesce((SELECT extract(epoch FROM now() - created_at) FROM events ORDER BY id LIMIT 1), 0)") \
    X(selliko_database_connections, "Connections of the whole database server.", \
      "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") \
    X(selliko_database_connections_limit, "Connections that the server allows.", \
      "SELECT current_setting('max_connections')::int") \
    X(selliko_database_transaction_oldest_seconds, "Age of the oldest open transaction: events wait for all that began before them.", \
      "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0) FROM pg_stat_activity" \
      " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()") \
    X(selliko_database_size_bytes, "Size of the database.", "SELECT pg_database_size(current_database())") \
    X(selliko_backup_timestamp_seconds, "When the newest backup was made.", \
      "SELECT extract(epoch FROM (value ->> 'at')::timestamptz) FROM service_state WHERE name = 'backup'") \
    X(selliko_backup_verified_timestamp_seconds, "When a backup was restored and found good last.", \
      "SELECT extract(epoch FROM (value ->> 'verifiedAt')::timestamptz) FROM service_state WHERE name = 'backup'") \
    X(selliko_backup_failed, "1 when the last backup, or the last check of one, failed.", \
      "SELECT count(*) FROM service_state WHERE name = 'backup' AND value ->> 'failedAt' IS NOT NULL") \
    X(selliko_backup_size_bytes, "Size of the newest backup's dump.", \
      "SELECT (value ->> 'bytes')::bigint FROM service_state WHERE name = 'backup'")

#define AS_COLUMN(name, help, sql) "(" sql ") AS " #name ", "
SQL(gauges, "SELECT " GAUGES(AS_COLUMN) "true AS up");

#define AS_TEXTS(name, help, sql) { #name, help },
static const struct { const char *name, *help; } texts[] = { GAUGES(AS_TEXTS) };

static void
render_storage(metrics_write_fn *write, void *ctx)
{
    struct statvfs fs;
    char value[32];

    if (statvfs(config()->state_dir, &fs) != 0)
        return;
    snprintf(value, sizeof value, "%llu", (unsigned long long)fs.f_bavail * fs.f_frsize);
    metrics_value(write, ctx, "selliko_storage_free_bytes", "Free space for uploads and what else lies in STATE_DIR.", NULL, value);
    snprintf(value, sizeof value, "%llu", (unsigned long long)fs.f_blocks * fs.f_frsize);
    metrics_value(write, ctx, "selliko_storage_size_bytes", "All space there.", NULL, value);
}

void
gauges_render(struct db *db, struct arena *a, metrics_write_fn *write, void *ctx)
{
    const struct rows *rows = db_run(db, a, gauges);

    metrics_value(write, ctx, "selliko_build_info", "The release that runs.", "version=\"" PACKAGE_VERSION "\"", "1");
    metrics_value(write, ctx, "selliko_database_up", "1 when the database answers; without it what it knows is left out.", NULL,
                  rows != NULL ? "1" : "0");
    render_storage(write, ctx);
    for (size_t i = 0; rows != NULL && i < sizeof texts / sizeof texts[0]; i++) {
        const char *value = rows_text(rows, 0, texts[i].name);
        if (value != NULL)
            metrics_value(write, ctx, texts[i].name, texts[i].help, NULL, value);
    }
}
