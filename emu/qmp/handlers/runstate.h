#ifndef EMU_QMP_HANDLERS_RUNSTATE_H
#define EMU_QMP_HANDLERS_RUNSTATE_H

/* Run state: query-status, stop, cont, reset and power button; and the events of all that. */

#include "emu/base/notify.h"
#include "emu/machine/machine.h"
#include "emu/qmp/events.h"
#include "emu/qmp/spec.h"

struct world;

extern const struct qmp_command_set runstate_commands;

/* Listens to a machine and raises STOP, RESUME, RESET, POWERDOWN and DEVICE_DELETED. */
struct machine_events {
    struct notifier run, machine, deleted;
    struct qmp_events *events; /* Borrowed. */
};

void machine_events_init(struct machine_events *me, struct machine *machine,
                         struct qmp_events *events);
void machine_events_fini(struct machine_events *me);

/* cont: refuses in states that nothing leads out of. */
struct err *runstate_cont(struct world *world) MUST_USE;

#endif
