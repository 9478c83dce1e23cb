/* seeder -- fills a database for the load driver: live listings, bids, people with living sessions.
 *
 *   seeder --listings N --bids M --out FILE [--clients 200] [--vendors 50]
 *
 * Everything that is sealed or hashed in life is sealed and hashed here, by the same library; the rest is
 * made from fixed random numbers, so that two databases can be filled alike.  Listings are live for a
 * day; the k-th bid of each is Rs 5,000 + 100 k.  FILE gets the ids and access tokens as JSON (0600). */
#include "arena.h"
#include "config.h"
#include "crypto.h"
#include "db.h"
#include "jw.h"
#include "log.h"
#include "token.h"

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <unistd.h>

enum { CHUNK = 500 };

static struct db *db;
static struct arena *arena;    /* a chunk's */
static struct arena *keeps;    /* the program's */
static struct jw *out;

static uint32_t state = 42;
static uint32_t
below(uint32_t n)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)state * n >> 32);
}
#define PICK(a) a[below((uint32_t)(sizeof a / sizeof a[0]))]

static const struct rows *
run(struct sql *sql, const char *const *param, int n)
{
    const struct rows *rows = db_query(db, arena, sql, param, n);
    if (rows == NULL)
        errx(1, "%s failed: %s", sql->name, db_sqlstate(db));
    return rows;
}
#define RUN(sql, ...) run(&(sql), DB_PARAMS_(__VA_ARGS__))

static void
sealed(struct jw *j, const char *key, const char *field, const char *id, const char *plain)
{
    char text[CRYPTO_SEALED_TEXT_SIZE(256)];
    if (crypto_seal_text(text, field, id, plain, strlen(plain)) == 0)
        errx(1, "no sealing key: run sellikoctl migrate first");
    jw_str(j, key, text);
}

static void
hashed(struct jw *j, const char *key, const char *kind, const char *plain)
{
    char text[CRYPTO_LOOKUP_TEXT_SIZE];
    if (!crypto_lookup_text(kind, plain, text))
        errx(1, "no hash key: run sellikoctl migrate first");
    jw_str(j, key, text);
}

/* ---- people ---- */

SQL(add_person,
    "WITH x AS (SELECT * FROM jsonb_to_record($1::jsonb) AS x(id uuid, session uuid, phone_hash bytea, phone_sealed bytea, last4 text, name text, role text)),"
    " u AS (INSERT INTO users (id, phone_hash, phone_sealed, phone_last4, name, role)"
    "       SELECT id, phone_hash, phone_sealed, last4, name, role FROM x"
    "       ON CONFLICT (phone_hash) DO UPDATE SET role = excluded.role RETURNING id)"
    " INSERT INTO sessions (id, user_id, expires_at, user_agent)"
    " SELECT x.session, u.id, now() + interval '7 days', 'seeder' FROM x, u RETURNING user_id");

/* An account with a session; its id and token go into FILE's list.  Returns the id. */
static const char *
person(const char *phone, const char *name, const char *role)
{
    char id[CRYPTO_UUID_SIZE], session[CRYPTO_UUID_SIZE], token[TOKEN_MAX + 1];
    crypto_uuid7(id);
    crypto_uuid4(session);
    struct jw *j = jw_new(arena);
    jw_object(j, NULL);
    jw_str(j, "id", id);
    jw_str(j, "session", session);
    hashed(j, "phone_hash", "phone", phone);
    sealed(j, "phone_sealed", "users.phone", id, phone);
    jw_str(j, "last4", phone + strlen(phone) - 4);
    jw_str(j, "name", name);
    jw_str(j, "role", role);
    jw_end(j);
    const char *user = arena_strdup(keeps, rows_text(RUN(add_person, jw_text(j, NULL)), 0, "user_id"));

    int64_t now = time(NULL);
    struct token_claims claims = { .iat = now, .exp = now + 7 * 86400 };
    snprintf(claims.user_id, sizeof claims.user_id, "%s", user);
    snprintf(claims.phone, sizeof claims.phone, "%s", phone);
    snprintf(claims.role, sizeof claims.role, "%s", role);
    snprintf(claims.session_id, sizeof claims.session_id, "%s", session);
    (void)token_make(&claims, token);
    jw_str(out, "id", user);
    jw_str(out, "token", token);
    return user;
}

static const char **
people(const char *list, const char *role, const char *prefix, int n)
{
    const char **ids = arena_zalloc(keeps, (size_t)n, sizeof *ids);
    jw_array(out, list);
    for (int i = 0; i < n; i++) {
        arena_reset(arena);
        jw_object(out, NULL);
        ids[i] = person(arena_printf(arena, "+91%s%06d", prefix, i), arena_printf(arena, "%s %d", list, i + 1), role);
        jw_end(out);
    }
    jw_end(out);
    return ids;
}

/* ---- listings ---- */

