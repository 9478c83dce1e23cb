/* Every problem of a configuration is told at once, and production refuses what is for demonstrations. */
#include "../../lib/config.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static char file_path[] = "/tmp/selliko-test-config-XXXXXX";
static char *said;   /* what the last load complained of */
static size_t said_len;

static void
write_file(const char *text)
{
    FILE *f = fopen(file_path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool
load(void)
{
    free(said);
    FILE *problems = open_memstream(&said, &said_len);
    bool ok = config_load(problems);
    fclose(problems);
    return ok;
}

static int
group_setup(void **state)
{
    (void)state;
    int fd = mkstemp(file_path);
    if (fd < 0)
        return -1;
    close(fd);
    return setenv("SELLIKO_CONF", file_path, 1);
}

static int
group_teardown(void **state)
{
    (void)state;
    free(said);
    arena_free(settings_arena);
    return unlink(file_path);
}

/* Each test begins with nothing but the secrets and the environment "development". */
static int
setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++)
        unsetenv(names[i]);
    setenv("JWT_SECRET", SECRET, 1);
    setenv("ENCRYPTION_KEY", SECRET, 1);
    setenv("FILE_URL_SECRET", SECRET, 1);
    setenv("SELLIKO_ENV", "development", 1);
    write_file("");
    return 0;
}

static void
defaults_are_the_contracts(void **state)
{
    (void)state;
    assert_true(load());
    const struct config *c = config();
    assert_int_equal(said_len, 0);
    assert_false(c->production);
    assert_int_equal(c->port, 8080);
    assert_string_equal(c->api_base_url, "http://localhost:8080");
    assert_int_equal(c->jwt_expires_s, 24 * 3600);
    assert_int_equal(c->refresh_token_expires_s, 7 * 86400);
    assert_string_equal(c->platform_fee_percent, "2");
    assert_int_equal(c->bid_min_increment_paise, 10000);
    assert_int_equal(c->refresh_reuse_grace_s, 10);
    assert_string_equal(c->whatsapp_api_version, "v23.0");
    assert_true(c->whatsapp_otp_button);
    assert_null(c->whatsapp_access_token);
    assert_null(c->s3_bucket_name);
    assert_int_equal(config_limit("send-otp")->max, 3);
    assert_int_equal(config_limit("send-otp")->window_s, 60);
    assert_int_equal(config_limit("verify-otp")->window_s, 300);
    assert_int_equal(config_limit("bids")->max, 10);
    assert_null(config_limit("listings"));
    assert_null(config_demo_role("+919876543210"));
    assert_true(config_origin_allowed("http://localhost:3000"));
    assert_false(config_origin_allowed("http://localhost:30000"));
    assert_int_equal(c->state_dir[0], '/');
}

static void
a_file_is_read_and_the_environment_comes_before_it(void **state)
{
    (void)state;
    write_file("# a comment\n"
               "; another\n"
               "\n"
               "  PORT = 1\n"   /* blanks around = are not NAME=value */
               "PORT=9000\n"
               "FRONTEND_URL=\"https://selliko.com/\"\r\n"
               "WHATSAPP_WEBHOOK_VERIFY_TOKEN='a \"b\" $c'  \n"
               "AWS_REGION=\"a \\\"b\\\" \\$c\"\n"
               "BID_MIN_INCREMENT=0.01\n"
               "NODE_ENV=production\n"
               "AUCTION_ENDING_MINUTES=");
    assert_false(load());
    assert_non_null(strstr(said, "line 4 is not NAME=value"));

    write_file("PORT=9000\n"
               "FRONTEND_URL=\"https://selliko.com/\"\r\n"
               "WHATSAPP_WEBHOOK_VERIFY_TOKEN='a \"b\" $c'  \n"
               "AWS_REGION=\"a \\\"b\\\" \\$c\"\n"
               "BID_MIN_INCREMENT=0.01\n"
               "NODE_ENV=production\n"
               "AUCTION_ENDING_MINUTES=");
    setenv("PORT", "9100", 1);
    assert_true(load());
    assert_int_equal(config()->port, 9100);
    assert_string_equal(config()->frontend_url, "https://selliko.com");
    assert_string_equal(config()->whatsapp_webhook_verify_token, "a \"b\" $c");
    assert_string_equal(config()->aws_region, "a \"b\" $c");
    assert_int_equal(config()->bid_min_increment_paise, 1);
    assert_int_equal(config()->auction_ending_min, 30);
    assert_int_equal(config()->unknown.n, 1);
    assert_string_equal(config()->unknown.item[0], "NODE_ENV");
}

