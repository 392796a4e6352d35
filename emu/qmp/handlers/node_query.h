#ifndef EMU_QMP_HANDLERS_NODE_QUERY_H
#define EMU_QMP_HANDLERS_NODE_QUERY_H

/* query-named-block-nodes, query-block, query-blockstats of a program without guest devices. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set node_query_commands;

#endif
