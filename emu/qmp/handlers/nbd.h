#ifndef EMU_QMP_HANDLERS_NBD_H
#define EMU_QMP_HANDLERS_NBD_H

/* The NBD server: its commands, and --nbd-server of the command line. */

#include "emu/qmp/schema/qapi_block_export.h" // Generated.
#include "emu/qmp/spec.h"
#include "emu/storage/export/export.h"

extern const struct qmp_command_set nbd_commands;

/* exports_nbd_start() for options as the command line has them. */
struct err *nbd_server_start_options(struct exports *exports,
                                     const struct qapi_nbd_server_options *options) MUST_USE;

#endif
