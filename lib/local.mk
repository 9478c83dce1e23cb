# lib/ -- the static library that every program shares: one thought a file.
noinst_LIBRARIES += lib/libselliko.a

lib_libselliko_a_SOURCES  =
lib_libselliko_a_SOURCES += lib/banned.h
lib_libselliko_a_SOURCES += lib/arena.c lib/arena.h
lib_libselliko_a_SOURCES += lib/multipart.c lib/multipart.h
lib_libselliko_a_SOURCES += lib/config.c lib/config.h
lib_libselliko_a_SOURCES += lib/log.c lib/log.h
lib_libselliko_a_SOURCES += lib/money.c lib/money.h
lib_libselliko_a_SOURCES += lib/valid.c lib/valid.h
lib_libselliko_a_SOURCES += lib/crypto.c lib/crypto.h
lib_libselliko_a_SOURCES += lib/fileurl.c lib/fileurl.h
lib_libselliko_a_SOURCES += lib/token.c lib/token.h
lib_libselliko_a_SOURCES += lib/metrics.c lib/metrics.h
lib_libselliko_a_SOURCES += lib/jw.c lib/jw.h
lib_libselliko_a_SOURCES += lib/sealed.h
lib_libselliko_a_SOURCES += lib/errors.h
lib_libselliko_a_SOURCES += lib/shape.c lib/shape.h
lib_libselliko_a_SOURCES += lib/db.c lib/dbreq.c lib/db.h lib/db_inside.h
lib_libselliko_a_SOURCES += lib/app.c lib/input.c lib/reply.c lib/app.h lib/req.h lib/req_inside.h
lib_libselliko_a_SOURCES += lib/totals.c lib/totals.h
lib_libselliko_a_SOURCES += lib/imagehead.c lib/imagehead.h
lib_libselliko_a_SOURCES += lib/image.c lib/image.h
lib_libselliko_a_SOURCES += lib/store.c lib/store.h
lib_libselliko_a_SOURCES += lib/upload.c lib/upload.h
lib_libselliko_a_SOURCES += lib/idempotency.c lib/idempotency.h
