/* fcgiout -- an answer on its way to the web server, as FastCGI records.
 *
 * libfcgi reads requests; what it writes goes out in pieces of 8 KB, each a system call here and a wake-up there,
 * four of them for a page of 30 KB.  An answer is whole before it is sent, so here it goes out in one.
 *
 * FastCGI Specification 1.0, sections 3.3 (records), 5.3 (FCGI_STDOUT) and 5.5 (FCGI_END_REQUEST). */
#ifndef SELLIKO_FCGIOUT_H
#define SELLIKO_FCGIOUT_H

#include <stdbool.h>
#include <stddef.h>

/* Send HEAD (with its empty line; at most 65,535 bytes) and BODY as the answer to REQUEST_ID over the blocking socket FD,
 * and end the request.  False when the web server is gone or does not take it: the connection is of no more use. */
bool fcgiout_send(int fd, int request_id, const char *head, size_t head_len, const char *body, size_t body_len);

#endif
