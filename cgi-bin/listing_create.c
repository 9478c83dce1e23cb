/* listing_create -- POST /listings: somebody hands in a phone.
 *
 * All or nothing, in this order: the form is read into a stage (files nobody sees), judged, its photos
 * are worked on by image workers, still in the stage; then the row is inserted, the folder is published
 * by a rename (or to the bucket), and the transaction commits.  Whatever fails before the commit takes everything
 * with it; a crash between rename and commit leaves a folder without a row, which selliko-purge finds.
 *
 * Photos cost seconds of CPU, so only a few forms are worked on at once.  The others wait for their turn without
 * holding what the program's short requests need (a connection, one of their threads).  And an IMEI that is taken is refused before, not after.  The claim on the IMEI that
 * counts is the primary key of listing_imeis. */
#include "listing_create.h"

#include "app.h"
#include "config.h"
#include "crypto.h"
#include "encoding.h"
#include "fileurl.h"
#include "form.h"
#include "idempotency.h"
#include "image.h"
#include "metrics.h"
#include "store.h"
#include "valid.h"

#include <semaphore.h>

enum { PHOTOS_MIN = 4, PHOTOS_MAX = 6, FORMS_AT_ONCE = 2, WORKER_TIMEOUT_MS = 45000 /* nginx waits 60 s for us */ };

#define ROUTE "POST /listings"

static struct store *store;
static sem_t room;   /* forms that are being worked on */

void
listing_create_init(void)
{
    if (store_open_configured(&store) != STORE_OK || sem_init(&room, 0, FORMS_AT_ONCE) != 0)
        exit(1);
    image_setup((unsigned)config()->photo_jobs);
}

/* What the form says of the phone. */
struct phone {
    char id[CRYPTO_UUID_SIZE];
    const char *brand, *model, *storage, *color, *condition, *imei1, *imei2, *description;
    const char *warranty_type, *warranty_expiry, *street, *landmark, *city, *state, *pincode, *pickup_time, *contact;
    int64_t battery, asking_paise;
    bool has_warranty;
    const struct upload_file *photo[PHOTOS_MAX], *bill;
    int n_photos;
};

static bool
is_photo(enum file_type type)
{
    return type == FILE_JPEG || type == FILE_PNG || type == FILE_WEBP;
}

static bool
is_bill(enum file_type type)
{
    return type == FILE_JPEG || type == FILE_PNG || type == FILE_PDF;
}

/* The file called NAME, NULL when there is none; noted when it is of no fitting type. */
static const struct upload_file *
read_file(struct req *r, const struct upload *form, const char *name, bool (*fits)(enum file_type), const char *what)
{
    const struct upload_file *f = upload_file(form, name);
    const struct upload_field *text = upload_field(form, name);
    if (text != NULL && text->len > 0)
        wrong(r, name, "must be a file");
    if (f != NULL && !fits(f->type))
        wrong(r, name, what);
    return f;
}

static void
read_photos(struct req *r, const struct upload *form, struct phone *p)
{
    for (int i = 0; i < PHOTOS_MAX; i++) {
        const char *name = arena_printf(r->arena, "devicePhoto%d", i);
        const struct upload_file *f = read_file(r, form, name, is_photo, "must be a JPEG, PNG or WebP picture");
        if (f != NULL)
            p->photo[p->n_photos++] = f;
    }
    if (p->n_photos < PHOTOS_MIN)
        wrong(r, "devicePhotos", "must be four to six photos, devicePhoto0 to devicePhoto5");
    for (size_t i = 0; i < form->n_files; i++) {
        const char *name = form->files[i].name;
        if (strncmp(name, "devicePhoto", 11) == 0 && !(name[11] >= '0' && name[11] <= '5' && name[12] == '\0'))
            wrong(r, name, "is one photo too many: there are devicePhoto0 to devicePhoto5");
    }
    p->bill = read_file(r, form, "billPhoto", is_bill, "must be a JPEG or PNG picture, or a PDF");
}

