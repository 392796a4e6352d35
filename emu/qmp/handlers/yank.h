/* yank and query-yank. */
#ifndef EMU_QMP_HANDLERS_YANK_H
#define EMU_QMP_HANDLERS_YANK_H

#include "emu/qmp/spec.h"

extern const struct qmp_command_set yank_commands;

#endif