static const struct { const char *brand, *model; } DEVICES[] = {
    { "Apple", "iPhone 11" }, { "Apple", "iPhone 12" }, { "Apple", "iPhone 13" }, { "Apple", "iPhone 13 Pro" },
    { "Apple", "iPhone 14" }, { "Apple", "iPhone 15" }, { "Samsung", "Galaxy S21" }, { "Samsung", "Galaxy S22" },
    { "Samsung", "Galaxy S23 Ultra" }, { "Samsung", "Galaxy A54" }, { "OnePlus", "9 Pro" }, { "OnePlus", "11" },
    { "OnePlus", "Nord 3" }, { "Xiaomi", "12 Pro" }, { "Xiaomi", "Redmi Note 12" }, { "Google", "Pixel 6" },
    { "Google", "Pixel 7a" }, { "Google", "Pixel 8" }, { "Vivo", "V27" }, { "Vivo", "X90" }, { "Oppo", "Reno 10" },
    { "Oppo", "Find X5" }, { "Realme", "GT 2" }, { "Realme", "11 Pro" },
};
static const char *const WORDS[] = {
    "clean", "original", "box", "charger", "cable", "screen", "scratch", "battery", "camera", "display", "warranty",
    "bill", "single", "owner", "gently", "used", "unlocked", "dual", "sim", "face", "fingerprint", "working", "perfect",
    "minor", "dent", "back", "glass", "case", "included", "urgent", "sale", "negotiable", "excellent", "condition",
};
static const struct { const char *city, *pincode; } PLACES[] = {
    { "Kochi", "682001" }, { "Thiruvananthapuram", "695001" }, { "Kozhikode", "673001" }, { "Thrissur", "680001" },
    { "Kollam", "691001" }, { "Kannur", "670001" },
};
static const char *const STORAGE[] = { "64GB", "128GB", "256GB", "512GB" };
static const char *const COLORS[] = { "Black", "White", "Blue", "Red", "Green" };
static const char *const CONDITIONS[] = { "Excellent", "Good", "Fair", "Poor" };
static const char *const TIMES[] = { "morning", "afternoon", "evening" };

SQL(add_listings,
    "INSERT INTO listings (id, client_id, brand, model, storage, color, condition, imei1_sealed, imei1_hash, imei1_last4,"
    "  battery_health, asking_price, description, photo_count, has_warranty, street_sealed, city, state, pincode,"
    "  pickup_time, status, submitted_at, approved_at, auction_end, metadata)"
    " SELECT id, client_id, brand, model, storage, color, condition, imei1_sealed, imei1_hash, imei1_last4,"
    "  battery_health, asking_price, description, 4, false, street_sealed, city, 'Kerala', pincode, pickup_time, 'live',"
    "  now() - make_interval(secs => bid_count), now() - make_interval(secs => bid_count), now() + interval '24 hours',"
    "  '{\"imeiChecksumValid\": false}'"
    " FROM jsonb_populate_recordset(NULL::listings, $1::jsonb)");

static void
listing(struct jw *j, const char *id, const char *client, int64_t imei)
{
    size_t device = below((uint32_t)(sizeof DEVICES / sizeof DEVICES[0]));
    size_t place = below((uint32_t)(sizeof PLACES / sizeof PLACES[0]));
    char text[640] = "";
    size_t len = 0;
    for (uint32_t n = 20 + below(30); n > 0; n--)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", len > 0 ? " " : "", PICK(WORDS));
    const char *digits = arena_printf(arena, "%015lld", (long long)imei);
    jw_object(j, NULL);
    jw_str(j, "id", id);
    jw_str(j, "client_id", client);
    jw_str(j, "brand", DEVICES[device].brand);
    jw_str(j, "model", DEVICES[device].model);
    jw_str(j, "storage", PICK(STORAGE));
    jw_str(j, "color", PICK(COLORS));
    jw_str(j, "condition", PICK(CONDITIONS));
    sealed(j, "imei1_sealed", "listings.imei1", id, digits);
    hashed(j, "imei1_hash", "imei", digits);
    jw_str(j, "imei1_last4", digits + 11);
    jw_int(j, "battery_health", 70 + below(31));
    jw_int(j, "asking_price", (20000 + (int64_t)below(80000)) * 100);
    jw_str(j, "description", text);
    sealed(j, "street_sealed", "listings.street", id, arena_printf(arena, "%u MG Road", 1 + below(400)));
    jw_str(j, "city", PLACES[place].city);
    jw_str(j, "pincode", PLACES[place].pincode);
    jw_str(j, "pickup_time", PICK(TIMES));
    jw_int(j, "bid_count", below(864000));   /* carries the age in seconds */
    jw_end(j);
}

