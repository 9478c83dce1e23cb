# cgi-bin/ -- one FastCGI program an API area.  A line here is all that a new one needs: it is built
# from cgi-bin/NAME.c, and ./quickstart starts whatever is listed.
cgi_PROGRAMS += cgi-bin/bids
cgi_bin_bids_SOURCES = cgi-bin/bids.c cgi-bin/batch.c cgi-bin/batch.h
cgi_PROGRAMS += cgi-bin/auth
