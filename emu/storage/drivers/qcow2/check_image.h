#ifndef EMU_STORAGE_DRIVERS_QCOW2_CHECK_IMAGE_H
#define EMU_STORAGE_DRIVERS_QCOW2_CHECK_IMAGE_H

/* Consistency check and repair. */

#include "emu/storage/driver.h"

/* driver->check: no other request may be in flight. */
void qcow2_check(struct node *node, unsigned fix, struct check_result *result, driver_done_fn *done,
                 void *arg);

#endif
