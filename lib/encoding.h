/* encoding -- bytes as text: hex, and base64url.
 *
 * Pure functions, for any thread; nothing is allocated. */
#ifndef SELLIKO_ENCODING_H
#define SELLIKO_ENCODING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Lower-case hex of LEN bytes, with a NUL: OUT has 2 * LEN + 1.  Returns the length without the NUL. */
size_t encoding_hex(char *out, const void *data, size_t len);

/* Bytes of exactly HEX_LEN hex digits of either case; their number, or -1 when S is not that, or when
 * there are more than CAP. */
ssize_t encoding_unhex(void *out, size_t cap, const char *s, size_t hex_len);

/* Base64url without padding (RFC 4648 §5), with a NUL: OUT has ENCODING_B64URL_SIZE(len).  Returns the
 * length without the NUL. */
#define ENCODING_B64URL_SIZE(len) (((len) * 4 + 2) / 3 + 1)
size_t encoding_b64url(char *out, const void *data, size_t len);

/* The inverse, strict: no padding, no white space, no stray bits in the last character, so that a
 * value has one spelling.  The number of bytes, or -1 when S is not that or has more than CAP. */
ssize_t encoding_b64url_decode(void *out, size_t cap, const char *s, size_t len);

#endif
