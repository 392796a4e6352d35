#ifndef EMU_QMP_HANDLERS_JOBS_H
#define EMU_QMP_HANDLERS_JOBS_H

/* The commands for jobs of any kind. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set job_commands;

#endif
