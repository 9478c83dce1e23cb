/* banned -- functions that cannot be used in this tree; the build includes this file before each source.
 *
 * The headers that declare them come first: after the pragma even a declaration would be an error.
 *
 *   strcpy, strcat, sprintf, vsprintf, gets   no bound            -> arena_printf, snprintf, memcpy
 *   strtok                                    hidden state        -> strcspn, strsep
 *   gmtime, localtime, ctime, asctime         one static buffer   -> gmtime_r, or ask the database
 *   rand, srand                               predictable         -> RAND_bytes
 *   atoi, atol, atoll, atof                   no way to fail      -> the readers of input, strtoll */
#ifndef SELLIKO_BANNED_H
#define SELLIKO_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#pragma GCC poison strcpy strcat sprintf vsprintf gets
#pragma GCC poison strtok
#pragma GCC poison gmtime localtime ctime asctime
#pragma GCC poison atoi atol atoll atof

/* OpenSSL's headers call a parameter "rand", so these two are only refused where they are called. */
int banned_rand(void) __attribute__((error("rand is predictable: use RAND_bytes")));
#define rand() banned_rand()
#define srand(seed) ((void)banned_rand())

#endif
