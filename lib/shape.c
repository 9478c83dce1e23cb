/* shape -- see shape.h.  The columns are written by rows_members; here is what no column holds: the
 * signed URLs of files, and an address that is made from sealed parts. */
#include "shape.h"

#include "arena.h"
#include "config.h"
#include "fileurl.h"
#include "jw.h"

#include <json-c/json.h>

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

static void
release_json(void *o)
{
    json_object_put(o);
}

/* The photos of a task's report, of which the file names are kept, as URLs. */
static void
verification_photos(struct jw *j, struct json_object *names, const char *order_id, int64_t now)
{
    char folder[FILEURL_FOLDER_MAX], query[FILEURL_QUERY_SIZE], url[SHAPE_URL_MAX];
    snprintf(folder, sizeof folder, "verification/%s", order_id);
    (void)fileurl_query(folder, now, query);
    jw_array(j, "verificationPhotos");
    for (size_t i = 0; i < json_object_array_length(names); i++) {
        write_url(url, folder, json_object_get_string(json_object_array_get_idx(names, i)), query);
        jw_str(j, NULL, url);
    }
    jw_end(j);
}

/* What a task's report says; KEPT is NULL while there is none. */
static void
task_metadata(struct arena *a, struct jw *j, const char *kept, const char *order_id, int64_t now)
{
    struct json_object *o = kept != NULL ? json_tokener_parse(kept) : NULL, *member;
    arena_own(a, o, release_json);
    jw_object(j, "metadata");
    if (json_object_object_get_ex(o, "notes", &member) && member != NULL)
        jw_str(j, "notes", json_object_get_string(member));
    if (json_object_object_get_ex(o, "verificationPhotos", &member) && json_object_is_type(member, json_type_array))
        verification_photos(j, member, order_id, now);
    if (json_object_object_get_ex(o, "reason", &member) && member != NULL)
        jw_str(j, "reason", json_object_get_string(member));
    jw_end(j);
}

void
shape_task_object(struct arena *a, struct jw *j, const char *key, const struct rows *rows, int i, int64_t now)
{
    const char *street = rows_sealed(a, rows, i, "_street"), *landmark = rows_sealed(a, rows, i, "_landmark");

    jw_object(j, key);
    (void)rows_members(j, rows, i);
    jw_object(j, "clientContact");
    jw_str(j, "name", rows_text(rows, i, "_contact"));
    jw_str(j, "phone", rows_sealed(a, rows, i, "_phone"));
    jw_str(j, "address", arena_printf(a, "%s%s%s%s%s", street != NULL ? street : "", street != NULL ? ", " : "",
                                      landmark != NULL ? landmark : "", landmark != NULL ? ", " : "",
                                      rows_text(rows, i, "_city")));
    jw_end(j);
    task_metadata(a, j, rows_text(rows, i, "_metadata"), rows_text(rows, i, "orderId"), now);
    jw_end(j);
}
