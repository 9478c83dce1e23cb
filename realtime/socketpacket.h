/* socketpacket -- Socket.IO 5 packets as they come in (v5-current.md, "Packet encoding").
 *
 *     <type>[<number of attachments>-][<namespace>,][<ack id>][<JSON>]
 *
 * Pure functions over a buffer: what comes out points into it, nothing is copied or allocated.  The
 * JSON is checked to be JSON and cut into the arguments, whose text is left as it came. */
#ifndef REALTIME_SOCKETPACKET_H
#define REALTIME_SOCKETPACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOCKETPACKET_MAX_ATTACHMENTS 10
#define SOCKETPACKET_MAX_DEPTH       64 /* of nested arrays and objects */
#define SOCKETPACKET_NO_ID           (-1)

enum socketpacket_type {
    SOCKETPACKET_CONNECT,
    SOCKETPACKET_DISCONNECT,
    SOCKETPACKET_EVENT,
    SOCKETPACKET_ACK,
    SOCKETPACKET_CONNECT_ERROR,
    SOCKETPACKET_BINARY_EVENT,
    SOCKETPACKET_BINARY_ACK,
};

struct socketpacket {
    enum socketpacket_type type;
    unsigned               attachments; /* binary messages that follow */
    const char            *nsp;         /* "/" and so on, not NUL-terminated */
    size_t                 nsp_len;
    int64_t                id; /* of the ack asked for or given, or SOCKETPACKET_NO_ID */

    /* An event's name as it stands in the JSON, without its quotes, escapes as they are. */
    const char *name;
    size_t      name_len;

    /* CONNECT: the auth object, "{}" when there is none.  Events: what follows the name, without the
     * comma and the closing bracket.  Acks: what is between the brackets. */
    const char *args;
    size_t      args_len;
};

/* Decodes a text message.  false: malformed in any way, also in its JSON, or a packet that no client
 * has reason to send, or an event with a reserved name. */
bool socketpacket_decode(const char *text, size_t len, struct socketpacket *packet);

/* The end of the JSON value that begins at p (RFC 8259; white space in front is skipped), or NULL
 * when none does.  UTF-8 is the caller's matter. */
const char *socketpacket_json_end(const char *p, const char *end);

#endif
