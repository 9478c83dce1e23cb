/* shape -- see shape.h.  The columns are written by rows_members; here is what no column holds: the
 * signed URLs of files, and an address that is made from sealed parts. */
#include "shape.h"

#include "arena.h"
#include "config.h"
#include "fileurl.h"
#include "jr.h"
#include "jw.h"

/* Where file URLs begin: the CDN that stands before this service, or the service itself. */
static const char *
base(void)
{
    const struct config *c = config();
    return c->s3_cdn_url != NULL ? c->s3_cdn_url : c->api_base_url;
}

static void
write_url(char out[SHAPE_URL_MAX], const char *folder, const char *name, const char *query)
{
    snprintf(out, SHAPE_URL_MAX, "%s/files/%s/%s%s", base(), folder, name, query);
}

void
shape_url(const char *folder, const char *name, int64_t now, char out[SHAPE_URL_MAX])
{
    char query[FILEURL_QUERY_SIZE];
    (void)fileurl_query(folder, now, query);
    write_url(out, folder, name, query);
}

const char *
shape_url_path(const char *url)
{
    size_t len = strlen(base());
    return strncmp(url, base(), len) == 0 && strncmp(url + len, "/files/", 7) == 0 ? url + len : NULL;
}

static void
photo_url(struct jw *j, const char *key, const char *folder, int n, const char *suffix, const char *query)
{
    char name[32], url[SHAPE_URL_MAX];
    snprintf(name, sizeof name, "photo%d%s", n, suffix);
    write_url(url, folder, name, query);
    jw_str(j, key, url);
}

void
shape_listing(struct jw *j, const struct rows *rows, int i, enum shape shape, int64_t now)
{
    (void)rows_members(j, rows, i);
    const char *id = rows_text(rows, i, "id");
    int photos = (int)rows_int(rows, i, "_photo_count");
    const char *bill = rows_text(rows, i, "_bill_ext");
    char folder[FILEURL_FOLDER_MAX], query[FILEURL_QUERY_SIZE], url[SHAPE_URL_MAX];

    snprintf(folder, sizeof folder, "listings/%s/device", id);
    (void)fileurl_query(folder, now, query);
    jw_array(j, "devicePhotos");
    for (int n = 1; n <= photos; n++)
        photo_url(j, NULL, folder, n, "_full.jpg", query);
    jw_end(j);
    photo_url(j, "thumbnail", folder, 1, "_thumb.jpg", query);
    if (shape == SHAPE_ALONE) {
        jw_array(j, "photos");
        for (int n = 1; n <= photos; n++) {
            jw_object(j, NULL);
            photo_url(j, "thumb", folder, n, "_thumb.jpg", query);
            photo_url(j, "medium", folder, n, "_medium.jpg", query);
            photo_url(j, "full", folder, n, "_full.jpg", query);
            photo_url(j, "webp", folder, n, ".webp", query);
            jw_end(j);
        }
        jw_end(j);
    }
    if (bill != NULL) {
        char name[16];
        snprintf(name, sizeof name, "bill.%s", bill);
        snprintf(folder, sizeof folder, "listings/%s/bill", id);
        shape_url(folder, name, now, url);
        jw_str(j, "billPhoto", url);
    } else {
        jw_null(j, "billPhoto");
    }
}

void
shape_listing_object(struct jw *j, const char *key, const struct rows *rows, int i, enum shape shape, int64_t now)
{
    jw_object(j, key);
    shape_listing(j, rows, i, shape, now);
    jw_end(j);
}

/* The photos of a task's report, of which the file names are kept, as URLs. */
static void
verification_photos(struct arena *a, struct jw *j, struct jr names, const char *order_id, int64_t now)
{
    char folder[FILEURL_FOLDER_MAX], query[FILEURL_QUERY_SIZE], url[SHAPE_URL_MAX];
    snprintf(folder, sizeof folder, "verification/%s", order_id);
    (void)fileurl_query(folder, now, query);
    jw_array(j, "verificationPhotos");
    for (struct jr_walk w = jr_walk(names); jr_next(&w);) {
        write_url(url, folder, jr_text(a, w.value, NULL), query);
        jw_str(j, NULL, url);
    }
    jw_end(j);
}

/* What a task's report says; KEPT is NULL while there is none. */
static void
task_metadata(struct arena *a, struct jw *j, const char *kept, const char *order_id, int64_t now)
{
    struct jr o = { .kind = JR_ABSENT };
    if (kept != NULL)
        (void)jr_check(kept, strlen(kept), 8, &o);
    struct jr notes = jr_member_of(o, "notes", JR_STRING), photos = jr_member_of(o, "verificationPhotos", JR_ARRAY),
              reason = jr_member_of(o, "reason", JR_STRING);
    jw_object(j, "metadata");
    if (notes.kind != JR_ABSENT)
        jw_str(j, "notes", jr_text(a, notes, NULL));
    if (photos.kind != JR_ABSENT)
        verification_photos(a, j, photos, order_id, now);
    if (reason.kind != JR_ABSENT)
        jw_str(j, "reason", jr_text(a, reason, NULL));
    jw_end(j);
}

/* A sealed column, NULL for null; WHOLE becomes false when it does not open. */
static const char *
opened(struct arena *a, const struct rows *rows, int i, const char *name, bool *whole)
{
    const char *text = rows_sealed(a, rows, i, name);
    *whole &= text != NULL || rows_null(rows, i, name);
    return text;
}

bool
shape_task_object(struct arena *a, struct jw *j, const char *key, const struct rows *rows, int i, int64_t now)
{
    bool whole = true;
    const char *street = opened(a, rows, i, "_street", &whole), *landmark = opened(a, rows, i, "_landmark", &whole);

    jw_object(j, key);
    (void)rows_members(j, rows, i);
    jw_object(j, "clientContact");
    jw_str(j, "name", rows_text(rows, i, "_contact"));
    jw_str(j, "phone", opened(a, rows, i, "_phone", &whole));
    jw_str(j, "address", arena_printf(a, "%s%s%s%s%s", street != NULL ? street : "", street != NULL ? ", " : "",
                                      landmark != NULL ? landmark : "", landmark != NULL ? ", " : "",
                                      rows_text(rows, i, "_city")));
    jw_end(j);
    task_metadata(a, j, rows_text(rows, i, "_metadata"), rows_text(rows, i, "orderId"), now);
    jw_end(j);
    return whole;
}
