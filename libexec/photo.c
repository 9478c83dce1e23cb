/* selliko-photo -- one uploaded file in, the files that are published out.
 *
 *     selliko-photo photo SOURCE DIR NAME    NAME_full.jpg (fits 2048 px), NAME_medium.jpg (1024),
 *                                            NAME_thumb.jpg (320) and NAME.webp (as full)
 *     selliko-photo proof SOURCE DIR NAME    NAME.jpg (fits 2048)
 *     selliko-photo bill  SOURCE DIR NAME    NAME.jpg or NAME.png (fits 2048), or NAME.pdf as it is
 *
 * photo and proof take JPEG, PNG and WebP, bill takes JPEG, PNG and PDF; the type is told from the bytes.
 * Pictures come out upright, in sRGB, on white, never enlarged, and with nothing in them but pixels: no
 * EXIF, GPS, ICC profile, comment.  One line on standard output says how it went:
 *
 *     ok jpg 2000 1500        extension, width and height of the largest file (a PDF: 0 0)
 *     error unsupported       no type that is taken here
 *     error undecodable       broken, cut short or forged
 *     error too_large         more than 50 megapixels, by its header
 *     error storage           a result could not be written (disk full)
 *     error internal          this program could not do its work, for want of memory, say: standard error says why
 *
 * and the exit status is 0.  No line means that the file killed the worker, or, with exit status
 * IMAGE_UNSAID, that it could not be written.  After anything but ok, what
 * was written into DIR is not to be used.
 *
 * Image decoders are the largest pile of code that strangers' bytes ever meet here, so they run in a
 * process of their own, the only one that links ImageMagick, for one file only (starting costs 3 ms of
 * CPU) and with everything taken away first: memory, CPU time, file size and files are limited, the
 * policy knows three coders and no delegate, and once the coders are loaded and the results' files are
 * open, a seccomp filter leaves little more than reading, writing and memory.
 *
 * What makes it fast: libjpeg halves while it decodes (a result within 95 % of its bound is taken as it
 * is), each size is made from the one before, and turning comes after shrinking. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <lcms2.h>
#include <wand/MagickWand.h>

#include "image.h"
#include "imagehead.h"

#define PIXELS_MAX 50000000u
#define SOURCE_MAX_BYTES (32u << 20) /* uploads are at most 5 MB */
#define FULL_PX 2048u
#define MEDIUM_PX 1024u
#define THUMB_PX 320u
#define JPEG_QUALITY 82
#define WEBP_QUALITY 80
#define MEMORY_MAX_BYTES (1u << 30) /* 50 megapixels of PNG are 400 MB of pixels */
#define CPU_MAX_S 20

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* The one line, and the end. */
static void __attribute__((noreturn, format(printf, 1, 2)))
answer(const char *fmt, ...)
{
    char line[100];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0 && write(STDOUT_FILENO, line, (size_t)n) != n)
        _exit(IMAGE_UNSAID);
    /* not exit: the filter forbids what libraries like to do at the end, and nothing is left to flush */
    _exit(0);
}

/* What and errno's sentence, as the log's other lines are.  WHAT is a call or a path of ours. */
static void
complain(const char *what)
{
    fprintf(stderr, "{\"level\":\"error\",\"program\":\"selliko-photo\",\"message\":\"%s: %s\"}\n", what,
            strerror(errno));
}

static void __attribute__((noreturn))
give_up(const char *what)
{
    complain(what);
    answer("error internal\n");
}

/* ---- memory ---------------------------------------------------------------------------------------
 *
 * Whoever asks for memory here gets it, or this ends: these stand before the C library's for every library of the
 * process.  Without memory ImageMagick goes on without what it could not make (a profile, the subsampling), follows a
 * pointer that it did not get, or ends in a way of its own that waits for ever for a lock that it holds itself. */
