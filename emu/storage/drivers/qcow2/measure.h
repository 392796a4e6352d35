#ifndef EMU_STORAGE_DRIVERS_QCOW2_MEASURE_H
#define EMU_STORAGE_DRIVERS_QCOW2_MEASURE_H

/* How large a new image would be: driver->measure. */

#include "emu/storage/driver.h"

void qcow2_measure(struct graph *graph, const struct json *options, struct edge *source,
                   uint64_t size, struct measure_result *result, driver_done_fn *done, void *arg);

#endif
