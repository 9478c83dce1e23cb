/* fcgiout -- see fcgiout.h. */
#include "fcgiout.h"

#include <errno.h>
#include <stdint.h>
#include <sys/uio.h>

enum { FCGI_1 = 1, END_REQUEST = 3, STDOUT = 6, HEADER = 8 };

/* The longest content whose length is a multiple of eight, as the specification recommends. */
enum { CONTENT_MAX = 65528 };

/* Records that go out together. */
enum { RECORDS = 8 };

static void
put_header(uint8_t h[HEADER], int type, int request_id, size_t len)
{
    h[0] = FCGI_1;
    h[1] = (uint8_t)type;
    h[2] = (uint8_t)(request_id >> 8);
    h[3] = (uint8_t)request_id;
    h[4] = (uint8_t)(len >> 8);
    h[5] = (uint8_t)len;
    h[6] = h[7] = 0;   /* no padding */
}

static bool
write_all(int fd, struct iovec *v, int n)
{
    while (n > 0) {
        ssize_t done = writev(fd, v, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        for (; n > 0 && (size_t)done >= v->iov_len; v++, n--)
            done -= (ssize_t)v->iov_len;
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + done;
            v->iov_len -= (size_t)done;
        }
    }
    return true;
}

bool
fcgiout_send(int fd, int request_id, const char *head, size_t head_len, const char *body, size_t body_len)
{
    uint8_t headers[RECORDS][HEADER], end[3 * HEADER] = { 0 };
    struct iovec v[2 * RECORDS + 1];
    const char *from[] = { head, body };
    size_t left[] = { head_len, body_len };
    int n = 0, records = 0;

    for (int part = 0; part < 2; part++) {
        while (left[part] > 0) {
            size_t len = left[part] < CONTENT_MAX ? left[part] : CONTENT_MAX;
            if (records == RECORDS) {
                if (!write_all(fd, v, n))
                    return false;
                n = records = 0;
            }
            put_header(headers[records], STDOUT, request_id, len);
            v[n++] = (struct iovec){ .iov_base = headers[records++], .iov_len = HEADER };
            v[n++] = (struct iovec){ .iov_base = (void *)(uintptr_t)from[part], .iov_len = len };   /* only read */
            from[part] += len;
            left[part] -= len;
        }
    }
    put_header(end, STDOUT, request_id, 0);
    put_header(end + HEADER, END_REQUEST, request_id, HEADER);   /* its content: status 0, FCGI_REQUEST_COMPLETE */
    v[n++] = (struct iovec){ .iov_base = end, .iov_len = sizeof end };
    return write_all(fd, v, n);
}
