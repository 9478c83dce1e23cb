/* s3list -- reading a page of a bucket's list (ListObjectsV2, ListBucketResult).
 *
 * Not an XML parser: it knows elements, text and the five entities, which is what these services send.  What is
 * else in a page (owners, storage classes, comments) is passed over.  Pure, for any thread. */
#ifndef SELLIKO_S3LIST_H
#define SELLIKO_S3LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { S3LIST_KEY_MAX = 1024, S3LIST_TOKEN_SIZE = 2048 };

struct s3list_entry {
    char key[S3LIST_KEY_MAX + 1];   /* of a folder with its / at the end */
    bool folder;                    /* a common prefix: no object, so without what follows */
    int64_t size;
    int64_t modified;               /* Unix seconds */
};

/* Call EACH for each entry in the LEN bytes at XML until it returns false.  NEXT gets the token of the next
 * page, "" when this is the last one.  False when it is no such page, or a broken one: entries before the
 * break have been told by then. */
bool s3list_parse(const char *xml, size_t len, bool (*each)(void *ctx, const struct s3list_entry *entry), void *ctx,
                  char next[S3LIST_TOKEN_SIZE]);

/* The text of the first element NAME; false, and "", when there is none that fits in SIZE. */
bool s3list_text(const char *xml, size_t len, const char *name, char *out, size_t size);

/* That of <Code> in an error's document; "" when there is none. */
void s3list_error_code(const char *xml, size_t len, char code[64]);

#endif
