/* The input is a Content-Type, a line's end, and a body.  Whatever it is: no crash, and the body gives
 * the same parts and the same error in one piece as byte by byte. */
#include "../../lib/multipart.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* FNV-1a over all that the callbacks hear, except how the data is cut. */
struct heard {
    uint64_t hash;
    bool open;
};

static void
mix(struct heard *h, const void *bytes, size_t len)
{
    const unsigned char *s = bytes;

    for (size_t i = 0; i < len; i++)
        h->hash = (h->hash ^ s[i]) * 0x100000001b3u;
}

static bool
on_begin(void *ctx, const struct multipart_part *part)
{
    struct heard *h = ctx;

    if (h->open || *part->name == '\0')
        abort();
    h->open = true;
    mix(h, part->name, strlen(part->name) + 1);
    if (part->filename != NULL)
        mix(h, part->filename, strlen(part->filename) + 1);
    if (part->content_type != NULL)
        mix(h, part->content_type, strlen(part->content_type) + 1);
    return true;
}

static bool
on_data(void *ctx, const void *bytes, size_t len)
{
    struct heard *h = ctx;

    if (!h->open || len == 0)
        abort();
    mix(h, bytes, len);
    return true;
}

static bool
on_end(void *ctx)
{
    struct heard *h = ctx;

    if (!h->open)
        abort();
    h->open = false;
    mix(h, ";", 1);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct multipart_events events = {on_begin, on_data, on_end};
    static const struct multipart_limits limits = {.parts_max = 8, .headers_max_len = 256, .name_max_len = 32};
    char type[200], boundary[MULTIPART_BOUNDARY_MAX + 1];
    const uint8_t *body = memchr(data, '\n', size);
    struct heard whole = {0}, bytewise = {0};
    static struct multipart m;
    enum multipart_error error;
    size_t len;

    if (body == NULL || (size_t)(body - data) >= sizeof type)
        return 0;
    memcpy(type, data, (size_t)(body - data));
    type[body - data] = '\0';
    body++;
    len = size - (size_t)(body - data);
    if (multipart_boundary(type, boundary) != MULTIPART_OK)
        return 0;

    multipart_init(&m, boundary, &limits, &events, &whole);
    multipart_feed(&m, body, len);
    error = multipart_finish(&m);
    multipart_init(&m, boundary, &limits, &events, &bytewise);
    for (size_t i = 0; i < len; i++)
        multipart_feed(&m, body + i, 1);
    if (multipart_finish(&m) != error || whole.hash != bytewise.hash)
        abort();
    return 0;
}
