#ifndef EMU_STORAGE_DRIVERS_QCOW2_EMPTY_H
#define EMU_STORAGE_DRIVERS_QCOW2_EMPTY_H

/* driver->make_empty */

#include "emu/storage/driver.h"

void qcow2_make_empty(struct node *node, driver_done_fn *done, void *arg);

#endif
