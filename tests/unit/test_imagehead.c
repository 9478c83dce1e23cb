/* imagehead: types, sizes and orientations from hand-made headers; the real files are test_image's. */
#include "../../lib/imagehead.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define BYTES(s) s, sizeof(s) - 1

#define SOI "\xff\xd8"
#define SOF(kind) "\xff" kind "\0\x0b\x08\0\x64\0\xc8\x01\x01\x11\0" /* 200 x 100 */
#define SOS "\xff\xda\0\x08\x01\x01\0\0\x3f\0"
#define EXIF_BE(o) "\xff\xe1\0\x22" "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" o "\0\0\0\0\0\0"
#define EXIF_LE(o) "\xff\xe1\0\x22" "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" o "\0\0\0\0\0\0\0"

static void
types_come_from_the_first_bytes(void **state)
{
    (void)state;
    assert_int_equal(imagehead_type(BYTES("\xff\xd8\xff\xdb")), FILE_JPEG);
    assert_int_equal(imagehead_type(BYTES("\x89PNG\r\n\x1a\n")), FILE_PNG);
    assert_int_equal(imagehead_type(BYTES("RIFF\0\0\0\0WEBP")), FILE_WEBP);
    assert_int_equal(imagehead_type(BYTES("RIFF\0\0\0\0WAVE")), FILE_UNKNOWN);
    assert_int_equal(imagehead_type(BYTES("%PDF-1.7")), FILE_PDF);
    assert_int_equal(imagehead_type(BYTES("\xff\xd8")), FILE_UNKNOWN);
    assert_int_equal(imagehead_type(BYTES("")), FILE_UNKNOWN);
    assert_string_equal(imagehead_extension(FILE_JPEG), "jpg");
}

static void
a_jpegs_size_and_orientation_are_found(void **state)
{
    struct imagehead head;

    (void)state;
    assert_true(imagehead_read(BYTES(SOI SOF("\xc0") SOS), &head));
    assert_int_equal(head.width, 200);
    assert_int_equal(head.height, 100);
    assert_int_equal(head.orientation, 1);
    assert_true(imagehead_read(BYTES(SOI EXIF_BE("\x06") SOF("\xc2") SOS), &head));
    assert_int_equal(head.orientation, 6);
    assert_true(imagehead_read(BYTES(SOI EXIF_LE("\x08") "\xff\xff" SOF("\xc1") SOS), &head));
    assert_int_equal(head.orientation, 8);
    assert_true(imagehead_read(BYTES(SOI EXIF_LE("\x09") SOF("\xc0") SOS), &head));
    assert_int_equal(head.orientation, 1);
}

static void
jpegs_that_nothing_makes_are_refused(void **state)
{
    static const char many[] = SOI SOF("\xc2") SOS;
    char scans[sizeof many + 1000];
    struct imagehead head;

    (void)state;
    assert_false(imagehead_read(BYTES(SOI SOS), &head));
    assert_false(imagehead_read(BYTES(SOI SOF("\xc0")), &head));
    assert_false(imagehead_read(BYTES(SOI SOF("\xc0") SOF("\xc0") SOS), &head));
    assert_false(imagehead_read(BYTES(SOI SOF("\xc3") SOS), &head));
    assert_false(imagehead_read(BYTES(SOI SOF("\xc9") SOS), &head));
    assert_false(imagehead_read(BYTES(SOI "\xff\xc0\0\x0b\x0c\0\x64\0\xc8\x01\x01\x11\0" SOS), &head));
    assert_false(imagehead_read(BYTES(SOI "\xff\xc0\0\x0b\x08\0\0\0\xc8\x01\x01\x11\0" SOS), &head));
    assert_false(imagehead_read(BYTES(SOI "\xff\xe0\0\x01" SOF("\xc0") SOS), &head));
    assert_false(imagehead_read(BYTES(SOI "\xff\xe0\xff\xff" SOF("\xc0") SOS), &head));
    assert_false(imagehead_read(BYTES(SOI "\xff\xd9"), &head));
    memcpy(scans, many, sizeof many - 1);
    for (size_t i = sizeof many - 1; i < sizeof scans; i++)
        scans[i] = (i & 1) != 0 ? '\xff' : '\xda';
    assert_false(imagehead_read(scans, sizeof scans, &head));
}

#define CHUNK(len, type, data) "\0\0\0" len type data "crc."
#define PNG "\x89PNG\r\n\x1a\n"
#define IHDR CHUNK("\x0d", "IHDR", "\0\0\0\xc8\0\0\0\x64\x08\x02\0\0\0")

