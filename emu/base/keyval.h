/*
 * "driver=file,node-name=x,file.filename=y" to a JSON object.
 *
 * Pairs are separated by commas; ",," in a value is a comma. Keys are dotted paths into nested
 * objects; an object whose keys are all numbers becomes an array. Every scalar is a string. The
 * last of two pairs with the same key wins. Text that starts with "{" is JSON and for the caller to
 * see to.
 */
#ifndef EMU_BASE_KEYVAL_H
#define EMU_BASE_KEYVAL_H

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"

enum keyval_flags {
    KEYVAL_LEGACY_BOOL = 1, /* A bare "foo" means foo=on and "nofoo" means foo=off. */
    KEYVAL_FLAT = 2,        /* Keys are not split at dots and any character is fine in them. */
};

/*
 * implied_key (or NULL) is the key of a first piece without '='. *out is a new object. A key "help"
 * or
 * "?" without a value is an error here.
 */
MUST_USE struct err *keyval_parse(const char *text, const char *implied_key, struct json **out);

/* The same with flags; *help (unless NULL) says whether a piece "help" or "?" was there, which is
 * then left out. */
MUST_USE struct err *keyval_parse_flags(const char *text, const char *implied_key, unsigned flags,
                                        bool *help, struct json **out);

/*
 * keyval_parse for options in which a key may have both a value and members ("a=x,a.b=y"): such members stay flat
 * ("a.b"), for the user of the options to say what that means.
 */
MUST_USE struct err *keyval_parse_mixed(const char *text, struct json **out);

/* Turns a flat object of dotted keys into nested objects and arrays. *out is new. */
MUST_USE struct err *keyval_nest(const struct json *flat, struct json **out);

/* The opposite: nested objects and arrays to one level of dotted keys. Returns a new object. */
MUST_USE struct json *keyval_flatten(const struct json *nested);

#endif
