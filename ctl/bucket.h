/* bucket -- what the parts of `sellikoctl bucket` share (bucket.c, carry.c).  Any of it may end the process (die). */
#ifndef SELLIKO_BUCKET_H
#define SELLIKO_BUCKET_H

#include "ctl.h"
#include "s3.h"

/* Calls that are made together, of files of 5 MB at most, and the seconds that they have. */
enum { BUCKET_BATCH = 32, BUCKET_BATCH_S = 900 };

/* Where BACKUP_DIR says that backups are in a bucket, and the prefix of their names ("" or with its /), both of which
 * live until the end; false when it is a folder. */
bool bucket_of_backup(struct s3_settings *settings, const char **prefix);

/* The bucket of S3_BUCKET_NAME; that of BACKUP_DIR, and with what its names begin.  To be closed by the
 * caller. */
struct s3 *bucket_open_store(void);
struct s3 *bucket_open_backup(const char **prefix);

/* Whether NAME stays below the folder or prefix that it is put in, and on its line. */
bool bucket_is_name(const char *name);

/* The next line of standard input without its end, valid until the next call; NULL after the last one. */
char *bucket_next_line(void);

/* Show at most once a second how far it is (FILES -1: bytes alone), to the descriptor of --progress; take it away. */
void bucket_show(int64_t files, int64_t bytes);
void bucket_end_show(void);

/* carry FROM TO [--anew] (carry.c); what main returns. */
int carry(int argc, char **argv);

#endif
