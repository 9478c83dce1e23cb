/* log -- one JSON object a line on stderr.
 *
 *   {"time":"2026-11-22T10:11:12.345Z","level":"error","program":"bids","message":"database away",
 *    "requestId":"9f…","route":"POST /bids","sqlstate":"08006"}
 *
 * A line is one write(2), so lines of several threads and processes never mix.  What a thread is
 * working on (request id, route's pattern) is set once with log_context and stands in each of its
 * lines.  Text may be hostile: it is escaped, invalid UTF-8 becomes U+FFFD, long text is cut.
 *
 * Never log personal data: no phone, IMEI, address, token, body or query.  As a second net, a run of
 * ten or more digits inside a text is written as asterisks, because libraries quote values in their
 * error messages.  It is a net, not a licence.
 *
 * Any thread may log at any time, also before log_open.  Not for signal handlers. */
#ifndef SELLIKO_LOG_H
#define SELLIKO_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Name the PROGRAM (kept, not copied) and the least level that is written: a word of LOG_LEVEL
 * ("info").  Until then the program is "selliko" and the level info. */
void log_open(const char *program, const char *level);

/* Say what this thread works on; both are copied, NULL takes it away. */
void log_context(const char *request_id, const char *route);

/* What was said there last; "" for nothing.  Also for signal handlers. */
void log_context_now(const char **request_id, const char **route);

/* Have TAP called with each line of level error, besides.  Before threads start; it must be quick and must
 * not log. */
typedef void log_tap_fn(const char *line, size_t len);
void log_tap(log_tap_fn *tap);

/* Whether a line of LEVEL would be written: ask before costly preparations. */
bool log_enabled(enum log_level level);

/* log_error("database away", log_s("sqlstate", code), log_i("attempt", n));
 * The message is a constant sentence, what varies goes into fields, so that lines can be counted. */
#define log_debug(...) log_line_(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line_(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_line_(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_line_(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Fields.  KEY is a constant word. */
struct log_field {
    const char *key;
    enum { LOG_END, LOG_TEXT, LOG_INT, LOG_REAL, LOG_BOOL } kind;
    union {
        const char *text;
        int64_t num;
        double real;
    } u;
};
#define log_s(key_, v) ((struct log_field){ .key = (key_), .kind = LOG_TEXT, .u.text = (v) })   /* NULL: null */
#define log_i(key_, v) ((struct log_field){ .key = (key_), .kind = LOG_INT, .u.num = (v) })
#define log_f(key_, v) ((struct log_field){ .key = (key_), .kind = LOG_REAL, .u.real = (v) })   /* 3 decimals */
#define log_b(key_, v) ((struct log_field){ .key = (key_), .kind = LOG_BOOL, .u.num = (v) })

/* The functions behind the macros: FIELDS end with kind LOG_END. */
void log_write(enum log_level level, const char *message, const struct log_field *fields);
#define log_line_(level, message, ...)                                                        \
    do {                                                                                      \
        if (log_enabled(level))                                                               \
            log_write(level, message,                                                         \
                      (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ) { .kind = LOG_END } }); \
    } while (0)

#endif
