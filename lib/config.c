#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "arena.h"
#include "money.h"
#include "valid.h"

#ifndef SELLIKO_SYSCONFDIR
#define SELLIKO_SYSCONFDIR "/etc/selliko"
#endif

#define SECRET_MIN_BYTES 32
#define LIST_MAX 64
#define FILE_MAX_BYTES (256 * 1024)

#define ID(type, field, NAME, def, meaning) ID_##NAME,
enum { CONFIG_TABLE(CONFIG_NO_SECTION, ID) N_SETTINGS };

#define NAME_OF(type, field, NAME, def, meaning) #NAME,
static const char *const names[] = { CONFIG_TABLE(CONFIG_NO_SECTION, NAME_OF) };

#define DEFAULT_OF(type, field, NAME, def, meaning) def,
static const char *const defaults[] = { CONFIG_TABLE(CONFIG_NO_SECTION, DEFAULT_OF) };

/* The settings in force, and the memory in which their text lies. */
static struct config settings;
static struct arena *settings_arena;
static bool loaded;

/* One loading: where text goes, and what is wrong so far. */
struct load {
    struct arena *a;
    FILE *out;
    int n_problems;
    const char *name, *value;   /* the setting being parsed; value "" when it is not set */
};

static void problem(struct load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
problem(struct load *l, const char *fmt, ...)
{
    va_list ap;

    l->n_problems++;
    fprintf(l->out, "%s: ", l->name);
    va_start(ap, fmt);
    vfprintf(l->out, fmt, ap);
    va_end(ap);
    fputc('\n', l->out);
}

/* ---- one parser a type ---- */

static const char *
parse_string(struct load *l)
{
    return l->value[0] != '\0' ? l->value : NULL;
}

static const char *
parse_url(struct load *l)
{
    size_t len = strlen(l->value);

    if (len == 0)
        return NULL;
    const char *host = strncmp(l->value, "https://", 8) == 0  ? l->value + 8
                       : strncmp(l->value, "http://", 7) == 0 ? l->value + 7
                                                              : NULL;
    if (host == NULL || *host == '\0' || *host == '/' || strpbrk(l->value, " \"'<>\\?#") != NULL)
        problem(l, "must be a URL that begins with http:// or https://");
    while (len > 0 && l->value[len - 1] == '/')
        len--;
    return arena_memdup0(l->a, l->value, len);
}

static const char *
parse_path(struct load *l)
{
    char cwd[PATH_MAX];
    const char *rel = l->value;

    if (rel[0] == '\0')
        return NULL;
    if (rel[0] == '/')
        return rel;
    while (strncmp(rel, "./", 2) == 0)
        rel += 2;
    if (getcwd(cwd, sizeof cwd) == NULL) {
        problem(l, "is relative, and the working directory cannot be read: %s", strerror(errno));
        return l->value;
    }
    return arena_printf(l->a, "%s/%s", cwd[1] == '\0' ? "" : cwd, rel);
}

static const char *
parse_place(struct load *l)
{
    const char *s = l->value + 5;

    if (strncmp(l->value, "s3://", 5) != 0)
        return parse_path(l);
    size_t bucket = strcspn(s, "/"), len = strlen(s);
    while (len > bucket && s[len - 1] == '/')
        len--;
    const char *place = arena_memdup0(l->a, l->value, 5 + len);
    if (bucket < 3 || bucket > 63 || strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") < bucket)
        problem(l, "must begin with the name of a bucket: s3://bucket/prefix");
    else if (strspn(s + bucket, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/") < len - bucket ||
             strstr(place + 5, "//") != NULL || len > 256)
        problem(l, "must be a bucket and a prefix of letters, digits and ._-/");
    return place;
}

static const char *
parse_old_secret(struct load *l)
{
    size_t len = strlen(l->value);

    if (len > 0 && len < SECRET_MIN_BYTES)
        problem(l, "must have at least %d bytes, not %zu", SECRET_MIN_BYTES, len);
    return parse_string(l);
}

static const char *
parse_secret(struct load *l)
{
    if (l->value[0] == '\0')
        problem(l, "is missing: a secret of at least %d bytes", SECRET_MIN_BYTES);
    return parse_old_secret(l);
}

static int64_t
parse_duration(struct load *l)
{
    static const struct { char unit; int64_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    const int64_t max = INT64_C(10) * 366 * 86400;
    size_t len = strlen(l->value);
    int64_t n, factor = 1;

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (len > 1 && l->value[len - 1] == units[i].unit) {
            factor = units[i].seconds;
            len--;
            break;
        }
    if (!valid_int(l->value, len, 1, max / factor, &n)) {
        problem(l, "must be a time such as 90s, 15m, 24h or 7d");
        return 0;
    }
    return n * factor;
}

static const char *
parse_percent(struct load *l)
{
    size_t len = strlen(l->value);

    /* Three digits and at most 100: the only such numbers are 100 and 100.0…, so text will do. */
    if (!valid_decimal(l->value, len, 3, 4, false)
        || (strcspn(l->value, ".") == 3 && (strncmp(l->value, "100", 3) > 0 || strpbrk(l->value + 3, "123456789") != NULL)))
        problem(l, "must be a percentage from 0 to 100 with at most four decimals");
    return l->value;
}

static int64_t
parse_rupees(struct load *l)
{
    int64_t paise;

    if (!money_parse(l->value, strlen(l->value), &paise) || paise == 0) {
        problem(l, "must be an amount in rupees such as 100 or 0.50");
        return 0;
    }
    return paise;
}

static int
parse_int(struct load *l, int min, int max)
{
    int64_t n;

    if (!valid_int(l->value, strlen(l->value), min, max, &n)) {
        problem(l, "must be a whole number from %d to %d", min, max);
        return min;
    }
    return (int)n;
}

static bool
parse_switch(struct load *l)
{
    if (strcmp(l->value, "on") != 0 && strcmp(l->value, "off") != 0)
        problem(l, "must be on or off");
    return strcmp(l->value, "on") == 0;
}

/* WORDS are separated by |. */
static const char *
parse_choice(struct load *l, const char *words)
{
    size_t len = strlen(l->value);

    for (const char *w = words; *w != '\0'; w += strspn(w, "|")) {
        size_t n = strcspn(w, "|");
        if (n == len && memcmp(w, l->value, n) == 0)
            return l->value;
        w += n;
    }
    problem(l, "must be one of %s", words);
    return words;
}

/* The members of a comma-separated value into ITEM, without blanks around them; their number. */
static size_t
split(struct load *l, const char *item[LIST_MAX])
{
    size_t n = 0;

    for (const char *s = l->value; *s != '\0';) {
        size_t whole = strcspn(s, ","), len = whole;
        const char *word = s;
        while (len > 0 && isspace((unsigned char)*word))
            word++, len--;
        while (len > 0 && isspace((unsigned char)word[len - 1]))
            len--;
        if (len > 0 && n == LIST_MAX) {
            problem(l, "has more than %d members", LIST_MAX);
            break;
        }
        if (len > 0)
            item[n++] = arena_memdup0(l->a, word, len);
        s += whole + (s[whole] == ',');
    }
    return n;
}

static struct config_list
parse_list(struct load *l)
{
    const char *item[LIST_MAX];
    size_t n = split(l, item);
    const char **copy = arena_zalloc(l->a, n + 1, sizeof *copy);

    for (size_t i = 0; i < n; i++)
        copy[i] = item[i];
    return (struct config_list){ .n = n, .item = copy };
}

/* `bids=10/60` or `bids=off`, over the default's rules: a rule that is not named keeps its figures,
 * a name that the default does not have is a slip of the pen. */
static struct config_limits
parse_limits(struct load *l)
{
    const char *rule[LIST_MAX], *given[LIST_MAX];
    const char *value = l->value;

    if (strcmp(value, "off") == 0)
        return (struct config_limits){ 0 };

    size_t n_given = split(l, given);
    l->value = defaults[ID_RATE_LIMITS];
    size_t n_rules = split(l, rule);
    l->value = value;

    struct config_limit *item = arena_zalloc(l->a, n_rules, sizeof *item);
    bool known[LIST_MAX] = { false };
    size_t n = 0;
    for (size_t i = 0; i < n_rules; i++) {
        size_t name_len = strcspn(rule[i], "=");
        const char *figures = rule[i] + name_len + 1;
        for (size_t g = 0; g < n_given; g++)
            if (strncmp(given[g], rule[i], name_len + 1) == 0) {
                figures = given[g] + name_len + 1;
                known[g] = true;
            }
        if (strcmp(figures, "off") == 0)
            continue;
        size_t max_len = strcspn(figures, "/");
        int64_t max, window;
        if (figures[max_len] != '/' || !valid_int(figures, max_len, 1, INT_MAX, &max)
            || !valid_int(figures + max_len + 1, strlen(figures + max_len + 1), 1, 86400, &window)) {
            problem(l, "`%.*s` must be followed by =requests/seconds or =off", (int)name_len, rule[i]);
            continue;
        }
        item[n++] = (struct config_limit){ .name = arena_memdup0(l->a, rule[i], name_len),
                                           .max = (int)max,
                                           .window_s = (int)window };
    }
    for (size_t g = 0; g < n_given; g++)
        if (!known[g])
            problem(l, "knows no rule `%s`; the rules are %s", given[g], defaults[ID_RATE_LIMITS]);
    return (struct config_limits){ .n = n, .item = item };
}

static struct config_roles
parse_roles(struct load *l)
{
    static const char *const roles[] = { "CLIENT", "VENDOR", "AGENT", "ADMIN" };
    const char *pair[LIST_MAX];
    size_t n_pairs = split(l, pair), n = 0;
    struct config_role *item = arena_zalloc(l->a, n_pairs + 1, sizeof *item);

    for (size_t i = 0; i < n_pairs; i++) {
        size_t len = strcspn(pair[i], "=");
        const char *role = NULL;
        for (size_t r = 0; r < 4 && pair[i][len] == '='; r++)
            if (strcmp(pair[i] + len + 1, roles[r]) == 0)
                role = roles[r];
        if (role == NULL || len == 0 || strspn(pair[i], "+0123456789*") != len) {
            problem(l, "`%s` must be a phone pattern such as +9198*=VENDOR", pair[i]);
            continue;
        }
        item[n++] = (struct config_role){ .pattern = arena_memdup0(l->a, pair[i], len), .role = role };
    }
    return (struct config_roles){ .n = n, .item = item };
}

#define PARSE_STRING parse_string(l)
#define PARSE_URL parse_url(l)
#define PARSE_PATH parse_path(l)
#define PARSE_PLACE parse_place(l)
#define PARSE_SECRET parse_secret(l)
#define PARSE_OLD_SECRET parse_old_secret(l)
#define PARSE_DURATION parse_duration(l)
#define PARSE_PERCENT parse_percent(l)
#define PARSE_RUPEES parse_rupees(l)
#define PARSE_INT(min, max) parse_int(l, min, max)
#define PARSE_SWITCH parse_switch(l)
#define PARSE_CHOICE(words) parse_choice(l, words)
#define PARSE_LIST parse_list(l)
#define PARSE_LIMITS parse_limits(l)
#define PARSE_ROLES parse_roles(l)

/* ---- the file ---- */

/* The value of a line from behind its =, unquoted, in place.  NULL when a quote is not closed or
 * something follows it. */
static char *
unquote(char *s)
{
    s += strspn(s, " \t");
    char quote = *s;
    if (quote != '"' && quote != '\'') {
        size_t len = strlen(s);
        while (len > 0 && isspace((unsigned char)s[len - 1]))
            len--;
        s[len] = '\0';
        return s;
    }
    char *to = s, *from = s + 1;
    while (*from != '\0' && *from != quote) {
        /* Within double quotes a backslash takes away the meaning of what the shell knows. */
        if (quote == '"' && *from == '\\' && from[1] != '\0' && strchr("\"\\$`", from[1]) != NULL)
            from++;
        *to++ = *from++;
    }
    if (*from != quote || from[1 + strspn(from + 1, " \t\r")] != '\0')
        return NULL;
    *to = '\0';
    return s;
}

static int
setting_named(const char *name, size_t len)
{
    for (int i = 0; i < N_SETTINGS; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return i;
    return -1;
}

static void
read_line(struct load *l, char *line, int number, const char *raw[N_SETTINGS], const char *unknown[LIST_MAX], size_t *n_unknown)
{
    line += strspn(line, " \t\r");
    if (*line == '\0' || *line == '#' || *line == ';')
        return;
    size_t len = strcspn(line, "=");
    char *value = line[len] == '=' ? unquote(line + len + 1) : NULL;
    if (value == NULL || len == 0 || strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != len) {
        problem(l, "line %d is not NAME=value", number);
        return;
    }
    int id = setting_named(line, len);
    if (id >= 0)
        raw[id] = value;
    else if (*n_unknown < LIST_MAX)
        unknown[(*n_unknown)++] = arena_memdup0(l->a, line, len);
}

/* Put the file's values into RAW.  The file's text stays in the arena: values point into it. */
static const char *
read_file(struct load *l, const char *raw[N_SETTINGS], struct config_list *unknown)
{
    const char *named = getenv("SELLIKO_CONF");
    const char *path = named != NULL && *named != '\0' ? named : SELLIKO_SYSCONFDIR "/selliko.conf";
    bool must_be_there = path == named;
    FILE *f = fopen(path, "re");

    l->name = path = arena_strdup(l->a, path);
    if (f == NULL) {
        if (must_be_there || errno != ENOENT)
            problem(l, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    char *text = arena_alloc(l->a, FILE_MAX_BYTES + 1);
    size_t len = fread(text, 1, FILE_MAX_BYTES + 1, f);
    if (ferror(f))
        problem(l, "cannot be read: %s", strerror(errno));
    else if (len > FILE_MAX_BYTES || memchr(text, '\0', len) != NULL)
        problem(l, "is not a configuration file");
    else {
        const char *strange[LIST_MAX];
        size_t n_strange = 0;
        text[len] = '\0';
        for (int number = 1; text != NULL && *text != '\0'; number++) {
            char *line = strsep(&text, "\n");
            read_line(l, line, number, raw, strange, &n_strange);
        }
        const char **copy = arena_zalloc(l->a, n_strange + 1, sizeof *copy);
        memcpy(copy, strange, n_strange * sizeof *copy);
        *unknown = (struct config_list){ .n = n_strange, .item = copy };
    }
    fclose(f);
    return path;
}

/* ---- what one setting says about another ---- */

static bool
is_origin(const char *s)
{
    const char *host = strstr(s, "://");

    return host != NULL && host > s && host[3] != '\0'
           && strspn(host + 3, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == strlen(host + 3)
           && strspn(s, "abcdefghijklmnopqrstuvwxyz+-.0123456789") == (size_t)(host - s);
}

/* An address, or a network in CIDR form. */
static bool
is_network(const char *s)
{
    char address[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    size_t len = strcspn(s, "/");
    int64_t bits;

    if (len >= sizeof address)
        return false;
    memcpy(address, s, len);
    address[len] = '\0';
    int max = inet_pton(AF_INET, address, bytes) == 1 ? 32 : inet_pton(AF_INET6, address, bytes) == 1 ? 128 : -1;
    return max > 0 && (s[len] == '\0' || valid_int(s + len + 1, strlen(s + len + 1), 0, max, &bits));
}

static bool
is_version(const char *s)
{
    if (*s++ != 'v')
        return false;
    size_t major = strspn(s, "0123456789");
    size_t minor = s[major] == '.' ? strspn(s + major + 1, "0123456789") : 0;
    return major > 0 && minor > 0 && s[major + 1 + minor] == '\0';
}

/* What libpq takes for a URI or a connection string is one; a bare word is a database's name to it, and so
 * would be a URI with a slip of the pen. */
static bool
is_database(const char *s)
{
    bool uri = strncmp(s, "postgresql://", 13) == 0 || strncmp(s, "postgres://", 11) == 0;
    if (!uri && strchr(s, '=') == NULL)
        return strstr(s, "://") == NULL;
    PQconninfoOption *options = PQconninfoParse(s, NULL);
    bool parsed = options != NULL;
    for (PQconninfoOption *o = options; parsed && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "port") == 0 && o->val != NULL && strspn(o->val, "0123456789,") != strlen(o->val))
            parsed = false;
    PQconninfoFree(options);
    return parsed;
}

/* {scheme}://{key}@{host}[:port][/path]/{project}; selliko-report-errors takes it apart. */
static bool
is_dsn(const char *s)
{
    if (strncmp(s, "https://", 8) != 0 && strncmp(s, "http://", 7) != 0)
        return false;
    const char *key = strchr(s, '/') + 2, *at = strchr(key, '@'), *project = strrchr(s, '/') + 1;
    return at != NULL && at > key && at[1] != '/' && project > at && *project != '\0' && strchr(s, ' ') == NULL;
}

static void
check_together(struct load *l, const struct config *c)
{
    bool any_origin = false;

    l->name = "ALLOWED_ORIGINS";
    for (size_t i = 0; i < c->allowed_origins.n; i++)
        if (strcmp(c->allowed_origins.item[i], "*") == 0)
            any_origin = true;
        else if (!is_origin(c->allowed_origins.item[i]))
            problem(l, "`%s` is not an origin such as https://selliko.com", c->allowed_origins.item[i]);
    if (c->production && any_origin)
        problem(l, "* is for development only: name the origins");

    l->name = "METRICS_ALLOW";
    for (size_t i = 0; i < c->metrics_allow.n; i++)
        if (!is_network(c->metrics_allow.item[i]))
            problem(l, "`%s` is not an address or a network", c->metrics_allow.item[i]);

    l->name = "DEMO_ROLES";
    if (c->production && c->demo_roles.n > 0)
        problem(l, "is for demonstrations only: it makes administrators of strangers");

    l->name = "RATE_LIMITS";
    size_t n_rules = 1;
    for (const char *s = defaults[ID_RATE_LIMITS]; *s != '\0'; s++)
        n_rules += *s == ',';
    if (c->production && c->rate_limits.n < n_rules)
        problem(l, "off is for load tests only");

    l->name = "WHATSAPP_API_VERSION";
    if (!is_version(c->whatsapp_api_version))
        problem(l, "must be a version of the Graph API such as v23.0");
    l->name = "WHATSAPP_PHONE_NUMBER_ID";
    if (c->whatsapp_access_token != NULL && c->whatsapp_phone_number_id == NULL)
        problem(l, "is missing: WHATSAPP_ACCESS_TOKEN needs the number that it sends from");
    if (c->whatsapp_phone_number_id != NULL
        && strspn(c->whatsapp_phone_number_id, "0123456789") != strlen(c->whatsapp_phone_number_id))
        problem(l, "must be digits");

    l->name = "DATABASE_URL";
    if (!is_database(c->database_url))
        problem(l, "must be such as postgresql://user:password@host/database");   /* the value may hold a password */

    l->name = "SENTRY_DSN";
    if (c->sentry_dsn != NULL && !is_dsn(c->sentry_dsn))
        problem(l, "must be such as https://key@errors.example/1");

    l->name = "S3_BUCKET_NAME";
    if (c->s3_bucket_name != NULL && (c->aws_access_key_id == NULL || c->aws_secret_access_key == NULL))
        problem(l, "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    l->name = "BACKUP_AWS_ACCESS_KEY_ID";
    if ((c->backup_aws_access_key_id != NULL) != (c->backup_aws_secret_access_key != NULL))
        problem(l, "and BACKUP_AWS_SECRET_ACCESS_KEY belong together");
    l->name = "BACKUP_DIR";
    if (c->backup_dir != NULL && strncmp(c->backup_dir, "s3://", 5) == 0 && c->backup_aws_access_key_id == NULL &&
        (c->aws_access_key_id == NULL || c->aws_secret_access_key == NULL))
        problem(l, "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of BACKUP_");
}

/* Defaults that depend on other settings, or on where the program lies. */
static void
derive(struct load *l, struct config *c)
{
    if (c->api_base_url == NULL)
        c->api_base_url = arena_printf(l->a, "http://localhost:%d", c->port);
    if (c->gateway_listen == NULL)
        c->gateway_listen = arena_printf(l->a, "%s/run/gateway.sock", c->state_dir);
    if (c->backup_dir == NULL)
        c->backup_dir = arena_printf(l->a, "%s/backup", c->state_dir);
    if (c->photo_worker == NULL) {
        char exe[PATH_MAX];
        ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
        exe[len > 0 ? len : 0] = '\0';
        for (int up = 0; up < 2; up++) {
            char *slash = strrchr(exe, '/');
            if (slash != NULL)
                *slash = '\0';
        }
        c->photo_worker = arena_printf(l->a, "%s/libexec/selliko-photo", exe);
        /* sellikoctl, which is in the path, has no such neighbour. */
        if (access(c->photo_worker, X_OK) != 0 && access(SELLIKO_WORKERDIR "/selliko-photo", X_OK) == 0)
            c->photo_worker = SELLIKO_WORKERDIR "/selliko-photo";
    }
}

/* ---- loading ---- */

bool
config_load(FILE *problems)
{
    struct load load = { .a = arena_new(), .out = problems }, *l = &load;
    const char *raw[N_SETTINGS] = { NULL };
    struct config c = { 0 };

    if (l->a == NULL) {
        fputs("configuration: out of memory\n", problems);
        return false;
    }
    c.file = read_file(l, raw, &c.unknown);

    for (int i = 0; i < N_SETTINGS; i++) {
        const char *env = getenv(names[i]);
        if (env != NULL)
            raw[i] = arena_strdup(l->a, env);
        if (raw[i] == NULL || raw[i][0] == '\0')
            raw[i] = defaults[i];
        l->name = names[i];
        /* Values end up in headers, paths and nginx's configuration. */
        if (!valid_no_controls(raw[i], strlen(raw[i]), false) || !valid_utf8(raw[i], strlen(raw[i])))
            problem(l, "holds a control character or is not UTF-8");
    }

#define PARSE(type, field, NAME, def, meaning) \
    l->name = #NAME;                           \
    l->value = raw[ID_##NAME];                 \
    c.field = PARSE_##type;
    CONFIG_TABLE(CONFIG_NO_SECTION, PARSE)

    c.production = strcmp(c.env, "production") == 0;
    check_together(l, &c);
    derive(l, &c);
    if (l->n_problems > 0) {
        arena_free(l->a);
        return false;
    }
    arena_free(settings_arena);
    settings_arena = l->a;
    settings = c;
    loaded = true;
    return true;
}

const struct config *
config(void)
{
    if (!loaded)
        abort();
    return &settings;
}

int
config_warnings(FILE *out)
{
    const struct config *c = config();
    struct stat st;
    int n = 0;

    for (size_t i = 0; i < c->unknown.n; i++, n++)
        fprintf(out, "%s: no setting of this system; a slip of the pen?\n", c->unknown.item[i]);
    if (c->file != NULL && stat(c->file, &st) == 0 && (st.st_mode & S_IROTH) != 0) {
        fprintf(out, "%s: holds secrets, but everyone may read it; chmod o= it\n", c->file);
        n++;
    }
    if (!c->production)
        return n;
    if (strncmp(c->api_base_url, "https://", 8) != 0) {
        fputs("API_BASE_URL: not https; file URLs would travel in clear\n", out);
        n++;
    }
    const struct { const char *name, *url; } outward[] = {
        { "WHATSAPP_API_URL", c->whatsapp_api_url }, { "S3_ENDPOINT", c->s3_endpoint }, { "SENTRY_DSN", c->sentry_dsn },
    };
    for (size_t i = 0; i < sizeof outward / sizeof outward[0]; i++)
        if (outward[i].url != NULL && strncmp(outward[i].url, "http://", 7) == 0) {
            fprintf(out, "%s: not https; secrets would travel in clear\n", outward[i].name);
            n++;
        }
    if (c->whatsapp_access_token == NULL) {
        fputs("WHATSAPP_ACCESS_TOKEN: missing; messages wait in the queue\n", out);
        n++;
    }
    if (c->whatsapp_app_secret == NULL) {
        fputs("WHATSAPP_APP_SECRET: missing; anyone may post to the webhook\n", out);
        n++;
    }
    return n;
}

void
config_print_sample(FILE *out)
{
#define SECTION(title) fprintf(out, "\n# ---- %s ----\n", title);
#define SAMPLE(type, field, NAME, def, meaning) \
    if ((meaning)[0] != '\0')                   \
        fprintf(out, "\n# %s\n", meaning);      \
    fprintf(out, "#%s=%s\n", #NAME, def);

    fputs("# selliko.conf -- settings of SELLIKO, NAME=value a line; what is commented out is the default.\n"
          "# An environment variable of the same name comes before this file.\n", out);
    CONFIG_TABLE(SECTION, SAMPLE)
}

/* ---- questions ---- */

const struct config_limit *
config_limit(const char *name)
{
    const struct config_limits *l = &config()->rate_limits;

    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->item[i].name, name) == 0)
            return &l->item[i];
    return NULL;
}

/* Only the last star can take more than it has, so nothing is tried twice: however many stars there are, a
 * pattern costs at most its length times the text's. */
static bool
glob_matches(const char *pattern, const char *s)
{
    const char *star = NULL, *taken = NULL;   /* behind the last star; where what it takes ends */

    while (*s != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            taken = s;
        } else if (*pattern == *s) {
            pattern++;
            s++;
        } else if (star != NULL) {
            pattern = star;
            s = ++taken;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

const char *
config_demo_role(const char *phone)
{
    const struct config_roles *r = &config()->demo_roles;

    for (size_t i = 0; i < r->n; i++)
        if (glob_matches(r->item[i].pattern, phone))
            return r->item[i].role;
    return NULL;
}

bool
config_origin_allowed(const char *origin)
{
    const struct config_list *o = &config()->allowed_origins;

    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->item[i], "*") == 0 || strcmp(o->item[i], origin) == 0)
            return true;
    return false;
}
