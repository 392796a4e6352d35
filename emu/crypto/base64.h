#ifndef EMU_CRYPTO_BASE64_H
#define EMU_CRYPTO_BASE64_H

/* Base64 text (RFC 4648, section 4) as secrets and vectors are given. */

#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"

/*
 * Decodes text. White space and missing padding at the end are tolerated, other characters are refused with "Base64
 * data contains invalid characters". *out is new and wiped by secret_free(); a terminator follows its *len bytes.
 */
struct err *base64_decode(const char *text, size_t text_len, uint8_t **out, size_t *len) MUST_USE;

#endif
