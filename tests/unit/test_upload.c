/* upload: fields in memory, files in a stage, and after any failure nothing. */
#include "../../lib/upload.c"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <signal.h>
#include <cmocka.h>

static char root[64];
static struct store *store;
static struct arena *arena;

/* A body that comes in pieces of STEP bytes, and ends with END (0, or -1 for a client that went away). */
struct body {
    const char *bytes;
    size_t len, at, step;
    ssize_t end;
};

static ssize_t
next_piece(void *ctx, void *buf, size_t len)
{
    struct body *b = ctx;
    size_t n = b->len - b->at;

    if (n == 0)
        return b->end;
    if (n > b->step)
        n = b->step;
    if (n > len)
        n = len;
    memcpy(buf, b->bytes + b->at, n);
    b->at += n;
    return (ssize_t)n;
}

static const char type_b[] = "multipart/form-data; boundary=b";
static const struct upload_limits small = {
    .parts_max = 6, .field_max_len = 10, .fields_max_len = 15, .file_max_len = 100000,
};

static enum upload_error
read_n(const char *type, const char *bytes, size_t len, size_t step, struct upload **form)
{
    struct body b = {.bytes = bytes, .len = len, .step = step};

    return upload_read(arena, store, type, next_piece, &b, &small, form);
}

static enum upload_error
read_form(const char *body, struct upload **form)
{
    return read_n(type_b, body, strlen(body), 7, form);
}

static size_t
staged(void)
{
    char path[100];
    struct dirent *e;
    size_t n = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/staging", root);
    dir = opendir(path);
    while ((e = readdir(dir)) != NULL)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static int
open_new(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/test-upload-XXXXXX");
    arena = arena_new();
    return arena != NULL && mkdtemp(root) != NULL && store_open(root, &store) == STORE_OK ? 0 : -1;
}

static int
remove_all(void **state)
{
    char path[100];
    static const char *const folders[] = {"staging", "listings", "verification", "."};

    (void)state;
    arena_free(arena);
    store_close(store);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, i == 3 ? "%s" : "%s/%s", root, folders[i]);
        if (rmdir(path) != 0) /* fails when a test left something */
            return -1;
    }
    return 0;
}

static const struct upload_field *
field_of(const struct upload *form, const char *name)
{
    const struct upload_field *field = upload_field(form, name);

    if (field == NULL) {
        fail_msg("there is no field %s", name);
        abort(); /* not reached, which the compiler does not know */
    }
    return field;
}

static const struct upload_file *
file_of(const struct upload *form, const char *name)
{
    const struct upload_file *file = upload_file(form, name);

    if (file == NULL) {
        fail_msg("there is no file %s", name);
        abort(); /* not reached, which the compiler does not know */
    }
    return file;
}

#define PART(name, value) "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(name, filename, value) \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"; filename=\"" filename \
    "\"\r\nContent-Type: image/gif\r\n\r\n" value "\r\n"
#define LAST "--b--\r\n"

static void
fields_and_files_come_out_of_a_form(void **state)
{
    struct upload *form;
    const struct upload_file *file;
    const struct upload_field *field;
    static const unsigned char sha_of_abc[] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
        0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    };
    char text[10] = "";
    FILE *f;

    (void)state;
    assert_int_equal(read_form(PART("brand", "Apple") FILE_PART("devicePhoto0", "a.jpg", "abc")
                               FILE_PART("devicePhoto1", "", "") PART("model", "")
                               FILE_PART("billPhoto", "x", "%PDF-1.4") LAST, &form), UPLOAD_OK);
    assert_int_equal(form->n_fields, 2);
    assert_int_equal(form->n_files, 2);
    field = field_of(form, "brand");
    assert_string_equal(field->value, "Apple");
    assert_int_equal(field->len, 5);
    assert_int_equal(field_of(form, "model")->len, 0);
    assert_null(upload_field(form, "devicePhoto0"));
    assert_null(upload_file(form, "devicePhoto1"));
    file = file_of(form, "devicePhoto0");
    assert_string_equal(file->filename, "a.jpg");
    assert_int_equal(file->len, 3);
    assert_int_equal(file->type, FILE_UNKNOWN);
    assert_memory_equal(file->sha256, sha_of_abc, 32);
    assert_int_equal(file_of(form, "billPhoto")->type, FILE_PDF);
    f = fopen(file->path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text, f), 3);
    assert_memory_equal(text, "abc", 3);
    fclose(f);
    assert_int_equal(staged(), 1);
    arena_reset(arena);
    assert_int_equal(staged(), 0);
}

