/* tool -- what every subcommand needs of a command-line tool: saying things, ending, memory, options. */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "encoding.h"

/* ---- saying things ---- */

static void
say(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static void
say(const char *fmt, va_list ap)
{
    fflush(stdout);
    fputs("sellikoctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void
die(enum ctl_exit code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    exit((int)code);
}

void
note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

/* ---- memory ---- */

static struct arena *memory;

static void
release(void)
{
    arena_free(memory);
}

struct arena *
ctl_memory(void)
{
    if (memory == NULL) {
        memory = arena_new();
        if (memory == NULL)
            die(CTL_PROBLEM, "out of memory");
        atexit(release);
    }
    return memory;
}

/* ---- options ---- */

static void
drop(int *argc, char **argv, int i, int n)
{
    for (; i + n <= *argc; i++)   /* the closing NULL too */
        argv[i] = argv[i + n];
    *argc -= n;
}

const char *
take_option(int *argc, char **argv, const char *name)
{
    size_t len = strlen(name);

    for (int i = 1; i < *argc; i++) {
        const char *arg = argv[i];
        if (strncmp(arg, "--", 2) != 0 || strncmp(arg + 2, name, len) != 0 || (arg[2 + len] != '\0' && arg[2 + len] != '='))
            continue;
        const char *value = arg[2 + len] == '=' ? arg + 3 + len : i + 1 < *argc ? argv[i + 1] : NULL;
        if (value == NULL)
            die(CTL_USAGE, "--%s needs a value", name);
        drop(argc, argv, i, arg[2 + len] == '=' ? 1 : 2);
        return value;
    }
    return NULL;
}

bool
take_flag(int *argc, char **argv, const char *name)
{
    for (int i = 1; i < *argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0) {
            drop(argc, argv, i, 1);
            return true;
        }
    return false;
}

void
want_arguments(int argc, char **argv, int n)
{
    if (argc - 1 > n)
        die(CTL_USAGE, "`%s` is not understood here; see --help", argv[n + 1]);
    if (argc - 1 < n)
        die(CTL_USAGE, "%s needs more; see --help", argv[0]);
}

/* ---- files ---- */

bool
hash_file(const char *path, int64_t *size, char sha256[65])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    uint8_t hash[32];

    if (fd < 0)
        return false;
    char *bytes = NULL;
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (bytes = malloc((size_t)st.st_size + 1)) != NULL;
    for (off_t done = 0; good && done < st.st_size;) {
        ssize_t n = pread(fd, bytes + done, (size_t)(st.st_size - done), done);
        good = n > 0;
        done += n;
    }
    if (good) {
        crypto_sha256(bytes, (size_t)st.st_size, hash);
        (void)encoding_hex(sha256, hash, sizeof hash);
        *size = st.st_size;
    }
    int error = errno;
    free(bytes);
    close(fd);
    errno = error;
    return good;
}
