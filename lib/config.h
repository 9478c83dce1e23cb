/* config -- every setting of the system, in one table.
 *
 * CONFIG_TABLE makes the struct below, the parser, the start-up check and the sample file; a setting
 * that is not in it does not exist, and getenv appears in config.c alone.  Settings come from the
 * file named by SELLIKO_CONF (else $sysconfdir/selliko/selliko.conf, which may be absent), one
 * NAME=value a line as in systemd's EnvironmentFile (# or ; begin a comment line, values may stand in
 * single or double quotes, a line is not continued), each overridden by an environment variable of
 * that name.  An empty value asks for the default.  The file may hold other programs' names: they are
 * ignored (see unknown).
 *
 * Loaded once, before any thread is started; read-only and shared by all threads from then on. */
#ifndef SELLIKO_CONFIG_H
#define SELLIKO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A comma-separated list, without its blanks and empty members. */
struct config_list {
    size_t n;
    const char *const *item;
};

/* At most MAX requests in WINDOW_S seconds for the rule NAME ("bids"). */
struct config_limit {
    const char *name;
    int max;
    int window_s;
};

struct config_limits {
    size_t n;
    const struct config_limit *item;
};

/* Phones that match PATTERN (* stands for any run of characters) get ROLE ("VENDOR"). */
struct config_role {
    const char *pattern;
    const char *role;
};

struct config_roles {
    size_t n;
    const struct config_role *item;
};

/* The types of a setting, and what it is in the struct:
 *   STRING          const char *, NULL when not set
 *   URL             the same, begins with http:// or https:// and ends without a slash
 *   PATH            the same; a relative one is taken from the working directory at load
 *   PLACE           a PATH, or s3://bucket or s3://bucket/prefix, without a slash at its end
 *   SECRET          const char *, never NULL: at least 32 bytes, or nothing starts
 *   OLD_SECRET      const char *, NULL when not set, else at least 32 bytes
 *   DURATION        int64_t seconds; written 90, 90s, 15m, 24h or 7d
 *   PERCENT         const char *: 0 to 100 as numeric text for SQL, at most four decimals
 *   RUPEES          int64_t paise; written in rupees, at most two decimals
 *   INT(min, max)   int
 *   SWITCH          bool; written on or off
 *   CHOICE(a|b|c)   const char *, one of these words
 *   LIST            struct config_list
 *   LIMITS, ROLES   as above */
#define CONFIG_C_STRING const char *
#define CONFIG_C_URL const char *
#define CONFIG_C_PATH const char *
#define CONFIG_C_PLACE const char *
#define CONFIG_C_SECRET const char *
#define CONFIG_C_OLD_SECRET const char *
#define CONFIG_C_DURATION int64_t
#define CONFIG_C_PERCENT const char *
#define CONFIG_C_RUPEES int64_t
#define CONFIG_C_INT(min, max) int
#define CONFIG_C_SWITCH bool
#define CONFIG_C_CHOICE(words) const char *
#define CONFIG_C_LIST struct config_list
#define CONFIG_C_LIMITS struct config_limits
#define CONFIG_C_ROLES struct config_roles