static void
a_file_without_a_name_says_by_its_type_that_it_is_one(void **state)
{
#define TYPED_PART(name, type, value) \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\nContent-Type: " type "\r\n\r\n" value "\r\n"
    struct upload *form;

    (void)state;
    assert_int_equal(read_form(TYPED_PART("a", "image/jpeg", "\xff\xd8\xff\xe0") TYPED_PART("b", "Application/Octet-Stream", "abc")
                               TYPED_PART("c", "text/plain; charset=utf-8", "Apple") TYPED_PART("d", "image/png", "") LAST, &form),
                     UPLOAD_OK);
    assert_int_equal(form->n_files, 2);
    assert_int_equal(file_of(form, "a")->type, FILE_JPEG);
    assert_string_equal(file_of(form, "b")->filename, "");
    assert_string_equal(field_of(form, "c")->value, "Apple");
}

static void
types_are_told_from_the_bytes(void **state)
{
    static const char body[] = FILE_PART("a", "x.gif", "\xff\xd8\xff\xe0") FILE_PART("b", "x.jpg", "\x89PNG\r\n\x1a\n")
        FILE_PART("c", "x", "RIFF\1\0\0\0WEBPVP8 ") FILE_PART("d", "x.jpg", "GIF89a") LAST;
    struct upload *form;

    (void)state;
    for (size_t step = 1; step < 60; step++) {
        assert_int_equal(read_n(type_b, body, sizeof body - 1, step, &form), UPLOAD_OK);
        assert_int_equal(file_of(form, "a")->type, FILE_JPEG);
        assert_int_equal(file_of(form, "b")->type, FILE_PNG);
        assert_int_equal(file_of(form, "c")->type, FILE_WEBP);
        assert_int_equal(file_of(form, "d")->type, FILE_UNKNOWN);
    }
}

static void
text_is_kept_as_it_was_sent(void **state)
{
    static const char body[] = PART("x", "a\0b\xff\xfe") LAST;
    struct upload *form;

    (void)state;
    assert_int_equal(read_n(type_b, body, sizeof body - 1, 5, &form), UPLOAD_OK);
    assert_int_equal(field_of(form, "x")->len, 5);
    assert_memory_equal(field_of(form, "x")->value, "a\0b\xff\xfe", 6);
}

static void
the_digest_is_of_what_the_form_says_not_of_how(void **state)
{
    struct upload *a, *b;

    (void)state;
    assert_int_equal(read_form(PART("x", "1") PART("y", "2") FILE_PART("f", "n", "data") LAST, &a), UPLOAD_OK);
#define same(type, body) \
    assert_int_equal(read_n(type, body, strlen(body), 3, &b), UPLOAD_OK); \
    assert_memory_equal(a->digest, b->digest, 32)
#define other(body) \
    assert_int_equal(read_form(body, &b), UPLOAD_OK); \
    assert_memory_not_equal(a->digest, b->digest, 32)
    same(type_b, "hello\r\n" FILE_PART("f", "m", "data") PART("y", "2") PART("x", "1") LAST);
    same("multipart/form-data; boundary=c",
         "--c\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n"
         "--c\r\nContent-Disposition: form-data; name=y\r\n\r\n2\r\n"
         "--c\r\nContent-Disposition: form-data; name=f; filename=k\r\n\r\ndata\r\n--c--");
    other(PART("x", "1") PART("y", "3") FILE_PART("f", "n", "data") LAST);
    other(PART("x", "1") PART("y", "2") FILE_PART("f", "n", "date") LAST);
    other(PART("x", "1") PART("y", "2") FILE_PART("g", "n", "data") LAST);
    other(PART("x", "1") PART("y", "2") PART("f", "data") LAST);
    other(PART("x", "1") FILE_PART("f", "n", "data") LAST);
    other(PART("x", "1y2") PART("y", "") FILE_PART("f", "n", "data") LAST);
}

static void
a_file_may_be_as_large_as_the_limit_and_no_byte_more(void **state)
{
    size_t max = (size_t)small.file_max_len;
    static const char head[] = "--b\r\nContent-Disposition: form-data; name=devicePhoto3; filename=x\r\n\r\n";
    char *body = malloc(max + 200);
    size_t len = sizeof head - 1;
    struct upload *form;

    (void)state;
    memcpy(body, head, len);
    memset(body + len, '\r', max + 1); /* the byte that the parser likes least */
    memcpy(body + len + max, "\r\n--b--", 7);
    assert_int_equal(read_n(type_b, body, len + max + 7, 40000, &form), UPLOAD_OK);
    assert_int_equal(file_of(form, "devicePhoto3")->len, max);
    memset(body + len, '\r', max + 1);
    memcpy(body + len + max + 1, "\r\n--b--", 7);
    assert_int_equal(read_n(type_b, body, len + max + 8, 40000, &form), UPLOAD_FILE_TOO_LARGE);
    assert_string_equal(form->field, "devicePhoto3");
    assert_null(form->stage);
    free(body);
}

