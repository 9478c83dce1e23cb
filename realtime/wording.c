/* wording -- errors in words, and the JSON in which clients say what they want. */
#include "gateway_private.h"

#include <json-c/json.h>
#include <stdlib.h>

const char *
gateway_code(enum error e)
{
    switch (e) {
#define CODE(name, status, code, sentence) \
    case ERR_##name: return code;
        ERRORS(CODE)
#undef CODE
    case ERR_COUNT: break;
    }
    abort();
}

const char *
gateway_sentence(enum error e)
{
    switch (e) {
#define SENTENCE(name, status, code, sentence) \
    case ERR_##name: return sentence;
        ERRORS(SENTENCE)
#undef SENTENCE
    case ERR_COUNT: break;
    }
    abort();
}

struct json_object *
gateway_json(const char *text, size_t len)
{
    struct json_tokener *tok = json_tokener_new_ex(64);
    struct json_object  *value = NULL;

    if (tok && len < (1 << 20))
        value = json_tokener_parse_ex(tok, text, (int)len);
    json_tokener_free(tok);
    return value;
}