/* S(title) begins a section of the sample file; X(type, field, NAME, default, meaning). */
#define CONFIG_TABLE(S, X) \
    S("Where it runs") \
    X(CHOICE("production|development"), env, SELLIKO_ENV, "production", \
      "production refuses DEMO_ROLES, ALLOWED_ORIGINS=* and rate limits that are off") \
    X(PATH, state_dir, STATE_DIR, "./var", \
      "sockets (run/), logs (log/), uploads (uploads/), with quickstart also the database cluster") \
    X(STRING, listen, LISTEN, "127.0.0.1", "nginx's address") \
    X(INT(1, 65535), port, PORT, "8080", "nginx's HTTP port") \
    X(URL, api_base_url, API_BASE_URL, "", \
      "how file URLs begin; http://localhost:PORT when not set") \
    X(URL, frontend_url, FRONTEND_URL, "", "where the web application lives") \
    X(LIST, allowed_origins, ALLOWED_ORIGINS, "http://localhost:3000", \
      "origins that browsers may call from, comma-separated; * in development only") \
    X(LIST, metrics_allow, METRICS_ALLOW, "127.0.0.1,::1", \
      "addresses or networks that may read /metrics, judged by nginx") \
    X(CHOICE("debug|info|warn|error"), log_level, LOG_LEVEL, "info", "the least that is logged") \
    X(STRING, sentry_dsn, SENTRY_DSN, "", \
      "a Sentry-compatible service, to which selliko-report-errors sends errors and crashes") \
    S("Database") \
    X(STRING, database_url, DATABASE_URL, "postgresql:///selliko", \
      "primary: a libpq URI or connection string") \
    X(STRING, database_replica_url, DATABASE_REPLICA_URL, "", \
      "a streaming standby for public pages, as long as it is not behind; nothing needs it") \
    S("Secrets: at least 32 bytes each; `sellikoctl keygen` makes good ones") \
    X(SECRET, jwt_secret, JWT_SECRET, "", "signs access tokens") \
    X(SECRET, encryption_key, ENCRYPTION_KEY, "", \
      "wraps the keys of the sealed fields in the database; when it is lost, so are they") \
    X(SECRET, file_url_secret, FILE_URL_SECRET, "", "signs file URLs") \
    X(OLD_SECRET, file_url_secret_old, FILE_URL_SECRET_OLD, "", \
      "the one before, still accepted; remove it two hours after the change") \
    S("Signing in") \
    X(DURATION, jwt_expires_s, JWT_EXPIRES_IN, "24h", "life of an access token") \
    X(DURATION, refresh_token_expires_s, REFRESH_TOKEN_EXPIRES_IN, "7d", \
      "life of a refresh token, from its last rotation") \
    X(INT(0, 300), refresh_reuse_grace_s, REFRESH_REUSE_GRACE_SECONDS, "10", \
      "a refresh token used again this soon is a lost response, later it is theft") \
    X(LIMITS, rate_limits, RATE_LIMITS, "send-otp=3/60,verify-otp=5/300,bids=10/60", \
      "rule=requests/seconds,...; a rule left out keeps this default; off for load tests") \
    X(ROLES, demo_roles, DEMO_ROLES, "", \
      "phone pattern=ROLE,...: roles of new users in a demonstration, development only") \
    S("Business") \
    X(PERCENT, platform_fee_percent, PLATFORM_FEE_PERCENT, "2", "of the final price") \
    X(PERCENT, agent_commission_percent, AGENT_COMMISSION_PERCENT, "5", "of the final price") \
    X(RUPEES, bid_min_increment_paise, BID_MIN_INCREMENT, "100", "rupees above the highest bid") \
    X(INT(0, 1440), auction_extend_min, AUCTION_EXTEND_MINUTES, "0", \
      "a bid this close to the end tops the remaining minutes up to this; 0 is off") \
    X(INT(0, 1440), auction_ending_min, AUCTION_ENDING_MINUTES, "30", \
      "minutes before the end at which auction_ending goes out") \
    S("WhatsApp") \
    X(URL, whatsapp_api_url, WHATSAPP_API_URL, "https://graph.facebook.com", "base of the Graph API") \
    X(STRING, whatsapp_api_version, WHATSAPP_API_VERSION, "v23.0", \
      "versions end after two years; sellikoctl doctor warns 90 days ahead") \
    X(STRING, whatsapp_business_account_id, WHATSAPP_BUSINESS_ACCOUNT_ID, "", "") \
    X(STRING, whatsapp_phone_number_id, WHATSAPP_PHONE_NUMBER_ID, "", "the sending number's id") \
    X(STRING, whatsapp_access_token, WHATSAPP_ACCESS_TOKEN, "", \
      "without it messages are logged (development) or wait in the queue (production)") \
    X(STRING, whatsapp_webhook_verify_token, WHATSAPP_WEBHOOK_VERIFY_TOKEN, "", \
      "the word of Meta's handshake") \
    X(STRING, whatsapp_app_secret, WHATSAPP_APP_SECRET, "", \
      "key of the webhook's X-Hub-Signature-256; set it in production") \
    X(SWITCH, whatsapp_otp_button, WHATSAPP_OTP_BUTTON, "on", \
      "the OTP template's button component, which Meta demands") \
    X(INT(0, 1000), whatsapp_rate_per_second, WHATSAPP_RATE_PER_SECOND, "80", \
      "messages a second that the number is allowed; 0: no limit (load tests)") \
    X(INT(0, 60), whatsapp_person_s, WHATSAPP_PERSON_SECONDS, "6", \
      "seconds between two messages to one person, an OTP excepted; 0: no limit (load tests)") \
    X(INT(1, 300), whatsapp_timeout_s, WHATSAPP_TIMEOUT_SECONDS, "10", "for one call of the Graph API") \
    S("Files: a local folder, or S3 when S3_BUCKET_NAME is set") \
    X(STRING, s3_bucket_name, S3_BUCKET_NAME, "", "") \
    X(URL, s3_endpoint, S3_ENDPOINT, "", "another S3-compatible service; Amazon's when not set") \
    X(URL, s3_cdn_url, S3_CDN_URL, "", "a CDN before this service's /files/; file URLs begin with it") \
    X(STRING, aws_region, AWS_REGION, "ap-south-1", "") \
    X(STRING, aws_access_key_id, AWS_ACCESS_KEY_ID, "", "") \
    X(STRING, aws_secret_access_key, AWS_SECRET_ACCESS_KEY, "", "") \
    X(STRING, aws_session_token, AWS_SESSION_TOKEN, "", "only with temporary credentials") \
    X(PATH, photo_worker, PHOTO_WORKER, "", \
      "the image worker; ../libexec/selliko-photo beside the program's folder when not set") \
    X(INT(1, 64), photo_jobs, PHOTO_JOBS, "2", "photos worked on at the same time by one process") \
    S("Processes") \
    X(INT(1, 64), processes, PROCESSES, "1", "of each FastCGI program") \
    X(INT(1, 256), threads, THREADS, "16", "of each process: requests worked on at the same time") \
    X(INT(1, 64), db_connections, DB_CONNECTIONS, "4", "of each process, which its requests share") \
    X(INT(1, 600), db_timeout_s, DB_TIMEOUT_SECONDS, "45", \
      "a statement that takes longer is ended, and a database that is silent for longer given up") \
    X(INT(1, 16), batchers, BATCHERS, "2", "connections on which the bids program commits groups of bids") \
    X(INT(1, 600), shutdown_s, SHUTDOWN_SECONDS, "30", "at most this long for the requests in hand") \
    S("Realtime gateway") \
    X(STRING, gateway_listen, GATEWAY_LISTEN, "", \
      "a socket's path, or address:port; STATE_DIR/run/gateway.sock when not set") \
    X(SWITCH, gateway_handover, GATEWAY_HANDOVER, "on", \
      "nginx gives it the connections of WebSockets without TLS, where nginx has the module for it") \
    X(INT(100, 300000), gateway_ping_interval_ms, GATEWAY_PING_INTERVAL_MS, "25000", "") \
    X(INT(100, 300000), gateway_ping_timeout_ms, GATEWAY_PING_TIMEOUT_MS, "20000", "") \
    X(INT(100, 300000), gateway_connect_timeout_ms, GATEWAY_CONNECT_TIMEOUT_MS, "45000", "") \
    X(INT(100, 300000), gateway_upgrade_timeout_ms, GATEWAY_UPGRADE_TIMEOUT_MS, "10000", "") \
    X(INT(1000, 100000000), gateway_max_payload_bytes, GATEWAY_MAX_PAYLOAD, "1000000", \
      "bytes in one message from a client") \
    X(INT(1, 1000000), gateway_max_clients, GATEWAY_MAX_CLIENTS, "25000", "of one gateway process") \
    X(INT(1, 1000000), gateway_clients_per_address, GATEWAY_CLIENTS_PER_ADDRESS, "2000", \
      "from one address (an IPv6 /64) at the same time; phones share carrier addresses") \
    X(INT(1, 1000000), gateway_connects_per_minute, GATEWAY_CONNECTS_PER_MINUTE, "3000", \
      "from one address, as many of them at once") \
    X(STRING, gateway_name, GATEWAY_NAME, "g1", \
      "of this process, where several run: a letter or digit and a number; session ids begin with it") \
    X(INT(1, 8), gateways, GATEWAYS, "1", "how many run on this host; quickstart starts g1, g2, ...") \
    S("Backup") \
    X(PLACE, backup_dir, BACKUP_DIR, "", \
      "where backups go: a folder, or a bucket as s3://bucket/prefix; STATE_DIR/backup when not set") \
    X(INT(1, 3650), backup_keep_days, BACKUP_KEEP_DAYS, "14", "older backups are removed, the newest never") \
    X(URL, backup_s3_endpoint, BACKUP_S3_ENDPOINT, "", "of that bucket; S3_ENDPOINT when not set") \
    X(STRING, backup_aws_region, BACKUP_AWS_REGION, "", "AWS_REGION when not set") \
    X(STRING, backup_aws_access_key_id, BACKUP_AWS_ACCESS_KEY_ID, "", \
      "AWS_ACCESS_KEY_ID when not set, with its secret and token") \
    X(STRING, backup_aws_secret_access_key, BACKUP_AWS_SECRET_ACCESS_KEY, "", "")

