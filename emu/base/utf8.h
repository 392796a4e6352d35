/*
 * UTF-8, checked. "Modified" UTF-8 also has U+0000 as the two bytes C0 80, so that a C string can
 * carry it; JSON text inside the program is of that kind.
 */
#ifndef EMU_BASE_UTF8_H
#define EMU_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

#define UTF8_REPLACEMENT UINT32_C(0xfffd)

/* A Unicode scalar value: not a surrogate and at most U+10FFFF. Noncharacters count as valid here.
 */
static inline bool utf8_is_scalar(uint32_t code)
{
    return code < 0xd800 || (code > 0xdfff && code <= 0x10ffff);
}

/* The 66 code points that are never characters: U+FDD0..U+FDEF and the last two of each plane. */
static inline bool utf8_is_noncharacter(uint32_t code)
{
    return (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe;
}

/*
 * Decodes one code point from at most len (>= 1) bytes and returns how many it took. On a
 * malformed, overlong, surrogate or truncated sequence *code is UINT32_MAX and the result is the
 * number of bytes to skip (at least 1). C0 80 decodes to 0.
 */
size_t utf8_decode(const char *p, size_t len, uint32_t *code);

/* Writes 1-4 bytes and returns how many; code must be a scalar. 0 becomes one NUL byte. */
size_t utf8_encode(uint32_t code, char out[4]);

/* The same, but 0 becomes C0 80. */
size_t utf8_encode_modified(uint32_t code, char out[4]);

/* Whether all of it is well-formed (C0 80 is not). */
bool utf8_valid(const char *p, size_t len);

#endif
