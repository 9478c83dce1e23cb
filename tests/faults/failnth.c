/* failnth -- a library to preload: the n-th call of a kind fails, once.
 *
 *   LD_PRELOAD=failnth.so FAILNTH=/path/to/control FAILNTH_PROGRAM=name program
 *
 * The control file is mapped by the program and written by the test: four 64-bit numbers,
 *
 *   kind   which calls are counted (enum kind), 0 for none
 *   left   the call that makes this 0 fails
 *   failed how many failed
 *   seen   how many were counted
 *
 * The failing call's backtrace goes to stderr.  Only the process that is called FAILNTH_PROGRAM looks at
 * the file, not those that it starts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { K_NONE, K_MALLOC, K_READ, K_WRITE, K_RENAME, K_FSYNC, K_OPEN };

static struct control {
    _Atomic int64_t kind, left, failed, seen;
} *control;

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("FAILNTH"), *program = getenv("FAILNTH_PROGRAM");
    if (path == NULL || program == NULL || strcmp(program, program_invocation_short_name) != 0)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        control = map;
}

static bool
fails(enum kind kind)
{
    if (control == NULL || control->kind != kind)
        return false;
    control->seen++;
    if (atomic_fetch_sub(&control->left, 1) != 1)
        return false;
    control->failed++;
    control->kind = K_NONE;   /* once */
    void *frame[24];
    backtrace_symbols_fd(frame, backtrace(frame, 24), STDERR_FILENO);
    return true;
}

/* What a broken file or connection gives.  A connection that broke stays broken, for its other end as well. */
static int
trouble(int fd, int with_file)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && !S_ISSOCK(st.st_mode))
        return with_file;
    shutdown(fd, SHUT_RDWR);
    return ECONNRESET;
}

/* ---- memory: by glibc's own names, as dlsym itself allocates ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

void *
malloc(size_t size)
{
    if (fails(K_MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
    if (fails(K_MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
    if (fails(K_MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(p, size);
}

/* ---- the rest ---- */

#define REAL(name) \
    static __typeof__(&name) real; \
    if (real == NULL) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define FAIL(error) \
    do { \
        errno = (error); \
        return -1; \
    } while (0)

#define WRAP(kind, error, type, name, parameters, ...) \
    type name parameters \
    { \
        REAL(name); \
        if (fails(kind)) \
            FAIL(error); \
        return real(__VA_ARGS__); \
    }

WRAP(K_READ, trouble(fd, EIO), ssize_t, read, (int fd, void *p, size_t n), fd, p, n)
WRAP(K_READ, trouble(fd, EIO), ssize_t, pread, (int fd, void *p, size_t n, off_t at), fd, p, n, at)
WRAP(K_READ, trouble(fd, EIO), ssize_t, readv, (int fd, const struct iovec *v, int n), fd, v, n)
WRAP(K_READ, trouble(fd, EIO), ssize_t, recv, (int fd, void *p, size_t n, int flags), fd, p, n, flags)
WRAP(K_READ, trouble(fd, EIO), ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), fd, m, flags)
WRAP(K_WRITE, trouble(fd, ENOSPC), ssize_t, write, (int fd, const void *p, size_t n), fd, p, n)
WRAP(K_WRITE, trouble(fd, ENOSPC), ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), fd, p, n, at)
WRAP(K_WRITE, trouble(fd, ENOSPC), ssize_t, writev, (int fd, const struct iovec *v, int n), fd, v, n)
WRAP(K_WRITE, trouble(fd, EIO), ssize_t, send, (int fd, const void *p, size_t n, int flags), fd, p, n, flags)
WRAP(K_WRITE, trouble(fd, EIO), ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), fd, m, flags)
WRAP(K_RENAME, EIO, int, rename, (const char *a, const char *b), a, b)
WRAP(K_RENAME, EIO, int, renameat, (int d, const char *a, int e, const char *b), d, a, e, b)
WRAP(K_RENAME, EIO, int, linkat, (int d, const char *a, int e, const char *b, int flags), d, a, e, b, flags)
WRAP(K_RENAME, EIO, int, mkdirat, (int d, const char *a, mode_t mode), d, a, mode)
WRAP(K_FSYNC, EIO, int, fsync, (int fd), fd)
WRAP(K_FSYNC, EIO, int, fdatasync, (int fd), fd)

int
openat(int d, const char *path, int flags, ...)
{
    REAL(openat);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (fails(K_OPEN))
        FAIL(EMFILE);
    return real(d, path, flags, mode);
}

/* With _FORTIFY_SOURCE the compiler calls these. */
ssize_t
__read_chk(int fd, void *p, size_t n, size_t room)
{
    return n <= room ? read(fd, p, n) : (abort(), -1);
}

ssize_t
__recv_chk(int fd, void *p, size_t n, size_t room, int flags)
{
    return n <= room ? recv(fd, p, n, flags) : (abort(), -1);
}
