/* Any bytes as a configuration file, behind one that sets the secrets: no crash, and settings that are
 * accepted are what the types of config.h promise. */
#include "../../lib/config.h"
#include "../../lib/money.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define PRICE_AT_MOST INT64_C(100000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secrets[] = "JWT_SECRET=" SECRET "\nENCRYPTION_KEY=\"" SECRET "\"\nFILE_URL_SECRET='" SECRET "'\n";

static void
judge_text(const char *s)
{
    for (; s != NULL && *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            abort();
}

static void
judge(const struct config *c)
{
    const char *const secret[] = { c->jwt_secret, c->encryption_key, c->file_url_secret };

    for (size_t i = 0; i < 3; i++)
        if (secret[i] == NULL || strlen(secret[i]) < 32)
            abort();
    if (c->file_url_secret_old != NULL && strlen(c->file_url_secret_old) < 32)
        abort();
    if (c->jwt_expires_s < 1 || c->refresh_token_expires_s < 1 || c->bid_min_increment_paise < 1 || c->port < 1 || c->port > 65535)
        abort();
    if (money_share(PRICE_AT_MOST, c->platform_fee_percent) > PRICE_AT_MOST
        || money_share(PRICE_AT_MOST, c->agent_commission_percent) > PRICE_AT_MOST)
        abort();
    for (size_t i = 0; i < c->rate_limits.n; i++)
        if (c->rate_limits.item[i].max < 1 || c->rate_limits.item[i].window_s < 1
            || config_limit(c->rate_limits.item[i].name) != &c->rate_limits.item[i])
            abort();
    for (size_t i = 0; i < c->allowed_origins.n; i++)
        judge_text(c->allowed_origins.item[i]);
    judge_text(c->api_base_url);
    judge_text(c->state_dir);
    judge_text(c->database_url);

    const char *role = config_demo_role("+919876543210");
    if (role != NULL && strcmp(role, "CLIENT") != 0 && strcmp(role, "VENDOR") != 0 && strcmp(role, "AGENT") != 0
        && strcmp(role, "ADMIN") != 0)
        abort();
    if (c->production
        && (role != NULL || config_origin_allowed("*") || config_origin_allowed("https://not.named.example.")
            || config_limit("send-otp") == NULL || config_limit("verify-otp") == NULL || config_limit("bids") == NULL))
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static FILE *nowhere;

    if (fd < 0) {
        char path[32];
        extern char **environ;
        fd = memfd_create("selliko.conf", 0);
        nowhere = fopen("/dev/null", "w");
        if (fd < 0 || nowhere == NULL)
            abort();
        static char *alone[2];
        snprintf(path, sizeof path, "/dev/fd/%d", fd);
        environ = alone;   /* a setting in the environment would come before the file */
        if (setenv("SELLIKO_CONF", path, 1) != 0)
            abort();
    }
    if (memmem(data, size, "not.named.example", 17) != NULL)
        return 0;
    if (ftruncate(fd, 0) != 0 || pwrite(fd, secrets, sizeof secrets - 1, 0) < 0
        || (size > 0 && pwrite(fd, data, size, sizeof secrets - 1) < 0))
        abort();
    if (config_load(nowhere)) {
        judge(config());
        (void)config_warnings(nowhere);
    }
    return 0;
}
