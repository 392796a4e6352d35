#include "emu/base/json_lex.h"

#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/base/utf8.h"

/* Four hex digits, or -1. */
static int hex4(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char lower = (char)(p[i] | 0x20);

        value <<= 4;
        if (p[i] >= '0' && p[i] <= '9')
            value |= p[i] - '0';
        else if (lower >= 'a' && lower <= 'f')
            value |= lower - 'a' + 10;
        else
            return -1;
    }
    return value;
}

/*
 * "\uXXXX" at *p, or two of them for a surrogate pair, as one code point. Moves *p behind what belongs together. False
 * when it stands for no character.
 */
static bool unicode_escape(const char **p, const char *end, uint32_t *code)
{
    int high = hex4(*p + 2, end), low;

    *p = MIN(*p + 6, end);
    if (high < 0)
        return false;
    *code = (uint32_t)high;
    if (high >= 0xd800 && high <= 0xdbff && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        low = hex4(*p + 2, end);
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        *p += 6;
        *code = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    }
    return utf8_is_scalar(*code) && !utf8_is_noncharacter(*code);
}

/* The escape at *p, which is moved behind it. end is that of the token, behind the closing quote. */
static struct err *add_escape(struct str *out, const char **p, const char *end)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    const char *start = *p, *found;
    char utf8[4];
    uint32_t code;

    if (start[1] == 'u') {
        if (!unicode_escape(p, end, &code))
            return err_new("JSON parse error, %.*s is not a valid Unicode character",
                           (int)(*p - start), start);
        str_addn(out, utf8, utf8_encode_modified(code, utf8));
        return NULL;
    }
    found = strchr(from, start[1]);
    if (!found)
        return err_new("JSON parse error, invalid escape sequence in string");
    str_addc(out, to[found - from]);
    *p += 2;
    return NULL;
}

static struct err *add_encoded(struct str *out, const char **p, const char *end)
{
    uint32_t code;
    size_t n = utf8_decode(*p, (size_t)(end - *p), &code);

    if (code == UINT32_MAX || utf8_is_noncharacter(code))
        return err_new("JSON parse error, invalid UTF-8 sequence in string");
    str_addn(out, *p, n);
    *p += n;
    return NULL;
}

struct err *json_lex_string(const char *token, size_t len, char **out, size_t *out_len)
{
    const char *p = token + 1, *end = token + len - 1;
    CLEANUP(str_fini) struct str text = { 0 };

    str_reserve(&text, len);
    while (p < end) {
        const char *plain = p;

        while (p < end && *p != '\\' && (uint8_t)*p < 0x80)
            p++;
        str_addn(&text, plain, (size_t)(p - plain));
        if (p == end)
            break;
        if (*p == '\\')
            TRY(add_escape(&text, &p, end + 1));
        else
            TRY(add_encoded(&text, &p, end));
    }
    *out_len = text.len;
    *out = str_steal(&text);
    return NULL;
}

static struct json *real_number(const char *token, size_t len)
{
    char near[64], *text = len < sizeof(near) ? near : xmalloc(len + 1);
    double value;

    memcpy(text, token, len);
    text[len] = 0;
    value = strtod(text, NULL);
    if (text != near)
        xfree(text);
    return json_double(value);
}

struct json *json_lex_number(const char *token, size_t len)
{
    bool negative = token[0] == '-';
    uint64_t value = 0;

    for (size_t i = negative; i < len; i++) {
        unsigned digit = (unsigned)(token[i] - '0');

        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return real_number(token, len);
    }
    if (!negative)
        return value <= INT64_MAX ? json_int((int64_t)value) : json_uint(value);
    if (value > (uint64_t)INT64_MAX + 1)
        return real_number(token, len);
    return json_int((int64_t)(0 - value));
}

static bool is_word(const char *token, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(token, word, len) == 0;
}

struct err *json_lex_keyword(const char *token, size_t len, struct json **out)
{
    if (is_word(token, len, "true"))
        *out = json_bool(true);
    else if (is_word(token, len, "false"))
        *out = json_bool(false);
    else if (is_word(token, len, "null"))
        *out = json_null();
    else
        return err_new("JSON parse error, invalid keyword '%.*s'", (int)len, token);
    return NULL;
}
