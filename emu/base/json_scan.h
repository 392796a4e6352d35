#ifndef EMU_BASE_JSON_SCAN_H
#define EMU_BASE_JSON_SCAN_H

/*
 * Private to the JSON parser: where tokens end. Works on any piece of the input, so a token may be cut anywhere.
 */

#include <stdbool.h>

enum json_scan_state {
    SCAN_START,    /* Between tokens. */
    SCAN_RECOVERY, /* After a bad byte: skips to something structural. */
    SCAN_BAD,      /* The byte looked at can be in no token. */
    SCAN_DQ,       /* A string in double quotes. */
    SCAN_DQ_ESCAPE,
    SCAN_SQ,
    SCAN_SQ_ESCAPE,
    SCAN_MINUS, /* "-": a digit must follow. */
    SCAN_ZERO,  /* "0": no digit may follow. */
    SCAN_DIGITS,
    SCAN_POINT, /* "1.": a digit must follow. */
    SCAN_FRACTION,
    SCAN_EXP,      /* "1e" */
    SCAN_EXP_SIGN, /* "1e+" */
    SCAN_EXP_DIGITS,
    SCAN_KEYWORD,
};

static inline bool json_scan_in_string(enum json_scan_state state)
{
    return state >= SCAN_DQ && state <= SCAN_SQ_ESCAPE;
}

static inline bool json_scan_in_number(enum json_scan_state state)
{
    return state >= SCAN_MINUS && state <= SCAN_EXP_DIGITS;
}

/* Whether a number or word that ends with the input here is whole. */
static inline bool json_scan_may_end(enum json_scan_state state)
{
    return state == SCAN_ZERO || state == SCAN_DIGITS || state == SCAN_FRACTION ||
           state == SCAN_EXP_DIGITS || state == SCAN_KEYWORD;
}

/* The state after the first byte of a token (a structural one is not for this): SCAN_BAD if there is no such token. */
enum json_scan_state json_scan_first(char c);

/*
 * Goes on with the token that *state is inside of and returns how far it got. *state is then
 *   SCAN_START    the token ends before the returned place;
 *   SCAN_BAD      the byte at the returned place cannot be there;
 *   else          the input ended inside the token.
 * *plain becomes false when a string has escapes or bytes that are not ASCII.
 */
const char *json_scan(enum json_scan_state *state, bool *plain, const char *p, const char *end);

/* Skips what follows a bad byte: to a structural character, a control byte other than tab, or 0xFE/0xFF. */
const char *json_scan_recover(const char *p, const char *end);

#endif
