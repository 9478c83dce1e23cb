# libexec/ -- selliko-photo, the image worker: the only program that links ImageMagick, so that a
# hostile photo can cost a process but never a request loop.
worker_PROGRAMS += libexec/selliko-photo

libexec_selliko_photo_SOURCES = libexec/photo.c
libexec_selliko_photo_CFLAGS  = $(AM_CFLAGS) $(MAGICK_CFLAGS) $(LCMS_CFLAGS)
libexec_selliko_photo_LDADD   = lib/libselliko.a $(MAGICK_LIBS) $(LCMS_LIBS)
