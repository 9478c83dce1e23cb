# cgi-bin/ -- one FastCGI program an API area.  A line here is all that a new one needs: it is built
# from cgi-bin/NAME.c, and ./quickstart starts whatever is listed.
cgi_PROGRAMS += cgi-bin/bids
cgi_bin_bids_SOURCES = cgi-bin/bids.c cgi-bin/batch.c cgi-bin/batch.h cgi-bin/market.c cgi-bin/market.h
cgi_PROGRAMS += cgi-bin/auth
cgi_PROGRAMS += cgi-bin/listings
cgi_bin_listings_SOURCES = cgi-bin/listings.c cgi-bin/listing_create.c cgi-bin/listing_create.h \
	cgi-bin/assignments.c cgi-bin/assignments.h
cgi_PROGRAMS += cgi-bin/files
cgi_PROGRAMS += cgi-bin/status
cgi_bin_status_SOURCES = cgi-bin/status.c cgi-bin/gauges.c cgi-bin/gauges.h
cgi_PROGRAMS += cgi-bin/notifications
cgi_bin_notifications_SOURCES = cgi-bin/notifications.c cgi-bin/webhooks.c cgi-bin/webhooks.h
cgi_PROGRAMS += cgi-bin/orders
cgi_PROGRAMS += cgi-bin/agent
cgi_PROGRAMS += cgi-bin/admin
