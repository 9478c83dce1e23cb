/* upload -- see upload.h. */
#include "upload.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "arena.h"
#include "multipart.h"
#include "store.h"

/* One for reading, one for writing: a body of nothing but line ends comes out of the parser byte by byte. */
#define BUFFER_LEN (64u << 10)

struct reading {
    struct arena *arena;
    const struct upload_limits *limits;
    struct upload *form;
    enum upload_error error; /* why a callback stopped the parser */

    struct upload_field *fields;
    struct upload_file *files;
    size_t fields_len; /* bytes of all text fields so far */

    bool is_file;
    const char *name; /* of the part at hand */
    char *value;      /* a field's; VALUE_MAX bytes are reserved, LEN used */
    size_t value_max, len;

    struct upload_file file;
    int fd; /* the file at hand, or -1 */
    EVP_MD_CTX *sha256;
    unsigned char head[IMAGEHEAD_TYPE_LEN];
    size_t buffered;
    unsigned char *in, *out;
};

static bool
stop(struct reading *r, enum upload_error error, const char *field, const char *reason)
{
    r->error = error;
    r->form->field = field;
    r->form->reason = reason;
    return false;
}

static bool
stop_storage(struct reading *r, enum store_error error)
{
    return stop(r, error == STORE_FULL ? UPLOAD_STORAGE_FULL : UPLOAD_STORAGE_FAILED, NULL, strerror(errno));
}

static bool
stop_memory(struct reading *r)
{
    return stop(r, UPLOAD_STORAGE_FAILED, NULL, "no memory for a digest");
}

/* Some clients give a file's bytes no name (Node's form-data with a Buffer), but say that they are no text. */
static bool
is_file(const struct multipart_part *part)
{
    const char *type = part->content_type;

    return part->filename != NULL
        || (type != NULL && (strncasecmp(type, "image/", 6) == 0 || strncasecmp(type, "application/pdf", 15) == 0
                             || strncasecmp(type, "application/octet-stream", 24) == 0));
}

static bool
part_begin(void *ctx, const struct multipart_part *part)
{
    struct reading *r = ctx;
    struct upload *form = r->form;
    const char *name = arena_strdup(r->arena, part->name);
    char path[32];
    enum store_error error;

    if (upload_field(form, name) != NULL || upload_file(form, name) != NULL)
        return stop(r, UPLOAD_DUPLICATE_FIELD, name, "a field is given twice");
    r->name = name;
    r->len = 0;
    r->is_file = is_file(part);
    if (!r->is_file) {
        r->value_max = 256;
        r->value = arena_alloc(r->arena, r->value_max);
        return true;
    }
    snprintf(path, sizeof path, "in/%zu", form->n_files);
    r->file = (struct upload_file){
        .name = name,
        .filename = arena_strdup(r->arena, part->filename != NULL ? part->filename : ""),
        .path = arena_printf(r->arena, "%s/%s", store_stage_path(form->stage), path),
    };
    error = store_stage_create(form->stage, path, &r->fd);
    if (error != STORE_OK)
        return stop_storage(r, error);
    r->buffered = 0;
    return EVP_DigestInit_ex(r->sha256, EVP_sha256(), NULL) == 1 || stop_memory(r);
}

static bool
add_to_field(struct reading *r, const void *bytes, size_t len)
{
    if (len > r->limits->field_max_len - r->len || len > r->limits->fields_max_len - r->fields_len)
        return stop(r, UPLOAD_FIELD_TOO_LARGE, r->name, "a text field is too large");
    if (r->len + len >= r->value_max) {
        /* at least doubled, so that copying stays linear; at most the limit's double is left behind */
        size_t max = (r->len + len) * 2 + 1;
        char *value = arena_alloc(r->arena, max);
        memcpy(value, r->value, r->len);
        r->value = value;
        r->value_max = max;
    }
    memcpy(r->value + r->len, bytes, len);
    r->len += len;
    r->fields_len += len;
    return true;
}

