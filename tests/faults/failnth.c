/* failnth -- a library to preload: the n-th call of a kind fails, once.
 *
 *   LD_PRELOAD=failnth.so FAILNTH=/path/to/control FAILNTH_PROGRAM=name program
 *
 * The control file is mapped by the program and written by the test: five 64-bit numbers,
 *
 *   kind   which calls are counted (enum kind), 0 for none
 *   left   the call that makes this 0 fails
 *   failed how many failed
 *   seen   how many were counted
 *   stack  0; or the one call stack whose calls are counted; or 1: every call is, and its stack is noted
 *
 * and a table of the noted stacks with how many calls each made.  A library repeats a call thousands of times from the
 * same place; it fails no differently the hundredth time, so the first and the last of each stack stand for all.  A
 * stack is known by a hash of its return addresses, relative to where each library was loaded: it is the same
 * in the next run and in another process.
 *
 * The failing call's backtrace goes to stderr.  Only the process that is called FAILNTH_PROGRAM looks at
 * the file, not those that it starts.
 *
 * libpq and libcurl are not linked: where a program has them, theirs are found behind ours, and what stands
 * for failing is what they do when they have no memory or no connection. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
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

enum kind { K_NONE, K_MALLOC, K_READ, K_WRITE, K_RENAME, K_FSYNC, K_OPEN, K_PQ, K_CURL, K_PROCESS };

enum { STACKS = 1 << 16, FRAMES = 40 };

static struct control {
    _Atomic int64_t kind, left, failed, seen;
    _Atomic uint64_t stack;
    struct {
        _Atomic uint64_t stack;
        _Atomic int64_t calls;
    } noted[STACKS];
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
    void *frame[1];
    (void)backtrace(frame, 1);   /* it loads a library at its first use, which a seccomp filter may forbid later */
    if (map != MAP_FAILED)
        control = map;
}

/* FNV-1a. */
static uint64_t
stack_of_call(void)
{
    void *frame[FRAMES];
    int n = backtrace(frame, FRAMES);
    uint64_t hash = 0xcbf29ce484222325;

    for (int i = 0; i < n; i++) {
        struct dl_find_object object;
        uintptr_t at = (uintptr_t)frame[i];
        const char *name = "";
        if (_dl_find_object(frame[i], &object) == 0) {
            at -= object.dlfo_link_map->l_addr;
            name = object.dlfo_link_map->l_name;
        }
        for (int shift = 0; shift < 48; shift += 8)
            hash = (hash ^ (at >> shift & 0xff)) * 0x100000001b3;
        for (; *name != '\0'; name++)
            hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
    }
    return hash | 2;   /* neither 0 nor 1 */
}

static void
note(uint64_t stack)
{
    for (size_t i = stack % STACKS, tries = 0; tries < STACKS; i = (i + 1) % STACKS, tries++) {
        uint64_t there = 0;
        if (atomic_compare_exchange_strong(&control->noted[i].stack, &there, stack) || there == stack) {
            control->noted[i].calls++;
            return;
        }
    }
}

static bool
fails(enum kind kind)
{
    if (control == NULL || control->kind != kind)
        return false;
    uint64_t wanted = control->stack;
    if (wanted != 0) {
        uint64_t stack = stack_of_call();
        if (wanted == 1)
            note(stack);
        else if (stack != wanted)
            return false;
    }
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

static bool
no_memory(void)
{
    if (!fails(K_MALLOC))
        return false;
    errno = ENOMEM;
    return true;
}

void *
malloc(size_t size)
{
    return no_memory() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
    return no_memory() ? NULL : __libc_realloc(p, size);
}

void *__libc_memalign(size_t align, size_t size);

int
posix_memalign(void **p, size_t align, size_t size)
{
    if (fails(K_MALLOC) || (*p = __libc_memalign(align, size)) == NULL)
        return ENOMEM;
    return 0;
}

void *
aligned_alloc(size_t align, size_t size)
{
    return no_memory() ? NULL : __libc_memalign(align, size);
}

/* ---- files, sockets, processes ---- */

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
WRAP(K_RENAME, EIO, int, link, (const char *a, const char *b), a, b)
WRAP(K_RENAME, EIO, int, mkdir, (const char *a, mode_t mode), a, mode)
WRAP(K_RENAME, EIO, int, unlink, (const char *a), a)
WRAP(K_RENAME, EIO, int, unlinkat, (int d, const char *a, int flags), d, a, flags)
WRAP(K_RENAME, EIO, int, rmdir, (const char *a), a)
WRAP(K_RENAME, EIO, int, ftruncate, (int fd, off_t len), fd, len)
WRAP(K_PROCESS, EMFILE, int, pipe2, (int ends[2], int flags), ends, flags)
WRAP(K_PROCESS, EMFILE, int, accept4, (int fd, struct sockaddr *a, socklen_t *len, int flags), fd, a, len, flags)
WRAP(K_PROCESS, EMFILE, int, socket, (int domain, int type, int protocol), domain, type, protocol)
WRAP(K_PROCESS, EINTR, int, poll, (struct pollfd *fds, nfds_t n, int ms), fds, n, ms)
WRAP(K_PROCESS, ECONNREFUSED, int, connect, (int fd, const struct sockaddr *a, socklen_t len), fd, a, len)

/* These return their error. */
int
posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
            char *const argv[], char *const env[])
{
    REAL(posix_spawn);
    return fails(K_PROCESS) ? EAGAIN : real(pid, path, actions, attributes, argv, env);
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg)
{
    REAL(pthread_create);
    return fails(K_PROCESS) ? EAGAIN : real(thread, attributes, fn, arg);
}

