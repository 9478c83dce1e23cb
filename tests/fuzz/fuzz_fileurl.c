/* A path, a line feed, and a query: no crash, and nothing that climbs out of its folder is opened.
 *
 * The query is judged as it is, and the path also under every signature that its own folder could
 * have, so that the fuzzer gets past them. */
#include "../../lib/fileurl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1795340000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
judge(const char *path, const char *query)
{
    if (fileurl_verify(path, query, NOW) != FILEURL_OK)
        return;
    if (strncmp(path, "/files/", 7) != 0 || strstr(path, "..") != NULL || strstr(path, "//") != NULL || strpbrk(path, "%\\?#\n ") != NULL)
        abort();
    if (path[strlen(path) - 1] == '/')
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int ready;
    char text[4096], query[FILEURL_QUERY_SIZE];

    if (!ready) {
        fileurl_init("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdeF");
        ready = 1;
    }
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *rest = text, *path = strsep(&rest, "\n");
    judge(path, rest != NULL ? rest : "");

    /* Sign each folder above the path, as far as one can be named. */
    for (char *slash = path; (slash = strchr(slash, '/')) != NULL; slash++) {
        size_t len = (size_t)(slash - path);
        char folder[FILEURL_FOLDER_MAX + 1];
        if (len < 8 || len - 7 > FILEURL_FOLDER_MAX)
            continue;
        memcpy(folder, path + 7, len - 7);
        folder[len - 7] = '\0';
        fileurl_query(folder, NOW, query);
        judge(path, query + 1);
    }
    return 0;
}
