/* fileurl -- signed, expiring URLs of stored files.
 *
 *   /files/listings/{id}/device/photo1_full.jpg?exp=1795345200&kid=5f0c2a91&sig=Zk3…
 *
 * sig is HMAC-SHA256 over folder and expiry, cut to 128 bits (RFC 2104 §5), base64url: one signature
 * covers a listing's photos and nothing else.  exp lies one to two hours ahead and is cut to the hour,
 * so that equal requests share a cache entry.  kid names the key and is derived from it, so that hosts
 * need not agree on numbers; the key before is accepted as long as FILE_URL_SECRET_OLD names it.
 *
 * The folders are listings/{uuid}/device, listings/{uuid}/bill and verification/{uuid}.  A path that is
 * not a plain file name in one of them (dots that climb, escapes, doubled slashes, upper-case ids) is
 * refused before anything is computed, so there is nothing to normalise.
 *
 * fileurl_init once before threads start; the rest from any thread. */
#ifndef SELLIKO_FILEURL_H
#define SELLIKO_FILEURL_H

#include <stddef.h>
#include <stdint.h>

#define FILEURL_FOLDER_MAX 64   /* bytes in a folder, at most */
#define FILEURL_QUERY_SIZE 80   /* room for a query, with its NUL */

enum fileurl_result { FILEURL_OK, FILEURL_BAD, FILEURL_EXPIRED };

/* FILE_URL_SECRET and FILE_URL_SECRET_OLD (NULL for none); not kept. */
void fileurl_init(const char *secret, const char *old_secret);

/* What to append to the URL of each file of FOLDER ("listings/{id}/device"), `?exp=…&kid=…&sig=…`.
 * NOW is in Unix seconds.  Returns the length.  Asking again for the same folder is nearly free. */
size_t fileurl_query(const char *folder, int64_t now, char out[FILEURL_QUERY_SIZE]);

/* May the file at PATH ("/files/listings/{id}/device/photo1_full.jpg", as the client sent it) be
 * served?  QUERY is what stood behind the ?, both NUL-terminated. */
enum fileurl_result fileurl_verify(const char *path, const char *query, int64_t now);

#endif
