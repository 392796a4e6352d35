#ifndef EMU_BASE_JSON_LEX_H
#define EMU_BASE_JSON_LEX_H

/* Private to the JSON parser: turning the bytes of one whole token into a value. They need not be terminated. */

#include <stddef.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"

/* The text of a string token, quotes included, as modified UTF-8. *out is new text of *out_len bytes. */
MUST_USE struct err *json_lex_string(const char *token, size_t len, char **out, size_t *out_len);
/* A number token that the scanner has accepted. */
MUST_USE struct json *json_lex_number(const char *token, size_t len);
/* "true", "false", "null". */
MUST_USE struct err *json_lex_keyword(const char *token, size_t len, struct json **out);

#endif
