/* doctor -- what the doctor's checks share (doctor.c, doctor_database.c). */
#ifndef SELLIKO_DOCTOR_H
#define SELLIKO_DOCTOR_H

#include "ctl.h"

enum verdict { OK, WARN, FAIL };

/* Print and count the line of the check WHAT. */
void line(enum verdict v, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* All checks that ask the database PG; SQL is the folder of --sql, or NULL.  Ends the process where the server breaks
 * off. */
void check_database(PGconn *pg, const char *sql);

#endif