int
open(const char *path, int flags, ...)
{
    REAL(open);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (fails(K_OPEN))
        FAIL(EMFILE);
    return real(path, flags, mode);
}

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

/* ---- libpq ---- */

#define PQ(type, failed, name, parameters, ...) \
    type name parameters; \
    type name parameters \
    { \
        REAL(name); \
        return fails(K_PQ) ? (failed) : real(__VA_ARGS__); \
    }

typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;

PQ(PGconn *, NULL, PQconnectdbParams, (const char *const *keys, const char *const *values, int expand), keys, values, expand)
PQ(int, 0, PQsendPrepare, (PGconn *c, const char *name, const char *text, int n, const void *types), c, name, text, n, types)
PQ(int, 0, PQsendQueryPrepared,
   (PGconn *c, const char *name, int n, const char *const *value, const int *len, const int *format, int result),
   c, name, n, value, len, format, result)
PQ(int, 0, PQsendQuery, (PGconn *c, const char *text), c, text)
PQ(int, 0, PQpipelineSync, (PGconn *c), c)
PQ(int, 0, PQenterPipelineMode, (PGconn *c), c)
PQ(int, 0, PQexitPipelineMode, (PGconn *c), c)
PQ(int, 0, PQconsumeInput, (PGconn *c), c)
PQ(int, -1, PQflush, (PGconn *c), c)
PQ(int, -1, PQsetnonblocking, (PGconn *c, int on), c, on)

/* A result that cannot be kept is an error of libpq's own, without an SQLSTATE. */
PGresult *PQgetResult(PGconn *c);
PGresult *PQmakeEmptyPGresult(PGconn *c, int status);
void PQclear(PGresult *res);

PGresult *
PQgetResult(PGconn *c)
{
    REAL(PQgetResult);
    PGresult *res = real(c);
    if (res == NULL || !fails(K_PQ))
        return res;
    static __typeof__(&PQclear) clear;
    static __typeof__(&PQmakeEmptyPGresult) make;
    clear = (__typeof__(clear))dlsym(RTLD_NEXT, "PQclear");
    make = (__typeof__(make))dlsym(RTLD_NEXT, "PQmakeEmptyPGresult");
    clear(res);
    return make(c, 7);   /* PGRES_FATAL_ERROR */
}

/* ---- libcurl ---- */

#define CURL_(type, failed, name, parameters, ...) \
    type name parameters; \
    type name parameters \
    { \
        REAL(name); \
        return fails(K_CURL) ? (failed) : real(__VA_ARGS__); \
    }

CURL_(void *, NULL, curl_easy_init, (void))
CURL_(int, 27 /* CURLE_OUT_OF_MEMORY */, curl_easy_perform, (void *easy), easy)
CURL_(int, 27, curl_global_init, (long flags), flags)
CURL_(void *, NULL, curl_slist_append, (void *list, const char *text), list, text)
CURL_(void *, NULL, curl_multi_init, (void))
CURL_(int, 3 /* CURLM_OUT_OF_MEMORY */, curl_multi_add_handle, (void *multi, void *easy), multi, easy)
CURL_(int, 3, curl_multi_perform, (void *multi, int *running), multi, running)
CURL_(int, 3, curl_multi_poll, (void *multi, void *fds, unsigned n, int ms, int *ready), multi, fds, n, ms, ready)

/* Its third argument is a long or a pointer: one register for either. */
int curl_easy_setopt(void *easy, int option, ...);
int
curl_easy_setopt(void *easy, int option, ...)
{
    static int (*real)(void *, int, void *);
    if (real == NULL)
        real = (int (*)(void *, int, void *))dlsym(RTLD_NEXT, "curl_easy_setopt");
    va_list ap;
    va_start(ap, option);
    void *value = va_arg(ap, void *);
    va_end(ap);
    /* Only what is copied needs memory: URL, USERAGENT, CUSTOMREQUEST, PROTOCOLS_STR. */
    bool copied = option == 10002 || option == 10018 || option == 10036 || option == 10318;
    return copied && fails(K_CURL) ? 27 : real(easy, option, value);
}
