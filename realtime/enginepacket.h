/* enginepacket -- Engine.IO 4 packets as they come in (v4-current.md, "Packet encoding").
 *
 * Pure functions over a buffer: what comes out points into it, nothing is copied or allocated. */
#ifndef REALTIME_ENGINEPACKET_H
#define REALTIME_ENGINEPACKET_H

#include <stdbool.h>
#include <stddef.h>

enum enginepacket_type {
    ENGINEPACKET_OPEN,
    ENGINEPACKET_CLOSE,
    ENGINEPACKET_PING,
    ENGINEPACKET_PONG,
    ENGINEPACKET_MESSAGE,
    ENGINEPACKET_UPGRADE,
    ENGINEPACKET_NOOP,
};

struct enginepacket {
    enum enginepacket_type type;
    bool                   base64; /* a binary message whose data is still base64 */
    const char            *data;
    size_t                 len;
};

/* Packets of one HTTP body are separated by this character. */
#define ENGINEPACKET_SEPARATOR '\x1e'

/* Decodes a WebSocket's text message.  false: empty, or an unknown type. */
bool enginepacket_decode(const char *text, size_t len, struct enginepacket *packet);

/* Where in a POST's body enginepacket_next has come to; begin with {body, body + len}. */
struct enginepacket_reader {
    const char *at, *end; /* at is NULL behind the last packet */
};

/* Decodes the body's next packet.  1: here it is; 0: there was none left; -1: malformed.  A body has
 * at least one packet, so an empty one is malformed. */
int enginepacket_next(struct enginepacket_reader *reader, struct enginepacket *packet);

#endif
