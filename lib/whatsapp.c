/* whatsapp -- see whatsapp.h. */
#include "whatsapp.h"

#include "arena.h"
#include "jr.h"
#include "jw.h"
#include "valid.h"

#include <string.h>

/* Meta's bound of a text parameter, in characters; bytes are never fewer. */
enum { PARAM_MAX_LEN = 1024 };

/* ---- what is posted ---- */

static bool
is_phone(const char *s)
{
    size_t len = strlen(s);

    return len >= 9 && len <= 16 && s[0] == '+' && strspn(s + 1, "0123456789") == len - 1;
}

/* One line of S without runs of blanks, cut to what Meta takes (not within a character). */
static const char *
one_line(struct arena *a, const char *s)
{
    char *line = arena_alloc(a, strlen(s) + 2);
    size_t len = 0;

    for (; *s != '\0' && len < PARAM_MAX_LEN; s++) {
        bool blank = (unsigned char)*s <= ' ' || *s == 0x7f;

        if (!blank)
            line[len++] = *s;
        else if (len > 0 && line[len - 1] != ' ')
            line[len++] = ' ';
    }
    for (; len > 0 && ((unsigned char)*s & 0xc0) == 0x80; s--)
        len--;
    while (len > 0 && line[len - 1] == ' ')
        len--;
    if (len == 0)
        line[len++] = '-';
    line[len] = '\0';
    return line;
}

static void
write_texts(struct jw *j, const char *const *text, size_t n)
{
    jw_array(j, "parameters");
    for (size_t i = 0; i < n; i++) {
        jw_object(j, NULL);
        jw_str(j, "type", "text");
        jw_str(j, "text", text[i]);
        jw_end(j);
    }
    jw_end(j);
}

const char *
whatsapp_body(struct arena *a, const char *phone, const char *template_name, const char *const *param, size_t n,
              bool otp_button, size_t *len)
{
    const char *text[WHATSAPP_PARAMS_MAX];
    struct jw *j;

    if (!is_phone(phone) || n > WHATSAPP_PARAMS_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++)
        text[i] = one_line(a, param[i]);

    j = jw_new(a);
    jw_object(j, NULL);
    jw_str(j, "messaging_product", "whatsapp");
    jw_str(j, "recipient_type", "individual");
    jw_str(j, "to", phone + 1);
    jw_str(j, "type", "template");
    jw_object(j, "template");
    jw_str(j, "name", template_name);
    jw_object(j, "language");
    jw_str(j, "code", "en");
    jw_end(j);
    jw_array(j, "components");
    jw_object(j, NULL);
    jw_str(j, "type", "body");
    write_texts(j, text, n);
    jw_end(j);
    if (otp_button && strcmp(template_name, "otp_verification") == 0) {
        jw_object(j, NULL);
        jw_str(j, "type", "button");
        jw_str(j, "sub_type", "url");
        jw_str(j, "index", "0");
        write_texts(j, text, n);
        jw_end(j);
    }
    jw_end(j);
    jw_end(j);
    jw_end(j);
    return jw_text(j, len);
}

/* The value of TEXT.  16 levels are more than any of these has.  What is not UTF-8 is refused: PostgreSQL would,
 * too. */
static struct jr
parse(const char *text, size_t len)
{
    struct jr root = { 0 };

    if (valid_utf8(text, len))
        (void)jr_check(text, len, 16, &root);
    return root;
}

int
whatsapp_params(struct arena *a, const char *json, const char *param[WHATSAPP_PARAMS_MAX])
{
    struct jr root = parse(json, strlen(json));
    int n = 0;

    if (root.kind != JR_ARRAY || jr_count(root) > WHATSAPP_PARAMS_MAX)
        return -1;
    for (struct jr_walk w = jr_walk(root); jr_next(&w);) {
        if (w.value.kind != JR_STRING)
            return -1;
        param[n++] = jr_text(a, w.value, NULL);
    }
    return n;
}

/* ---- what an answer means ---- */

const char *
whatsapp_outcome_name(enum whatsapp_outcome outcome)
{
#define NAME(id, name) [WHATSAPP_##id] = (name),
    static const char *const names[] = { WHATSAPP_OUTCOMES(NAME) };
#undef NAME
    return names[outcome];
}

/* Codes and what they ask for, first match; those that are not here are judged by HTTP status. */
static const struct {
    int from, to;
    enum whatsapp_outcome outcome;
    const char *meaning;
} codes[] = {
    { 0, 0, WHATSAPP_STOP, "the access token is not accepted" },
    { 190, 190, WHATSAPP_STOP, "the access token is invalid or has expired" },
    { 3, 3, WHATSAPP_STOP, "the app may not make this call" },
    { 10, 10, WHATSAPP_STOP, "a permission is missing" },
    { 200, 299, WHATSAPP_STOP, "a permission is missing" },
    { 131005, 131005, WHATSAPP_STOP, "a permission is missing" },
    { 368, 368, WHATSAPP_STOP, "the account is blocked for a violation of policy" },
    { 131031, 131031, WHATSAPP_STOP, "the account is locked" },
    { 131042, 131042, WHATSAPP_STOP, "there is a problem with the account's billing" },
    { 131048, 131048, WHATSAPP_STOP, "too many messages were reported as spam" },
    { 131045, 131045, WHATSAPP_STOP, "the sending number is not registered rightly" },
    { 133000, 133999, WHATSAPP_STOP, "the sending number is not registered" },
    { 4, 4, WHATSAPP_THROTTLED, "the app makes too many calls" },
    { 80007, 80007, WHATSAPP_THROTTLED, "the account makes too many calls" },
    { 130429, 130429, WHATSAPP_THROTTLED, "the number sends too many messages" },
    { 131056, 131056, WHATSAPP_PACED, "too many messages to this person" },
    { 1, 2, WHATSAPP_RETRY, "a temporary error of the API" },
    { 131000, 131000, WHATSAPP_RETRY, "an unknown error of the API" },
    { 131016, 131016, WHATSAPP_RETRY, "the API is overloaded" },
    { 131057, 131057, WHATSAPP_RETRY, "the account is in maintenance" },
    { 131026, 131026, WHATSAPP_FAILED, "the message cannot be delivered to this number" },
    { 131047, 131047, WHATSAPP_FAILED, "the person has not written within 24 hours" },
    { 131049, 131049, WHATSAPP_FAILED, "not delivered, for a healthy ecosystem" },
    { 130472, 130472, WHATSAPP_FAILED, "the number is part of an experiment" },
    { 131051, 131051, WHATSAPP_FAILED, "messages of this type are not supported" },
    { 132000, 132999, WHATSAPP_FAILED, "the template was refused" },
};

