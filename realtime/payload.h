/* payload -- from a row of the table events to the frame that clients get.
 *
 * Whatever an event tells of is read when the event is read, so a payload says how things were then or
 * are now, never how they might have been.  Numbers of a bid (what it was, which it was) are the bid's
 * own.  Any thread; the frames are "42[…]" of the main namespace. */
#ifndef REALTIME_PAYLOAD_H
#define REALTIME_PAYLOAD_H

#include <stdint.h>

struct arena;
struct db;
struct frame;
struct rows;

enum payload_to { PAYLOAD_TO_ROOM, PAYLOAD_TO_USER, PAYLOAD_TO_ADMINS };

struct payload {
    int64_t         id; /* of the event: the sequence in its listing's room */
    enum payload_to to;
    char            key[37]; /* the listing or the user */
    struct frame   *frame;   /* the receiver's reference */
};

/* What an event needs to be read for its payload; a kind is one statement. */
enum payload_kind { PAYLOAD_ROOM, PAYLOAD_NOTIFICATION, PAYLOAD_TASK, PAYLOAD_SUBMITTED, PAYLOAD_PLAIN, PAYLOAD_KINDS };

/* Who an event is for, and of what kind it is, from its columns; NULLs as in the table. */
enum payload_to   payload_to(const char *name, const char *user_id);
enum payload_kind payload_kind(const char *name, const char *user_id);

/* The payloads of those events of one kind, by id ('{1,2,3}'), rising, appended to *list (for free());
 * the ones of things that are gone by now are left out.  -1: the database failed. */
int payload_of_events(struct db *db, struct arena *a, enum payload_kind kind, const char *ids,
                      struct payload **list, int *n);

/* The same for at most limit events of a listing after the one with id since.  *last is the id of the
 * last one that was read, *more whether there may be others behind it. */
int payload_of_listing(struct db *db, struct arena *a, const char *listing, int64_t since, int limit,
                       struct payload **list, int *n, int64_t *last, int *more);

#endif
