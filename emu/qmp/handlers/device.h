#ifndef EMU_QMP_HANDLERS_DEVICE_H
#define EMU_QMP_HANDLERS_DEVICE_H

/* Devices coming and going. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set device_commands;

#endif
