/* imagehead -- what a file is, told from its bytes, and how large a picture it says it holds.
 *
 * Reads JPEG, PNG and WebP containers without decoding a pixel and without allocating, so that a header
 * which promises 20,000 x 20,000 pixels costs nothing.  It checks what a decoder would find out late or
 * not at all: that the file is whole (PNG to its IEND, WebP to its RIFF size), and the number of scans of
 * a progressive JPEG.  The pixels themselves may still be broken.  Pure functions, any thread. */
#ifndef SELLIKO_IMAGEHEAD_H
#define SELLIKO_IMAGEHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum file_type { FILE_UNKNOWN, FILE_JPEG, FILE_PNG, FILE_WEBP, FILE_PDF };

/* So many first bytes are enough for imagehead_type. */
#define IMAGEHEAD_TYPE_LEN 12

/* What the first LEN bytes say; FILE_UNKNOWN when they say nothing, or LEN is too small. */
enum file_type imagehead_type(const void *bytes, size_t len);

/* "jpg", "png", "webp", "pdf"; "" for FILE_UNKNOWN. */
const char *imagehead_extension(enum file_type type);

struct imagehead {
    enum file_type type;
    uint32_t width, height;  /* as stored, before the orientation is applied; never 0 */
    unsigned orientation;    /* EXIF's 1 to 8; 1 when the file has none or a senseless one */
    bool animated;           /* a WebP with frames; of an APNG only the still picture is ever read */
    size_t frame_at;         /* animated: where the first frame's chunks are in the file, */
    size_t frame_len;        /*   how long they are, */
    bool frame_alpha;        /*   and whether an ALPH chunk is among them; width and height are its own */
};

/* Read a whole file of LEN bytes.  False when it is no JPEG, PNG or WebP that a phone, a browser or a
 * camera makes, or not all of it. */
bool imagehead_read(const void *bytes, size_t len, struct imagehead *head);

/* Whether a whole file of LEN bytes is a PDF: it begins with %PDF- and has %%EOF near its end (PDF 1.7
 * appendix H.3.18 and H.3.4: readers take junk after it, we take up to 1,024 bytes). */
bool imagehead_is_pdf(const void *bytes, size_t len);

#endif
