/* Character devices: chardev-add, chardev-remove, query-chardev, query-chardev-backends. */
#ifndef EMU_QMP_HANDLERS_CHARDEV_H
#define EMU_QMP_HANDLERS_CHARDEV_H

#include "emu/qmp/spec.h"

extern const struct qmp_command_set chardev_commands;

#endif
