/* files -- who may fetch a stored file, and the agent's photos of a verification.
 *
 * nginx serves the bytes; before it does it asks here (auth_request) whether the URL's signature is right,
 * and keeps the answer as long as the URL lives.  Where files are in a bucket the answer also says where nginx
 * gets this one: a path that is signed for the bucket, for a while.
 *
 * A verification photo is stored before the task that it proves is completed, under a name of its own;
 * nothing in the database knows of it until an agent names its URL there (agent.c). */
#include "app.h"

#include "config.h"
#include "crypto.h"
#include "fileurl.h"
#include "form.h"
#include "image.h"
#include "metrics.h"
#include "s3.h"
#include "shape.h"
#include "store.h"

#include <semaphore.h>

#define ROUTES(X) \
    X(GET,  "/_verify",            verify_url,   UNASKED, 0) \
    X(POST, "/files/verification", upload_proof, AGENT, STREAMS)
ROUTES(ROUTE_PROTOTYPE)

enum {
    PHOTOS_AT_ONCE = 2,
    WORKER_TIMEOUT_MS = 45000 /* nginx waits 60 s for us */,
    /* A path of the bucket outlives the verdict that carries it.  Both are short, so that new credentials
     * are in use soon. */
    VERDICT_S = 900,
    BUCKET_PATH_S = 1800,
};

static struct store *store;
static sem_t room;   /* photos that are being worked on: verdicts must not wait for them */

/* The subrequest of nginx, with the client's query as its own: 204, which nginx may keep until the URL
 * expires, or 403 for what is unsigned, tampered with or expired. */
static reply
verify_url(struct req *r)
{
    const char *path = req_header(r, "X-File-Path");
    switch (fileurl_verify(path != NULL ? path : "", r->query, req_now(r))) {
    case FILEURL_OK: {
        int64_t left = query_int(r, "exp", 0, INT64_MAX) - req_now(r);
        char bucket_path[S3_PATH_SIZE];
        if (store_presign(store, path + strlen("/files/"), req_now(r), BUCKET_PATH_S, bucket_path, sizeof bucket_path)) {
            header(r, "X-Bucket-Path", arena_printf(r->arena, "%s", bucket_path));
            left = left < VERDICT_S ? left : VERDICT_S;
        }
        header(r, "Cache-Control", arena_printf(r->arena, "max-age=%lld", (long long)(left > 1 ? left : 1)));
        return plain(r, 204, "text/plain", "", 0);
    }
    case FILEURL_EXPIRED: return failf(r, ERR_FORBIDDEN, "The link has expired.");
    case FILEURL_BAD: break;
    }
    return failf(r, ERR_FORBIDDEN, "The link is not valid.");
}

/* ---- verification photos ---- */

static void
make_room(void *unused)
{
    (void)unused;
    sem_post(&room);
}

SQL(is_agent, "SELECT agent_id = $2::uuid AS \"is\" FROM orders WHERE id = $1");

/* POST /files/verification (multipart/form-data: orderId, photo) by the order's agent -> its URL.
 * not_found, payload_too_large, malformed_multipart. */
static reply
upload_proof(struct req *r)
{
    struct upload *form;
    reply refusal;
    if (!form_read(r, store, &form, &refusal))
        return refusal;
    const char *order_id = body_uuid(r, "orderId");
    const struct upload_file *photo = upload_file(form, "photo");
    if (photo == NULL)
        wrong(r, "photo", body_has(r, "photo") ? "must be a file" : "is required");
    else if (photo->type != FILE_JPEG && photo->type != FILE_PNG && photo->type != FILE_WEBP)
        wrong(r, "photo", "must be a JPEG, PNG or WebP picture");
    if (bad_input(r))
        return refuse_input(r);
    const struct rows *order = db_row(r, is_agent, order_id, r->user.id);
    if (order == NULL || !rows_bool(order, 0, "is"))
        return failf(r, ERR_NOT_FOUND, "There is no such order.");

    char name[CRYPTO_UUID_SIZE];
    crypto_uuid7(name);
    db_let_go(r);
    struct image_job job = { .kind = IMAGE_PROOF, .source = photo->path, .dir = store_stage_path(form->stage), .name = name };
    while (sem_wait(&room) != 0)
        ;
    arena_own(r->arena, &room, make_room);
    image_run(config()->photo_worker, WORKER_TIMEOUT_MS, &job, 1);
    const char *problem = image_problem(job.status);
    if (problem != NULL)
        return fail_field(r, "photo", problem);
    const char *file = arena_printf(r->arena, "%s.jpg", name);
    if (job.status != IMAGE_OK
        || store_publish_file(form->stage, file, arena_printf(r->arena, "verification/%s/%s", order_id, file)) != STORE_OK)
        give_up(r, ERR_UNAVAILABLE);
    metrics_add(METRICS_FILE_UPLOADS, 1);

    char url[SHAPE_URL_MAX];
    shape_url(arena_printf(r->arena, "verification/%s", order_id), file, req_now(r), url);
    jw_str(answer(r), "url", url);
    return created(r);
}

static void
begin(void)
{
    if (store_open_configured(&store) != STORE_OK || sem_init(&room, 0, PHOTOS_AT_ONCE) != 0)
        exit(1);
    image_setup((unsigned)config()->photo_jobs);
}

APP_INIT("files", ROUTES, begin)
