#ifndef EMU_STORAGE_CREATE_H
#define EMU_STORAGE_CREATE_H

/* Creating images from the canonical options of blockdev-create. */

#include "emu/base/uuid.h"
#include "emu/storage/driver.h"

/* options: a BlockdevCreateOptions. done may be called before this returns. */
void blockdev_create(struct graph *graph, const struct json *options, driver_done_fn *done,
                     void *arg);

/* Fresh random identifiers for a new image; seeded by the clock, not for secrets. */
void create_uuids(struct graph *graph, struct uuid *out, unsigned count);

#endif
