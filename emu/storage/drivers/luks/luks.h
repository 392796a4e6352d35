#ifndef EMU_STORAGE_DRIVERS_LUKS_LUKS_H
#define EMU_STORAGE_DRIVERS_LUKS_LUKS_H

/* Driver "luks", private to this folder. */

#include "emu/storage/driver.h"

extern const struct create_option luks_create_options[];

/* driver->create */
void luks_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
/* driver->measure */
void luks_measure_image(struct graph *graph, const struct json *options, struct edge *source,
                        uint64_t size, struct measure_result *result, driver_done_fn *done,
                        void *arg);

#endif
