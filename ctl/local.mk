# ctl/ -- sellikoctl, the administrator's tool: one file a group of subcommands.
sbin_PROGRAMS += ctl/sellikoctl
ctl_sellikoctl_SOURCES  = ctl/sellikoctl.c ctl/ctl.h
ctl_sellikoctl_SOURCES += ctl/tool.c
ctl_sellikoctl_SOURCES += ctl/pg.c
ctl_sellikoctl_SOURCES += ctl/keys.c
ctl_sellikoctl_SOURCES += ctl/migrate.c
ctl_sellikoctl_SOURCES += ctl/users.c
ctl_sellikoctl_SOURCES += ctl/rotate.c
ctl_sellikoctl_SOURCES += ctl/doctor.c ctl/doctor_database.c ctl/doctor.h
ctl_sellikoctl_SOURCES += ctl/check.c
ctl_sellikoctl_SOURCES += ctl/status.c
ctl_sellikoctl_SOURCES += ctl/storage.c
ctl_sellikoctl_SOURCES += ctl/bucket.c ctl/carry.c ctl/bucket.h
ctl_sellikoctl_SOURCES += ctl/settings.c

# What keeps the programs of an instance running (quickstart and selliko-service start it), and what keeps
# one of them on its socket through a reload.
dist_pkglibexec_SCRIPTS = ctl/selliko-supervise ctl/selliko-keep

dist_man_MANS += doc/sellikoctl.8
