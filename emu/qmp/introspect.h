/*
 * The schema as clients see it: the commands and events of a program and the types these use.
 */
#ifndef EMU_QMP_INTROSPECT_H
#define EMU_QMP_INTROSPECT_H

#include "emu/base/attrs.h"
#include "emu/base/json.h"
#include "emu/qmp/registry.h"

/*
 * Returns a new array of SchemaInfo: commands and events in schema order, then types in the order
 * of their first use. Names of types are masked (numbers in order of first use; an array is its
 * element's name in brackets), so that they can change without breaking clients.
 */
MUST_USE struct json *qmp_introspect(const struct qmp_registry *reg);

#endif
