/* fuzz_socketio -- Socket.IO packets; whatever passes for JSON here must do so for json-c as well. */
#include "socketpacket.h"

#include <assert.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
json_c_agrees(const char *text, size_t len)
{
    struct json_tokener *tok = json_tokener_new_ex(SOCKETPACKET_MAX_DEPTH + 2);
    struct json_object  *value;

    assert(tok);
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    value = json_tokener_parse_ex(tok, text, (int)len);
    if (json_tokener_get_error(tok) == json_tokener_continue) /* a bare number may go on */
        value = json_tokener_parse_ex(tok, " ", 1);
    assert(json_tokener_get_error(tok) == json_tokener_success);
    json_object_put(value);
    json_tokener_free(tok);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char         *text = (const char *)data, *end = text + len, *json_end;
    struct socketpacket p;

    if (socketpacket_decode(text, len, &p)) {
        assert(p.attachments <= SOCKETPACKET_MAX_ATTACHMENTS);
        assert(p.nsp_len >= 1 && p.nsp[0] == '/');
        if (p.name_len)
            assert(p.name > text && p.name + p.name_len <= p.args);
        if (p.type != SOCKETPACKET_CONNECT && p.args_len)
            assert(p.args > text && p.args + p.args_len < end);
        if (p.args_len) {
            char *array = malloc(p.args_len + 2);
            assert(array);
            array[0] = '[';
            memcpy(array + 1, p.args, p.args_len);
            array[p.args_len + 1] = ']';
            assert(socketpacket_json_end(array, array + p.args_len + 2) == array + p.args_len + 2);
            json_c_agrees(array, p.args_len + 2);
            free(array);
        }
    }
    json_end = socketpacket_json_end(text, end);
    if (json_end) {
        assert(json_end > text && json_end <= end);
        json_c_agrees(text, (size_t)(json_end - text));
    }
    return 0;
}
