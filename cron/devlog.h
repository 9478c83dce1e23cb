/* devlog -- STATE_DIR/log/whatsapp.log: in development, without an access token, messages are written
 * there instead of being posted, one exact request body a line.
 *
 * Each line is one write to a file opened for appending.  The row in the queue is told beforehand where
 * its line will begin (the file's end, under a lock that all senders take), so that after a crash it can
 * be seen whether it was written: no line is lost, and none is there twice. */
#ifndef SELLIKO_DEVLOG_H
#define SELLIKO_DEVLOG_H

#include "queue.h"

/* False when the file cannot be had (logged). */
bool devlog_open(const char *state_dir);

/* Write the N messages at M, which were just taken, and record them as sent.  False: the database is
 * away or the disk is full; what was not done comes back. */
bool devlog_write(struct message *m, int n);

#endif
