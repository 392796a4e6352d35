#ifndef EMU_QMP_HANDLERS_CHAIN_JOBS_H
#define EMU_QMP_HANDLERS_CHAIN_JOBS_H

/* block-stream and block-commit. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set chain_job_commands;

#endif
