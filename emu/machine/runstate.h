#ifndef EMU_MACHINE_RUNSTATE_H
#define EMU_MACHINE_RUNSTATE_H

/*
 * Whether the machine runs, and if not, why. One table of legal changes; whoever wants to know of
 * them listens.
 *
 * Order of a stop: the new state is there, listeners hear of it (devices start no work), then STOP is told.
 * Order of a start: RESUME is told, then the state changes.
 */

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/notify.h"
#include "emu/qmp/schema/qapi_run_state.h" // Generated.

struct runstate_change {
    enum qapi_run_state from, to;
    bool stops, starts; /* From running to not running, or the other way. */
};

struct runstate {
    enum qapi_run_state state;
    struct notifier_list on_change; /* struct runstate_change; state is the new one. */
};

void runstate_init(struct runstate *rs);
/* Running, or suspended by the guest. */
bool runstate_is_running(const struct runstate *rs);
/* Asserts that the change is legal; changing to the same state does nothing. */
void runstate_enter(struct runstate *rs, enum qapi_run_state to);
/* The words of `info status` and query-status. */
const char *runstate_name(const struct runstate *rs);

#endif
