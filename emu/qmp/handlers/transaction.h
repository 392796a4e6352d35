#ifndef EMU_QMP_HANDLERS_TRANSACTION_H
#define EMU_QMP_HANDLERS_TRANSACTION_H

/* The transaction command: several actions, all or none. */

#include "emu/qmp/spec.h"

extern const struct qmp_command_set transaction_commands;

#endif
