#ifndef EMU_STORAGE_DRIVERS_QCOW2_RESIZE_H
#define EMU_STORAGE_DRIVERS_QCOW2_RESIZE_H

/* Changing the size of the disk, and preallocation. */

#include "emu/storage/driver.h"

/* driver->truncate */
void qcow2_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                    driver_done_fn *done, void *arg);

#endif
