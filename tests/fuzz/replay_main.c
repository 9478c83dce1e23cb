/* replay_main -- runs a fuzz harness without a fuzzer, with any compiler.
 *
 * With arguments it feeds those files.  Without, every file of tests/fuzz/corpus/NAME/ where the program is
 * fuzz_NAME (TOP_SRCDIR says where the source tree is), and then for FUZZ_MS milliseconds (2000) what becomes
 * of them by changing bytes, cutting, repeating and crossing: blind, but enough to meet what somebody has
 * just broken.  FUZZ_SEED makes another sequence.  A crash is the failure; its input is left in crash-NAME. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { INPUTS_MAX = 512, LEN_MAX = 8192 };

static struct { uint8_t *data; size_t len; } input[INPUTS_MAX];
static int n_inputs;
static const uint8_t *now;   /* what is being run */
static size_t now_len;
static char crash_path[300];

static void
run(const uint8_t *data, size_t len)
{
    /* Exactly as long as the input, so that ASan sees a read of one byte too many. */
    uint8_t *exact = malloc(len + (len == 0));
    if (exact == NULL)
        abort();
    if (len > 0)
        memcpy(exact, data, len);
    now = data;
    now_len = len;
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static void
on_crash(int sig)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t n = fd >= 0 ? write(fd, now, now_len) : 0;
    (void)n;
    raise(sig);   /* the handler is gone (SA_RESETHAND): now it dies of it */
}

static int
feed(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        fclose(f);
        return 0;
    }
    uint8_t *data = malloc((size_t)st.st_size + (st.st_size == 0));
    if (data == NULL || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        perror(path);
        fclose(f);
        free(data);
        return -1;
    }
    fclose(f);
    fprintf(stderr, "%s\n", path);
    run(data, (size_t)st.st_size);
    if (n_inputs < INPUTS_MAX && st.st_size <= LEN_MAX) {
        input[n_inputs].data = data;
        input[n_inputs++].len = (size_t)st.st_size;
    } else {
        free(data);
    }
    return 1;
}

/* ---- changing ---- */

static uint64_t state;

/* Of N, by xorshift64: the same in every run. */
static size_t
any(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n > 0 ? (size_t)(state % n) : 0;
}

/* One change of the LEN bytes at S, where LEN_MAX are; the new length. */
static size_t
change(uint8_t *s, size_t len)
{
    static const char edges[] = "\0\xff\x7f\x80 \t\r\n\"\\'{}[],:;=%&+-./0919eE@*?#<>~";
    size_t at = any(len), n = 1 + any(8);
    int from = (int)any((size_t)n_inputs);

    switch (any(7)) {
    case 0:
        if (len > 0)
            s[at] ^= (uint8_t)(1u << any(8));
        return len;
    case 1:
        if (len > 0)
            s[at] = (uint8_t)edges[any(sizeof edges - 1)];
        return len;
    case 2:
        if (len > 0)
            s[at] = (uint8_t)any(256);
        return len;
    case 3:   /* without some */
        n = n < len - at ? n : len - at;
        memmove(s + at, s + at + n, len - at - n);
        return len - n;
    case 4:   /* some twice */
        n = n < len - at ? n : len - at;
        if (len + n > LEN_MAX)
            return len;
        memmove(s + at + n, s + at, len - at);
        return len + n;
    case 5:   /* the end of another one */
        n = any(input[from].len + 1);
        n = n < LEN_MAX - at ? n : LEN_MAX - at;
        memcpy(s + at, input[from].data + input[from].len - n, n);
        return at + n;
    default:  /* an edge more */
        if (len + 1 > LEN_MAX)
            return len;
        memmove(s + at + 1, s + at, len - at);
        s[at] = (uint8_t)edges[any(sizeof edges - 1)];
        return len + 1;
    }
}

static int64_t
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long
mutate(int64_t for_ms)
{
    static uint8_t s[LEN_MAX];
    int64_t end = now_ms() + for_ms;
    long n = 0;

    for (; n_inputs > 0 && now_ms() < end; n++) {
        int of = (int)any((size_t)n_inputs);
        size_t len = input[of].len;
        memcpy(s, input[of].data, len);
        for (size_t k = 1 + any(4); k > 0; k--)
            len = change(s, len);
        run(s, len);
    }
    return n;
}

int
main(int argc, char **argv)
{
    int fed = 0;

    for (int i = 1; i < argc; i++)
        if (feed(argv[i]) < 0)
            return 1;
    if (argc > 1)
        return 0;

    const char *name = strrchr(argv[0], '/');
    name = name != NULL ? name + 1 : argv[0];
    if (strncmp(name, "fuzz_", 5) == 0)
        name += 5;

    /* Read before a harness makes an environment of its own. */
    const char *top = getenv("TOP_SRCDIR"), *ms = getenv("FUZZ_MS"), *seed = getenv("FUZZ_SEED");
    int64_t for_ms = ms != NULL ? strtoll(ms, NULL, 10) : 2000;
    state = 0x9e3779b97f4a7c15u ^ (seed != NULL ? strtoull(seed, NULL, 10) : 0);
    char dir_path[4096], path[4096 + 256];
    snprintf(dir_path, sizeof dir_path, "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name);
    snprintf(crash_path, sizeof crash_path, "crash-%s", name);
    struct sigaction crash = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND };
    sigaction(SIGABRT, &crash, NULL);
    sigaction(SIGSEGV, &crash, NULL);

    DIR *dir = opendir(dir_path);
    if (dir == NULL) {
        perror(dir_path);
        return 1;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", dir_path, e->d_name);
        int n = feed(path);
        if (n < 0)
            return 1;
        fed += n;
    }
    closedir(dir);
    long changed = mutate(for_ms);
    printf("%d inputs, and %ld made of them\n", fed, changed);
    for (int i = 0; i < n_inputs; i++)
        free(input[i].data);
    return fed > 0 ? 0 : 1;
}