#if !SANITIZED   /* ASan's own do so */
static void *
had(void *p, size_t size)
{
    struct rusage used = {0};

    if (p != NULL || size == 0)
        return p;
    /* does the picture want too much, or is this machine's memory gone? */
    getrusage(RUSAGE_SELF, &used);
    if (size > MEMORY_MAX_BYTES / 16 || (unsigned long)used.ru_maxrss > MEMORY_MAX_BYTES / 4 / 1024)
        answer("error undecodable\n");
    errno = ENOMEM;
    give_up("memory");
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (next == NULL) \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void *
malloc(size_t size)
{
    NEXT(malloc);
    return had(next(size), size);
}

void *
calloc(size_t n, size_t size)
{
    NEXT(calloc);
    return had(next(n, size), n == 0 ? 0 : size);
}

void *
realloc(void *p, size_t size)
{
    NEXT(realloc);
    return had(next(p, size), size);
}

int
posix_memalign(void **p, size_t align, size_t size)
{
    NEXT(posix_memalign);
    int error = next(p, align, size);
    if (error == ENOMEM)
        had(NULL, size);
    return error;
}

void *
aligned_alloc(size_t align, size_t size)
{
    NEXT(aligned_alloc);
    return had(next(align, size), size);
}
#endif

/* ---- what the process may do --------------------------------------------------------------------- */

static void
limit(__rlimit_resource_t resource, rlim_t value)
{
    const struct rlimit to = {value, value};

    if (setrlimit(resource, &to) != 0)
        give_up("setrlimit");
}

static void
limit_resources(void)
{
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, CPU_MAX_S);
    limit(RLIMIT_FSIZE, 64u << 20);
    limit(RLIMIT_NOFILE, 32);
    if (!SANITIZED) /* whose shadow memory is terabytes of addresses */
        limit(RLIMIT_AS, MEMORY_MAX_BYTES);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        give_up("PR_SET_NO_NEW_PRIVS");
    /* the caller waits for us; when it is gone, nobody wants the result */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Who hands in photos expects to wait, who bids does not: a tenth of a share beside those who bid, and all that
 * they leave.  With less a machine that is full would not finish a photo within the caller's patience.
 *
 * Where the kernel gives each session a share (autogroup, the usual thing without systemd), a process is nice to its
 * session only, so the session that the caller gave us is made nice, too.  That
 * can be taken back, so there a photo gets next to nothing at first, and its tenth when it has waited for a while.
 * The kernel listens to us ten times a second in all, so it is asked again from step to step. */
#define NICE 10
#define PATIENCE_S 3

static int autogroup = -1;

static void
step_back(void)
{
    static time_t began;
    static const char *now = "0";
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    if (began == 0)
        began = t.tv_sec;
    const char *want = t.tv_sec - began < PATIENCE_S ? "19" : "10";
    if (autogroup >= 0 && strcmp(want, now) != 0 && write(autogroup, want, 2) == 2)
        now = want;
}

static void
be_nice(void)
{
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    if (getsid(0) == getpid())   /* else it is somebody's who started us by hand */
        autogroup = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    step_back();
}

/* ImageMagick reads its policy from a file only.  The first value it finds for a resource holds, and
 * $MAGICK_CONFIGURE_PATH comes before the system's, so the policy is put in a folder of its own beside
 * the results for as long as it takes to read it.  What the system's own policy forbids stays so. */
static const char policy[] =
    "<policymap>"
    "<policy domain=\"resource\" name=\"memory\" value=\"640MiB\"/>"
    "<policy domain=\"resource\" name=\"map\" value=\"640MiB\"/>"
    "<policy domain=\"resource\" name=\"disk\" value=\"1B\"/>"
    "<policy domain=\"resource\" name=\"area\" value=\"64MP\"/>"
    "<policy domain=\"resource\" name=\"width\" value=\"66KP\"/>"
    "<policy domain=\"resource\" name=\"height\" value=\"66KP\"/>"
    "<policy domain=\"resource\" name=\"list-length\" value=\"2\"/>"
    "<policy domain=\"resource\" name=\"thread\" value=\"1\"/>"
    "<policy domain=\"delegate\" rights=\"none\" pattern=\"*\"/>"
    "<policy domain=\"filter\" rights=\"none\" pattern=\"*\"/>"
    "<policy domain=\"path\" rights=\"none\" pattern=\"*\"/>"
    "<policy domain=\"coder\" rights=\"none\" pattern=\"*\"/>"
    "<policy domain=\"coder\" rights=\"read|write\" pattern=\"{JPEG,PNG,WEBP}\"/>"
    "</policymap>";

static void
start_magick(const char *dir, const char *name)
{
    static const char *const coders[] = {"JPEG", "PNG", "WEBP"};
    ExceptionInfo *exception;
    char folder[PATH_MAX], file[PATH_MAX];
    size_t len = sizeof policy - 1;
    int fd;

    if (snprintf(folder, sizeof folder, "%s/.%s", dir, name) >= (int)sizeof folder - 20)
        give_up("a path is too long");
    snprintf(file, sizeof file, "%.*s/policy.xml", (int)sizeof file - 20, folder);
    if (mkdir(folder, 0700) != 0 || (fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        answer("error storage\n");
    if (write(fd, policy, len) != (ssize_t)len)
        answer("error storage\n");
    close(fd);
    setenv("MAGICK_CONFIGURE_PATH", folder, 1);
    setenv("MAGICK_THREAD_LIMIT", "1", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    MagickWandGenesis();
    exception = AcquireExceptionInfo();
    for (size_t i = 0; i < sizeof coders / sizeof *coders; i++)
        if (GetMagickInfo(coders[i], exception) == NULL) {
            errno = 0;
            give_up(coders[i]);
        }
    DestroyExceptionInfo(exception);
    if (MagickGetResourceLimit(WidthResource) != 66000 || MagickGetResourceLimit(ThreadResource) != 1) {
        errno = 0;
        give_up("ImageMagick did not take the policy");
    }
    if (unlink(file) != 0 || rmdir(folder) != 0)   /* it would be published with the results */
        answer("error storage\n");
}

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

/* From here on: no file, socket, process or signal but what is there already.  Anything not named fails
 * with EPERM, which ImageMagick takes for a configuration file that is not there. */
static void
drop_system_calls(void)
{
#ifdef THIS_ARCH
    static const unsigned allowed[] = {
        __NR_read, __NR_pread64, __NR_write, __NR_writev, __NR_close, __NR_lseek, __NR_fstat, __NR_ftruncate,
        __NR_mmap, __NR_munmap, __NR_mremap, __NR_mprotect, __NR_madvise, __NR_brk,
        __NR_futex, __NR_sched_yield, __NR_sched_getaffinity, __NR_getrandom, __NR_sysinfo, __NR_getrusage,
        __NR_clock_gettime, __NR_gettimeofday, __NR_times, __NR_getpid, __NR_gettid, __NR_tgkill,
        __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_exit, __NR_exit_group,
    };
    enum { N = sizeof allowed / sizeof *allowed };
    struct sock_filter filter[N + 6];
    struct sock_fprog program = {.len = N + 6, .filter = filter};
    unsigned char at = 0;

    if (SANITIZED)
        return;
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned char i = 0; i < N; i++)
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], (unsigned char)(N - i), 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    /* a kernel without seccomp leaves the limits and the separate process */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0 && errno != EINVAL && errno != ENOSYS)
        give_up("seccomp");
#endif
}

/* ---- files ---------------------------------------------------------------------------------------- */

struct source {
    const unsigned char *bytes; /* mapped, read-only */
    size_t len;
};

static struct source
open_source(const char *path)
{
    struct source src;
    struct stat st;
    void *map;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        give_up(path);
    if (st.st_size == 0)
        answer("error unsupported\n");
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SOURCE_MAX_BYTES) {
        errno = EFBIG;
        give_up(path);
    }
    src.len = (size_t)st.st_size;
    map = mmap(NULL, src.len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        give_up(path);
    close(fd);
    src.bytes = map;
    return src;
}

/* A new file DIR/NAMESUFFIX. */
static int
open_result(const char *dir, const char *name, const char *suffix)
{
    char path[PATH_MAX];
    int fd;

    if (snprintf(path, sizeof path, "%s/%s%s", dir, name, suffix) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        give_up(dir);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        complain(path);
        answer("error storage\n");
    }
    return fd;
}

static void
write_result(int fd, const void *bytes, size_t len)
{
    const char *s = bytes;

    while (len > 0) {
        ssize_t n = write(fd, s, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            answer("error storage\n");
        s += n;
        len -= (size_t)n;
    }
    if (close(fd) != 0)
        answer("error storage\n");
}

/* ---- pictures ------------------------------------------------------------------------------------- */

/* The wand's call failed: out of memory is ours, everything else the picture's fault. */
static void
must(MagickBooleanType good)
{
    if (good == MagickFalse)
        answer("error undecodable\n");
}

/* Whether what the decoder said means that pixels are missing or made up.  Other warnings (a wrong
 * profile, a few stray bytes before a marker) are in many good photos. */
static bool
is_damage(ExceptionType severity, const char *reason)
{
    static const char *const damage[] = {
        "Premature end of JPEG file", "premature end of data segment", "bad Huffman code", "instead of RST",
        "Not enough image data", "CRC error", "IDAT",
    };

    if (severity >= ErrorException)
        return true;
    for (size_t i = 0; reason != NULL && i < sizeof damage / sizeof *damage; i++)
        if (strstr(reason, damage[i]) != NULL)
            return true;
    return false;
}

static void
refuse_damage(ExceptionInfo *exception)
{
    const ExceptionInfo *e;

    if (exception->severity != UndefinedException && is_damage(exception->severity, exception->reason))
        answer("error undecodable\n");
    if (exception->exceptions == NULL)
        return;
    ResetLinkedListIterator((LinkedListInfo *)exception->exceptions);
    while ((e = GetNextValueInLinkedList((LinkedListInfo *)exception->exceptions)) != NULL)
        if (is_damage(e->severity, e->reason))
            answer("error undecodable\n");
}

static uint32_t
longer(uint32_t width, uint32_t height)
{
    return width > height ? width : height;
}

/* How much libjpeg shall shrink while it decodes: of 2, 3/8, 4 and 8 the most that leaves 95 % of the bound. */
static unsigned
decode_divisor(const struct imagehead *head)
{
    static const struct { unsigned divisor, eighths; } scales[] = {{8, 1}, {4, 2}, {3, 3}, {2, 4}};
    const uint64_t px = longer(head->width, head->height);

    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++)
        if (px * scales[i].eighths / 8 * 100 >= FULL_PX * 95)
            return scales[i].divisor;
    return 1;
}

/* The first frame of an animated WebP as a WebP of its own, so that the decoder never sees the others. */
static struct source
first_frame(struct source src, const struct imagehead *head)
{
    const size_t len = 12 + 18 + head->frame_len + (head->frame_len & 1);
    const uint32_t sizes[] = {(uint32_t)(len - 8), 10, head->width - 1, head->height - 1};
    unsigned char *s = calloc(1, len);

    memcpy(s, "RIFF....WEBPVP8X", 16);
    for (unsigned i = 0; i < 4; i++) {
        s[4 + i] = (unsigned char)(sizes[0] >> 8 * i);
        s[16 + i] = (unsigned char)(sizes[1] >> 8 * i);
    }
    s[20] = head->frame_alpha ? 0x10 : 0;
    for (unsigned i = 0; i < 3; i++) {
        s[24 + i] = (unsigned char)(sizes[2] >> 8 * i);
        s[27 + i] = (unsigned char)(sizes[3] >> 8 * i);
    }
    memcpy(s + 30, src.bytes + head->frame_at, head->frame_len);
    return (struct source){s, len};
}

static MagickWand *
decode(struct source src, const struct imagehead *head)
{
    static const char *const magick[] = {[FILE_JPEG] = "JPEG", [FILE_PNG] = "PNG", [FILE_WEBP] = "WEBP"};
    ExceptionInfo *exception = AcquireExceptionInfo();
    ImageInfo *info = AcquireImageInfo();
    unsigned divisor = head->type == FILE_JPEG ? decode_divisor(head) : 1;
    MagickWand *wand;
    Image *image;

    if (head->animated)
        src = first_frame(src, head);
    /* both, or ImageMagick guesses from the bytes by rules of its own */
    CopyMagickString(info->magick, magick[head->type], sizeof info->magick);
    snprintf(info->filename, sizeof info->filename, "%s:", magick[head->type]);
    if (divisor > 1) {
        char size[40];
        snprintf(size, sizeof size, "%ux%u", head->width / divisor, head->height < divisor ? 1 : head->height / divisor);
        SetImageOption(info, "jpeg:size", size);
    }
    image = BlobToImage(info, src.bytes, src.len, exception);
    refuse_damage(exception);
    if (image == NULL)
        answer("error undecodable\n");
    refuse_damage(&image->exception);
    if (GetImageListLength(image) != 1 ||
        (divisor == 1 && (image->columns != head->width || image->rows != head->height)))
        answer("error undecodable\n");
    wand = NewMagickWandFromImage(image);
    if (wand == NULL)
        give_up("NewMagickWandFromImage");
    DestroyImage(image);
    DestroyImageInfo(info);
    DestroyExceptionInfo(exception);
    return wand;
}

/* Shrink to fit PX by averaging areas: for what is left to shrink after decoding it is as good as a
 * filter and half as dear. */
static void
shrink(MagickWand *wand, uint32_t px)
{
    const uint64_t width = MagickGetImageWidth(wand), height = MagickGetImageHeight(wand);
    const uint64_t longest = width > height ? width : height;
    uint64_t to_width, to_height;

    if (longest <= px)
        return;
    to_width = (width * px + longest / 2) / longest;
    to_height = (height * px + longest / 2) / longest;
    must(MagickScaleImage(wand, to_width == 0 ? 1 : to_width, to_height == 0 ? 1 : to_height));
}

/* EXIF's orientation says where the stored first row and column belong. */
static void
turn_upright(MagickWand *wand, unsigned orientation)
{
    PixelWand *background = NewPixelWand();

    switch (orientation) {
    case 2:
        must(MagickFlopImage(wand));
        break;
    case 3:
        must(MagickRotateImage(wand, background, 180));
        break;
    case 4:
        must(MagickFlipImage(wand));
        break;
    case 5:
        must(MagickTransposeImage(wand));
        break;
    case 6:
        must(MagickRotateImage(wand, background, 90));
        break;
    case 7:
        must(MagickTransverseImage(wand));
        break;
    case 8:
        must(MagickRotateImage(wand, background, 270));
        break;
    default:
        break;
    }
    DestroyPixelWand(background);
    must(MagickSetImageOrientation(wand, TopLeftOrientation));
}

/* Convert by the embedded profile, when there is a usable one, a band of rows at a time. */
static bool
apply_profile(MagickWand *wand)
{
    static const struct {
        cmsColorSpaceSignature space;
        bool cmyk, gray;
        cmsUInt32Number format;
        const char *map;
        unsigned channels;
    } kinds[] = {
        {cmsSigRgbData, false, false, TYPE_RGB_8, "RGB", 3},
        {cmsSigRgbData, false, true, TYPE_RGB_8, "RGB", 3},
        {cmsSigGrayData, false, true, TYPE_GRAY_8, "I", 1},
        {cmsSigCmykData, true, false, TYPE_CMYK_8, "CMYK", 4},
    };
    enum { BAND_ROWS = 64 };
    const size_t width = MagickGetImageWidth(wand), height = MagickGetImageHeight(wand);
    const ColorspaceType space = MagickGetImageColorspace(wand);
    size_t len = 0;
    unsigned char *bytes = MagickGetImageProfile(wand, "icc", &len);
    cmsHPROFILE from = bytes == NULL || len > UINT32_MAX ? NULL : cmsOpenProfileFromMem(bytes, (cmsUInt32Number)len), to;
    cmsHTRANSFORM transform = NULL;
    unsigned char *in, *out;
    char name[64] = "";
    MagickWand *result;
    PixelWand *black;
    size_t kind;

    MagickRelinquishMemory(bytes);
    if (from == NULL)
        return false;
    cmsGetProfileInfoASCII(from, cmsInfoDescription, "en", "US", name, sizeof name);
    if (space != CMYKColorspace && strncmp(name, "sRGB", 4) == 0)
        return false; /* what most phones attach */
    for (kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        if (kinds[kind].space == cmsGetColorSpace(from) && kinds[kind].cmyk == (space == CMYKColorspace) &&
            kinds[kind].gray == (space == GRAYColorspace))
            break;
    if (kind == sizeof kinds / sizeof *kinds)
        return false;
    to = cmsCreate_sRGBProfile();
    if (to != NULL)
        transform = cmsCreateTransform(from, kinds[kind].format, to, TYPE_RGB_8, INTENT_RELATIVE_COLORIMETRIC,
                                       cmsFLAGS_BLACKPOINTCOMPENSATION);
    if (transform == NULL)
        return false;
    in = malloc(width * BAND_ROWS * kinds[kind].channels);
    out = malloc(width * BAND_ROWS * 3);
    result = NewMagickWand();
    black = NewPixelWand();
    must(MagickNewImage(result, width, height, black));
    for (size_t y = 0; y < height; y += BAND_ROWS) {
        size_t rows = height - y < BAND_ROWS ? height - y : BAND_ROWS;
        must(MagickExportImagePixels(wand, 0, (ssize_t)y, width, rows, kinds[kind].map, CharPixel, in));
        cmsDoTransform(transform, in, out, (cmsUInt32Number)(width * rows));
        must(MagickImportImagePixels(result, 0, (ssize_t)y, width, rows, "RGB", CharPixel, out));
    }
    must(MagickSetImage(wand, result));
    DestroyMagickWand(result);
    DestroyPixelWand(black);
    free(in);
    free(out);
    cmsDeleteTransform(transform);
    cmsCloseProfile(to);
    cmsCloseProfile(from);
    return true;
}

/* From as it was decoded to full size, upright, opaque, sRGB, and nothing else in it. */
static void
normalise(MagickWand *wand, unsigned orientation)
{
    shrink(wand, FULL_PX);
    turn_upright(wand, orientation);
    if (MagickGetImageAlphaChannel(wand) != MagickFalse) {
        PixelWand *white = NewPixelWand();
        PixelSetRed(white, 1);
        PixelSetGreen(white, 1);
        PixelSetBlue(white, 1);
        must(MagickSetImageBackgroundColor(wand, white));
        must(MagickSetImageAlphaChannel(wand, RemoveAlphaChannel));
        must(MagickSetImageAlphaChannel(wand, DeactivateAlphaChannel));
        DestroyPixelWand(white);
    }
    if (!apply_profile(wand) && MagickGetImageColorspace(wand) != sRGBColorspace)
        must(MagickTransformImageColorspace(wand, sRGBColorspace));
    must(MagickStripImage(wand));
    must(MagickResetImagePage(wand, "0x0+0+0"));
    must(MagickSetImageDepth(wand, 8));
    must(MagickSetImageUnits(wand, UndefinedResolution));
    must(MagickSetImageInterlaceScheme(wand, NoInterlace));
    must(MagickSetInterlaceScheme(wand, NoInterlace));
    must(MagickSetType(wand, TrueColorType));
    must(MagickSetOption(wand, "jpeg:sampling-factor", "4:2:0"));
    must(MagickSetOption(wand, "webp:method", "2"));
    must(MagickSetOption(wand, "png:exclude-chunk", "all"));
}

static void
encode(MagickWand *wand, int fd, const char *format, unsigned quality)
{
    size_t len = 0;
    unsigned char *bytes;

    step_back();
    must(MagickSetImageCompressionQuality(wand, quality));
    must(MagickSetImageFormat(wand, format));
    bytes = MagickGetImageBlob(wand, &len);
    if (bytes == NULL || len == 0)
        answer("error undecodable\n");
    write_result(fd, bytes, len);
    MagickRelinquishMemory(bytes);
}

int
main(int argc, char **argv)
{
    enum { PHOTO, PROOF, BILL } kind;
    struct imagehead head;
    struct source src;
    MagickWand *wand;
    enum file_type type;
    size_t width, height;
    int full, webp = -1, medium = -1, thumb = -1;

    if (argc == 5 && strcmp(argv[1], "photo") == 0) {
        kind = PHOTO;
    } else if (argc == 5 && strcmp(argv[1], "proof") == 0) {
        kind = PROOF;
    } else if (argc == 5 && strcmp(argv[1], "bill") == 0) {
        kind = BILL;
    } else {
        fprintf(stderr, "usage: selliko-photo photo|proof|bill SOURCE DIR NAME\n");
        return 2;
    }
    limit_resources();
    be_nice();
    src = open_source(argv[2]);
    type = imagehead_type(src.bytes, src.len);
    if (type == FILE_UNKNOWN || type == (kind == BILL ? FILE_WEBP : FILE_PDF))
        answer("error unsupported\n");
    if (type == FILE_PDF) {
        if (!imagehead_is_pdf(src.bytes, src.len))
            answer("error undecodable\n");
        write_result(open_result(argv[3], argv[4], ".pdf"), src.bytes, src.len);
        answer("ok pdf 0 0\n");
    }
    if (!imagehead_read(src.bytes, src.len, &head))
        answer("error undecodable\n");
    if ((uint64_t)head.width * head.height > PIXELS_MAX)
        answer("error too_large\n");

    start_magick(argv[3], argv[4]);
    if (kind == PHOTO) {
        full = open_result(argv[3], argv[4], "_full.jpg");
        webp = open_result(argv[3], argv[4], ".webp");
        medium = open_result(argv[3], argv[4], "_medium.jpg");
        thumb = open_result(argv[3], argv[4], "_thumb.jpg");
    } else {
        full = open_result(argv[3], argv[4], kind == BILL && type == FILE_PNG ? ".png" : ".jpg");
    }
    drop_system_calls();

    step_back();
    wand = decode(src, &head);
    step_back();
    normalise(wand, head.orientation);
    width = MagickGetImageWidth(wand);
    height = MagickGetImageHeight(wand);
    if (kind == BILL && type == FILE_PNG) {
        encode(wand, full, "PNG", 35); /* zlib level 3, filter chosen by row: half the time for 5 % more bytes */
        answer("ok png %zu %zu\n", width, height);
    }
    encode(wand, full, "JPEG", JPEG_QUALITY);
    if (kind == PHOTO) {
        encode(wand, webp, "WEBP", WEBP_QUALITY);
        shrink(wand, MEDIUM_PX);
        encode(wand, medium, "JPEG", JPEG_QUALITY);
        shrink(wand, THUMB_PX);
        encode(wand, thumb, "JPEG", JPEG_QUALITY);
    }
    answer("ok jpg %zu %zu\n", width, height);
}
