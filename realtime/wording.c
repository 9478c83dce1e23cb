/* wording -- errors in words. */
#include "gateway_private.h"

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
