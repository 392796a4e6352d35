#ifndef EMU_QMP_HANDLERS_NODE_ADD_H
#define EMU_QMP_HANDLERS_NODE_ADD_H

/* blockdev-add, blockdev-del, block_resize. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set node_add_commands;

#endif
