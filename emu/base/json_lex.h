#ifndef EMU_BASE_JSON_LEX_H
#define EMU_BASE_JSON_LEX_H

/* Private to the JSON parser: turning the raw bytes of one token into a value. */

#include "emu/base/err.h"
#include "emu/base/json.h"

/* The text of a string token, quotes included, as modified UTF-8. *out is new text of *out_len bytes. */
struct err *json_lex_string(const char *token, size_t len, char **out, size_t *out_len) MUST_USE;
/* A number token that the lexer has accepted. */
struct json *json_lex_number(const char *token, size_t len) MUST_USE;
/* "true", "false", "null". */
struct err *json_lex_keyword(const char *token, struct json **out) MUST_USE;

#endif
