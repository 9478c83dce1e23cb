# cron/ -- utilities that run once and exit, or stay for --watch SECONDS.

cron_PROGRAMS += cron/selliko-send-whatsapp
SEND_WHATSAPP = cron/selliko-send-whatsapp.c cron/queue.c cron/queue.h cron/post.c cron/post.h \
                cron/devlog.c cron/devlog.h cron/fault.h cron/options.c cron/options.h
cron_selliko_send_whatsapp_SOURCES = $(SEND_WHATSAPP)
dist_man_MANS += doc/selliko-send-whatsapp.8

CRON = cron/cron.c cron/cron.h cron/options.c cron/options.h
cron_PROGRAMS += cron/selliko-close-auctions
cron_selliko_close_auctions_SOURCES = cron/selliko-close-auctions.c $(CRON)
cron_PROGRAMS += cron/selliko-remind
cron_selliko_remind_SOURCES = cron/selliko-remind.c $(CRON)
cron_PROGRAMS += cron/selliko-purge
cron_selliko_purge_SOURCES = cron/selliko-purge.c $(CRON)
cron_PROGRAMS += cron/selliko-report-errors
cron_selliko_report_errors_SOURCES = cron/selliko-report-errors.c $(CRON)
cron_selliko_report_errors_LDADD   = $(SELLIKO_LIBS) $(JSON_LIBS)

# Bash around pg_dump and pg_restore; both read what lies beside them (in the sources the rules lie in sql/).
dist_cron_SCRIPTS = cron/selliko-backup cron/selliko-restore
dist_cron_DATA = cron/backup-common.sh sql/check.sql
dist_man_MANS += doc/selliko-backup.8 doc/selliko-restore.8 doc/selliko-report-errors.8
EXTRA_DIST += cron/crontab
