#include "emu/base/json_scan.h"

#include <stddef.h>
#include <stdint.h>

/* What a byte can be. */
enum {
    IN_DQ = 1,  /* Inside a double-quoted string, standing for itself. */
    IN_SQ = 2,  /* The same for single quotes. */
    DIGIT = 4,
    LETTER = 8, /* Of a keyword. */
    STOPS = 16, /* Ends the skipping after a bad byte. */
};

#define D (IN_DQ | IN_SQ | DIGIT)
#define L (IN_DQ | IN_SQ | LETTER)
#define S (IN_DQ | IN_SQ | STOPS)
static const uint8_t class_of[256] = {
    [0x00 ... 0x08] = STOPS,
    [0x0a ... 0x1f] = STOPS,
    [0x20 ... 0x21] = IN_DQ | IN_SQ,
    ['"'] = IN_SQ,
    [0x23 ... 0x26] = IN_DQ | IN_SQ,
    ['\''] = IN_DQ,
    [0x28 ... 0x2b] = IN_DQ | IN_SQ,
    [','] = S,
    [0x2d ... 0x2f] = IN_DQ | IN_SQ,
    ['0' ... '9'] = D,
    [':'] = S,
    [0x3b ... 0x5a] = IN_DQ | IN_SQ,
    ['['] = S,
    [']'] = S,
    [0x5e ... 0x60] = IN_DQ | IN_SQ,
    ['a' ... 'z'] = L,
    ['{'] = S,
    ['|'] = IN_DQ | IN_SQ,
    ['}'] = S,
    [0x7e ... 0x7f] = IN_DQ | IN_SQ,
    [0xfe ... 0xff] = STOPS,
};
#undef D
#undef L
#undef S

static bool is(char c, unsigned class) { return class_of[(uint8_t)c] & class; }

enum json_scan_state json_scan_first(char c)
{
    switch (c) {
    case '"':  return SCAN_DQ;
    case '\'': return SCAN_SQ;
    case '-':  return SCAN_MINUS;
    case '0':  return SCAN_ZERO;
    default:   return is(c, DIGIT) ? SCAN_DIGITS : is(c, LETTER) ? SCAN_KEYWORD : SCAN_BAD;
    }
}

const char *json_scan_recover(const char *p, const char *end)
{
    while (p < end && !is(*p, STOPS))
        p++;
    return p;
}

static const char *scan_string(enum json_scan_state *state, bool *plain, const char *p,
                               const char *end)
{
    bool single = *state == SCAN_SQ || *state == SCAN_SQ_ESCAPE;
    bool escaped = *state == SCAN_DQ_ESCAPE || *state == SCAN_SQ_ESCAPE;
    char quote = single ? '\'' : '"';

    for (; p < end; p++) {
        if (!escaped) {
            while (p < end && is(*p, single ? IN_SQ : IN_DQ))
                p++;
            if (p == end)
                break;
            if (*p == quote) {
                *state = SCAN_START;
                return p + 1;
            }
        }
        if ((uint8_t)*p < 0x20 || (uint8_t)*p >= 0xfe) {
            *state = SCAN_BAD;
            return p;
        }
        *plain = false;
        escaped = !escaped && *p == '\\';
    }
    if (single)
        *state = escaped ? SCAN_SQ_ESCAPE : SCAN_SQ;
    else
        *state = escaped ? SCAN_DQ_ESCAPE : SCAN_DQ;
    return p;
}

/* Where a number goes with this byte; SCAN_START: it ends before it. */
static enum json_scan_state number_after(enum json_scan_state state, char c)
{
    bool digit = is(c, DIGIT), exponent = c == 'e' || c == 'E';

    if (state == SCAN_MINUS)
        return c == '0' ? SCAN_ZERO : digit ? SCAN_DIGITS : SCAN_BAD;
    if (state == SCAN_ZERO)
        return c == '.' ? SCAN_POINT : exponent ? SCAN_EXP : digit ? SCAN_BAD : SCAN_START;
    if (state == SCAN_DIGITS)
        return digit ? SCAN_DIGITS : c == '.' ? SCAN_POINT : exponent ? SCAN_EXP : SCAN_START;
    if (state == SCAN_POINT)
        return digit ? SCAN_FRACTION : SCAN_BAD;
    if (state == SCAN_FRACTION)
        return digit ? SCAN_FRACTION : exponent ? SCAN_EXP : SCAN_START;
    if (state == SCAN_EXP && (c == '+' || c == '-'))
        return SCAN_EXP_SIGN;
    if (state == SCAN_EXP || state == SCAN_EXP_SIGN)
        return digit ? SCAN_EXP_DIGITS : SCAN_BAD;
    return digit ? SCAN_EXP_DIGITS : SCAN_START;
}

static const char *scan_number(enum json_scan_state *state, const char *p, const char *end)
{
    for (; p < end; p++) {
        enum json_scan_state next = number_after(*state, *p);

        *state = next;
        if (next == SCAN_START || next == SCAN_BAD)
            break;
    }
    return p;
}

const char *json_scan(enum json_scan_state *state, bool *plain, const char *p, const char *end)
{
    if (json_scan_in_string(*state))
        return scan_string(state, plain, p, end);
    if (json_scan_in_number(*state))
        return scan_number(state, p, end);
    while (p < end && is(*p, LETTER))
        p++;
    if (p < end)
        *state = SCAN_START;
    return p;
}
