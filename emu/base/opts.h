/*
 * Reader of options from a JSON object, for code that has no generated decoder (block drivers,
 * objects).
 *
 * Values may be of the native JSON type (QMP) or strings (command line). A reader remembers which
 * keys were read; opts_unused finds those nobody wanted. It borrows the object; results are
 * borrowed from it.
 *
 * Every reader returns an error that names the parameter. The *_opt readers leave *out alone, so it
 * can hold the default, when the parameter is missing; the others fail.
 */
#ifndef EMU_BASE_OPTS_H
#define EMU_BASE_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/map.h"

struct opts {
    const struct json *obj; /* borrowed */
    const char *prefix;     /* borrowed; "" or "file." to name parameters in full. */
    struct map used;        /* Keys read. */
};

void opts_init(struct opts *o, const struct json *obj);
/* The same for a nested object, whose parameters are named with a prefix in errors. */
void opts_init_prefix(struct opts *o, const struct json *obj, const char *prefix);
void opts_fini(struct opts *o);
CLEANUP_FINI(opts_fini, struct opts);

/* Whether the key is there. Does not count as reading it. */
bool opts_has(const struct opts *o, const char *name);

MUST_USE struct err *opts_str(struct opts *o, const char *name, const char **out);
MUST_USE struct err *opts_str_opt(struct opts *o, const char *name, const char **out);

/* true/false, or "on"/"yes"/"true"/"y" and "off"/"no"/"false"/"n". */
MUST_USE struct err *opts_bool(struct opts *o, const char *name, bool *out);
MUST_USE struct err *opts_bool_opt(struct opts *o, const char *name, bool *out);

MUST_USE struct err *opts_u64(struct opts *o, const char *name, uint64_t *out);
MUST_USE struct err *opts_u64_opt(struct opts *o, const char *name, uint64_t *out);
MUST_USE struct err *opts_i64(struct opts *o, const char *name, int64_t *out);
MUST_USE struct err *opts_i64_opt(struct opts *o, const char *name, int64_t *out);

/* A size in bytes: an integer, or text with a suffix as parse_size takes. */
MUST_USE struct err *opts_size(struct opts *o, const char *name, uint64_t *out);
MUST_USE struct err *opts_size_opt(struct opts *o, const char *name, uint64_t *out);

/* *out is the index in names[0..n). */
MUST_USE struct err *opts_enum(struct opts *o, const char *name, const char *const *names, size_t n,
                               int *out);
MUST_USE struct err *opts_enum_opt(struct opts *o, const char *name, const char *const *names,
                                   size_t n, int *out);

/* Any value: an object, or a string that names a node. */
MUST_USE struct err *opts_child(struct opts *o, const char *name, const struct json **out);
MUST_USE struct err *opts_child_opt(struct opts *o, const char *name, const struct json **out);

/* Must be an object / an array. */
MUST_USE struct err *opts_object_opt(struct opts *o, const char *name, const struct json **out);
MUST_USE struct err *opts_array_opt(struct opts *o, const char *name, const struct json **out);

/* Counts a key as read. */
void opts_mark(struct opts *o, const char *name);

/* The first key nobody read, or NULL. Lives as long as the object. */
const char *opts_unused(const struct opts *o);

/* "Parameter 'x' is unexpected" for the first unread key, or NULL. */
MUST_USE struct err *opts_check_unused(const struct opts *o);

/* Text to bool / non-negative integer as above; false when it is neither. */
MUST_USE bool opts_parse_bool(const char *text, bool *out);

#endif