static bool
flush(struct reading *r)
{
    const unsigned char *s = r->out;

    if (EVP_DigestUpdate(r->sha256, s, r->buffered) != 1)
        return stop_memory(r);
    while (r->buffered > 0) {
        ssize_t n = write(r->fd, s, r->buffered);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return stop_storage(r, n < 0 && errno != ENOSPC && errno != EDQUOT ? STORE_FAILED : STORE_FULL);
        s += n;
        r->buffered -= (size_t)n;
    }
    return true;
}

static bool
part_data(void *ctx, const void *bytes, size_t len)
{
    struct reading *r = ctx;
    const unsigned char *s = bytes;

    if (!r->is_file)
        return add_to_field(r, bytes, len);
    if (len > r->limits->file_max_len - r->file.len)
        return stop(r, UPLOAD_FILE_TOO_LARGE, r->name, "a file is too large");
    for (size_t i = 0; i < len && r->file.len + i < sizeof r->head; i++)
        r->head[r->file.len + i] = s[i];
    r->file.len += len;
    while (len > 0) {
        size_t n = len < BUFFER_LEN - r->buffered ? len : BUFFER_LEN - r->buffered;
        memcpy(r->out + r->buffered, s, n);
        r->buffered += n;
        s += n;
        len -= n;
        if (r->buffered == BUFFER_LEN && !flush(r))
            return false;
    }
    return true;
}

static bool
part_end(void *ctx)
{
    struct reading *r = ctx;
    struct upload *form = r->form;
    unsigned len = 0;

    if (!r->is_file) {
        r->value[r->len] = '\0';
        r->fields[form->n_fields++] = (struct upload_field){r->name, r->value, r->len};
        return true;
    }
    if (!flush(r))
        return false;
    if (close(r->fd) != 0) {
        r->fd = -1;
        return stop_storage(r, errno == ENOSPC || errno == EDQUOT ? STORE_FULL : STORE_FAILED);
    }
    r->fd = -1;
    if (EVP_DigestFinal_ex(r->sha256, r->file.sha256, &len) != 1)
        return stop_memory(r);
    if (r->file.len == 0 && *r->file.filename == '\0') {
        unlink(r->file.path); /* a file input left empty is as if it were not there */
        return true;
    }
    r->file.type = imagehead_type(r->head, r->file.len < sizeof r->head ? (size_t)r->file.len : sizeof r->head);
    r->files[form->n_files++] = r->file;
    return true;
}

/* One thing of the form as the digest sees it. */
struct entry {
    const char *name;
    const struct upload_field *field;
    const struct upload_file *file;
};

static int
by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return strcmp(x->name, y->name); /* no two are the same */
}

static bool
digest_bytes(EVP_MD_CTX *md, char kind, const void *bytes, size_t len)
{
    char header[32];
    int n = snprintf(header, sizeof header, "%c%zu:", kind, len);

    return EVP_DigestUpdate(md, header, (size_t)n) == 1 && EVP_DigestUpdate(md, bytes, len) == 1;
}

/* Each thing with its length in front, so that no two forms look the same by accident or by design. */
static bool
make_digest(struct reading *r)
{
    struct upload *form = r->form;
    size_t n = 0;
    struct entry *entries = arena_zalloc(r->arena, form->n_fields + form->n_files + 1, sizeof *entries);
    unsigned len = 0;

    for (size_t i = 0; i < form->n_fields; i++)
        entries[n++] = (struct entry){.name = form->fields[i].name, .field = &form->fields[i]};
    for (size_t i = 0; i < form->n_files; i++)
        entries[n++] = (struct entry){.name = form->files[i].name, .file = &form->files[i]};
    qsort(entries, n, sizeof *entries, by_name);
    bool good = EVP_DigestInit_ex(r->sha256, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < n; i++) {
        good = digest_bytes(r->sha256, 'n', entries[i].name, strlen(entries[i].name))
            && (entries[i].field != NULL
                ? digest_bytes(r->sha256, 'v', entries[i].field->value, entries[i].field->len)
                : digest_bytes(r->sha256, 'f', entries[i].file->sha256, sizeof entries[i].file->sha256));
    }
    return (good && EVP_DigestFinal_ex(r->sha256, form->digest, &len) == 1) || stop_memory(r);
}

