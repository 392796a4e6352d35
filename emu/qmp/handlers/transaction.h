#ifndef EMU_QMP_HANDLERS_TRANSACTION_H
#define EMU_QMP_HANDLERS_TRANSACTION_H

/* Transactions, and the commands that are transactions of one action. */

#include "emu/qmp/schema/qapi_transaction.h" // Generated.
#include "emu/qmp/spec.h"

struct qmp_call;

extern const struct qmp_command_set transaction_commands;

/* Answers call. action is copied; what it points to lives as long as the call. */
void transaction_single(struct qmp_call *call, const struct qapi_transaction_action *action);

#endif
