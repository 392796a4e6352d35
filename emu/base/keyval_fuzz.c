/* What parses is flattened and nested again: the two trees must be equal. */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "tests/harness/fuzz.h"

static void round_trip(const struct json *v)
{
    struct json *flat = keyval_flatten(v), *nested = NULL;
    struct err *err = keyval_nest(flat, &nested);

    check(!err);
    check(json_equal(v, nested));
    json_free(flat);
    json_free(nested);
}

/* The first byte chooses the way to parse, the rest is the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned flags = size ? data[0] % 4 : 0;
    bool implied = size && data[0] & 4, help = false;
    char *text = size ? xstrndup((const char *)data + 1, size - 1) : xstrdup("");
    struct json *v = NULL;
    struct err *err = keyval_parse_flags(text, implied ? "driver" : NULL, flags, &help, &v);

    check(!err != !v);
    if (v && !flags)
        round_trip(v);
    uint64_t bytes;
    err_ignore(parse_size(text, &bytes));
    err_free(err);
    json_free(v);
    xfree(text);
    return 0;
}