static void
listings(int n, const char *const *client, int n_clients)
{
    int64_t imei = INT64_C(100000000000000) + (int64_t)(time(NULL) % 100000000) * 1000000;
    jw_array(out, "listings");
    for (int done = 0; done < n;) {
        arena_reset(arena);
        struct jw *j = jw_new(arena);
        jw_array(j, NULL);
        for (int i = 0; i < CHUNK && done < n; i++, done++) {
            char id[CRYPTO_UUID_SIZE];
            crypto_uuid7(id);
            listing(j, id, client[done % n_clients], imei + done);
            jw_str(out, NULL, id);
        }
        jw_end(j);
        (void)RUN(add_listings, jw_text(j, NULL));
    }
    jw_end(out);
}

/* ---- bids ---- */

SQL(open_listings, "SELECT array_agg(id ORDER BY id)::text AS ids, count(*) FROM listings WHERE status = 'live' AND bid_count = 0");
SQL(all_vendors, "SELECT array_agg(id ORDER BY id)::text AS ids, count(*) FROM users WHERE role = 'VENDOR'");
SQL(add_bids,
    "WITH b AS (INSERT INTO bids (listing_id, vendor_id, amount, nth, alias, placed_at)"
    " SELECT ($2::uuid[])[1 + g % $3::bigint], ($4::uuid[])[1 + v], 500000 + (g / $3) * 10000, g / $3 + 1,"
    "        10000 + (g % $3 * 7919 + v * 13) % 90000, now() - interval '1 hour' + make_interval(secs => g / $3)"
    " FROM generate_series(0, $1::bigint - 1) g, LATERAL (SELECT (g % $3 * 7 + g / $3) % $5::bigint) AS x(v)"
    " RETURNING listing_id, vendor_id, alias)"
    " INSERT INTO bidders SELECT DISTINCT listing_id, vendor_id, alias FROM b ON CONFLICT DO NOTHING");
SQL(raise,
    "UPDATE listings l SET highest_bid_id = b.id, highest_amount = b.amount, highest_vendor = b.vendor_id, highest_at = b.placed_at,"
    "  bid_count = b.nth, bidder_count = b.nth, alias_seed = 0"
    " FROM (SELECT DISTINCT ON (listing_id) * FROM bids ORDER BY listing_id, amount DESC) b"
    " WHERE b.listing_id = l.id AND l.bid_count = 0");

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "listings", required_argument, NULL, 'l' }, { "bids", required_argument, NULL, 'b' },
        { "clients", required_argument, NULL, 'c' },  { "vendors", required_argument, NULL, 'v' },
        { "out", required_argument, NULL, 'o' },      { NULL, 0, NULL, 0 },
    };
    long n_listings = 1000, n_bids = 0, n_clients = 200, n_vendors = 50;
    const char *file = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case 'l': n_listings = strtol(optarg, NULL, 10); break;
        case 'b': n_bids = strtol(optarg, NULL, 10); break;
        case 'c': n_clients = strtol(optarg, NULL, 10); break;
        case 'v': n_vendors = strtol(optarg, NULL, 10); break;
        case 'o': file = optarg; break;
        default: errx(2, "usage: seeder --listings N --bids M --out FILE [--clients N] [--vendors N]");
        }
    if (file == NULL || n_listings < 0 || n_bids < 0 || n_clients < 1 || n_vendors < 1)
        errx(2, "usage: seeder --listings N --bids M --out FILE [--clients N] [--vendors N]");
    if (!config_load(stderr))
        return 1;
    token_init(config()->jwt_secret);
    db_init(config()->database_url, "seeder", 1, 0);
    db = db_open();
    arena = arena_new();
    keeps = arena_new();
    if (arena == NULL || keeps == NULL || !db_command(db, "SET enable_seqscan = on") || !db_command(db, "SET plan_cache_mode = auto"))
        errx(1, "no database");

    out = jw_new(keeps);
    jw_object(out, NULL);
    (void)people("vendors", "VENDOR", "8000", (int)n_vendors);
    const char **client = people("clients", "CLIENT", "7000", (int)n_clients);
    jw_object(out, "admin");
    (void)person("+919988877665", "Admin", "ADMIN");   /* the demo administrator, with one more session */
    jw_end(out);
    listings((int)n_listings, client, (int)n_clients);
    jw_end(out);
    arena_reset(arena);
    const struct rows *l = RUN(open_listings), *v = RUN(all_vendors);
    if (n_bids > 0 && rows_int(l, 0, "count") > 0)
        (void)RUN(add_bids, arena_printf(arena, "%ld", n_bids), rows_text(l, 0, "ids"), rows_text(l, 0, "count"),
                  rows_text(v, 0, "ids"), rows_text(v, 0, "count"));
    (void)RUN(raise);
    if (!db_command(db, "VACUUM ANALYZE"))
        errx(1, "vacuum failed");

    size_t len;
    const char *text = jw_text(out, &len);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || close(fd) != 0)
        err(1, "%s", file);
    printf("%ld listings, %ld bids, %ld vendors, %ld clients: %s\n", n_listings, n_bids, n_vendors, n_clients, file);
    db_close(db);
    arena_free(arena);
    arena_free(keeps);
    return 0;
}
