/* settings -- the configuration for scripts, which must not read the file a second way: defaults, quotes
 * and the environment are lib/config.c's business. */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include "config.h"

static void
show_text(const char *s)
{
    puts(s != NULL ? s : "");
}

static void
show_number(int64_t n)
{
    printf("%lld\n", (long long)n);
}

static void
show_switch(bool on)
{
    puts(on ? "on" : "off");
}

static void
show_list(struct config_list list)
{
    for (size_t i = 0; i < list.n; i++)
        printf("%s%s", i > 0 ? "," : "", list.item[i]);
    putchar('\n');
}

/* What is not for scripts: secrets because a terminal or a log would keep them, the others because
 * nobody needs them in a line. */
#define NOT_SHOWN(value) ((void)(value), die(CTL_USAGE, "%s is not shown", name))

#define SHOW_STRING(v) show_text(v)
#define SHOW_URL(v) show_text(v)
#define SHOW_PATH(v) show_text(v)
#define SHOW_PLACE(v) show_text(v)
#define SHOW_SECRET(v) NOT_SHOWN(v)
#define SHOW_OLD_SECRET(v) NOT_SHOWN(v)
#define SHOW_DURATION(v) show_number(v)
#define SHOW_PERCENT(v) show_text(v)
#define SHOW_RUPEES(v) show_number(v)
#define SHOW_SWITCH(v) show_switch(v)
#define SHOW_LIST(v) show_list(v)
#define SHOW_LIMITS(v) NOT_SHOWN(v)
#define SHOW_ROLES(v) NOT_SHOWN(v)
#define SHOW_INT(min, max) show_number
#define SHOW_CHOICE(words) show_text

/* INT(1, 5) and CHOICE(...) come with arguments of their own, the others without: both give a name that
 * is then applied to the value. */
#define NO_SECTION(title)
#define ONE(type, field, NAME, def, meaning) \
    if (strcmp(name, #NAME) == 0) {          \
        SHOW_##type(config()->field);        \
        return;                              \
    }

/* Other services' secrets are plain strings here, because their length is not ours to judge. */
static bool
is_secret(const char *name)
{
    static const char *const ends[] = { "_TOKEN", "_SECRET", "_SECRET_ACCESS_KEY" };
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t n = strlen(ends[i]);
        if (len > n && strcmp(name + len - n, ends[i]) == 0)
            return true;
    }
    return false;
}

static void
show(const char *name)
{
    if (is_secret(name))
        die(CTL_USAGE, "%s is not shown", name);
    CONFIG_TABLE(NO_SECTION, ONE)
    die(CTL_USAGE, "there is no setting `%s`", name);
}

/* setting NAME... */
int
cmd_setting(int argc, char **argv)
{
    if (argc < 2)
        die(CTL_USAGE, "setting needs more; see --help");
    for (int i = 1; i < argc; i++)
        show(argv[i]);
    return CTL_OK;
}

/* pg-service: DATABASE_URL as a section of libpq's service file, so that its password stands neither on
 * a command line nor in an environment. */
int
cmd_pg_service(int argc, char **argv)
{
    char *why = NULL;

    want_arguments(argc, argv, 0);
    PQconninfoOption *options = PQconninfoParse(config()->database_url, &why);
    if (options == NULL) {
        size_t len = why != NULL ? strcspn(why, "\n") : 0;
        die(CTL_CONFIG, "DATABASE_URL: %.*s", (int)len, why != NULL ? why : "");
    }
    puts("[selliko]");
    for (PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        if (strcmp(o->keyword, "service") == 0)
            die(CTL_CONFIG, "DATABASE_URL names a service of libpq; write out where the database is");
        if (strpbrk(o->val, "\r\n") != NULL)
            die(CTL_CONFIG, "DATABASE_URL: %s holds a line break", o->keyword);
        printf("%s=%s\n", o->keyword, o->val);
    }
    PQconninfoFree(options);
    return CTL_OK;
}
