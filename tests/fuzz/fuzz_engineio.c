/* fuzz_engineio -- a POST's body: its packets, their base64, and UTF-8 against a slow reference. */
#include "codec.h"
#include "enginepacket.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* RFC 3629's table, spelled out. */
static bool
slow_utf8(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t c = p[i];
        size_t   n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;

        if (!n || len - i < n)
            return false;
        if (n > 1)
            c &= 0xffu >> (n + 1);
        for (size_t j = 1; j < n; j++) {
            if (p[i + j] >> 6 != 2)
                return false;
            c = c << 6 | (p[i + j] & 63);
        }
        if ((n == 2 && c < 0x80) || (n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
            (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

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
