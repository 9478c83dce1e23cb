# realtime/ -- Engine.IO and Socket.IO, which know nothing of Selliko, and selliko-gateway on them.
# libwebsockets is linked here and in their tests only.
REALTIME_LIBS = realtime/librealtime.a $(LWS_LIBS) -lev

noinst_LIBRARIES += realtime/librealtime.a
realtime_librealtime_a_CPPFLAGS = $(AM_CPPFLAGS) $(LWS_CFLAGS)
realtime_librealtime_a_SOURCES  =
realtime_librealtime_a_SOURCES += realtime/must.c realtime/must.h
realtime_librealtime_a_SOURCES += realtime/table.c realtime/table.h
realtime_librealtime_a_SOURCES += realtime/lapse.c realtime/lapse.h
realtime_librealtime_a_SOURCES += realtime/codec.c realtime/codec.h
realtime_librealtime_a_SOURCES += realtime/frame.c realtime/frame.h
realtime_librealtime_a_SOURCES += realtime/enginepacket.c realtime/enginepacket.h
realtime_librealtime_a_SOURCES += realtime/engineio.c realtime/engineio.h realtime/engineio_private.h
realtime_librealtime_a_SOURCES += realtime/session.c realtime/sessionio.c
realtime_librealtime_a_SOURCES += realtime/listener.c realtime/address.c
realtime_librealtime_a_SOURCES += realtime/transport.c realtime/transport_private.h
realtime_librealtime_a_SOURCES += realtime/polling.c realtime/websocket.c
realtime_librealtime_a_SOURCES += realtime/request.c realtime/answer.c
realtime_librealtime_a_SOURCES += realtime/socketpacket.c realtime/socketpacket.h
realtime_librealtime_a_SOURCES += realtime/socketio.c realtime/socketio.h realtime/socketio_private.h
realtime_librealtime_a_SOURCES += realtime/socketroom.c

# What of it is Selliko's.
gateway_PROGRAMS += realtime/selliko-gateway
realtime_selliko_gateway_SOURCES  =
realtime_selliko_gateway_SOURCES += realtime/gateway.c realtime/gateway_private.h
realtime_selliko_gateway_SOURCES += realtime/wording.c
realtime_selliko_gateway_SOURCES += realtime/people.c
realtime_selliko_gateway_SOURCES += realtime/rooms.c
realtime_selliko_gateway_SOURCES += realtime/asks.c realtime/asks.h
realtime_selliko_gateway_SOURCES += realtime/feed.c realtime/feed.h
realtime_selliko_gateway_SOURCES += realtime/payload.c realtime/payload.h
realtime_selliko_gateway_LDADD    = $(REALTIME_LIBS) $(SELLIKO_LIBS)

# The server that the protocols' conformance suites, and tests/realtime/*.test.js, are run against.
check_PROGRAMS += tests/realtime/echo
tests_realtime_echo_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_realtime_echo_LDADD    = $(REALTIME_LIBS)
