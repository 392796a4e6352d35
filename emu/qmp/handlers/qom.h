#ifndef EMU_QMP_HANDLERS_QOM_H
#define EMU_QMP_HANDLERS_QOM_H

/* The tree of objects: devices below /machine, the user's objects below /objects. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set qom_commands;

#endif
