/* s3curl -- libcurl, loaded at the first call that needs it and kept until the process ends.
 *
 * Linked in, it and what it brings along would be loaded by every program at its start. */
#ifndef SELLIKO_S3CURL_H
#define SELLIKO_S3CURL_H

#include <curl/curl.h>
#include <stdbool.h>

#define S3CURL_FUNCTIONS(X) \
    X(global_init) X(slist_append) X(slist_free_all) X(easy_init) X(easy_reset) X(easy_cleanup) X(easy_setopt) \
    X(easy_getinfo) X(easy_strerror) X(multi_init) X(multi_cleanup) X(multi_add_handle) X(multi_remove_handle) \
    X(multi_perform) X(multi_poll) X(multi_info_read) X(multi_setopt)
#define S3CURL_MEMBER(name) __typeof__(&curl_##name) name;

/* s3curl.easy_init is curl_easy_init, and so on. */
extern struct s3curl {
    S3CURL_FUNCTIONS(S3CURL_MEMBER)
} s3curl;

/* False, logged once, when there is no libcurl or it lacks a function; else all of S3CURL is there.  From any thread. */
bool s3curl_ready(void);

#endif
