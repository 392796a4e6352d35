/* The commands about the conversation itself, which every front end has. */
#ifndef EMU_QMP_HANDLERS_CONTROL_H
#define EMU_QMP_HANDLERS_CONTROL_H

#include "emu/qmp/spec.h"

extern const struct qmp_command_set control_commands;

#endif
