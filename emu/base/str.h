/*
 * String builder, comparisons, and strict parsing of numbers and sizes.
 */
#ifndef EMU_BASE_STR_H
#define EMU_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"

/* Growable text. Zeroed memory is an empty string. Growth aborts when out of memory. */
struct str {
    char *data; /* owned; NULL or terminated. May contain NULs before the end. */
    size_t len; /* Without the terminator. */
    size_t cap;
};

void str_init(struct str *s);
/* Frees the text; the builder is then empty and usable. */
void str_fini(struct str *s);
CLEANUP_FINI(str_fini, struct str);

/* Append: terminated text, n bytes, one byte, n times one byte, formatted text. */
void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const void *bytes, size_t n);
void str_addc(struct str *s, char c);
void str_add_repeat(struct str *s, char c, size_t n);
PRINTF(2, 3) void str_addf(struct str *s, const char *fmt, ...);
PRINTF(2, 0) void str_addv(struct str *s, const char *fmt, va_list args);

/* Makes room for n more bytes and returns where they go; follow with str_added. */
char *str_reserve(struct str *s, size_t n);
/* Says how many of the reserved bytes were written. */
void str_added(struct str *s, size_t n);

/* Cuts to at most len bytes; keeps the block. */
void str_truncate(struct str *s, size_t len);
static inline void str_clear(struct str *s) { str_truncate(s, 0); }

/* Returns the text (new, never NULL; free with xfree) and leaves the builder empty. */
MUST_USE char *str_steal(struct str *s);

/* The text, "" when empty; valid until the next change. Never NULL. */
const char *str_cstr(const struct str *s);

bool str_has_prefix(const char *text, const char *prefix);
bool str_has_suffix(const char *text, const char *suffix);
/* The rest of text after prefix, or NULL when it does not start with it. */
const char *str_after_prefix(const char *text, const char *prefix);
/* Equality; NULL equals only NULL. */
bool str_eq(const char *a, const char *b);
/* Index of text in names[0..n), or -1. NULL names are skipped. */
int str_index(const char *text, const char *const *names, size_t n);

/*
 * Strict numbers: the whole text must be one number, decimal or "0x" hex; no sign (but "-" for
 * i64), no spaces, no leading zeros trick (they are decimal). False and *out unchanged otherwise,
 * also when the value does not fit.
 */
MUST_USE bool parse_u64(const char *text, uint64_t *out);
MUST_USE bool parse_i64(const char *text, int64_t *out);

/*
 * A size in bytes: decimal with an optional fraction and suffix b, k, M, G, T, P or E of any case
 * (powers of 1024), "1.5G"; or 0x hex without suffix. The error has errno EINVAL for text that is
 * not a size and ERANGE for one that does not fit 64 bits.
 */
MUST_USE struct err *parse_size(const char *text, uint64_t *out);
/* The same; a number without suffix is multiplied by default_unit (1 for bytes). */
MUST_USE struct err *parse_size_unit(const char *text, uint64_t default_unit, uint64_t *out);

/* Bytes for people, three significant digits: "0 B", "1.5 KiB", "64 MiB". Returns buf. */
#define SIZE_HUMAN_MAX 24
char *size_human(uint64_t bytes, char *buf, size_t buf_len);

#endif
