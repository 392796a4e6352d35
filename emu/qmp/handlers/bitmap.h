#ifndef EMU_QMP_HANDLERS_BITMAP_H
#define EMU_QMP_HANDLERS_BITMAP_H

/* block-dirty-bitmap-* and x-debug-block-dirty-bitmap-sha256. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set bitmap_commands;

#endif
