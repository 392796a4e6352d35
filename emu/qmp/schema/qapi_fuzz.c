/*
 * JSON text (or, after a 'k', key=value text) into decoders. What decodes encodes to JSON that decodes
 * again to the same.
 */
#include "tests/harness/fuzz.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/json_parse.h"
#include "emu/base/keyval.h"
#include "emu/qmp/schema/qapi_block_core.h"   // Generated.
#include "emu/qmp/schema/qapi_block_export.h" // Generated.
#include "emu/qmp/schema/qapi_char.h"         // Generated.
#include "emu/qmp/schema/qapi_introspect.h"   // Generated.
#include "emu/qmp/schema/qapi_transaction.h"  // Generated.
#include "emu/qmp/schema/qapi_yank.h"         // Generated.

static const struct qapi_type *const types[] = {
    &qapi_type_blockdev_options,  &qapi_type_blockdev_create_options,
    &qapi_type_transaction_args,  &qapi_type_block_export_options,
    &qapi_type_chardev_add_args,  &qapi_type_yank_args,
    &qapi_type_block_device_info, &qapi_type_schema_info,
    &qapi_type_block_stats,       &qapi_type_nbd_server_options_legacy,
};

static void try_type(const struct qapi_type *type, const struct json *in, enum qapi_input input)
{
    CLEANUP(json_free) struct json *first = NULL, *second = NULL;
    void *value, *again;
    struct err *err = qapi_decode(type, in, input, &value);

    if (err) {
        check(*err_text(err) && !value);
        err_free(err);
        return;
    }
    first = qapi_encode(type, value);
    err = qapi_decode(type, first, QAPI_STRICT, &again);
    check(!err);
    second = qapi_encode(type, again);
    check(json_equal(first, second));
    qapi_free(type, value);
    qapi_free(type, again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(json_free) struct json *in = NULL;
    CLEANUP(xfree) char *text = xstrndup((const char *)data, size);
    bool keyval = text[0] == 'k';
    struct err *err = keyval ? keyval_parse(text + 1, "driver", &in) : json_parse_text(text, &in);

    if (err) {
        err_free(err);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        try_type(types[i], in, keyval ? QAPI_KEYVAL : QAPI_STRICT);
    return 0;
}
