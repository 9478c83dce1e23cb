# libexec/ -- selliko-photo, the image worker: the only program that links ImageMagick, so that a
# hostile photo can cost a process but never a request loop.
