#include "must.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static _Noreturn void
give_up(const char *what)
{
    fprintf(stderr, "{\"level\":\"fatal\",\"msg\":\"%s\"}\n", what);
    abort();
}

void *
must_alloc(size_t len)
{
    void *p = calloc(1, len ? len : 1);

    if (!p)
        give_up("out of memory");
    return p;
}

void *
must_resize(void *p, size_t len)
{
    void *q = realloc(p, len ? len : 1);

    if (!q)
        give_up("out of memory");
    return q;
}

void
must_random(void *p, size_t len)
{
    for (char *at = p; len;) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            give_up("no random numbers");
        }
        at += n;
        len -= (size_t)n;
    }
}

void
must_id(char id[static MUST_ID_LEN + 1])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char     bits[MUST_ID_LEN];

    must_random(bits, sizeof(bits));
    for (int i = 0; i < MUST_ID_LEN; i++)
        id[i] = alphabet[bits[i] & 63];
    id[MUST_ID_LEN] = '\0';
}
