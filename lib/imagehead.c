/* imagehead -- see imagehead.h.
 *
 * Sources: ITU T.81 annex B (JPEG markers), PNG third edition sections 5 and 11, RFC 9649 (WebP),
 * TIFF 6.0 section 2 (EXIF is a TIFF whose tag 0x0112 is the orientation). */
#include "imagehead.h"

#include <string.h>

/* Progressive JPEGs have about ten scans.  Each costs a pass over all coefficients, whatever its size,
 * so a file of many tiny ones keeps a decoder busy for minutes. */
#define SCANS_MAX 100

enum file_type
imagehead_type(const void *bytes, size_t len)
{
    const unsigned char *s = bytes;

    if (len >= 3 && memcmp(s, "\xff\xd8\xff", 3) == 0)
        return FILE_JPEG;
    if (len >= 8 && memcmp(s, "\x89PNG\r\n\x1a\n", 8) == 0)
        return FILE_PNG;
    if (len >= 12 && memcmp(s, "RIFF", 4) == 0 && memcmp(s + 8, "WEBP", 4) == 0)
        return FILE_WEBP;
    if (len >= 5 && memcmp(s, "%PDF-", 5) == 0)
        return FILE_PDF;
    return FILE_UNKNOWN;
}

const char *
imagehead_extension(enum file_type type)
{
    static const char *const extensions[] = {
        [FILE_UNKNOWN] = "", [FILE_JPEG] = "jpg", [FILE_PNG] = "png", [FILE_WEBP] = "webp", [FILE_PDF] = "pdf",
    };

    return extensions[type];
}

static uint32_t
be16(const unsigned char *s)
{
    return (uint32_t)s[0] << 8 | s[1];
}

static uint32_t
be32(const unsigned char *s)
{
    return be16(s) << 16 | be16(s + 2);
}

static uint32_t
le16(const unsigned char *s)
{
    return (uint32_t)s[1] << 8 | s[0];
}

static uint32_t
le24(const unsigned char *s)
{
    return (uint32_t)s[2] << 16 | le16(s);
}

static uint32_t
le32(const unsigned char *s)
{
    return le16(s + 2) << 16 | le16(s);
}

/* The orientation in a TIFF's first directory; 1 when there is none that makes sense.  A broken EXIF
 * block is no reason to refuse a picture. */
static unsigned
tiff_orientation(const unsigned char *s, size_t len)
{
    uint32_t (*u16)(const unsigned char *), (*u32)(const unsigned char *);
    uint32_t at, n;

    if (len >= 6 && memcmp(s, "Exif\0\0", 6) == 0)
        s += 6, len -= 6;
    if (len < 8)
        return 1;
    if (memcmp(s, "II*\0", 4) == 0)
        u16 = le16, u32 = le32;
    else if (memcmp(s, "MM\0*", 4) == 0)
        u16 = be16, u32 = be32;
    else
        return 1;
    at = u32(s + 4);
    if (at > len || len - at < 2)
        return 1;
    n = u16(s + at);
    for (at += 2; n > 0 && at <= len && len - at >= 12; n--, at += 12) {
        if (u16(s + at) != 0x0112)
            continue;
        uint32_t value = u16(s + at + 8); /* one SHORT, stored in the entry itself */
        return u16(s + at + 2) == 3 && value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

static bool
read_jpeg(const unsigned char *s, size_t len, struct imagehead *head)
{
    size_t at = 2;
    unsigned scans = 0;
    bool progressive = false;

    for (;;) {
        unsigned marker;
        uint32_t size;

        if (at >= len || s[at++] != 0xff)
            return false;
        while (at < len && s[at] == 0xff) /* fill bytes */
            at++;
        if (at >= len)
            return false;
        marker = s[at++];
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7))
            continue;
        if (marker == 0x00 || marker == 0xd8 || marker == 0xd9 || len - at < 2)
            return false;
        size = be16(s + at);
        if (size < 2 || len - at < size)
            return false;
        if (marker == 0xe1 && size >= 8 && memcmp(s + at + 2, "Exif\0\0", 6) == 0) {
            if (head->orientation == 0)
                head->orientation = tiff_orientation(s + at + 2, size - 2);
        } else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
            /* baseline, extended, progressive; nothing makes lossless, hierarchical or arithmetic ones */
            if (marker > 0xc2 || head->width != 0 || size < 8 || s[at + 2] != 8)
                return false;
            head->height = be16(s + at + 3);
            head->width = be16(s + at + 5);
            if (head->width == 0 || head->height == 0)
                return false;
            progressive = marker == 0xc2;
        } else if (marker == 0xda) {
            break;
        }
        at += size;
    }
    if (head->width == 0)
        return false;
    /* 0xff in the coded data is always followed by 0 or a restart, so this finds the scans only, up to
     * the picture's end (phones append a film) */
    while (progressive && at + 1 < len) {
        const unsigned char *ff = memchr(s + at, 0xff, len - 1 - at);
        if (ff == NULL || ff[1] == 0xd9)
            break;
        if (ff[1] == 0xda && ++scans > SCANS_MAX)
            return false;
        at = (size_t)(ff - s) + 1;
    }
    return true;
}

