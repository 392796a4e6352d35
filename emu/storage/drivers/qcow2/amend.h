#ifndef EMU_STORAGE_DRIVERS_QCOW2_AMEND_H
#define EMU_STORAGE_DRIVERS_QCOW2_AMEND_H

/* Changing options of an existing image: driver->amend. */

#include "emu/storage/driver.h"

void qcow2_amend(struct node *node, const struct json *options, unsigned flags,
                 amend_progress_fn *progress, driver_done_fn *done, void *arg);
extern const struct create_option qcow2_amend_options[];

#endif