static void
read_form(struct req *r, const struct upload *form, struct phone *p)
{
    p->brand = body_text(r, "brand", 1, 100);
    p->model = body_text(r, "model", 1, 100);
    p->storage = body_text(r, "storage", 1, 50);
    p->color = body_text(r, "color", 1, 50);
    p->condition = body_choice(r, "condition", "Excellent|Good|Fair|Poor");
    p->imei1 = body_match(r, "imei1", valid_imei, "15 digits");
    p->imei2 = body_has(r, "imei2") ? body_match(r, "imei2", valid_imei, "15 digits") : NULL;
    if (p->imei1 != NULL && p->imei2 != NULL && strcmp(p->imei1, p->imei2) == 0)
        wrong(r, "imei2", "must be another one than imei1");
    p->battery = body_int(r, "batteryHealth", 1, 100);
    p->asking_paise = body_rupees(r, "askingPrice", PRICE_MIN_PAISE, PRICE_MAX_PAISE);
    p->description = body_lines(r, "description", 0, 5000);
    p->has_warranty = body_bool(r, "hasWarranty");
    p->warranty_type = or_null(body_text(r, "warrantyType", 0, 200));
    p->warranty_expiry = body_has(r, "warrantyExpiry") ? body_time(r, "warrantyExpiry") : NULL;
    p->street = body_text(r, "streetAddress", 1, 200);
    p->landmark = or_null(body_text(r, "landmark", 0, 200));
    p->city = body_text(r, "city", 1, 100);
    p->state = body_has(r, "state") ? body_text(r, "state", 1, 100) : "Kerala";
    p->pincode = body_match(r, "pincode", valid_pincode, "6 digits");
    p->pickup_time = body_choice(r, "pickupTime", "morning|afternoon|evening");
    p->contact = or_null(body_text(r, "contactName", 0, 100));
    read_photos(r, form, p);
}

/* Work on all pictures side by side, in the stage's folder out/.  False when some are no pictures: noted. */
static bool
make_pictures(struct req *r, const struct upload *form, struct phone *p)
{
    struct image_job job[PHOTOS_MAX + 1];
    const char *field[PHOTOS_MAX + 1];
    const char *stage = store_stage_path(form->stage);
    int n = 0;
    if (store_stage_mkdir(form->stage, "out/device") != STORE_OK
        || (p->bill != NULL && store_stage_mkdir(form->stage, "out/bill") != STORE_OK))
        give_up(r, ERR_UNAVAILABLE);
    const char *device = arena_printf(r->arena, "%s/out/device", stage);
    for (int i = 0; i < p->n_photos; i++) {
        field[n] = p->photo[i]->name;
        job[n++] = (struct image_job){ .kind = IMAGE_PHOTO, .source = p->photo[i]->path, .dir = device,
                                       .name = arena_printf(r->arena, "photo%d", i + 1) };
    }
    if (p->bill != NULL) {
        field[n] = p->bill->name;
        job[n++] = (struct image_job){ .kind = IMAGE_BILL, .source = p->bill->path, .name = "bill",
                                       .dir = arena_printf(r->arena, "%s/out/bill", stage) };
    }
    image_run(config()->photo_worker, WORKER_TIMEOUT_MS, job, (size_t)n);
    for (int i = 0; i < n; i++) {
        const char *problem = image_problem(job[i].status);
        if (problem != NULL)
            wrong(r, field[i], problem);
        else if (job[i].status != IMAGE_OK)
            give_up(r, ERR_UNAVAILABLE);
    }
    return !bad_input(r);
}

/* ---- the row ---- */

static void
put_sealed(struct req *r, struct jw *j, const char *key, const char *field, const struct phone *p, const char *plain)
{
    char *sealed = arena_alloc(r->arena, CRYPTO_SEALED_TEXT_SIZE(strlen(plain)));
    if (crypto_seal_text(sealed, field, p->id, plain, strlen(plain)) == 0)
        give_up(r, ERR_UNAVAILABLE);
    jw_str(j, key, sealed);
}

static const char *
imei_hash(struct req *r, const char *imei)
{
    char *hash = arena_alloc(r->arena, CRYPTO_LOOKUP_TEXT_SIZE);
    if (!crypto_lookup_text("imei", imei, hash))
        give_up(r, ERR_UNAVAILABLE);
    return hash;
}

static void
put_imei(struct req *r, struct jw *j, const struct phone *p, const char *imei, const char *const key[3], const char *field)
{
    put_sealed(r, j, key[0], field, p, imei);
    jw_str(j, key[1], imei_hash(r, imei));
    jw_str(j, key[2], imei + strlen(imei) - 4);
}

