#include "fileurl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "crypto.h"
#include "encoding.h"
#include "valid.h"

#define KID_LEN 8
#define SIG_BYTES 16
#define SIG_LEN 22
#define HOUR 3600
#define MESSAGE_MAX (FILEURL_FOLDER_MAX + 32)

/* The key that signs, and the one before it. */
static struct {
    int mac;
    char kid[KID_LEN + 1];
} keys[2];
static int n_keys;

static void
add_key(const char *secret)
{
    static const char label[] = "selliko file url kid";
    uint8_t hash[32];

    keys[n_keys].mac = crypto_mac_new(secret, strlen(secret));
    crypto_mac(keys[n_keys].mac, label, sizeof label - 1, hash);
    encoding_hex(keys[n_keys].kid, hash, KID_LEN / 2);
    n_keys++;
}

void
fileurl_init(const char *secret, const char *old_secret)
{
    n_keys = 0;
    add_key(secret);
    if (old_secret != NULL && strcmp(secret, old_secret) != 0)
        add_key(old_secret);
}

static void
sign(int mac, const char *folder, size_t folder_len, int64_t exp, char sig[SIG_LEN + 1])
{
    char message[MESSAGE_MAX];
    uint8_t hash[32];

    /* A folder holds no line feed, so no two pairs give the same message. */
    int n = snprintf(message, sizeof message, "%.*s\n%" PRId64, (int)folder_len, folder, exp);
    assert(n > 0 && (size_t)n < sizeof message);
    crypto_mac(mac, message, (size_t)n, hash);
    encoding_b64url(sig, hash, SIG_BYTES);
}

size_t
fileurl_query(const char *folder, int64_t now, char out[FILEURL_QUERY_SIZE])
{
    /* A page asks for the same folder some times in a row (photos, then their variants). */
    static _Thread_local struct {
        char folder[FILEURL_FOLDER_MAX + 1];
        char query[FILEURL_QUERY_SIZE];
        size_t len;
        int64_t exp;
        int mac;
    } last;
    int64_t exp = (now / HOUR + 2) * HOUR;
    size_t folder_len = strlen(folder);
    char sig[SIG_LEN + 1];

    assert(n_keys > 0 && folder_len <= FILEURL_FOLDER_MAX);
    if (last.exp != exp || last.mac != keys[0].mac || strcmp(last.folder, folder) != 0) {
        sign(keys[0].mac, folder, folder_len, exp, sig);
        int n = snprintf(last.query, sizeof last.query, "?exp=%" PRId64 "&kid=%s&sig=%s", exp, keys[0].kid, sig);
        assert(n > 0 && (size_t)n < sizeof last.query);
        last.len = (size_t)n;
        last.exp = exp;
        last.mac = keys[0].mac;
        memcpy(last.folder, folder, folder_len + 1);
    }
    memcpy(out, last.query, last.len + 1);
    return last.len;
}

/* ---- verifying ---- */

/* The text behind PREFIX at S, NULL when S begins otherwise. */
static const char *
behind(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* A plain file name: letters, digits, and now and then one of ._- between them. */
static bool
is_name(const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t n = 0;

    for (;;) {
        size_t word = strspn(s + n, plain);
        n += word;
        if (word == 0 || n > 128)
            return false;
        if (s[n] == '\0')
            return true;
        if (strchr("._-", s[n++]) == NULL)
            return false;
    }
}

/* The folder of PATH, as it was signed; its length in *LEN.  NULL when PATH is no file of ours. */
static const char *
folder_of(const char *path, size_t *len)
{
    const char *folder = behind(path, "/files/"), *name = NULL;
    char id[37];

    if (folder == NULL)
        return NULL;
    const char *uuid = behind(folder, "listings/");
    bool listing = uuid != NULL;
    if (!listing && (uuid = behind(folder, "verification/")) == NULL)
        return NULL;
    /* One spelling a file: lower case only. */
    if (!valid_uuid(uuid, strnlen(uuid, 36), id) || memcmp(uuid, id, 36) != 0)
        return NULL;
    const char *rest = uuid + 36;
    if (!listing)
        name = behind(rest, "/");
    else if ((name = behind(rest, "/device/")) == NULL)
        name = behind(rest, "/bill/");
    if (name == NULL || !is_name(name))
        return NULL;
    *len = (size_t)(name - 1 - folder);
    return folder;
}

/* exp, kid and sig, each once and nothing else, in any order. */
static bool
read_query(const char *query, int64_t *exp, const char **kid, const char **sig)
{
    bool have_exp = false;

    *kid = *sig = NULL;
    for (const char *s = query; *s != '\0';) {
        size_t len = strcspn(s, "&");
        const char *value;
        if ((value = behind(s, "exp=")) != NULL && !have_exp) {
            /* No leading zero, so that a URL has one spelling for the caches. */
            if (*value == '0' || !valid_int(value, len - 4, 1, INT64_MAX, exp))
                return false;
            have_exp = true;
        } else if ((value = behind(s, "kid=")) != NULL && *kid == NULL && len == 4 + KID_LEN)
            *kid = value;
        else if ((value = behind(s, "sig=")) != NULL && *sig == NULL && len == 4 + SIG_LEN)
            *sig = value;
        else
            return false;
        s += len;
        if (*s == '&' && *++s == '\0')
            return false;
    }
    return have_exp && *kid != NULL && *sig != NULL;
}

enum fileurl_result
fileurl_verify(const char *path, const char *query, int64_t now)
{
    const char *kid, *given;
    char sig[SIG_LEN + 1];
    size_t folder_len;
    int64_t exp;

    assert(n_keys > 0);
    const char *folder = folder_of(path, &folder_len);
    if (folder == NULL || !read_query(query, &exp, &kid, &given))
        return FILEURL_BAD;
    for (int i = 0; i < n_keys; i++) {
        if (memcmp(kid, keys[i].kid, KID_LEN) != 0)
            continue;
        sign(keys[i].mac, folder, folder_len, exp, sig);
        if (!crypto_equal(sig, given, SIG_LEN))
            return FILEURL_BAD;
        return exp > now ? FILEURL_OK : FILEURL_EXPIRED;
    }
    return FILEURL_BAD;
}