static void
a_png_is_read_to_its_end(void **state)
{
    struct imagehead head;

    (void)state;
    assert_true(imagehead_read(BYTES(PNG IHDR CHUNK("\x01", "IDAT", "x") CHUNK("\0", "IEND", "") "junk"), &head));
    assert_int_equal(head.width, 200);
    assert_int_equal(head.height, 100);
    assert_true(imagehead_read(BYTES(PNG IHDR CHUNK("\x1a", "eXIf", "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0")
                                     CHUNK("\x01", "IDAT", "x") CHUNK("\0", "IEND", "")), &head));
    assert_int_equal(head.orientation, 3);
    assert_false(imagehead_read(BYTES(PNG IHDR CHUNK("\x01", "IDAT", "x")), &head));
    assert_false(imagehead_read(BYTES(PNG IHDR CHUNK("\0", "IEND", "")), &head));
    assert_false(imagehead_read(BYTES(PNG CHUNK("\x01", "IDAT", "x") CHUNK("\0", "IEND", "")), &head));
    assert_false(imagehead_read(BYTES(PNG IHDR IHDR CHUNK("\x01", "IDAT", "x") CHUNK("\0", "IEND", "")), &head));
    assert_false(imagehead_read(BYTES(PNG IHDR "\xff\xff\xff\xff" "IDAT"), &head));
    assert_false(imagehead_read(BYTES(PNG), &head));
}

#define VP8() "VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xc8\0\x64\0"
#define VP8L "VP8L\x05\0\0\0\x2f\xc7\xc0\x18\0\0"

static void
a_webps_chunks_are_walked(void **state)
{
    struct imagehead head;

    (void)state;
    assert_true(imagehead_read(BYTES("RIFF\x16\0\0\0WEBP" VP8()), &head));
    assert_int_equal(head.width, 200);
    assert_int_equal(head.height, 100);
    assert_true(imagehead_read(BYTES("RIFF\x12\0\0\0WEBP" VP8L), &head));
    assert_int_equal(head.width, 200);
    assert_int_equal(head.height, 100);
    assert_true(imagehead_read(BYTES("RIFF\x28\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xc7\0\0\x63\0\0" VP8()), &head));
    assert_false(imagehead_read(BYTES("RIFF\x28\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xc8\0\0\x63\0\0" VP8()), &head));
    assert_false(imagehead_read(BYTES("RIFF\x17\0\0\0WEBP" VP8()), &head));
    assert_false(imagehead_read(BYTES("RIFF\x0c\0\0\0WEBPEXIF\0\0\0\0"), &head));
    assert_false(imagehead_read(BYTES("RIFF\0\0\0\0WEBP"), &head));
    assert_true(imagehead_read(BYTES("RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\0\0\xff\0\0"
                                     "ANMF\x22\0\0\0" "\0\0\0\0\0\0\xc7\0\0\x63\0\0\x64\0\0\0" VP8()), &head));
    assert_true(head.animated);
    assert_int_equal(head.width, 200);
    assert_int_equal(head.frame_at, 12 + 18 + 24);
    assert_int_equal(head.frame_len, 18);
}

static void
a_pdf_has_a_head_and_a_tail(void **state)
{
    static char long_pdf[5000];

    (void)state;
    assert_true(imagehead_is_pdf(BYTES("%PDF-1.4 %%EOF")));
    assert_false(imagehead_is_pdf(BYTES("%PDF-1.4")));
    assert_false(imagehead_is_pdf(BYTES("xPDF-1.4 %%EOF")));
    memcpy(long_pdf, "%PDF-1.4", 8);
    memcpy(long_pdf + sizeof long_pdf - 1024, "%%EOF", 5);
    assert_true(imagehead_is_pdf(long_pdf, sizeof long_pdf));
    assert_false(imagehead_is_pdf(long_pdf, sizeof long_pdf - 1020));
    memcpy(long_pdf + 1000, "%%EOF", 5);
    memset(long_pdf + sizeof long_pdf - 1024, '\0', 1024);
    assert_true(imagehead_is_pdf(long_pdf, sizeof long_pdf));
    long_pdf[sizeof long_pdf - 1] = 'x';
    assert_false(imagehead_is_pdf(long_pdf, sizeof long_pdf));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_come_from_the_first_bytes),
        cmocka_unit_test(a_jpegs_size_and_orientation_are_found),
        cmocka_unit_test(jpegs_that_nothing_makes_are_refused),
        cmocka_unit_test(a_png_is_read_to_its_end),
        cmocka_unit_test(a_webps_chunks_are_walked),
        cmocka_unit_test(a_pdf_has_a_head_and_a_tail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
