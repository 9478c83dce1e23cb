/* devlog -- see devlog.h. */
#include "devlog.h"

#include "fault.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fd = -1;

bool
devlog_open(const char *state_dir)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/log", state_dir);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/log/whatsapp.log", state_dir);
    fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        log_error("the development log cannot be opened", log_s("path", path), log_s("detail", strerrordesc_np(errno)));
    return fd >= 0;
}

/* Whether the line of M stands where it was announced. */
static bool
is_there(const struct message *m)
{
    char *line;
    bool same;

    if (m->log_at < 0 || (line = malloc(m->len + 1)) == NULL)
        return false;
    same = pread(fd, line, m->len + 1, m->log_at) == (ssize_t)m->len + 1 && memcmp(line, m->body, m->len) == 0
           && line[m->len] == '\n';
    free(line);
    return same;
}

/* Announce the lines of the N messages at M, marking them; those that may not be sent are taken out. */
static bool
announce(struct message *m, int *n)
{
    struct stat st;
    int64_t at;
    int asked = *n;

    if (fstat(fd, &st) != 0)
        return false;
    at = st.st_size;
    for (int i = 0; i < *n; i++) {
        m[i].log_at = at;
        at += (int64_t)m[i].len + 1;
    }
    if (!queue_mark(m, n))
        return false;
    if (*n == asked)
        return true;
    at = st.st_size;   /* one is missing: the others move up */
    for (int i = 0; i < *n; i++) {
        m[i].log_at = at;
        at += (int64_t)m[i].len + 1;
    }
    return queue_move(m, *n);
}

static bool
append(struct message *m)
{
    m->body[m->len] = '\n';
    if (write(fd, m->body, m->len + 1) == (ssize_t)m->len + 1)
        return true;
    if (ftruncate(fd, m->log_at) != 0)   /* half a line would spoil the next one */
        log_error("the development log cannot be mended");
    return false;
}

bool
devlog_write(struct message *m, int n)
{
    struct outcome done[QUEUE_BATCH];
    int n_done = 0, n_new = 0, written = 0;
    bool good;

    if (n == 0)
        return true;
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return false;
    for (int i = 0; i < n; i++) {
        if (is_there(&m[i])) {   /* written by a sender that died before it could say so */
            done[n_done++] = (struct outcome){ .id = m[i].id, .attempt = m[i].attempt };
            message_clear(&m[i]);
        } else {
            m[n_new++] = m[i];
        }
    }
    good = n_new == 0 || announce(m, &n_new);
    for (; good && written < n_new; written++) {
        if (!append(&m[written])) {
            log_error("the development log cannot be written", log_s("detail", strerrordesc_np(errno)));
            good = false;
            break;
        }
        FAULT("posted");
        done[n_done++] = (struct outcome){ .id = m[written].id, .attempt = m[written].attempt };
    }
    flock(fd, LOCK_UN);
    for (int i = 0; i < n_new; i++)
        message_clear(&m[i]);
    FAULT("answered");
    return queue_sent(done, n_done) && good;
}
