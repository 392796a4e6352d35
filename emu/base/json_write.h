/*
 * JSON values to text, byte for byte in the forms clients of QMP and of `--output=json` know.
 *
 * The text is pure ASCII: code points from 0x7F on are \uXXXX in upper case, with surrogate pairs;
 * bytes that are not UTF-8 become \uFFFD. Doubles have 17 significant digits.
 */
#ifndef EMU_BASE_JSON_WRITE_H
#define EMU_BASE_JSON_WRITE_H

#include "emu/base/attrs.h"
#include "emu/base/json.h"
#include "emu/base/str.h"

enum json_write_flags {
    JSON_COMPACT = 0, /* One line, ", " and ": " between parts. */
    JSON_PRETTY = 1,  /* One element a line, 4 spaces a level; empty containers are broken too. */
    JSON_TIGHT = 2,   /* One line, no spaces. */
    JSON_HASH_ORDER =
        4, /* Members in the order of the reference's hash table; else of insertion. */
};

/* Appends v, without a newline at the end. flags: one layout, and JSON_HASH_ORDER or not. */
void json_write(struct str *out, const struct json *v, unsigned flags);

/* Returns new text (xfree). */
MUST_USE char *json_to_text(const struct json *v, unsigned flags);

/* Returns a new object with the members of an object in the order of JSON_HASH_ORDER; the values are shared. */
MUST_USE struct json *json_hash_ordered(const struct json *object);

/*
 * Appends an object for people: "name: value" lines from column indent on, in the order of JSON_HASH_ORDER, with 4 more
 * columns for what is inside. '-' in names becomes a blank; elements of arrays are "[0]", "[1]", ...
 */
void json_write_outline(struct str *out, const struct json *object, int indent);

/* Appends a string literal with its quotes. */
void json_write_string(struct str *out, const char *bytes, size_t len);

#endif
