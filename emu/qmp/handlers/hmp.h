#ifndef EMU_QMP_HANDLERS_HMP_H
#define EMU_QMP_HANDLERS_HMP_H

/* Commands for people: the tables, one a file, and human-monitor-command. */

#include "emu/qmp/hmp.h"
#include "emu/qmp/spec.h"

extern const struct qmp_command_set hmp_commands;

extern const struct hmp_command hmp_block_commands[], hmp_machine_commands[], hmp_block_info[],
    hmp_machine_info[];

/* All of a machine. */
extern const struct hmp_config hmp_machine_config;

/* hmp_commit.c */
void hmp_commit(struct hmp_call *call);

/* Runs the QMP command of the arguments' names as it is and prints nothing. */
void hmp_pass(struct hmp_call *call, const char *command);

#endif
