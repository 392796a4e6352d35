#ifndef EMU_QMP_HANDLERS_CHAIN_JOBS_H
#define EMU_QMP_HANDLERS_CHAIN_JOBS_H

/* block-stream, block-commit, drive-mirror. */

#include "emu/qmp/spec.h"

struct qapi_drive_mirror;
struct qmp_call;

extern const struct qmp_command_set chain_job_commands;

/* drive_mirror.c */
void drive_mirror_handler(struct qmp_call *call, const struct qapi_drive_mirror *args);

#endif
