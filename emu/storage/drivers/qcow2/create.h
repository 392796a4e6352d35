#ifndef EMU_STORAGE_DRIVERS_QCOW2_CREATE_H
#define EMU_STORAGE_DRIVERS_QCOW2_CREATE_H

/* Making new images (BlockdevCreateOptionsQcow2). */

#include "emu/storage/driver.h"

/* driver->create */
void qcow2_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option qcow2_create_options[];

#endif
