/* rows -- see rows.h. */
#include "db_inside.h"

#include "arena.h"
#include "jw.h"
#include "log.h"
#include "shape.h"

/* How a column is written to JSON, from its name and type; see rows.h. */
enum kind { K_STRING, K_BARE, K_BOOL, K_JSON, K_TIME, K_RUPEES, K_SEALED, K_THUMBNAIL, K_SILENT };

struct column {
    char name[64];     /* as SQL named it, up to the colon */
    char key[64];      /* behind the prefix */
    char prefix[64];   /* "" or the nested object's name */
    char field[64];    /* of a sealed value: table.column */
    enum kind kind;
    bool is_version;
};

struct rows_columns {
    int n;
    struct column col[];
};

/* What the columns of each statement mean, the same on every connection: made once, never freed. */
static struct rows_columns *_Atomic columns[DB_MAX_STATEMENTS];

static enum kind
kind_of(Oid type, const char *suffix)
{
    if (suffix != NULL && strcmp(suffix, "rupees") == 0)
        return K_RUPEES;
    if (suffix != NULL && strncmp(suffix, "sealed(", 7) == 0)
        return K_SEALED;
    if (suffix != NULL && strcmp(suffix, "thumbnail") == 0)
        return K_THUMBNAIL;
    switch (type) {
    case 16: return K_BOOL;
    case 20: case 21: case 23: case 700: case 701: case 1700: return K_BARE;
    case 114: case 3802: return K_JSON;
    case 1184: return K_TIME;
    default: return K_STRING;
    }
}

const struct rows_columns *
rows_columns(int id, const PGresult *res)
{
    struct rows_columns *known = atomic_load(&columns[id]);
    if (known != NULL)
        return known;
    int n = PQnfields(res);
    struct rows_columns *cols = calloc(1, sizeof *cols + (size_t)n * sizeof cols->col[0]);
    if (cols == NULL)
        return NULL;
    cols->n = n;
    for (int i = 0; i < n; i++) {
        struct column *c = &cols->col[i];
        const char *name = PQfname(res, i);
        const char *colon = strchr(name, ':');
        int len = colon != NULL ? (int)(colon - name) : (int)strlen(name);
        snprintf(c->name, sizeof c->name, "%.*s", len, name);
        const char *dot = strchr(c->name, '.');
        snprintf(c->prefix, sizeof c->prefix, "%.*s", dot != NULL ? (int)(dot - c->name) : 0, c->name);
        snprintf(c->key, sizeof c->key, "%s", dot != NULL ? dot + 1 : c->name);
        c->kind = kind_of(PQftype(res, i), colon != NULL ? colon + 1 : NULL);
        if (c->kind == K_SEALED)
            snprintf(c->field, sizeof c->field, "%.*s", (int)strcspn(colon + 8, ")"), colon + 8);
        if (name[0] == '_')
            c->kind = K_SILENT;
        c->is_version = strcmp(c->prefix, "_version") == 0;
    }
    if (!atomic_compare_exchange_strong(&columns[id], &known, cols)) {
        free(cols);   /* another thread was first */
        return known;
    }
    return cols;
}

static int
column_index(const struct rows *rows, const char *name)
{
    for (int i = 0; i < rows->cols->n; i++) {
        const char *is = rows->cols->col[i].name;
        if (is[0] == name[0] && is[1] == name[1] && strcmp(is, name) == 0)   /* most differ at once */
            return i;
    }
    log_error("a statement lacks a column", log_s("column", name));
    abort();
}

const char *
rows_text(const struct rows *rows, int i, const char *name)
{
    int c = column_index(rows, name);
    return PQgetisnull(rows->res, i, c) ? NULL : PQgetvalue(rows->res, i, c);
}

