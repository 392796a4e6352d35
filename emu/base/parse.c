/* Strict numbers and sizes (str.h). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/str.h"

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* Digits of one base from *text on, which is moved behind them. 0, EINVAL (none) or ERANGE. */
static int digits(const char **text, unsigned base, uint64_t *out)
{
    const char *start = *text;
    uint64_t value = 0;
    int result = 0;

    for (; digit_of(**text) < (int)base; (*text)++) {
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit_of(**text), &value))
            result = ERANGE;
    }
    *out = value;
    return *text == start ? EINVAL : result;
}

static bool is_hex(const char *text)
{
    return text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

bool parse_u64(const char *text, uint64_t *out)
{
    uint64_t value;
    bool hex = is_hex(text);

    text += hex ? 2 : 0;
    if (digits(&text, hex ? 16 : 10, &value) != 0 || *text)
        return false;
    *out = value;
    return true;
}

bool parse_i64(const char *text, int64_t *out)
{
    bool negative = text[0] == '-';
    uint64_t value;

    if (!parse_u64(text + (negative ? 1 : 0), &value))
        return false;
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* The power of two of a suffix, -1 for none of ours. */
static int suffix_shift(char c)
{
    static const char letters[] = "bkmgtpe";
    const char *found = c ? strchr(letters, c | 0x20) : NULL;

    return found ? (int)(found - letters) * 10 : -1;
}

static struct err *bad_size(const char *text, int errnum)
{
    return err_set_errnum(errnum == ERANGE ? err_new("Size '%s' is too large", text)
                                           : err_new("'%s' is not a size", text),
                          errnum);
}

/* ".5" and the like, with or without digits after the point; 0 when there is none. Moves *text behind it. */
static double fraction(const char **text)
{
    const char *start = *text;

    if (*start != '.')
        return 0;
    *text += 1 + strspn(start + 1, "0123456789");
    return *text - start > 1 ? strtod(start, NULL) : 0;
}

struct err *parse_size_unit(const char *text, uint64_t default_unit, uint64_t *out)
{
    const char *at = text;
    uint64_t value, unit = default_unit, extra;
    double part;
    int result;

    if (is_hex(text)) {
        at += 2;
        result = digits(&at, 16, &value);
        if (result || *at)
            return bad_size(text, result ? result : EINVAL);
        *out = value;
        return NULL;
    }
    result = digits(&at, 10, &value);
    if (result)
        return bad_size(text, result);
    part = fraction(&at);
    if (*at) {
        int shift = suffix_shift(*at++);

        if (shift < 0)
            return bad_size(text, EINVAL);
        unit = UINT64_C(1) << shift;
    }
    if (*at || (part > 0 && unit == 1))
        return bad_size(text, EINVAL);
    extra = (uint64_t)(part * (double)unit + 0.5);
    if (__builtin_mul_overflow(value, unit, &value) || __builtin_add_overflow(value, extra, &value))
        return bad_size(text, ERANGE);
    *out = value;
    return NULL;
}

struct err *parse_size(const char *text, uint64_t *out) { return parse_size_unit(text, 1, out); }

char *size_human(uint64_t bytes, char *buf, size_t buf_len)
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    unsigned unit = 0;
    double value = (double)bytes;

    /* 1000 and more of a unit would need four digits. */
    while (value >= 1000 && unit < 6) {
        value /= 1024;
        unit++;
    }
    snprintf(buf, buf_len, "%0.3g %sB", value, units[unit]);
    return buf;
}