static const char *
row_of(struct req *r, const struct phone *p)
{
    struct jw *j = jw_new(r->arena);
    jw_object(j, NULL);
    jw_str(j, "id", p->id);
    jw_str(j, "client_id", r->user.id);
    jw_str(j, "brand", p->brand);
    jw_str(j, "model", p->model);
    jw_str(j, "storage", p->storage);
    jw_str(j, "color", p->color);
    jw_str(j, "condition", p->condition);
    put_imei(r, j, p, p->imei1, (const char *const[]){ "imei1_sealed", "imei1_hash", "imei1_last4" }, "listings.imei1");
    if (p->imei2 != NULL)
        put_imei(r, j, p, p->imei2, (const char *const[]){ "imei2_sealed", "imei2_hash", "imei2_last4" }, "listings.imei2");
    jw_int(j, "battery_health", p->battery);
    jw_int(j, "asking_price", p->asking_paise);
    jw_str(j, "description", p->description);
    jw_int(j, "photo_count", p->n_photos);
    jw_str(j, "bill_ext", p->bill == NULL ? NULL : p->bill->type == FILE_PDF ? "pdf" : p->bill->type == FILE_PNG ? "png" : "jpg");
    jw_bool(j, "has_warranty", p->has_warranty);
    jw_str(j, "warranty_type", p->warranty_type);
    jw_str(j, "warranty_expiry", p->warranty_expiry);
    put_sealed(r, j, "street_sealed", "listings.street", p, p->street);
    if (p->landmark != NULL)
        put_sealed(r, j, "landmark_sealed", "listings.landmark", p, p->landmark);
    jw_str(j, "city", p->city);
    jw_str(j, "state", p->state);
    jw_str(j, "pincode", p->pincode);
    jw_str(j, "pickup_time", p->pickup_time);
    jw_object(j, "metadata");
    if (p->contact != NULL)
        jw_str(j, "contactName", p->contact);
    jw_bool(j, "imeiChecksumValid", valid_luhn(p->imei1));
    jw_end(j);
    jw_end(j);
    return jw_text(j, NULL);
}

/* A published folder whose row is not committed yet: removed when the request ends early. */
struct published {
    const char *key;
    bool kept;
};

static void
unpublish(void *what)
{
    struct published *p = what;
    if (!p->kept)
        (void)store_delete(store, p->key);
}

SQL(taken, "SELECT EXISTS (SELECT FROM listing_imeis WHERE imei_hash IN ($1, $2)) AS taken");
SQL(insert, "SELECT create_listing($1::jsonb) AS code");

static void
make_room(void *unused)
{
    (void)unused;
    sem_post(&room);
}

/* Pictures, row, folder and answer, in one transaction. */
static reply
create(struct req *r, const struct upload *form, struct phone *p, const char *hash)
{
    const char *second = p->imei2 != NULL ? imei_hash(r, p->imei2) : NULL;
    if (rows_bool(db_the_row(r, taken, imei_hash(r, p->imei1), second), 0, "taken"))
        return fail(r, ERR_DUPLICATE_IMEI);
    db_let_go(r);
    if (!make_pictures(r, form, p))
        return refuse_input(r);

    if (r->idempotency_key == NULL)
        db_begin(r);
    if (strcmp(rows_text(db_the_row(r, insert, row_of(r, p)), 0, "code"), "ok") != 0)
        return fail(r, ERR_DUPLICATE_IMEI);
    struct published *folder = arena_zalloc(r->arena, 1, sizeof *folder);
    folder->key = arena_printf(r->arena, "listings/%s", p->id);
    arena_own(r->arena, folder, unpublish);
    if (store_publish_folder(form->stage, "out", folder->key) != STORE_OK)
        give_up(r, ERR_UNAVAILABLE);
    reply first = listing_answer(r, p->id, created);
    if (r->idempotency_key != NULL)
        idempotency_keep(r, ROUTE, hash, first);
    folder->kept = true;   /* whether a commit whose answer was lost happened, only the row can tell: purge asks it */
    db_commit(r);
    metrics_add(METRICS_FILE_UPLOADS, (uint64_t)p->n_photos + (p->bill != NULL));
    db_wake_later(r, "selliko_events");
    return first;
}

/* POST /listings (multipart/form-data) -> the listing, pending.  duplicate_imei, payload_too_large,
 * malformed_multipart. */
reply
listing_create(struct req *r)
{
    struct upload *form;
    reply done;
    if (!form_read(r, store, &form, &done))
        return done;
    struct phone p = { .id = "" };
    read_form(r, form, &p);
    char hex[65];
    (void)encoding_hex(hex, form->digest, sizeof form->digest);
    const char *hash = arena_printf(r->arena, "\\x%s", hex);
    if (bad_input(r))
        return idempotency_refusal(r, ROUTE, hash, refuse_input(r));
    crypto_uuid7(p.id);

    while (sem_wait(&room) != 0)
        ;
    arena_own(r->arena, &room, make_room);
    if (r->idempotency_key != NULL) {
        db_begin(r);
        if (!idempotency_claim(r, ROUTE, hash, &done))
            return done;
    }
    done = create(r, form, &p, hash);
    if (r->idempotency_key != NULL && reply_status(done) >= 400) {
        idempotency_keep(r, ROUTE, hash, done);
        db_commit(r);
    }
    return done;
}
