/* The input is a Content-Type, a line's end, and a body, as a form with files: whatever it is, what is in the
 * stage is what was understood, and byte by byte the same is understood as in one piece. */
#include "../../lib/arena.h"
#include "../../lib/crypto.h"
#include "../../lib/store.h"
#include "../../lib/upload.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct body {
    const uint8_t *at;
    size_t left, piece;
};

static ssize_t
read_body(void *ctx, void *buf, size_t len)
{
    struct body *b = ctx;
    size_t n = b->left < b->piece ? b->left : b->piece;

    if (n > len)
        n = len;
    memcpy(buf, b->at, n);
    b->at += n;
    b->left -= n;
    return (ssize_t)n;
}

static void
judge_file(const struct upload_file *f)
{
    static uint8_t content[1 << 16];
    uint8_t sha256[32];
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        abort();
    ssize_t n = read(fd, content, sizeof content);
    close(fd);
    crypto_sha256(content, (size_t)n, sha256);
    if ((uint64_t)n != f->len || memcmp(sha256, f->sha256, 32) != 0)
        abort();
}

static struct store *store;
static char root[] = "/tmp/selliko-fuzz-form-XXXXXX";

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void
remove_store(void)
{
    store_close(store);
    (void)nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
open_store(void)
{
    if (mkdtemp(root) == NULL || store_open(root, &store) != STORE_OK || atexit(remove_store) != 0)
        abort();
}

static enum upload_error
judge(struct arena *a, const char *type, const uint8_t *body, size_t len, size_t piece, unsigned char digest[32])
{
    static const struct upload_limits limits = { .parts_max = 8, .field_max_len = 300, .fields_max_len = 600, .file_max_len = 2000 };
    struct body b = { .at = len > 0 ? body : (const uint8_t *)"", .left = len, .piece = piece };
    struct upload *form;
    enum upload_error e = upload_read(a, store, type, read_body, &b, &limits, &form);

    if (e == UPLOAD_STORAGE_FULL || e == UPLOAD_STORAGE_FAILED || e == UPLOAD_ABORTED)
        abort();   /* it is not full, and nobody went away */
    if (e != UPLOAD_OK && (form->stage != NULL || form->n_files > 0))
        abort();
    size_t fields_len = 0;
    for (size_t i = 0; e == UPLOAD_OK && i < form->n_fields; i++) {
        const struct upload_field *f = &form->fields[i];
        if (f->value[f->len] != '\0' || f->len > limits.field_max_len || upload_field(form, f->name) != f
            || upload_file(form, f->name) != NULL)
            abort();
        fields_len += f->len;
    }
    if (fields_len > limits.fields_max_len || form->n_fields + form->n_files > limits.parts_max)
        abort();
    for (size_t i = 0; e == UPLOAD_OK && i < form->n_files; i++)
        judge_file(&form->files[i]);
    memcpy(digest, form->digest, 32);
    return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    unsigned char whole[32], bytewise[32];
    char type[200];
    const uint8_t *body = size > 0 ? memchr(data, '\n', size) : NULL;

    if (arena == NULL) {
        arena = arena_new();
        open_store();
    }
    if (body == NULL || (size_t)(body - data) >= sizeof type)
        return 0;
    memcpy(type, data, (size_t)(body - data));
    type[body - data] = '\0';
    body++;
    size_t len = size - (size_t)(body - data);
    enum upload_error e = judge(arena, type, body, len, 4096, whole);
    if (judge(arena, type, body, len, 1, bytewise) != e || (e == UPLOAD_OK && memcmp(whole, bytewise, 32) != 0))
        abort();
    arena_reset(arena);
    return 0;
}
