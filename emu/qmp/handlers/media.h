#ifndef EMU_QMP_HANDLERS_MEDIA_H
#define EMU_QMP_HANDLERS_MEDIA_H

/* Media of drives: trays, eject, insert, change. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set media_commands;

#endif
