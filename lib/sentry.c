#include "sentry.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum { LINES_A_MINUTE = 30, FRAMES = 32 };

static char path[4096];
static const char *who = "selliko";

/* ---- lines ---- */

/* A window of a minute; threads that meet at its turn may let one line more through. */
static bool
is_too_many(void)
{
    static _Atomic int64_t minute;
    static atomic_int n;
    int64_t now = (int64_t)time(NULL) / 60;

    if (atomic_exchange(&minute, now) != now)
        atomic_store(&n, 0);
    return atomic_fetch_add(&n, 1) >= LINES_A_MINUTE;
}

/* Calls nothing that a signal handler may not.  The file is opened for each line: whoever sends it takes
 * it away by renaming it. */
static void
put_by(const char *line, size_t len)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size + (off_t)len <= SENTRY_SPOOL_MAX) {
        ssize_t n = write(fd, line, len);   /* one write: lines of several processes never mix */
        (void)n;
    }
    close(fd);
}

static void
on_error(const char *line, size_t len)
{
    if (!is_too_many())
        put_by(line, len);
}

/* ---- crashes ---- */

static const struct { int number; const char *name; } signals[] = {
    { SIGSEGV, "SIGSEGV" }, { SIGBUS, "SIGBUS" }, { SIGFPE, "SIGFPE" }, { SIGILL, "SIGILL" }, { SIGABRT, "SIGABRT" },
    { SIGSYS, "SIGSYS" },
};

/* snprintf may not be called from a signal handler. */
struct words {
    char text[4096];
    size_t len;
};

static void
say(struct words *w, const char *s)
{
    size_t len = strlen(s);

    if (len > sizeof w->text - w->len)
        return;
    memcpy(w->text + w->len, s, len);
    w->len += len;
}

static void
say_number(struct words *w, uint64_t n, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[n % base];
    while ((n /= base) != 0);
    say(w, digits + at);
}

/* Where in the program, as addr2line takes it; elsewhere (a library) only that. */
static void
say_place(struct words *w, void *address)
{
    extern const char __executable_start[], etext[];   /* the linker's */
    uintptr_t at = (uintptr_t)address, begin = (uintptr_t)__executable_start;

    if (at < begin || at >= (uintptr_t)etext) {
        say(w, "in a library");
        return;
    }
    say(w, who);
    say(w, "+0x");
    say_number(w, at - begin, 16);
}

static void
on_crash(int number)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;   /* two threads may crash at once: the first tells */
    struct words w = { .len = 0 };
    void *frame[FRAMES];
    const char *request_id, *route;

    if (!atomic_flag_test_and_set(&told)) {
        log_context_now(&request_id, &route);
        say(&w, "{\"at\":");
        say_number(&w, (uint64_t)time(NULL), 10);
        say(&w, ",\"level\":\"fatal\",\"program\":\"");
        say(&w, who);
        say(&w, "\",\"message\":\"crashed\",\"signal\":\"");
        for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
            if (signals[i].number == number)
                say(&w, signals[i].name);
        if (*request_id != '\0') {   /* hexadecimal digits, and a pattern of ours: nothing to escape */
            say(&w, "\",\"requestId\":\"");
            say(&w, request_id);
            say(&w, "\",\"route\":\"");
            say(&w, route);
        }
        say(&w, "\",\"frames\":[");
        int n = backtrace(frame, FRAMES);
        for (int i = 1; i < n; i++) {   /* without this function */
            say(&w, i > 1 ? ",\"" : "\"");
            say_place(&w, frame[i]);
            say(&w, "\"");
        }
        say(&w, "]}\n");
        put_by(w.text, w.len);
    }
    raise(number);   /* the handler is gone (SA_RESETHAND): now it dies of it */
}

void
sentry_open(const char *dsn, const char *state_dir, const char *program)
{
    struct sigaction crash = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND };
    void *frame[1];

    if (dsn == NULL || (size_t)snprintf(path, sizeof path, "%s/" SENTRY_SPOOL, state_dir) >= sizeof path)
        return;
    who = program;
    (void)backtrace(frame, 1);   /* loads what it needs, which a signal handler may not */
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i].number, &crash, NULL);
    log_tap(on_error);
}
