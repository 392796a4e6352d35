#ifndef EMU_QMP_HANDLERS_MACHINE_QUERY_H
#define EMU_QMP_HANDLERS_MACHINE_QUERY_H

/* What the machine is: its name, its UUID, the machines there are. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set machine_query_commands;

#endif
