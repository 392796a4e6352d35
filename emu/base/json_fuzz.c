/* Whatever parses is written and parsed again: the two trees must be equal. */

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/base/keyval.h"
#include "tests/harness/fuzz.h"

static void again(void *arg, struct json *value, struct err *err)
{
    struct json *second = NULL;
    struct err *second_err;
    char *text, *text2;

    (void)arg;
    err_free(err);
    if (!value)
        return;
    text = json_to_text(value, JSON_HASH_ORDER);
    second_err = json_parse_text(text, &second);
    check(!second_err);
    text2 = json_to_text(second, JSON_HASH_ORDER);
    check(strcmp(text, text2) == 0);
    xfree(text);
    xfree(text2);
    json_free(second);
    json_free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_stream s;
    struct json *v = NULL;
    char *text = xstrndup((const char *)data, size);
    struct err *err;

    json_stream_init(&s, again, NULL);
    for (size_t at = 0; at < size; at += 7)
        json_stream_feed(&s, (const char *)data + at, MIN(size - at, (size_t)7));
    json_stream_end(&s);
    json_stream_fini(&s);
    err = keyval_parse(text, "driver", &v);
    json_free(v);
    err_free(err);
    xfree(text);
    return 0;
}
