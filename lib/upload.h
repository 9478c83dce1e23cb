/* upload -- a form's fields into memory and its files into a stage.
 *
 * Reads a multipart/form-data body from a callback, so that it knows neither FastCGI nor HTTP, and never
 * holds more of a file than a buffer.  It judges the form's shape and its bounds; which names are allowed,
 * what text is in them (any bytes, also NUL and broken UTF-8) and whether a picture is one, is the
 * caller's to judge.
 *
 *     struct upload *form;
 *     enum upload_error error = upload_read(arena, store, content_type, read_body, r, &limits, &form);
 *     if (error != UPLOAD_OK)
 *         ... form->field says which one, if it was one ...
 *     ... upload_field(form, "brand"), upload_file(form, "devicePhoto0"), form->stage ...
 */
#ifndef SELLIKO_UPLOAD_H
#define SELLIKO_UPLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "imagehead.h"

struct arena;
struct store;
struct store_stage;

enum upload_error {
    UPLOAD_OK,
    UPLOAD_NOT_FORM_DATA,   /* another content type: 415 */
    UPLOAD_MALFORMED,       /* the form is broken or cut short: 400; form->reason says how */
    UPLOAD_TOO_MANY_PARTS,  /* 400 */
    UPLOAD_DUPLICATE_FIELD, /* form->field is given twice: 400 */
    UPLOAD_FIELD_TOO_LARGE, /* form->field, or all text fields together: 413 */
    UPLOAD_FILE_TOO_LARGE,  /* form->field: 413 */
    UPLOAD_ABORTED,         /* the client went away: nobody hears the answer */
    UPLOAD_STORAGE_FULL,    /* ours: 503 */
    UPLOAD_STORAGE_FAILED,  /* ours: 503 */
};

struct upload_limits {
    size_t parts_max;
    size_t field_max_len;   /* bytes of one text field */
    size_t fields_max_len;  /* bytes of all text fields */
    uint64_t file_max_len;  /* bytes of one file, inclusive */
};

/* What a form may be where the guide says nothing else: 5 MB a file, and as much text as JSON may be, so that
 * one long text is told together with all else that is wrong. */
#define UPLOAD_LIMITS \
    (struct upload_limits){.parts_max = 64, .field_max_len = 1u << 20, .fields_max_len = 1u << 20, \
                           .file_max_len = 5u << 20}

/* A text field.  VALUE holds LEN bytes, whatever they are, and a NUL behind them. */
struct upload_field {
    const char *name;
    const char *value;
    size_t len;
};

/* A file: a part with a file's name, or of a type that no text is of.  A file input that was left empty (no name, no
 * byte) is not among the files. */
struct upload_file {
    const char *name;     /* of the field */
    const char *filename; /* as the client calls it, "" when it does not: for showing to a person at most */
    const char *path;     /* absolute, in the stage */
    uint64_t len;
    enum file_type type; /* told from the first bytes */
    unsigned char sha256[32];
};

struct upload {
    const struct upload_field *fields; /* in the form's order */
    size_t n_fields;
    const struct upload_file *files; /* in the form's order */
    size_t n_files;
    /* SHA-256 over names, values and file contents; the same for the same form whatever its boundary, the
     * order of its parts or how the files are called */
    unsigned char digest[32];
    struct store_stage *stage; /* holds the files; NULL after an error */
    const char *field;         /* the field an error is about, else NULL */
    const char *reason;        /* a sentence for the log after an error */
};

/* Up to LEN bytes of the body into BUF.  How many, 0 at the body's end, -1 when the client went away. */
typedef ssize_t upload_reader(void *ctx, void *buf, size_t len);

/* Read the whole form.  *FORM is never NULL and lives as long as ARENA does, and so do its strings; its stage is
 * ended (its files removed) when ARENA is reset.  After an error the files are gone already, and what is
 * left of the body was not read. */
enum upload_error upload_read(struct arena *arena, struct store *store, const char *content_type,
                              upload_reader *read, void *ctx, const struct upload_limits *limits,
                              struct upload **form);

/* The field or file called NAME, or NULL. */
const struct upload_field *upload_field(const struct upload *form, const char *name);
const struct upload_file *upload_file(const struct upload *form, const char *name);

#endif
