/* image and selliko-photo: real pictures through the real worker.
 *
 * The pictures are made with ImageMagick's convert, and damaged or dressed up here.  The program is
 * libexec/selliko-photo below the build folder, or what SELLIKO_PHOTO names. */
#include "../../lib/image.c"

#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <lcms2.h>

static const char *program;
static char dir[64];

struct bytes {
    unsigned char *s;
    size_t len;
};

static void __attribute__((format(printf, 1, 2)))
sh(const char *fmt, ...)
{
    char command[2000];
    int at = snprintf(command, sizeof command, "cd %s && ", dir);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command + at, sizeof command - (size_t)at, fmt, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

/* The first line that a command prints. */
static const char *
said(const char *fmt, ...)
{
    static char line[200];
    char command[2000];
    int at = snprintf(command, sizeof command, "cd %s && ", dir);
    va_list ap;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(command + at, sizeof command - (size_t)at, fmt, ap);
    va_end(ap);
    f = popen(command, "r");
    assert_non_null(f);
    line[0] = '\0';
    if (fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    pclose(f);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static struct bytes
get(const char *name)
{
    char path[200];
    struct bytes b = {0};
    struct stat st;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    fstat(fileno(f), &st);
    b.len = (size_t)st.st_size;
    b.s = malloc(b.len + 1);
    assert_int_equal(fread(b.s, 1, b.len, f), b.len);
    fclose(f);
    return b;
}

static void
put(const char *name, const void *s, size_t len)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(s, 1, len, f), len);
    fclose(f);
}

static bool
contains(const char *name, const char *text)
{
    struct bytes b = get(name);
    bool found = memmem(b.s, b.len, text, strlen(text)) != NULL;

    free(b.s);
    return found;
}

/* NAME with a segment of MARKER put in right after its SOI. */
static void
insert_segment(const char *name, unsigned char marker, const void *segment, size_t len)
{
    struct bytes b = get(name);
    unsigned char *s = malloc(b.len + len + 4);

    memcpy(s, b.s, 2);
    s[2] = 0xff;
    s[3] = marker;
    s[4] = (unsigned char)((len + 2) >> 8);
    s[5] = (unsigned char)(len + 2);
    memcpy(s + 6, segment, len);
    memcpy(s + 6 + len, b.s + 2, b.len - 2);
    put(name, s, b.len + len + 4);
    free(s);
    free(b.s);
}

/* Embed PROFILE, and close it. */
static void
insert_profile(const char *name, cmsHPROFILE profile)
{
    unsigned char segment[20000] = "ICC_PROFILE\0\1\1";
    cmsUInt32Number len = sizeof segment - 14;

    assert_true(cmsSaveProfileToMem(profile, segment + 14, &len));
    cmsCloseProfile(profile);
    insert_segment(name, 0xe2, segment, len + 14);
}

/* An EXIF block with an orientation and a position. */
static void
insert_exif(const char *name, unsigned char orientation)
{
    unsigned char exif[] = "Exif\0\0MM\0*\0\0\0\10\0\2"
                           "\1\22\0\3\0\0\0\1\0?\0\0"          /* 0x0112 orientation, SHORT */
                           "\x88\x25\0\4\0\0\0\1\0\0\0\46"     /* 0x8825 GPS, at 38 */
                           "\0\0\0\0"
                           "\0\1\0\1\0\2\0\0\0\2N\0\0\0\0\0\0\0" /* 0x0001 GPSLatitudeRef */
                           "SECRETPLACE";

    ((unsigned char *)memchr(exif, '?', sizeof exif))[0] = orientation;
    insert_segment(name, 0xe1, exif, sizeof exif - 1);
}

/* Run one job on file NAME; the results are out/NAME-made*. */
static struct image_job
run(enum image_kind kind, const char *name)
{
    char source[200], out[200];
    struct image_job job = {.kind = kind, .source = source, .dir = out, .name = "made", .width = 7};

    snprintf(source, sizeof source, "%s/%s", dir, name);
    snprintf(out, sizeof out, "%s/out", dir);
    sh("rm -rf out && mkdir out");
    image_run(program, 20000, &job, 1);
    return job;
}

static void
expect(enum image_kind kind, const char *name, enum image_status want)
{
    struct image_job job = run(kind, name);

    if (job.status != want)
        fail_msg("%s: status %d instead of %d", name, (int)job.status, (int)want);
}

static void
expect_size(const char *result, unsigned width, unsigned height)
{
    char want[40];

    snprintf(want, sizeof want, "%u %u", width, height);
    assert_string_equal(said("identify -format '%%w %%h' %s", result), want);
}

/* The pixel at X, Y is RED, GREEN, BLUE within a tenth. */
static void
expect_pixel(const char *result, unsigned x, unsigned y, int red, int green, int blue)
{
    const char *line = said("convert %s -alpha off -depth 8 -crop 1x1+%u+%u rgb:- | od -An -tu1", result, x, y);
    int r, g, b;

    if (sscanf(line, "%d %d %d", &r, &g, &b) != 3 || abs(r - red) > 26 || abs(g - green) > 26 || abs(b - blue) > 26)
        fail_msg("%s at %u,%u is %s instead of %d %d %d", result, x, y, line, red, green, blue);
}

static int
set_up(void **state)
{
    (void)state;
    program = getenv("SELLIKO_PHOTO");
    if (program == NULL)
        program = "libexec/selliko-photo";
    snprintf(dir, sizeof dir, "/tmp/test-image-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    /* red, green over blue, white: every turn of it looks different */
    sh("convert \\( -size 300x200 xc:red xc:lime +append \\) \\( -size 300x200 xc:blue xc:white +append \\) -append four.png");
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
a_large_photo_gets_its_four_files_within_their_bounds(void **state)
{
    struct image_job job;

    (void)state;
    sh("convert four.png -resize 4000x3000! -quality 80 big.jpg");
    job = run(IMAGE_PHOTO, "big.jpg");
    assert_int_equal(job.status, IMAGE_OK);
    assert_string_equal(job.extension, "jpg");
    assert_int_equal(job.width, 2000); /* halved by libjpeg: within 95 % of 2048 */
    assert_int_equal(job.height, 1500);
    expect_size("out/made_full.jpg", 2000, 1500);
    expect_size("out/made.webp", 2000, 1500);
    expect_size("out/made_medium.jpg", 1024, 768);
    expect_size("out/made_thumb.jpg", 320, 240);
    assert_string_equal(said("ls -A out | tr '\\n' ' '"), "made.webp made_full.jpg made_medium.jpg made_thumb.jpg ");
    assert_string_equal(said("identify -format '%%m %%Q %%[colorspace] %%[interlace] %%[jpeg:sampling-factor]' out/made_full.jpg"),
                        "JPEG 82 sRGB None 2x2,1x1,1x1");
    assert_string_equal(said("identify -format '%%m' out/made.webp"), "WEBP");
}

static void
every_size_is_within_95_percent_of_its_bound(void **state)
{
    static const unsigned widths[] = {2047, 2048, 2049, 2500, 3890, 3892, 4096, 4099, 5184, 6000, 7790, 8160};

    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct image_job job;
        sh("convert -size %ux500 gradient: -quality 50 w.jpg", widths[i]);
        job = run(IMAGE_PROOF, "w.jpg");
        assert_int_equal(job.status, IMAGE_OK);
        if (job.width > 2048 || job.width < (widths[i] < 2048 ? widths[i] : 1946))
            fail_msg("%u became %u", widths[i], job.width);
        /* the shape is kept, to a pixel */
        assert_true(abs((int)job.height - (int)(job.width * 500 / widths[i])) <= 1);
        expect_size("out/made.jpg", job.width, job.height);
    }
}

static void
a_small_photo_is_never_enlarged(void **state)
{
    (void)state;
    sh("convert four.png -resize 200x100! s.png && convert four.png -resize 1x1! one.jpg");
    assert_int_equal(run(IMAGE_PHOTO, "s.png").status, IMAGE_OK);
    expect_size("out/made_full.jpg", 200, 100);
    expect_size("out/made.webp", 200, 100);
    expect_size("out/made_thumb.jpg", 200, 100);
    expect(IMAGE_PHOTO, "one.jpg", IMAGE_OK);
    expect_size("out/made_thumb.jpg", 1, 1);
}

static void
photos_are_turned_upright_and_lose_their_exif(void **state)
{
    static const char *const undo[] = {"", "", "-flop", "-rotate 180", "-flip", "-transpose", "-rotate 270", "-transverse", "-rotate 90"};
    static const char *const results[] = {"out/made_full.jpg", "out/made_medium.jpg", "out/made_thumb.jpg", "out/made.webp"};

    (void)state;
    for (unsigned char o = 1; o <= 8; o++) {
        sh("convert four.png %s -quality 90 o.jpg", undo[o]);
        insert_segment("o.jpg", 0xfe, "SECRETWORD", 10);
        insert_exif("o.jpg", o);
        assert_true(contains("o.jpg", "SECRETPLACE"));
        assert_int_equal(run(IMAGE_PHOTO, "o.jpg").status, IMAGE_OK);
        expect_size("out/made_full.jpg", 600, 400);
        expect_size("out/made_thumb.jpg", 320, 213);
        for (size_t i = 0; i < 4; i++) {
            expect_pixel(results[i], 20, 20, 255, 0, 0);
            expect_pixel(results[i], 311, 20, 0, 255, 0);
            expect_pixel(results[i], 20, 185, i == 2 ? 0 : 255, 0, i == 2 ? 255 : 0);
            assert_false(contains(results[i], "SECRET"));
            assert_false(contains(results[i], "Exif"));
        }
        expect_pixel("out/made_full.jpg", 20, 380, 0, 0, 255);
        expect_pixel("out/made_full.jpg", 580, 380, 255, 255, 255);
    }
    /* large enough to be halved while it is decoded */
    sh("convert four.png -rotate 270 -resize 2800x4200! -quality 80 o.jpg");
    insert_exif("o.jpg", 6);
    assert_int_equal(run(IMAGE_PHOTO, "o.jpg").width, 2048);
    expect_pixel("out/made_full.jpg", 100, 1300, 0, 0, 255);
}

static void
other_colour_spaces_become_srgb(void **state)
{
    const cmsCIExyY d65 = {0.3127, 0.3290, 1};
    const cmsCIExyYTRIPLE adobe = {{0.64, 0.33, 1}, {0.21, 0.71, 1}, {0.15, 0.06, 1}};
    cmsToneCurve *gamma = cmsBuildGamma(NULL, 2.2), *linear = cmsBuildGamma(NULL, 1.0);
    cmsToneCurve *curves[3] = {gamma, gamma, gamma};

    (void)state;
    sh("convert four.png -colorspace CMYK cmyk.jpg && convert four.png -colorspace gray gray.jpg");
    assert_int_equal(run(IMAGE_PHOTO, "cmyk.jpg").status, IMAGE_OK);
    assert_string_equal(said("identify -format '%%[colorspace]' out/made_full.jpg"), "sRGB");
    expect_pixel("out/made_full.jpg", 20, 20, 255, 0, 0);
    expect_pixel("out/made.webp", 580, 20, 0, 255, 0);
    assert_int_equal(run(IMAGE_PHOTO, "gray.jpg").status, IMAGE_OK);
    assert_string_equal(said("identify -format '%%[colorspace]' out/made_full.jpg"), "sRGB");
    expect_pixel("out/made_full.jpg", 580, 380, 255, 255, 255);

    /* an embedded profile is converted from, and then gone: Adobe RGB's red is redder */
    sh("convert -size 64x64 xc:'rgb(200,30,30)' -quality 95 icc.jpg");
    insert_profile("icc.jpg", cmsCreateRGBProfile(&d65, &adobe, curves));
    expect(IMAGE_PHOTO, "icc.jpg", IMAGE_OK);
    assert_false(contains("out/made_full.jpg", "ICC_PROFILE"));
    assert_false(contains("out/made.webp", "ICCP"));
    expect_pixel("out/made_full.jpg", 30, 30, 234, 25, 27);
    expect_pixel("out/made.webp", 30, 30, 234, 25, 27);
    assert_string_equal(said("identify -format '%%[colorspace]' out/made_full.jpg"), "sRGB");
    sh("convert -size 64x64 xc:'rgb(64,64,64)' -colorspace gray -quality 95 icc.jpg");
    insert_profile("icc.jpg", cmsCreateGrayProfile(&d65, linear));
    expect(IMAGE_PHOTO, "icc.jpg", IMAGE_OK);
    expect_pixel("out/made_full.jpg", 30, 30, 137, 137, 137);
    /* one of another kind of picture cannot be right */
    sh("convert four.png icc.jpg");
    insert_profile("icc.jpg", cmsCreateGrayProfile(&d65, linear));
    expect(IMAGE_PHOTO, "icc.jpg", IMAGE_OK);
    expect_pixel("out/made_full.jpg", 20, 20, 255, 0, 0);
    cmsFreeToneCurve(gamma);
    cmsFreeToneCurve(linear);
    /* nonsense for a profile is ignored and gone as well */
    insert_segment("gray.jpg", 0xe2, "ICC_PROFILE\0\1\1nonsense", 22);
    assert_int_equal(run(IMAGE_PHOTO, "gray.jpg").status, IMAGE_OK);
    assert_false(contains("out/made_full.jpg", "ICC_PROFILE"));
}

static void
pngs_and_webps_of_all_kinds_are_read(void **state)
{
    (void)state;
    sh("convert four.png -alpha set -channel A -evaluate set 0%% alpha.png");
    assert_int_equal(run(IMAGE_PHOTO, "alpha.png").status, IMAGE_OK);
    expect_pixel("out/made_full.jpg", 20, 20, 255, 255, 255); /* transparent is white */
    expect_pixel("out/made.webp", 20, 20, 255, 255, 255);
    sh("convert four.png -define png:color-type=2 -define png:bit-depth=16 -set comment SECRET d16.png &&"
       "convert four.png -colors 4 PNG8:pal.png && convert four.png -interlace PNG inter.png &&"
       "convert four.png lossy.webp && convert four.png -define webp:lossless=true lossless.webp &&"
       "convert alpha.png alpha.webp && convert four.png -interlace JPEG prog.jpg");
    expect(IMAGE_PHOTO, "d16.png", IMAGE_OK);
    assert_false(contains("out/made_full.jpg", "SECRET"));
    expect_pixel("out/made_full.jpg", 20, 20, 255, 0, 0);
    expect(IMAGE_PHOTO, "pal.png", IMAGE_OK);
    expect_pixel("out/made_full.jpg", 20, 20, 255, 0, 0);
    expect(IMAGE_PHOTO, "inter.png", IMAGE_OK);
    expect(IMAGE_PHOTO, "lossy.webp", IMAGE_OK);
    expect_pixel("out/made_full.jpg", 20, 380, 0, 0, 255);
    expect(IMAGE_PHOTO, "lossless.webp", IMAGE_OK);
    expect_pixel("out/made_full.jpg", 20, 380, 0, 0, 255);
    expect(IMAGE_PHOTO, "alpha.webp", IMAGE_OK);
    expect_pixel("out/made_full.jpg", 20, 20, 255, 255, 255);
    expect(IMAGE_PHOTO, "prog.jpg", IMAGE_OK);
    assert_string_equal(said("identify -format '%%[interlace]' out/made_full.jpg"), "None");
}

static void
of_an_animation_the_first_frame_is_taken(void **state)
{
    (void)state;
    sh("convert -delay 10 -size 200x100 xc:red xc:blue xc:lime anim.webp");
    assert_true(contains("anim.webp", "ANMF"));
    expect(IMAGE_PHOTO, "anim.webp", IMAGE_OK);
    expect_size("out/made.webp", 200, 100);
    expect_pixel("out/made_full.jpg", 20, 20, 255, 0, 0);
    assert_false(contains("out/made.webp", "ANMF"));
}

static void
damaged_files_are_refused(void **state)
{
    struct bytes b;
    unsigned random = 1;

    (void)state;
    sh("convert four.png +noise Random -quality 90 d.jpg && convert d.jpg d.png && convert d.jpg d.webp && convert d.jpg -interlace JPEG prog.jpg");
    static const char *const names[] = {"d.jpg", "prog.jpg", "d.png", "d.webp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        b = get(names[i]);
        expect(IMAGE_PHOTO, names[i], IMAGE_OK);
        for (size_t part = 1; part < 8; part++) {
            put("cut", b.s, b.len * part / 8);
            expect(IMAGE_PHOTO, "cut", IMAGE_UNDECODABLE);
        }
        put("cut", b.s, b.len - 2);
        expect(IMAGE_PHOTO, "cut", IMAGE_UNDECODABLE);
        put("cut", b.s, 20);
        expect(IMAGE_PHOTO, "cut", IMAGE_UNDECODABLE);
        /* the head of one, and then anything: a lossy WebP has nothing that would tell */
        for (size_t j = b.len / 4; j < b.len; j++)
            b.s[j] = (unsigned char)((random = random * 1103515245 + 12345) >> 16);
        put("forged", b.s, b.len);
        expect(IMAGE_PHOTO, "forged", i == 3 ? IMAGE_OK : IMAGE_UNDECODABLE);
        free(b.s);
    }
    put("empty", "", 0);
    expect(IMAGE_PHOTO, "empty", IMAGE_UNSUPPORTED);
    put("text", "hello", 5);
    expect(IMAGE_PHOTO, "text", IMAGE_UNSUPPORTED);
    sh("convert four.png x.gif && convert four.png x.bmp && convert four.png x.tiff && printf '<svg xmlns=\"http://www.w3.org/2000/svg\"/>' >x.svg");
    expect(IMAGE_PHOTO, "x.gif", IMAGE_UNSUPPORTED);
    expect(IMAGE_PHOTO, "x.bmp", IMAGE_UNSUPPORTED);
    expect(IMAGE_PHOTO, "x.tiff", IMAGE_UNSUPPORTED);
    expect(IMAGE_PHOTO, "x.svg", IMAGE_UNSUPPORTED);
}

static void
bytes_behind_a_photo_are_no_damage(void **state)
{
    struct bytes b;

    (void)state;
    sh("convert four.png t.jpg && head -c 100000 /dev/zero >>t.jpg");
    b = get("t.jpg");
    memcpy(b.s + b.len - 30, "\xff\xd8SECRETFILM", 12);
    put("t.jpg", b.s, b.len);
    free(b.s);
    expect(IMAGE_PHOTO, "t.jpg", IMAGE_OK);
    assert_false(contains("out/made_full.jpg", "SECRET"));
}

static void
a_header_that_promises_too_much_costs_nothing(void **state)
{
    struct bytes b;
    size_t at;
    int64_t before;

    (void)state;
    sh("convert four.png h.jpg && convert four.png h.png && convert four.png h.webp");
    before = clock_ms();
    b = get("h.jpg");
    at = (size_t)((unsigned char *)memmem(b.s, b.len, "\xff\xc0", 2) - b.s);
    memcpy(b.s + at + 5, "\x4e\x20\x4e\x20", 4); /* 20,000 x 20,000 */
    put("h.jpg", b.s, b.len);
    free(b.s);
    expect(IMAGE_PHOTO, "h.jpg", IMAGE_TOO_LARGE);
    expect(IMAGE_BILL, "h.jpg", IMAGE_TOO_LARGE);
    b = get("h.png");
    memcpy(b.s + 16, "\0\0\x4e\x20\0\0\x4e\x20", 8);
    put("h.png", b.s, b.len);
    free(b.s);
    expect(IMAGE_PHOTO, "h.png", IMAGE_TOO_LARGE);
    b = get("h.webp");
    memcpy(b.s + 26, "\xff\x3f\xff\x3f", 4);
    put("h.webp", b.s, b.len);
    free(b.s);
    expect(IMAGE_PHOTO, "h.webp", IMAGE_TOO_LARGE);
    assert_true(clock_ms() - before < 5000);
    assert_string_equal(said("ls -A out"), "");
}

static void
fifty_megapixels_are_the_bound(void **state)
{
    (void)state;
    sh("convert -size 10000x5000 xc:red -quality 20 m50.jpg && convert -size 10001x5000 xc:red -quality 20 m51.jpg &&"
       "convert -size 7000x7000 xc:red -define png:color-type=2 -define png:bit-depth=8 -quality 10 m49.png");
    expect(IMAGE_PROOF, "m50.jpg", IMAGE_OK);
    expect(IMAGE_PROOF, "m51.jpg", IMAGE_TOO_LARGE);
    expect(IMAGE_PROOF, "m49.png", IMAGE_OK);
    expect_size("out/made.jpg", 2048, 2048);
}

static void
bills_are_pictures_without_metadata_or_pdfs_as_they_are(void **state)
{
    static const char pdf[] = "%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n";
    struct image_job job;

    (void)state;
    sh("convert four.png -resize 3000x2000! b.jpg && convert four.png -resize 3000x2000! -set comment SECRET b.png && convert four.png b.webp");
    insert_exif("b.jpg", 6);
    job = run(IMAGE_BILL, "b.jpg");
    assert_int_equal(job.status, IMAGE_OK);
    assert_string_equal(job.extension, "jpg");
    expect_size("out/made.jpg", 1365, 2048);
    assert_false(contains("out/made.jpg", "SECRET"));
    job = run(IMAGE_BILL, "b.png");
    assert_int_equal(job.status, IMAGE_OK);
    assert_string_equal(job.extension, "png");
    expect_size("out/made.png", 2048, 1365);
    expect_pixel("out/made.png", 20, 1300, 0, 0, 255);
    assert_false(contains("out/made.png", "SECRET"));
    assert_false(contains("out/made.png", "tEXt"));
    assert_string_equal(said("ls -A out"), "made.png");
    expect(IMAGE_BILL, "b.webp", IMAGE_UNSUPPORTED);

    put("b.pdf", pdf, sizeof pdf - 1);
    job = run(IMAGE_BILL, "b.pdf");
    assert_int_equal(job.status, IMAGE_OK);
    assert_string_equal(job.extension, "pdf");
    assert_int_equal(job.width, 0);
    sh("cmp b.pdf out/made.pdf");
    put("cut.pdf", pdf, sizeof pdf - 10);
    expect(IMAGE_BILL, "cut.pdf", IMAGE_UNDECODABLE);
    expect(IMAGE_PHOTO, "b.pdf", IMAGE_UNSUPPORTED);
    expect(IMAGE_PROOF, "b.pdf", IMAGE_UNSUPPORTED);
}

static void
our_own_trouble_is_not_blamed_on_the_picture(void **state)
{
    char source[200], out[200];
    struct image_job job = {.kind = IMAGE_PHOTO, .source = source, .dir = out, .name = "x"};

    (void)state;
    sh("convert four.png f.jpg && rm -rf out");
    snprintf(source, sizeof source, "%s/f.jpg", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    image_run("/no/such/program", 1000, &job, 1);
    assert_int_equal(job.status, IMAGE_FAILED);
    image_run(program, 20000, &job, 1);
    assert_int_equal(job.status, IMAGE_STORAGE);
    sh("mkdir out");
    image_run(program, 0, &job, 1);
    assert_int_equal(job.status, IMAGE_FAILED);
    snprintf(source, sizeof source, "%s/missing.jpg", dir);
    image_run(program, 20000, &job, 1);
    assert_int_equal(job.status, IMAGE_FAILED);
    assert_null(image_problem(IMAGE_OK));
    assert_null(image_problem(IMAGE_FAILED));
    assert_null(image_problem(IMAGE_STORAGE));
    assert_non_null(image_problem(IMAGE_UNDECODABLE));
}

static void
what_a_worker_does_wrong_is_its_jobs_error(void **state)
{
    static const struct {
        const char *script;
        enum image_status status;
    } cases[] = {
        {"kill -SEGV $$", IMAGE_UNDECODABLE},  {"kill -XCPU $$", IMAGE_UNDECODABLE}, {"kill -KILL $$", IMAGE_FAILED},
        {"exit 3", IMAGE_UNDECODABLE},         {"echo ok jpg 5 6", IMAGE_OK},        {"echo nonsense", IMAGE_FAILED},
        {"echo okjpg 5 6", IMAGE_FAILED},      {"echo ok jpg 5 6 7", IMAGE_FAILED},  {"echo ok jpg 5 99999999999", IMAGE_FAILED},
        {"exec sleep 60", IMAGE_FAILED},       {"exec cat /dev/zero", IMAGE_UNDECODABLE},
    };
    char path[200];
    struct image_job job = {.kind = IMAGE_PHOTO, .source = "s", .dir = "d", .name = "n"};

    (void)state;
    snprintf(path, sizeof path, "%s/worker", dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char script[100];
        int n = snprintf(script, sizeof script, "#!/bin/sh\nulimit -c 0\n%s\n", cases[i].script);
        put("worker", script, (size_t)n);
        chmod(path, 0755);
        image_run(path, 500, &job, 1);
        if (job.status != cases[i].status)
            fail_msg("%s: %d", cases[i].script, (int)job.status);
    }
    assert_int_equal(job.width, 0);
}

static void *
run_three(void *arg)
{
    char source[200], *out = arg;
    struct image_job jobs[3];

    snprintf(source, sizeof source, "%s/four.png", dir);
    for (int i = 0; i < 3; i++)
        jobs[i] = (struct image_job){.kind = IMAGE_PHOTO, .source = source, .dir = out, .name = i == 0 ? "a" : i == 1 ? "b" : "c"};
    image_run(program, 20000, jobs, 3);
    for (int i = 0; i < 3; i++)
        if (jobs[i].status != IMAGE_OK)
            return NULL;
    return arg;
}

static void
many_threads_share_the_permits(void **state)
{
    pthread_t threads[6];
    char outs[6][100];
    int value;

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        snprintf(outs[i], sizeof outs[i], "%s/thread%zu", dir, i);
        mkdir(outs[i], 0755);
        assert_int_equal(pthread_create(&threads[i], NULL, run_three, outs[i]), 0);
    }
    for (size_t i = 0; i < 6; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, outs[i]);
    }
    sem_getvalue(&permits, &value);
    assert_int_equal(value, WORKERS_DEFAULT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_photo_gets_its_four_files_within_their_bounds),
        cmocka_unit_test(every_size_is_within_95_percent_of_its_bound),
        cmocka_unit_test(a_small_photo_is_never_enlarged),
        cmocka_unit_test(photos_are_turned_upright_and_lose_their_exif),
        cmocka_unit_test(other_colour_spaces_become_srgb),
        cmocka_unit_test(pngs_and_webps_of_all_kinds_are_read),
        cmocka_unit_test(of_an_animation_the_first_frame_is_taken),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(bytes_behind_a_photo_are_no_damage),
        cmocka_unit_test(a_header_that_promises_too_much_costs_nothing),
        cmocka_unit_test(fifty_megapixels_are_the_bound),
        cmocka_unit_test(bills_are_pictures_without_metadata_or_pdfs_as_they_are),
        cmocka_unit_test(our_own_trouble_is_not_blamed_on_the_picture),
        cmocka_unit_test(what_a_worker_does_wrong_is_its_jobs_error),
        cmocka_unit_test(many_threads_share_the_permits),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
