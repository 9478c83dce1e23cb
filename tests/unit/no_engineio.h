/* no_engineio -- the part of engineio.h that is the same for whoever stands in for it.  Include it behind a
 * struct engineio_session of your own that has `void *data` and `const char *closed` (why it was closed). */
#include "engineio.h"

struct frame *
engineio_text_frame(size_t len, char **text)
{
    struct frame *f = frame_new(len, false);

    *text = f->data;
    return f;
}

void
engineio_close(struct engineio_session *s, const char *reason, bool politely)
{
    (void)politely;
    if (!s->closed)
        s->closed = reason;
}

const char *
engineio_address(const struct engineio_session *s)
{
    (void)s;
    return "192.0.2.1";
}

void
engineio_set_data(struct engineio_session *s, void *data)
{
    s->data = data;
}

void *
engineio_data(const struct engineio_session *s)
{
    return s->data;
}
