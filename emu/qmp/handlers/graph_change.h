#ifndef EMU_QMP_HANDLERS_GRAPH_CHANGE_H
#define EMU_QMP_HANDLERS_GRAPH_CHANGE_H

/* Commands that change the graph of nodes: snapshots, reopening, the name of a backing file. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set graph_change_commands;

#endif
