/* image -- pictures and bills made fit to publish, by worker processes.
 *
 * The work is done by libexec/selliko-photo (see there what it makes, and how it is confined), one process
 * a file.  What a hostile picture does to its worker is an error of that picture and of nothing else.
 *
 * image_run may be called by any number of threads at once; all of them together never have more workers
 * than image_setup allows.  The process must not ignore SIGCHLD nor reap children that are not its own. */
#ifndef SELLIKO_IMAGE_H
#define SELLIKO_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum image_kind {
    IMAGE_PHOTO, /* NAME_full.jpg, NAME_medium.jpg, NAME_thumb.jpg, NAME.webp */
    IMAGE_PROOF, /* NAME.jpg */
    IMAGE_BILL,  /* NAME.jpg, NAME.png or NAME.pdf, after the source's type */
};

enum image_status {
    IMAGE_OK,
    IMAGE_UNSUPPORTED, /* the bytes are of no type that this kind takes */
    IMAGE_UNDECODABLE, /* broken, cut short, forged, or it broke its worker */
    IMAGE_TOO_LARGE,   /* more than 50 megapixels */
    IMAGE_STORAGE,     /* ours: the results could not be written (disk full) */
    IMAGE_FAILED,      /* ours: the worker could not be started, or was too slow on a busy machine */
};

/* The worker's exit status when it could not say how it went: ours, not the file's. */
enum { IMAGE_UNSAID = 74 };

/* One file's work.  The strings are the caller's and must live until image_run returns. */
struct image_job {
    enum image_kind kind;
    const char *source; /* path of the file as it was uploaded */
    const char *dir;    /* an existing folder for the results */
    const char *name;   /* how their names begin: "photo1" */

    /* filled by image_run */
    enum image_status status;
    uint32_t width, height; /* of the largest result; 0 for a PDF */
    char extension[5];      /* of the largest result: "jpg", "png", "pdf" */
};

/* How many workers this process may have at once (2 when never called).  Before the first image_run. */
void image_setup(unsigned workers_max);

/* Do N jobs with the program at path WORKER and wait for all of them, side by side as far as image_setup
 * allows.  A job that takes longer than TIMEOUT_MS from its worker's start is killed.  Each job's status says
 * how it went; what an unsuccessful job left in its dir is the caller's to remove.  Cannot fail otherwise. */
void image_run(const char *worker, int timeout_ms, struct image_job *jobs, size_t n);

/* What to tell a person about STATUS, beginning with a verb ("is not a readable picture"); NULL for
 * IMAGE_OK and for what is our own trouble. */
const char *image_problem(enum image_status status);

#endif
