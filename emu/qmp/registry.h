/*
 * The commands and events a program has: the union of the command sets its front end named.
 *
 * Built once at start and then constant, so that any thread may look things up.
 */
#ifndef EMU_QMP_REGISTRY_H
#define EMU_QMP_REGISTRY_H

#include <stddef.h>

#include "emu/base/attrs.h"
#include "emu/qmp/spec.h"

struct qmp_registry;

/* sets ends with NULL; all it leads to is borrowed. A command bound twice is a bug (asserted). */
struct qmp_registry *qmp_registry_new(const struct qmp_command_set *const *sets);
/* NULL is fine. */
void qmp_registry_free(struct qmp_registry *reg);

/* The command of that name on the wire, or NULL. */
const struct qmp_command *qmp_registry_find(const struct qmp_registry *reg, const char *name);

/* All, in schema order. */
size_t qmp_registry_commands(const struct qmp_registry *reg, const struct qmp_command *const **out);
size_t qmp_registry_events(const struct qmp_registry *reg,
                           const struct qmp_event_spec *const **out);

#endif
