/* Any bytes as a file: no read outside of them, and what is promised of a good header holds. */
#include "../../lib/imagehead.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imagehead head;

    if (imagehead_read(data, size, &head)) {
        if (head.width == 0 || head.height == 0 || head.orientation < 1 || head.orientation > 8)
            abort();
        if (head.frame_at > size || head.frame_len > size - head.frame_at)
            abort();
    }
    imagehead_is_pdf(data, size);
    return 0;
}
