/* sentry -- errors and crashes, put by for somebody who looks at them in a Sentry-compatible service.
 *
 * Nothing is sent from here: a program appends a line to STATE_DIR/run/errors, which costs microseconds and
 * no memory, and selliko-report-errors sends what lies there.  So a slow or silent service on the other
 * side slows nobody, and what a program says while it crashes survives it.
 *
 *   errors   each line that is logged as an error (lib/log), as it stands there
 *   crashes  SIGSEGV and its like, and abort(): the signal, the request's id and route, where it was
 *
 * Bounded: 30 lines a minute from a process, a megabyte in the file; what is more is dropped.  What
 * nobody sees is a process that is killed (out of memory, kill -9): it cannot say anything. */
#ifndef SELLIKO_SENTRY_H
#define SELLIKO_SENTRY_H

#include <stddef.h>

/* Put by from now on what PROGRAM (kept, not copied) logs as errors, and its crash.  DSN NULL: do nothing.
 * Once, after log_open, before threads start. */
void sentry_open(const char *dsn, const char *state_dir, const char *program);

/* The file's name under STATE_DIR, and the most that is put into it. */
#define SENTRY_SPOOL "run/errors"
#define SENTRY_SPOOL_MAX (1024 * 1024)

#endif