int64_t
rows_int(const struct rows *rows, int i, const char *name)
{
    const char *text = rows_text(rows, i, name);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

bool
rows_bool(const struct rows *rows, int i, const char *name)
{
    const char *text = rows_text(rows, i, name);
    return text != NULL && text[0] == 't';
}

bool
rows_null(const struct rows *rows, int i, const char *name)
{
    return rows_text(rows, i, name) == NULL;
}

const char *
rows_sealed(struct arena *a, const struct rows *rows, int i, const char *name)
{
    int c = column_index(rows, name);
    if (PQgetisnull(rows->res, i, c))
        return NULL;
    size_t len = (size_t)PQgetlength(rows->res, i, c);
    char *out = arena_alloc(a, len + 1);
    return db_unseal(rows->cols->col[c].field, PQgetvalue(rows->res, i, c), len, out, &len) ? out : NULL;
}

const char *
rows_version(struct arena *a, const struct rows *rows, size_t *len)
{
    const struct rows_columns *cols = rows->cols;
    size_t n = 0;
    for (int i = 0; i < rows->n; i++)
        for (int k = 0; k < cols->n; k++)
            if (cols->col[k].is_version)
                n += (size_t)PQgetlength(rows->res, i, k) + 1;
    char *all = arena_alloc(a, n), *p = all;
    for (int i = 0; i < rows->n; i++)
        for (int k = 0; k < cols->n; k++)
            if (cols->col[k].is_version) {
                size_t with_nul = (size_t)PQgetlength(rows->res, i, k) + 1;   /* so that 1 and 23 are not 12 and 3 */
                memcpy(p, PQgetvalue(rows->res, i, k), with_nul);
                p += with_nul;
            }
    *len = n;
    return all;
}

static bool
write_sealed(struct jw *j, const struct column *c, const char *value, size_t len)
{
    char small[512];
    char *plain = len < sizeof small ? small : malloc(len + 1);
    size_t plain_len;
    if (plain == NULL)
        abort();
    bool opened = db_unseal(c->field, value, len, plain, &plain_len);
    if (opened)
        jw_strn(j, c->key, plain, plain_len);
    else
        jw_null(j, c->key);
    if (plain != small)
        free(plain);
    return opened;
}

/* A listing's id, as the signed URL of its first photo in small. */
static void
write_thumbnail(struct jw *j, const struct column *c, const char *listing)
{
    char folder[64], url[SHAPE_URL_MAX];
    snprintf(folder, sizeof folder, "listings/%s/device", listing);
    shape_url(folder, "photo1_thumb.jpg", time(NULL), url);
    jw_str(j, c->key, url);
}

bool
rows_members(struct jw *j, const struct rows *rows, int i)
{
    const char *prefix = "";
    bool whole = true;
    for (int k = 0; k < rows->cols->n; k++) {
        const struct column *c = &rows->cols->col[k];
        if (c->kind == K_SILENT)
            continue;
        if ((*prefix | *c->prefix) != '\0' && strcmp(prefix, c->prefix) != 0) {
            if (*prefix != '\0')
                jw_end(j);
            if (*c->prefix != '\0')
                jw_object(j, c->prefix);
            prefix = c->prefix;
        }
        if (PQgetisnull(rows->res, i, k)) {
            jw_null(j, c->key);
            continue;
        }
        const char *value = PQgetvalue(rows->res, i, k);
        size_t len = (size_t)PQgetlength(rows->res, i, k);
        switch (c->kind) {
        case K_BARE: case K_JSON: jw_raw(j, c->key, value, len); break;
        case K_BOOL: jw_bool(j, c->key, value[0] == 't'); break;
        case K_TIME: jw_time(j, c->key, value); break;
        case K_RUPEES: jw_rupees(j, c->key, strtoll(value, NULL, 10)); break;
        case K_SEALED: whole &= write_sealed(j, c, value, len); break;
        case K_THUMBNAIL: write_thumbnail(j, c, value); break;
        case K_STRING: case K_SILENT: jw_strn(j, c->key, value, len); break;
        }
    }
    if (*prefix != '\0')
        jw_end(j);
    return whole;
}

void
rows_elements(struct jw *j, const struct rows *rows)
{
    for (int i = 0; i < rows->n; i++) {
        jw_object(j, NULL);
        (void)rows_members(j, rows, i);
        jw_end(j);
    }
}

void
rows_json(struct jw *j, const char *key, const struct rows *rows)
{
    jw_array(j, key);
    rows_elements(j, rows);
    jw_end(j);
}
