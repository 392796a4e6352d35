#include "emu/base/json_lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/base/utf8.h"

static int hex4(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];

        value <<= 4;
        if (c >= '0' && c <= '9')
            value |= c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value |= (c | 0x20) - 'a' + 10;
        else
            return -1;
    }
    return value;
}

/* After "\u": one code point, two escapes for a surrogate pair. Moves *p behind it. */
static bool unicode_escape(const char **p, const char *end, uint32_t *code)
{
    int high = hex4(*p, end), low;

    if (high < 0)
        return false;
    *p += 4;
    *code = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return true;
    if (high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return false;
    low = hex4(*p + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return false;
    *p += 6;
    *code = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return true;
}

static bool add_escape(struct str *out, const char **p, const char *end)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    const char *found;
    char utf8[4];
    uint32_t code;
    char c;

    if (*p >= end)
        return false;
    c = *(*p)++;
    if (c == 'u') {
        if (!unicode_escape(p, end, &code))
            return false;
        str_addn(out, utf8, utf8_encode_modified(code, utf8));
        return true;
    }
    found = c ? strchr(from, c) : NULL;
    if (!found)
        return false;
    str_addc(out, to[found - from]);
    return true;
}

struct err *json_lex_string(const char *token, size_t len, char **out, size_t *out_len)
{
    const char *p = token + 1, *end = token + len - 1;
    struct str text = { 0 };

    while (p < end) {
        const char *plain = p;
        uint32_t code;
        size_t n;

        while (p < end && *p != '\\' && (uint8_t)*p < 0x80)
            p++;
        str_addn(&text, plain, (size_t)(p - plain));
        if (p >= end)
            break;
        if (*p == '\\') {
            p++;
            if (!add_escape(&text, &p, end)) {
                str_fini(&text);
                return err_new("JSON parse error, invalid escape sequence in string");
            }
            continue;
        }
        n = utf8_decode(p, (size_t)(end - p), &code);
        if (code == UINT32_MAX || code == 0) {
            str_fini(&text);
            return err_new("JSON parse error, invalid UTF-8 sequence in string");
        }
        str_addn(&text, p, n);
        p += n;
    }
    *out_len = text.len;
    *out = str_steal(&text);
    return NULL;
}

struct json *json_lex_number(const char *token, size_t len)
{
    bool integral =
        !memchr(token, '.', len) && !memchr(token, 'e', len) && !memchr(token, 'E', len);

    if (integral) {
        errno = 0;
        if (token[0] == '-') {
            long long value = strtoll(token, NULL, 10);

            if (errno == 0)
                return json_int(value);
        } else {
            unsigned long long value = strtoull(token, NULL, 10);

            if (errno == 0)
                return value <= INT64_MAX ? json_int((int64_t)value) : json_uint(value);
        }
    }
    return json_double(strtod(token, NULL));
}

struct err *json_lex_keyword(const char *token, struct json **out)
{
    if (strcmp(token, "true") == 0)
        *out = json_bool(true);
    else if (strcmp(token, "false") == 0)
        *out = json_bool(false);
    else if (strcmp(token, "null") == 0)
        *out = json_null();
    else
        return err_new("JSON parse error, invalid keyword '%s'", token);
    return NULL;
}
