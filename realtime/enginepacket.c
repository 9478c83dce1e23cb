#include "enginepacket.h"

#include <string.h>

bool
enginepacket_decode(const char *text, size_t len, struct enginepacket *packet)
{
    if (!len || text[0] < '0' || text[0] > '6')
        return false;
    *packet = (struct enginepacket){
        .type = (enum enginepacket_type)(text[0] - '0'), .data = text + 1, .len = len - 1};
    return true;
}

int
enginepacket_next(struct enginepacket_reader *reader, struct enginepacket *packet)
{
    const char *text = reader->at;

    if (!text)
        return 0;
    size_t      left = (size_t)(reader->end - text);
    const char *stop = left ? memchr(text, ENGINEPACKET_SEPARATOR, left) : NULL;
    size_t      len = stop ? (size_t)(stop - text) : left;

    reader->at = stop ? stop + 1 : NULL;
    if (len && text[0] == 'b') {
        *packet = (struct enginepacket){
            .type = ENGINEPACKET_MESSAGE, .base64 = true, .data = text + 1, .len = len - 1};
        return 1;
    }
    return enginepacket_decode(text, len, packet) ? 1 : -1;
}
