/* LUKS headers: what is accepted says the same after it was written and read again. */
#include <string.h>

#include "emu/base/check.h"
#include "emu/base/json.h"
#include "emu/crypto/luks.h"
#include "tests/harness/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t buf[LUKS_HEADER_LEN] = { 0 }, again[LUKS_HEADER_LEN], third[LUKS_HEADER_LEN];
    struct luks_header header, copy;
    struct err *err;
    bool detached = size > LUKS_HEADER_LEN;

    memcpy(buf, data, size < sizeof(buf) ? size : sizeof(buf));
    err = luks_header_parse(&header, buf, detached);
    if (err) {
        check(*err_text(err));
        err_free(err);
        return 0;
    }
    check(header.key_len > 0 && header.key_len <= CIPHER_KEY_MAX);
    check(luks_material_len(&header) <= LUKS_MATERIAL_MAX);
    json_free(luks_info(&header, detached));
    luks_header_encode(&header, again);
    err = luks_header_parse(&copy, again, detached);
    check(!err);
    luks_header_encode(&copy, third);
    check(memcmp(again, third, sizeof(third)) == 0);
    return 0;
}