static void
all_problems_are_told_at_once_and_no_value(void **state)
{
    (void)state;
    setenv("JWT_SECRET", "too-short", 1);
    unsetenv("ENCRYPTION_KEY");
    setenv("FILE_URL_SECRET_OLD", "short-too", 1);
    setenv("PORT", "0", 1);
    setenv("JWT_EXPIRES_IN", "24 hours", 1);
    setenv("PLATFORM_FEE_PERCENT", "100.01", 1);
    setenv("BID_MIN_INCREMENT", "1.005", 1);
    setenv("RATE_LIMITS", "bids=10,bid=1/1", 1);
    setenv("WHATSAPP_OTP_BUTTON", "yes", 1);
    setenv("LOG_LEVEL", "loud", 1);
    setenv("API_BASE_URL", "localhost", 1);
    setenv("ALLOWED_ORIGINS", "selliko.com", 1);
    setenv("METRICS_ALLOW", "10.0.0.0/33", 1);
    setenv("WHATSAPP_API_VERSION", "23", 1);
    setenv("DEMO_ROLES", "+91*=KING", 1);
    setenv("LISTEN", "1.2.3.4\n; evil", 1);
    setenv("SENTRY_DSN", "https://errors.example/1", 1);
    setenv("DATABASE_URL", "postgresql://selliko:too-short@db:port/selliko", 1);
    assert_false(load());
    static const char *const wrong[] = { "JWT_SECRET", "ENCRYPTION_KEY", "FILE_URL_SECRET_OLD", "PORT", "JWT_EXPIRES_IN",
                                         "PLATFORM_FEE_PERCENT", "BID_MIN_INCREMENT", "RATE_LIMITS", "WHATSAPP_OTP_BUTTON",
                                         "LOG_LEVEL", "API_BASE_URL", "ALLOWED_ORIGINS", "METRICS_ALLOW",
                                         "WHATSAPP_API_VERSION", "DEMO_ROLES", "LISTEN", "SENTRY_DSN", "DATABASE_URL" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s: ", wrong[i]);
        assert_non_null(strstr(said, line));
    }
    assert_null(strstr(said, "too-short"));
    assert_null(strstr(said, "short-too"));
}

static void
a_secret_of_31_bytes_is_refused_and_one_of_32_is_not(void **state)
{
    (void)state;
    setenv("FILE_URL_SECRET", SECRET + 1, 1);
    assert_false(load());
    setenv("FILE_URL_SECRET", SECRET, 1);
    assert_true(load());
}

