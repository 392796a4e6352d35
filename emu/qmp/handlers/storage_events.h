#ifndef EMU_QMP_HANDLERS_STORAGE_EVENTS_H
#define EMU_QMP_HANDLERS_STORAGE_EVENTS_H

/* Listens to a graph and raises what its nodes and backends tell as events. */

#include "emu/base/notify.h"
#include "emu/qmp/events.h"
#include "emu/qmp/spec.h"

struct graph;

struct storage_events {
    struct notifier notifier;
    struct qmp_events *events; /* Borrowed. */
};

void storage_events_init(struct storage_events *se, struct graph *graph, struct qmp_events *events);
void storage_events_fini(struct storage_events *se);

/* The events; no commands. */
extern const struct qmp_command_set storage_event_set;

#endif