static enum upload_error
from_multipart(struct reading *r, enum multipart_error error)
{
    if (error == MULTIPART_STOPPED)
        return r->error;
    r->form->reason = multipart_strerror(error);
    switch (error) {
    case MULTIPART_OK:
        return UPLOAD_OK;
    case MULTIPART_NOT_FORM_DATA:
        return UPLOAD_NOT_FORM_DATA;
    case MULTIPART_TOO_MANY_PARTS:
        return UPLOAD_TOO_MANY_PARTS;
    default:
        return UPLOAD_MALFORMED;
    }
}

static enum upload_error
read_parts(struct reading *r, const char *boundary, upload_reader *read_body, void *ctx)
{
    static const struct multipart_events events = {part_begin, part_data, part_end};
    const struct multipart_limits limits = {
        .parts_max = r->limits->parts_max, .headers_max_len = MULTIPART_HEADERS_MAX, .name_max_len = 200,
    };
    struct multipart *parser = arena_alloc(r->arena, sizeof *parser);
    ssize_t n;

    multipart_init(parser, boundary, &limits, &events, r);
    while ((n = read_body(ctx, r->in, BUFFER_LEN)) > 0)
        if (multipart_feed(parser, r->in, (size_t)n) != MULTIPART_OK)
            break;
    if (n < 0) {
        r->form->reason = "the client went away";
        return UPLOAD_ABORTED;
    }
    return from_multipart(r, multipart_finish(parser));
}

/* The stage belongs to the form, and the form to the arena. */
static void
end_stage(void *guest)
{
    struct upload *form = guest;

    store_stage_end(form->stage);
    form->stage = NULL;
}

/* What a request that is left early (no memory in the middle of a file) holds open. */
static void
end_reading(void *guest)
{
    struct reading *r = guest;

    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    EVP_MD_CTX_free(r->sha256);
    r->sha256 = NULL;
}

enum upload_error
upload_read(struct arena *arena, struct store *store, const char *content_type, upload_reader *read_body,
            void *ctx, const struct upload_limits *limits, struct upload **form)
{
    struct upload *f = arena_zalloc(arena, 1, sizeof *f);
    struct reading *r = arena_zalloc(arena, 1, sizeof *r);
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    enum multipart_error bad_type = multipart_boundary(content_type, boundary);
    enum store_error no_stage;
    enum upload_error error;

    *form = f;
    *r = (struct reading){.arena = arena, .limits = limits, .form = f, .fd = -1};
    if (bad_type != MULTIPART_OK)
        return from_multipart(r, bad_type);
    f->fields = r->fields = arena_zalloc(arena, limits->parts_max + 1, sizeof *r->fields);
    f->files = r->files = arena_zalloc(arena, limits->parts_max + 1, sizeof *r->files);
    r->in = arena_alloc(arena, BUFFER_LEN);
    r->out = arena_alloc(arena, BUFFER_LEN);
    arena_own(arena, r, end_reading);
    r->sha256 = EVP_MD_CTX_new();
    if (r->sha256 == NULL) {
        f->reason = "no memory";
        return UPLOAD_STORAGE_FAILED;
    }
    arena_own(arena, f, end_stage);

    no_stage = store_stage_begin(store, &f->stage);
    if (no_stage == STORE_OK)
        no_stage = store_stage_mkdir(f->stage, "in");
    if (no_stage != STORE_OK) {
        stop_storage(r, no_stage);
        error = r->error;
    } else {
        error = read_parts(r, boundary, read_body, ctx);
    }
    if (error == UPLOAD_OK && !make_digest(r))
        error = r->error;
    if (error == UPLOAD_OK) {
        f->reason = NULL;
        return UPLOAD_OK;
    }
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    end_stage(f);
    f->n_fields = f->n_files = 0;
    return error;
}

const struct upload_field *
upload_field(const struct upload *form, const char *name)
{
    for (size_t i = 0; i < form->n_fields; i++)
        if (strcmp(form->fields[i].name, name) == 0)
            return &form->fields[i];
    return NULL;
}

const struct upload_file *
upload_file(const struct upload *form, const char *name)
{
    for (size_t i = 0; i < form->n_files; i++)
        if (strcmp(form->files[i].name, name) == 0)
            return &form->files[i];
    return NULL;
}
