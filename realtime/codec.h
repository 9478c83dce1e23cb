/* codec -- UTF-8 and base64, as pure functions.  No allocation, no state. */
#ifndef REALTIME_CODEC_H
#define REALTIME_CODEC_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are UTF-8 (RFC 3629): no overlong form, no surrogate, nothing past U+10FFFF. */
bool codec_utf8_valid(const void *text, size_t len);

/* Length of len bytes in base64, without a NUL. */
#define CODEC_BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Writes CODEC_BASE64_LEN(len) characters (RFC 4648 §4, padded) to out and returns their number. */
size_t codec_base64_encode(char *out, const void *bytes, size_t len);

/* At most so many bytes come out of len characters. */
#define CODEC_BYTES_LEN(len) (((len) + 3) / 4 * 3)

/* Decodes base64 with or without its padding into out, which has room for CODEC_BYTES_LEN(len), and
 * stores the number of bytes.  false: another character, padding elsewhere, a lone last character or
 * bits set that stand for nothing. */
bool codec_base64_decode(void *out, size_t *out_len, const char *text, size_t len);

#endif