static void
a_database_is_a_uri_a_connection_string_or_a_name(void **state)
{
    (void)state;
    static const char *const good[] = { "postgresql:///selliko", "postgres://u:p%40@h:5432/db?sslmode=require", "selliko",
                                        "host=/run/postgresql dbname=selliko", "postgresql://a:1,b:2/db?target_session_attrs=any" };
    static const char *const bad[] = { "postgresq://h/db", "http://h/db", "postgresql://h:x/db", "postgresql://u:p%zz@h/db",
                                       "host=h port", "hots=h", "postgresql://h/db?nonsense=1" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        setenv("DATABASE_URL", good[i], 1);
        assert_true(load());
        assert_string_equal(config()->database_url, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("DATABASE_URL", bad[i], 1);
        assert_false(load());
        assert_non_null(strstr(said, "DATABASE_URL: "));
    }
}

static void
a_named_file_must_be_there(void **state)
{
    (void)state;
    setenv("SELLIKO_CONF", "/nonexistent/selliko.conf", 1);
    assert_false(load());
    assert_non_null(strstr(said, "/nonexistent/selliko.conf: "));
    setenv("SELLIKO_CONF", file_path, 1);
}

static void
production_refuses_what_is_for_demonstrations(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        { "DEMO_ROLES", "+91*=VENDOR" }, { "ALLOWED_ORIGINS", "https://selliko.com,*" },
        { "RATE_LIMITS", "off" },        { "RATE_LIMITS", "bids=off" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setup(NULL);
        setenv(wrong[i][0], wrong[i][1], 1);
        assert_true(load());
        setenv("SELLIKO_ENV", "production", 1);
        assert_false(load());
        assert_non_null(strstr(said, wrong[i][0]));
    }
    setup(NULL);
    unsetenv("SELLIKO_ENV");   /* production is what it is when nothing is said */
    assert_true(load());
    assert_true(config()->production);
}

static void
times_are_written_with_a_unit_or_in_seconds(void **state)
{
    (void)state;
    static const struct { const char *text; int64_t seconds; } ok[] = {
        { "90", 90 }, { "90s", 90 }, { "15m", 900 }, { "24h", 86400 }, { "7d", 604800 },
    };
    static const char *const bad[] = { "0", "-1", "1w", "h", "1.5h", "1 h", "99999999d" };
    for (size_t i = 0; i < sizeof ok / sizeof ok[0]; i++) {
        setenv("JWT_EXPIRES_IN", ok[i].text, 1);
        assert_true(load());
        assert_int_equal(config()->jwt_expires_s, ok[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("JWT_EXPIRES_IN", bad[i], 1);
        assert_false(load());
    }
}

static void
percentages_go_from_0_to_100(void **state)
{
    (void)state;
    static const char *const ok[] = { "0", "2", "2.5", "99.9999", "100", "100.0" };
    static const char *const bad[] = { "-1", "101", "100.1", "999", "2.55555", ".5", "2.", "2%", "1e1" };
    for (size_t i = 0; i < sizeof ok / sizeof ok[0]; i++) {
        setenv("AGENT_COMMISSION_PERCENT", ok[i], 1);
        assert_true(load());
        assert_string_equal(config()->agent_commission_percent, ok[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("AGENT_COMMISSION_PERCENT", bad[i], 1);
        assert_false(load());
    }
}

static void
a_rate_limit_left_out_keeps_its_figures(void **state)
{
    (void)state;
    setenv("RATE_LIMITS", "bids=100/10, verify-otp=off", 1);
    assert_true(load());
    assert_int_equal(config_limit("bids")->max, 100);
    assert_int_equal(config_limit("bids")->window_s, 10);
    assert_int_equal(config_limit("send-otp")->max, 3);
    assert_null(config_limit("verify-otp"));
    setenv("RATE_LIMITS", "off", 1);
    assert_true(load());
    assert_null(config_limit("send-otp"));
}

static void
the_first_demo_pattern_that_matches_gives_the_role(void **state)
{
    (void)state;
    setenv("DEMO_ROLES", "+919876543212=AGENT,+9198*=VENDOR,*65=ADMIN,*7*1*=CLIENT", 1);
    assert_true(load());
    assert_string_equal(config_demo_role("+919876543212"), "AGENT");
    assert_string_equal(config_demo_role("+919876543210"), "VENDOR");
    assert_string_equal(config_demo_role("+917000000065"), "ADMIN");
    assert_string_equal(config_demo_role("+917000000100"), "CLIENT");
    assert_null(config_demo_role("+917000000000"));
}

static void
a_pattern_of_many_stars_is_no_work(void **state)
{
    (void)state;
    char pattern[2000] = "+";
    for (int i = 0; i < 600; i++)
        memcpy(pattern + 1 + 3 * i, i % 2 == 0 ? "*9*" : "***", 4);
    memcpy(pattern + strlen(pattern), "x=ADMIN", 8);
    setenv("DEMO_ROLES", pattern, 1);
    assert_false(load());   /* no letter is in a phone */
    memcpy(strchr(pattern, 'x'), "1=ADMIN", 8);
    setenv("DEMO_ROLES", pattern, 1);
    assert_true(load());
    assert_null(config_demo_role("+919999999991"));
    setenv("DEMO_ROLES", "+*********9****9****9*************1=ADMIN", 1);
    assert_true(load());
    assert_string_equal(config_demo_role("+919999999991"), "ADMIN");
    assert_null(config_demo_role("+919999999990"));
}

static void
the_sample_file_loads_and_names_every_setting(void **state)
{
    (void)state;
    char *sample;
    size_t len;
    FILE *f = open_memstream(&sample, &len);
    config_print_sample(f);
    fclose(f);
    for (size_t i = 0; i < N_SETTINGS; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n#%s=", names[i]);
        assert_non_null(strstr(sample, line));
    }
    write_file(sample);
    assert_true(load());
    /* Also with every line in force, but for the secrets, which it must not bring. */
    for (char *s = sample; *s != '\0'; s++)
        if ((s == sample || s[-1] == '\n') && *s == '#' && s[1] >= 'A' && s[1] <= 'Z' && s[1 + strcspn(s + 1, "= \n")] == '=')
            *s = ' ';
    write_file(sample);
    assert_true(load());
    assert_int_equal(config()->port, 8080);
    assert_int_equal(config()->unknown.n, 0);
    free(sample);
}

static void
what_works_but_should_be_looked_at_is_a_warning(void **state)
{
    (void)state;
    char *text;
    size_t len;
    unsetenv("SELLIKO_ENV");
    write_file("JWT_EXPIRE_IN=1h\n");
    assert_int_equal(chmod(file_path, 0644), 0);
    assert_true(load());
    FILE *f = open_memstream(&text, &len);
    assert_int_equal(config_warnings(f), 5);
    fclose(f);
    assert_non_null(strstr(text, "JWT_EXPIRE_IN: "));
    assert_non_null(strstr(text, "chmod"));
    free(text);
    setenv("WHATSAPP_API_URL", "http://graph.example", 1);
    setenv("S3_ENDPOINT", "https://minio.example", 1);
    assert_true(load());
    f = open_memstream(&text, &len);
    assert_int_equal(config_warnings(f), 6);
    fclose(f);
    assert_non_null(strstr(text, "WHATSAPP_API_URL: not https"));
    free(text);
    assert_int_equal(chmod(file_path, 0600), 0);
}

/* Loading with BACKUP_DIR=PLACE gives WANT, or is refused (NULL). */
static void
assert_place(const char *place, const char *want)
{
    setenv("BACKUP_DIR", place, 1);
    assert_int_equal(load(), want != NULL);
    if (want != NULL)
        assert_string_equal(config()->backup_dir, want);
    else
        assert_non_null(strstr(said, "BACKUP_DIR: "));
}

static void
backups_go_to_a_folder_or_to_a_bucket_that_has_a_key(void **state)
{
    (void)state;
    assert_place("/srv/backup", "/srv/backup");
    assert_place("s3://selliko-backup/a", NULL);
    setenv("BACKUP_AWS_ACCESS_KEY_ID", "AKID", 1);
    assert_false(load());
    assert_non_null(strstr(said, "belong together"));
    setenv("BACKUP_AWS_SECRET_ACCESS_KEY", "secret", 1);
    assert_place("s3://selliko-backup/a/b//", "s3://selliko-backup/a/b");
    assert_place("s3://selliko-backup", "s3://selliko-backup");
    assert_place("s3://selliko-backup/", "s3://selliko-backup");
    assert_place("s3://Selliko/a", NULL);
    assert_place("s3:///a", NULL);
    assert_place("s3://selliko-backup/a b", NULL);
    assert_place("s3://selliko-backup/a//b", NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_the_contracts, setup),
        cmocka_unit_test_setup(a_file_is_read_and_the_environment_comes_before_it, setup),
        cmocka_unit_test_setup(all_problems_are_told_at_once_and_no_value, setup),
        cmocka_unit_test_setup(a_secret_of_31_bytes_is_refused_and_one_of_32_is_not, setup),
        cmocka_unit_test_setup(a_database_is_a_uri_a_connection_string_or_a_name, setup),
        cmocka_unit_test_setup(a_named_file_must_be_there, setup),
        cmocka_unit_test_setup(production_refuses_what_is_for_demonstrations, setup),
        cmocka_unit_test_setup(times_are_written_with_a_unit_or_in_seconds, setup),
        cmocka_unit_test_setup(percentages_go_from_0_to_100, setup),
        cmocka_unit_test_setup(a_rate_limit_left_out_keeps_its_figures, setup),
        cmocka_unit_test_setup(a_pattern_of_many_stars_is_no_work, setup),
        cmocka_unit_test_setup(the_first_demo_pattern_that_matches_gives_the_role, setup),
        cmocka_unit_test_setup(the_sample_file_loads_and_names_every_setting, setup),
        cmocka_unit_test_setup(backups_go_to_a_folder_or_to_a_bucket_that_has_a_key, setup),
        cmocka_unit_test_setup(what_works_but_should_be_looked_at_is_a_warning, setup),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
