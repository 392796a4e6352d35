#include "emu/base/utf8.h"

#include "emu/base/check.h"

static size_t bad(uint32_t *code, size_t skip)
{
    *code = UINT32_MAX;
    return skip;
}

size_t utf8_decode(const char *p, size_t len, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const uint8_t *b = (const uint8_t *)p;
    size_t n;
    uint32_t value;

    check(len > 0);
    if (b[0] < 0x80) {
        *code = b[0];
        return 1;
    }
    if (b[0] < 0xc0 || b[0] > 0xf7)
        return bad(code, 1);
    n = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    value = b[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (i >= len || (b[i] & 0xc0) != 0x80)
            return bad(code, i);
        value = value << 6 | (b[i] & 0x3f);
    }
    if (n == 2 && value == 0) {
        *code = 0;
        return 2;
    }
    if (value < least[n] || !utf8_is_scalar(value))
        return bad(code, n);
    *code = value;
    return n;
}

size_t utf8_encode(uint32_t code, char out[4])
{
    check(utf8_is_scalar(code));
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

size_t utf8_encode_modified(uint32_t code, char out[4])
{
    if (code != 0)
        return utf8_encode(code, out);
    out[0] = (char)0xc0;
    out[1] = (char)0x80;
    return 2;
}

bool utf8_valid(const char *p, size_t len)
{
    while (len > 0) {
        uint32_t code;
        size_t n = utf8_decode(p, len, &code);

        if (code == UINT32_MAX || (code == 0 && n == 2))
            return false;
        p += n;
        len -= n;
    }
    return true;
}
