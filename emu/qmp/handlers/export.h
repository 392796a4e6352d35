#ifndef EMU_QMP_HANDLERS_EXPORT_H
#define EMU_QMP_HANDLERS_EXPORT_H

/* Exports: their commands, their event, and --export of the command line. */

#include "emu/base/notify.h"
#include "emu/qmp/events.h"
#include "emu/qmp/schema/qapi_block_export.h" // Generated.
#include "emu/qmp/spec.h"
#include "emu/storage/export/export.h"

extern const struct qmp_command_set export_commands;

/* export_add() for options as the schema has them. */
struct err *export_add_options(struct exports *exports,
                               const struct qapi_block_export_options *options, graph_done_fn *done,
                               void *arg) MUST_USE;

/* Raises BLOCK_EXPORT_DELETED. */
struct export_events {
    struct notifier notifier;
    struct qmp_events *events; /* borrowed */
};

void export_events_init(struct export_events *ee, struct exports *exports,
                        struct qmp_events *events);
void export_events_fini(struct export_events *ee);

#endif
