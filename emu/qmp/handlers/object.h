#ifndef EMU_QMP_HANDLERS_OBJECT_H
#define EMU_QMP_HANDLERS_OBJECT_H

/* Objects that users make: object-add and object-del. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set object_commands;

#endif
