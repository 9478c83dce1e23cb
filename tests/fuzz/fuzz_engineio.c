/* fuzz_engineio -- a POST's body: its packets, their base64, and UTF-8 against a slow reference. */
#include "codec.h"
#include "enginepacket.h"
#include "reference.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char                *body = (const char *)data;
    struct enginepacket_reader reader = {body, body + len};
    struct enginepacket        packet;

    while (enginepacket_next(&reader, &packet) > 0) {
        assert(packet.data >= body && packet.len <= len && packet.data + packet.len <= body + len);
        if (!packet.base64)
            continue;
        char  *bytes = malloc(CODEC_BYTES_LEN(packet.len) + 1);
        size_t n, m;
        assert(bytes);
        if (codec_base64_decode(bytes, &n, packet.data, packet.len)) {
            assert(n <= CODEC_BYTES_LEN(packet.len));
            char *again = malloc(CODEC_BASE64_LEN(n) + 1);
            assert(again);
            m = codec_base64_encode(again, bytes, n);
            assert(m == CODEC_BASE64_LEN(n));
            /* The same again, but for padding that was left out. */
            assert(m >= packet.len && memcmp(again, packet.data, packet.len) == 0);
            free(again);
        }
        free(bytes);
    }
    enginepacket_decode(body, len, &packet);
    assert(codec_utf8_valid(data, len) == slow_utf8(data, len));
    return 0;
}
