# contrib/ -- what ties the service to a system: systemd's units, cron, logrotate, users, folders.
# Templates NAME.in, filled with this build's folders; `make install` puts each where the system looks.
unitdir     = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d

UNITS  = contrib/systemd/selliko.target contrib/systemd/selliko.service
UNITS += contrib/systemd/selliko@.service
UNITS += contrib/systemd/selliko-gateway.service contrib/systemd/selliko-gateway@.service
UNITS += contrib/systemd/selliko-close-auctions.service
UNITS += contrib/systemd/selliko-send-whatsapp.service
UNITS += contrib/systemd/selliko-remind.service
UNITS += contrib/systemd/selliko-report-errors.service
UNITS += contrib/systemd/selliko-purge.service contrib/systemd/selliko-purge.timer
UNITS += contrib/systemd/selliko-backup.service contrib/systemd/selliko-backup.timer
UNITS += contrib/systemd/selliko-verify-backup.service contrib/systemd/selliko-verify-backup.timer

FILLED = $(UNITS) contrib/sysusers.conf contrib/tmpfiles.conf contrib/logrotate.conf \
         ctl/selliko-service ctl/selliko-nginx
EXTRA_DIST += $(FILLED:=.in)
dist_pkgdata_DATA = contrib/tls.conf
CLEANFILES += $(FILLED) contrib/cron.d contrib/selliko.conf

# ---- manual pages of what has no fragment of its own ----
dist_man_MANS += doc/selliko-programs.8 $(patsubst cgi-bin/%,doc/selliko-%.8,$(cgi_PROGRAMS)) \
    doc/selliko-gateway.8 doc/selliko-photo.8 doc/selliko-keep.8 doc/selliko-supervise.8 doc/selliko-service.8 \
    doc/selliko-nginx.8 doc/selliko-close-auctions.8 doc/selliko-remind.8 doc/selliko-purge.8
man_MANS = doc/selliko.conf.5
EXTRA_DIST += doc/selliko.conf.5.awk
CLEANFILES += doc/selliko.conf.5
doc/selliko.conf.5: ctl/sellikoctl$(EXEEXT) doc/selliko.conf.5.awk
	@$(MKDIR_P) doc && ctl/sellikoctl sample-conf | \
	    LC_ALL=C awk -v file='$(sysconfdir)/selliko/selliko.conf' -f $(srcdir)/doc/selliko.conf.5.awk >$@.$$$$ && mv $@.$$$$ $@

unit_DATA              = $(UNITS)
nodist_pkglibexec_SCRIPTS = ctl/selliko-service
nodist_sbin_SCRIPTS    = ctl/selliko-nginx

FILL = sed -e 's|[@]pkglibexecdir@|$(pkglibexecdir)|g' -e 's|[@]cgidir@|$(cgidir)|g' -e 's|[@]crondir@|$(crondir)|g' \
           -e 's|[@]gatewaydir@|$(gatewaydir)|g' -e 's|[@]localstatedir@|$(localstatedir)|g' \
           -e 's|[@]sysconfdir@|$(sysconfdir)|g' -e 's|[@]unitdir@|$(unitdir)|g' \
           -e 's|[@]pkgdatadir@|$(pkgdatadir)|g' -e 's|[@]tmpfilesdir@|$(tmpfilesdir)|g' \
           -e 's|[@]cgi_units@|$(patsubst cgi-bin/%,selliko@%.service,$(cgi_PROGRAMS))|g'

# Filled anew each time: the folders may be others than they were (make prefix=… install).  Two makes may do so
# at once (a test run beside an installation), so each writes under a name of its own.
$(FILLED): %: %.in contrib-always
	@$(MKDIR_P) $(@D) && $(FILL) $< >$@.$$$$ && chmod $(if $(filter ctl/%,$@),755,644) $@.$$$$ && mv $@.$$$$ $@

