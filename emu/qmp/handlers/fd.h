/* getfd, closefd, add-fd, remove-fd and query-fdsets. Needs world->graph. */
#ifndef EMU_QMP_HANDLERS_FD_H
#define EMU_QMP_HANDLERS_FD_H

#include "emu/qmp/spec.h"

extern const struct qmp_command_set fd_commands;

#endif