/* Append S to OUT as one line, every run of seven or more digits masked (APIs like to quote what they
 * were sent). */
static void
append_safely(char *out, size_t size, const char *s)
{
    size_t len = strlen(out);

    while (*s != '\0' && len + 1 < size) {
        size_t digits = strspn(s, "0123456789");

        if (digits >= 7) {
            s += digits;
            for (int i = 0; i < 3 && len + 1 < size; i++)
                out[len++] = '*';
            continue;
        }
        for (size_t n = digits > 0 ? digits : 1; n > 0 && len + 1 < size; n--, s++)
            out[len++] = (unsigned char)*s < ' ' || *s == 0x7f ? ' ' : *s;
    }
    for (; len > 0 && ((unsigned char)*s & 0xc0) == 0x80; s--)   /* cut, but not within a character */
        len--;
    out[len] = '\0';
}

static void
judge_error(struct whatsapp_answer *out, int http_status, struct jr error)
{
    struct jr details = jr_member_of(jr_member(error, "error_data"), "details", JR_STRING);
    int64_t code = 0, subcode = 0;
    bool coded = jr_int(jr_member(error, "code"), 0, INT32_MAX, &code);
    bool transient = jr_true(jr_member(error, "is_transient"));
    const char *meaning = NULL;

    (void)jr_int(jr_member(error, "error_subcode"), 0, INT32_MAX, &subcode);
    if (details.kind == JR_ABSENT)
        details = jr_member_of(error, "message", JR_STRING);
    if (coded) {
        out->code = (int)code;
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
            if (out->code >= codes[i].from && out->code <= codes[i].to) {
                out->outcome = codes[i].outcome;
                meaning = codes[i].meaning;
                break;
            }
    }
    if (meaning == NULL) {
        /* 100/33: no such number, or none that this token may use. */
        bool lost = http_status == 401 || http_status == 403 || (code == 100 && subcode == 33);

        if (http_status == 429)
            out->outcome = WHATSAPP_THROTTLED;
        else if (http_status >= 500 || !coded || transient)
            out->outcome = lost ? WHATSAPP_STOP : WHATSAPP_RETRY;
        else
            out->outcome = lost ? WHATSAPP_STOP : WHATSAPP_FAILED;
        meaning = "the message was refused";
    }
    append_safely(out->error, sizeof out->error, meaning);
    if (details.kind != JR_ABSENT) {
        char text[sizeof out->error];

        (void)jr_decode(details, text, sizeof text);
        append_safely(out->error, sizeof out->error, ": ");
        append_safely(out->error, sizeof out->error, text);
    }
}

void
whatsapp_answer(struct whatsapp_answer *out, int http_status, const char *body, size_t len)
{
    struct jr root = parse(body, len);
    struct jr error = jr_member_of(root, "error", JR_OBJECT);

    memset(out, 0, sizeof *out);
    if (error.kind != JR_ABSENT) {
        judge_error(out, http_status, error);
    } else if (http_status >= 200 && http_status < 300) {
        /* Accepted, even if it does not say under which id: to post it again would be worse. */
        struct jr id = jr_member(jr_element(jr_member(root, "messages"), 0), "id");
        char text[sizeof out->message_id];
        size_t id_len = jr_decode(id, text, sizeof text);
        bool plain = id_len < sizeof text;

        out->outcome = WHATSAPP_SENT;
        for (size_t i = 0; i < id_len && plain; i++)
            plain = text[i] > ' ' && text[i] < 0x7f;
        if (plain)
            memcpy(out->message_id, text, id_len);
    } else {
        /* Not the Graph API's words: a proxy, or something that is down. */
        out->outcome = http_status == 429 ? WHATSAPP_THROTTLED
                       : http_status == 401 || http_status == 403 ? WHATSAPP_STOP
                                                                  : WHATSAPP_RETRY;
        snprintf(out->error, sizeof out->error, "HTTP status %d", http_status);
    }
}

double
whatsapp_delay(enum whatsapp_outcome outcome, int attempt, double retry_after_s, double chance)
{
    double most = outcome == WHATSAPP_THROTTLED ? 60 : outcome == WHATSAPP_PACED ? 1024 : 300;
    double factor = outcome == WHATSAPP_PACED ? 4 : 2;
    double delay = outcome == WHATSAPP_PACED ? 4 : 1;

    for (int i = 1; i < attempt && delay < most; i++)
        delay *= factor;
    if (delay > most)
        delay = most;
    if (retry_after_s > delay)
        delay = retry_after_s < 3600 ? retry_after_s : 3600;
    return delay * (1 + chance / 2);
}
