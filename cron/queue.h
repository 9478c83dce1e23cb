/* queue -- the sender's side of whatsapp_queue: the SQL functions of 011_whatsapp_functions.sql, and the
 * opening of what is sealed.
 *
 * One queue a process, one thread.  Every call may fail because the database is away: it says so, the
 * next one connects again. */
#ifndef SELLIKO_QUEUE_H
#define SELLIKO_QUEUE_H

#include "whatsapp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUEUE_BATCH = 32 };

/* A message in this sender's hands. */
struct message {
    int64_t id;
    int attempt;         /* of mark; before that the number of attempts so far */
    int ms_left;         /* until it must not be sent any more; -1: no end */
    int64_t log_at;      /* where in the development log it was or will be; -1: nowhere */
    char template_name[32];
    char *body;          /* malloc'ed, the exact request body */
    size_t len;
};

/* Release what a message owns. */
void message_clear(struct message *m);

/* What this sender may send; see take_messages(). */
struct queue_limits {
    bool live;           /* to the Graph API, not to the development log */
    int rate_per_s;      /* 0: no limit */
    int person_s;        /* 0: no limit */
    int post_s;          /* a POST never takes longer */
    bool otp_button;
};

void queue_open(const struct queue_limits *limits);
void queue_close(void);

/* File descriptor that becomes readable when somebody woke the senders, -1 while there is no connection;
 * and whether that happened since the last call. */
int queue_fd(void);
bool queue_woken(void);

/* Take up to N messages (at most QUEUE_BATCH) into OUT: the number, or -1 when the database is away.  Fewer than N means that
 * no more are due, or, with *WAIT_MS >= 0, that more may be due by then. */
int queue_take(struct message *out, int n, int *wait_ms);

/* Mark the *N messages at M: their POSTs begin when this returns.  Those that may not be sent any more are
 * taken out (*N shrinks).  False: the database is away, nothing may be sent. */
bool queue_mark(struct message *m, int *n);

/* Correct where in the development log the marked messages will begin. */
bool queue_move(const struct message *m, int n);

/* What became of a message. */
struct outcome {
    int64_t id;
    int attempt;
    struct whatsapp_answer answer;
    double delay_s;
};

/* Record that these N were sent, or what became of one.  False: not recorded, try again. */
bool queue_sent(const struct outcome *o, int n);
bool queue_finish(const struct outcome *o);

/* Take care of what dead senders left, and of what is too old. */
void queue_recover(void);
void queue_sweep(void);

#endif
