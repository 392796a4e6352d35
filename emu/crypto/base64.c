#include "emu/crypto/base64.h"

#include <string.h>

#include "emu/base/alloc.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static struct err *check_characters(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!text[i])
            return err_new("Base64 data is not NUL terminated");
        if (!strchr(alphabet, text[i]) && !strchr("=\r\n", text[i]))
            return err_new("Base64 data contains invalid characters");
    }
    return NULL;
}

struct err *base64_decode(const char *text, size_t text_len, uint8_t **out, size_t *len)
{
    uint32_t bits = 0;
    unsigned have = 0;
    uint8_t *data;
    size_t n = 0;

    TRY(check_characters(text, text_len));
    data = xmalloc(text_len / 4 * 3 + 4);
    for (size_t i = 0; i < text_len; i++) {
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;

        if (!at)
            continue;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            data[n++] = (uint8_t)(bits >> have);
        }
    }
    data[n] = 0;
    *out = data;
    *len = n;
    return NULL;
}
