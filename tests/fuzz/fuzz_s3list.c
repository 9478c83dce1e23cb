/* Any bytes as a bucket's list: no read outside of them, and every key ends. */
#include "../../lib/s3list.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
look(void *ctx, const struct s3list_entry *entry)
{
    (void)ctx;
    if (strnlen(entry->key, sizeof entry->key) == sizeof entry->key || entry->size < 0)
        abort();
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char next[S3LIST_TOKEN_SIZE], code[64], *exact = malloc(size > 0 ? size : 1);

    if (exact == NULL)
        return 0;
    if (size > 0)
        memcpy(exact, data, size);
    (void)s3list_parse(exact, size, look, NULL, next);
    if (strnlen(next, sizeof next) == sizeof next)
        abort();
    s3list_error_code(exact, size, code);
    if (!s3list_text(exact, size, "UploadId", next, sizeof next) && next[0] != '\0')
        abort();
    if (strnlen(next, sizeof next) == sizeof next)
        abort();
    free(exact);
    return 0;
}
