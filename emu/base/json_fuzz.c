/*
 * Properties: how the input is cut does not matter; what is written parses again.
 */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_parse.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"
#include "tests/harness/fuzz.h"

/* Returns new text: what text means, written again. */
static char *parse_and_write(const char *text)
{
    struct json *value = NULL;
    struct err *err = json_parse_text(text, &value);
    char *again;

    check(!err);
    again = json_to_text(value, JSON_HASH_ORDER);
    json_free(value);
    return again;
}

/* A double may be written as an integer (-0.0 as -0), so it is the second text that stays. */
static void write_again(const char *text)
{
    char *second = parse_and_write(text), *third = parse_and_write(second);

    check(strcmp(second, third) == 0);
    xfree(second);
    xfree(third);
}

static void note(void *arg, struct json *value, struct err *err)
{
    struct str *out = arg;

    check(!value == !!err);
    if (value) {
        char *text = json_to_text(value, JSON_HASH_ORDER);

        write_again(text);
        str_add(out, text);
        xfree(text);
    } else {
        str_add(out, err_text(err));
    }
    str_addc(out, '\n');
    json_free(value);
    err_free(err);
}

static char *emitted(const uint8_t *data, size_t size, size_t piece)
{
    struct json_stream s;
    struct str out = { 0 };

    json_stream_init(&s, note, &out);
    for (size_t at = 0; at < size; at += piece)
        json_stream_feed(&s, (const char *)data + at, MIN(piece, size - at));
    json_stream_end(&s);
    json_stream_fini(&s);
    return str_steal(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *whole = emitted(data, size, size ? size : 1);
    char *bytes = emitted(data, size, 1);
    char *some = emitted(data, size, 7);

    check(strcmp(whole, bytes) == 0);
    check(strcmp(whole, some) == 0);
    xfree(whole);
    xfree(bytes);
    xfree(some);
    return 0;
}
