/* s3curl -- see s3curl.h. */
#include "s3curl.h"

#include "log.h"

#include <dlfcn.h>
#include <pthread.h>

#define FIND(name) \
    *(void **)&s3curl.name = dlsym(library, "curl_" #name); \
    good = good && s3curl.name != NULL;

struct s3curl s3curl;
static bool is_there;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
load(void)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    bool good = library != NULL;

    if (good) {
        S3CURL_FUNCTIONS(FIND)
    }
    is_there = good && s3curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (!is_there)
        log_error("libcurl cannot be loaded", log_s("reason", library == NULL ? dlerror() : "it lacks a function"));
}

bool
s3curl_ready(void)
{
    pthread_once(&once, load);
    return is_there;
}