# The crontab with its reasons, for hosts without systemd; there the supervisor may have the first three.
contrib/cron.d: cron/crontab contrib-always
	@$(MKDIR_P) contrib && sed -e 's|^PATH=.*|PATH=$(sbindir):/usr/bin:/bin|' \
	    -e 's|/var/log/|$(localstatedir)/log/|g' \
	    -e '/--watch/s#selliko  selliko-#selliko  [ -d /run/systemd/system ] || [ -e /run/selliko/supervisor.pid ] || selliko-#' \
	    -e '/--watch/!s#selliko  selliko-#selliko  [ -d /run/systemd/system ] || selliko-#' \
	    -e 's|^# For the user of the service.*|# Where systemd runs, its timers do all this, and these lines do nothing.|' \
	    $(srcdir)/cron/crontab >$@

# The documented sample: every setting at its default, but for where an installed system keeps its things.
contrib/selliko.conf: ctl/sellikoctl$(EXEEXT) contrib-always
	@$(MKDIR_P) contrib && ctl/sellikoctl sample-conf | \
	    sed 's|^#STATE_DIR=.*|STATE_DIR=$(localstatedir)/lib/selliko|' >$@.$$$$ && mv $@.$$$$ $@
contrib-always:
.PHONY: contrib-always

all-local: $(FILLED) contrib/cron.d contrib/selliko.conf

install-data-hook: contrib/cron.d contrib/selliko.conf
	$(MKDIR_P) "$(DESTDIR)$(sysusersdir)" "$(DESTDIR)$(tmpfilesdir)" "$(DESTDIR)$(sysconfdir)/cron.d" \
	    "$(DESTDIR)$(sysconfdir)/logrotate.d" "$(DESTDIR)$(sysconfdir)/selliko"
	$(INSTALL_DATA) contrib/sysusers.conf "$(DESTDIR)$(sysusersdir)/selliko.conf"
	$(INSTALL_DATA) contrib/tmpfiles.conf "$(DESTDIR)$(tmpfilesdir)/selliko.conf"
	$(INSTALL_DATA) contrib/logrotate.conf "$(DESTDIR)$(sysconfdir)/logrotate.d/selliko"
	$(INSTALL_DATA) contrib/cron.d "$(DESTDIR)$(sysconfdir)/cron.d/selliko"
	$(INSTALL_DATA) contrib/selliko.conf "$(DESTDIR)$(pkgdatadir)/selliko.conf.sample"
	test -e "$(DESTDIR)$(sysconfdir)/selliko/selliko.conf" || \
	    $(INSTALL) -m 640 contrib/selliko.conf "$(DESTDIR)$(sysconfdir)/selliko/selliko.conf"

# The utilities lie beside the programs, and are in the path by links.
install-exec-hook:
	$(MKDIR_P) "$(DESTDIR)$(sbindir)"
	for f in $(notdir $(cron_PROGRAMS) $(dist_cron_SCRIPTS)); do \
	    ln -srf "$(DESTDIR)$(crondir)/$$f" "$(DESTDIR)$(sbindir)/$$f" || exit 1; \
	done
	ln -srf "$(DESTDIR)$(pkglibexecdir)/selliko-service" "$(DESTDIR)$(sbindir)/selliko-service"

# selliko.conf stays when it was changed, as all that an administrator wrote.
uninstall-hook:
	for f in $(notdir $(cron_PROGRAMS) $(dist_cron_SCRIPTS)) selliko-service; do rm -f "$(DESTDIR)$(sbindir)/$$f"; done
	rm -f "$(DESTDIR)$(sysusersdir)/selliko.conf" "$(DESTDIR)$(tmpfilesdir)/selliko.conf" \
	    "$(DESTDIR)$(sysconfdir)/logrotate.d/selliko" "$(DESTDIR)$(sysconfdir)/cron.d/selliko" \
	    "$(DESTDIR)$(pkgdatadir)/selliko.conf.sample"
	if cmp -s contrib/selliko.conf "$(DESTDIR)$(sysconfdir)/selliko/selliko.conf"; then \
	    rm -f "$(DESTDIR)$(sysconfdir)/selliko/selliko.conf"; fi