static bool
read_png(const unsigned char *s, size_t len, struct imagehead *head)
{
    bool data = false;

    for (size_t at = 8; len - at >= 12;) {
        uint32_t size = be32(s + at);
        const unsigned char *chunk = s + at + 8;

        if (size > len - at - 12)
            return false;
        if ((at == 8) != (memcmp(s + at + 4, "IHDR", 4) == 0))
            return false;
        if (at == 8) {
            if (size != 13)
                return false;
            head->width = be32(chunk);
            head->height = be32(chunk + 4);
            if (head->width == 0 || head->height == 0 || (head->width | head->height) > INT32_MAX)
                return false;
        } else if (memcmp(s + at + 4, "eXIf", 4) == 0) {
            head->orientation = tiff_orientation(chunk, size);
        } else if (memcmp(s + at + 4, "IDAT", 4) == 0) {
            data = true;
        } else if (memcmp(s + at + 4, "IEND", 4) == 0) {
            return data;
        }
        at += 12 + size;
    }
    return false;
}

/* The size in a VP8 or VP8L chunk's own header. */
static bool
read_webp_bitstream(const unsigned char *s, size_t len, bool lossless, struct imagehead *head)
{
    if (lossless) {
        if (len < 5 || s[0] != 0x2f)
            return false;
        head->width = (le32(s + 1) & 0x3fff) + 1;
        head->height = (le32(s + 1) >> 14 & 0x3fff) + 1;
    } else {
        /* a key frame: bit 0 of the tag is clear */
        if (len < 10 || (s[0] & 1) != 0 || memcmp(s + 3, "\x9d\x01\x2a", 3) != 0)
            return false;
        head->width = le16(s + 6) & 0x3fff;
        head->height = le16(s + 8) & 0x3fff;
    }
    return head->width != 0 && head->height != 0;
}

/* Chunks in LEN bytes, up to the picture.  Within an animation's frame nothing else matters. */
static bool
read_webp_chunks(const unsigned char *s, size_t len, bool in_frame, struct imagehead *head)
{
    bool found = false;
    uint32_t canvas_width = 0, canvas_height = 0;

    for (size_t at = 0; len - at >= 8;) {
        uint32_t size = le32(s + at + 4);
        const unsigned char *chunk = s + at + 8;

        if (size > len - at - 8)
            return false;
        if (memcmp(s + at, "VP8X", 4) == 0 && !in_frame) {
            if (at != 0 || size < 10)
                return false;
            canvas_width = le24(chunk + 4) + 1;
            canvas_height = le24(chunk + 7) + 1;
        } else if (memcmp(s + at, "EXIF", 4) == 0 && !in_frame) {
            head->orientation = tiff_orientation(chunk, size);
        } else if (memcmp(s + at, "ALPH", 4) == 0 && !found) {
            head->frame_alpha = true;
        } else if (memcmp(s + at, "ANMF", 4) == 0 && !found && !in_frame) {
            if (size < 16 || !read_webp_chunks(chunk + 16, size - 16, true, head))
                return false;
            head->animated = found = true;
            head->frame_at = (size_t)(chunk + 16 - s) + 12;
            head->frame_len = size - 16;
            canvas_width = 0; /* a frame may cover a part of the canvas only */
        } else if ((memcmp(s + at, "VP8 ", 4) == 0 || memcmp(s + at, "VP8L", 4) == 0) && !found) {
            if (!read_webp_bitstream(chunk, size, s[at + 3] == 'L', head))
                return false;
            found = true;
        }
        size += size & 1;
        if (size > len - at - 8)
            break; /* the padding of the last chunk is often left out */
        at += 8 + size;
    }
    return found && (canvas_width == 0 || (canvas_width == head->width && canvas_height == head->height));
}

static bool
read_webp(const unsigned char *s, size_t len, struct imagehead *head)
{
    uint32_t size = le32(s + 4);

    return size >= 12 && size <= len - 8 && read_webp_chunks(s + 12, size - 4, false, head);
}

bool
imagehead_read(const void *bytes, size_t len, struct imagehead *head)
{
    bool good = false;

    *head = (struct imagehead){.type = imagehead_type(bytes, len)};
    if (head->type == FILE_JPEG)
        good = read_jpeg(bytes, len, head);
    else if (head->type == FILE_PNG)
        good = read_png(bytes, len, head);
    else if (head->type == FILE_WEBP)
        good = read_webp(bytes, len, head);
    if (head->orientation == 0)
        head->orientation = 1;
    return good;
}

bool
imagehead_is_pdf(const void *bytes, size_t len)
{
    const char *s = bytes;

    while (len > 0 && s[len - 1] == '\0')    /* some programs fill up the last block */
        len--;
    size_t tail = len < 1024 ? len : 1024;
    return imagehead_type(bytes, len) == FILE_PDF && memmem(s + len - tail, tail, "%%EOF", 5) != NULL;
}
