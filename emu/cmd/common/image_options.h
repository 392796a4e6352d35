#ifndef EMU_CMD_COMMON_IMAGE_OPTIONS_H
#define EMU_CMD_COMMON_IMAGE_OPTIONS_H

/*
 * The text of -o: "name=value,..." checked against the tables of the drivers that read it.
 *
 * An image has the options of its format and those of the protocol its file lies on; where both
 * have one of a name, the format's counts.
 */

#include "emu/storage/driver.h"

struct option_tables {
    const struct create_option *format;   /* May be NULL. */
    const struct create_option *protocol; /* May be NULL. */
};

/* Whether one argument of -o is a list at all: not empty, no comma at either end. */
bool image_options_valid(const char *text);
/* Whether "help" or "?" is one of the options. text may be NULL. */
bool image_options_want_help(const char *text);

/* NULL when there is none. */
const struct create_option *image_options_find(const struct option_tables *tables,
                                               const char *name);

/*
 * Parses text (NULL: "") into a new flat object with numbers for sizes and numbers, booleans for switches and text
 * else. "Invalid parameter 'x'" for what no table has.
 */
struct err *image_options_parse(const struct option_tables *tables, const char *text,
                                struct json **out) MUST_USE;

/* "name=value" of one option as the tools show it, commas in it doubled; returns new. */
char *image_options_text(const char *name, const struct json *value);

/* The lines of -o help, sorted by name. */
void image_options_print(const struct option_tables *tables);

#endif