static void
every_failure_says_what_and_leaves_no_file(void **state)
{
    static const struct {
        const char *body;
        enum upload_error error;
        const char *field;
    } cases[] = {
        {FILE_PART("f", "x", "abc") PART("x", "12345678901") LAST, UPLOAD_FIELD_TOO_LARGE, "x"},
        {FILE_PART("f", "x", "abc") PART("x", "12345678") PART("y", "12345678") LAST, UPLOAD_FIELD_TOO_LARGE, "y"},
        {FILE_PART("f", "x", "abc") PART("x", "1") PART("x", "1") LAST, UPLOAD_DUPLICATE_FIELD, "x"},
        {FILE_PART("f", "x", "abc") PART("f", "1") LAST, UPLOAD_DUPLICATE_FIELD, "f"},
        {FILE_PART("f", "x", "abc") FILE_PART("f", "x", "abc") LAST, UPLOAD_DUPLICATE_FIELD, "f"},
        {FILE_PART("f", "x", "abc") FILE_PART("g", "x", "abc"), UPLOAD_MALFORMED, NULL},
        {FILE_PART("f", "x", "abc") FILE_PART("", "x", "abc") LAST, UPLOAD_MALFORMED, NULL},
        {FILE_PART("f", "x", "abc") PART("1", "") PART("2", "") PART("3", "") PART("4", "") PART("5", "") PART("6", "") LAST,
         UPLOAD_TOO_MANY_PARTS, NULL},
        {"", UPLOAD_MALFORMED, NULL},
    };
    struct upload *form;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_form(cases[i].body, &form), cases[i].error);
        if (cases[i].field != NULL)
            assert_string_equal(form->field, cases[i].field);
        else
            assert_null(form->field);
        assert_non_null(form->reason);
        assert_int_equal(form->n_files, 0);
        assert_int_equal(staged(), 0);
    }
}

static void
other_content_types_are_told_apart_from_broken_ones(void **state)
{
    struct upload *form;

    (void)state;
    assert_int_equal(read_n("application/json", "{}", 2, 2, &form), UPLOAD_NOT_FORM_DATA);
    assert_int_equal(read_n(NULL, "{}", 2, 2, &form), UPLOAD_NOT_FORM_DATA);
    assert_int_equal(read_n("multipart/form-data", "{}", 2, 2, &form), UPLOAD_MALFORMED);
    assert_int_equal(staged(), 0);
}

static void
a_client_that_goes_away_leaves_no_file(void **state)
{
    static const char body[] = FILE_PART("f", "x", "abc") "--b\r\n";
    struct upload *form;

    (void)state;
    for (size_t len = 0; len < sizeof body; len++) {
        struct body b = {.bytes = body, .len = len, .step = 11, .end = -1};
        assert_int_equal(upload_read(arena, store, type_b, next_piece, &b, &small, &form), UPLOAD_ABORTED);
        assert_int_equal(staged(), 0);
    }
}

static void
a_write_that_fails_is_our_trouble(void **state)
{
    static const char head[] = "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n";
    static char body[90000];
    struct rlimit before, little = {20000, 20000};
    struct upload *form;

    (void)state;
    memset(body, 'x', sizeof body);
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof body - 7, "\r\n--b--", 7);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    little.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &little);
    assert_int_equal(read_n(type_b, body, sizeof body, sizeof body, &form), UPLOAD_STORAGE_FAILED);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(staged(), 0);
}

int
main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, open_new, remove_all)
    const struct CMUnitTest tests[] = {
        test(fields_and_files_come_out_of_a_form),
        test(a_file_without_a_name_says_by_its_type_that_it_is_one),
        test(types_are_told_from_the_bytes),
        test(text_is_kept_as_it_was_sent),
        test(the_digest_is_of_what_the_form_says_not_of_how),
        test(a_file_may_be_as_large_as_the_limit_and_no_byte_more),
        test(every_failure_says_what_and_leaves_no_file),
        test(other_content_types_are_told_apart_from_broken_ones),
        test(a_client_that_goes_away_leaves_no_file),
        test(a_write_that_fails_is_our_trouble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
