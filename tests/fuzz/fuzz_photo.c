/* Any bytes as what the image worker says at its end: it may have been taken over by a picture. */
#include "../../lib/image.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_job job = { .kind = IMAGE_PROOF };
    struct running r;
    char line[sizeof r.line], again[sizeof r.line];

    if (size >= sizeof line)
        return 0;
    memcpy(line, data, size);
    line[size] = '\0';
    enum image_status status = read_line(&job, line);
    if (memchr(job.extension, '\0', sizeof job.extension) == NULL)
        abort();
    snprintf(again, sizeof again, "ok %s %u %u\n", job.extension, job.width, job.height);
    if (status == IMAGE_OK && strcmp(again, line) != 0)
        abort();
    (void)image_problem(status);
    return 0;
}