#define CONFIG_NO_SECTION(title)
#define CONFIG_MEMBER(type, field, name, def, meaning) CONFIG_C_##type field;

struct config {
    CONFIG_TABLE(CONFIG_NO_SECTION, CONFIG_MEMBER)
    bool production;              /* SELLIKO_ENV says so */
    const char *file;             /* the file that was read, NULL when there is none */
    struct config_list unknown;   /* names in that file that no setting has (for doctor) */
};

/* Read and check everything.  True, and config() works.  Otherwise every problem found is written to
 * PROBLEMS (normally stderr), one a line, `NAME: what is wrong`; values of settings are never shown.
 * The caller then exits with EX_CONFIG.  A second call (tests) replaces the first one's settings. */
bool config_load(FILE *problems);

/* The settings.  A bug, and so an abort, before config_load succeeded. */
const struct config *config(void) __attribute__((returns_nonnull));

/* Settings that work but that an administrator should look at, one a line; the number of them. */
int config_warnings(FILE *out);

/* A complete, commented selliko.conf in which every setting stands at its default. */
void config_print_sample(FILE *out);

/* The rate limit of the rule NAME; NULL when it is off. */
const struct config_limit *config_limit(const char *name);

/* The role that DEMO_ROLES gives to PHONE, of the first pattern that matches; NULL for none. */
const char *config_demo_role(const char *phone);

/* Whether a browser page of ORIGIN may call this service. */
bool config_origin_allowed(const char *origin);

#endif
