/* Any JSON as a status change's body: the place that is written down is JSON of two bounded numbers. */
int orders_main(void);
#define main orders_main
#include "../../cgi-bin/orders.c"
#undef main

#include "../../realtime/socketpacket.h"
#include "../unit/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *found;

static void
look(struct req *r)
{
    const char *text = read_location(r);
    found = bad_input(r) ? NULL : text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct made *m = made_new("application/json", (const char *)data, size, "");
    double lat, lng;
    int end = 0;

    found = NULL;
    if (made_run(m, look) && found != NULL) {
        if (socketpacket_json_end(found, found + strlen(found)) != found + strlen(found))
            abort();
        if (sscanf(found, "{\"lat\": %lf, \"lng\": %lf}%n", &lat, &lng, &end) != 2 || found[end] != '\0' || end == 0
            || !(lat >= -90 && lat <= 90 && lng >= -180 && lng <= 180))
            abort();
    }
    made_free(m);
    return 0;
}
