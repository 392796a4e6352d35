#ifndef EMU_CMD_COMMON_OBJECT_TYPES_H
#define EMU_CMD_COMMON_OBJECT_TYPES_H

/* The object types that the programs offer, and objects of command lines. */

#include "emu/object/object.h"

extern const struct object_type *const all_object_types[]; /* Ends with NULL; sorted by name. */

/*
 * Makes the object of an --object argument: "[qom-type=]TYPE,id=ID,..." or JSON. "help" and "TYPE,help" print what
 * there is and exit with 0.
 */
struct err *object_add_text(struct objects *objects, const char *text) MUST_USE;

#endif
