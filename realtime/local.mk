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
realtime_librealtime_a_SOURCES += realtime/handover.c
realtime_librealtime_a_SOURCES += realtime/request.c realtime/answer.c
realtime_librealtime_a_SOURCES += realtime/socketpacket.c realtime/socketpacket.h
realtime_librealtime_a_SOURCES += realtime/socketio.c realtime/socketio.h realtime/socketio_private.h
realtime_librealtime_a_SOURCES += realtime/socketroom.c

# What nginx does of it, where Debian's nginx-dev is: a module that fits its nginx, compiled for that and not as we are
# (nginx's headers do not pass our warnings, and have no place for config.h).  With --enable-sanitizers it has them, too; then
# their library has to be in nginx first: quickstart sees to that.
EXTRA_DIST += realtime/ngx_http_handover_module.c
if HAVE_NGINX_SRC
nginxmoduledir    = $(pkglibexecdir)/nginx
nginxmodule_DATA  = realtime/ngx_http_handover_module.so
CLEANFILES       += realtime/ngx_http_handover_module.so realtime/nginx.log

NGINX_MODULE_CFLAGS = -std=gnu17 -O2 -g -fPIC -shared -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
    -Wmissing-prototypes -Wcast-qual -fstack-protector-strong -Wl,-z,relro -Wl,-z,now \
    $(patsubst %,-isystem $(NGINX_SRC)/src/%,core event event/modules os/unix http http/modules http/v2) \
    -isystem realtime/nginx $(filter -fsanitize=% -fno-sanitize-recover=%,$(SELLIKO_CFLAGS))

realtime/nginx/ngx_auto_config.h: $(NGINX_SRC)/src/core/nginx.h $(NGINX_SRC)/conf_flags
	@$(MKDIR_P) realtime/nginx && bash -c 'cd $(NGINX_SRC) && . ./conf_flags && \
	    ./configure "$${NGX_CONF_FLAGS[@]}" --builddir="$(abs_builddir)/realtime/nginx"' >realtime/nginx.log 2>&1 || \
	    { tail realtime/nginx.log; exit 1; }
	@touch $@

realtime/ngx_http_handover_module.so: realtime/ngx_http_handover_module.c realtime/nginx/ngx_auto_config.h
	$(AM_V_GEN)$(CC) $(NGINX_MODULE_CFLAGS) $< -o $@
endif
mostlyclean-local:
	rm -rf realtime/nginx

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

# What plays nginx's part of a handover.
check_PROGRAMS += tests/realtime/hand
tests_realtime_hand_LDADD =
