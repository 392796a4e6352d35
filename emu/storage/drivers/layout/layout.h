#ifndef EMU_STORAGE_DRIVERS_LAYOUT_LAYOUT_H
#define EMU_STORAGE_DRIVERS_LAYOUT_LAYOUT_H

/*
 * Writes the first content of an image file, for the create functions of format drivers.
 *
 * A driver lists the pieces of its new image and runs them. The child "file" of the create options (a node name or
 * the options of a new node) is opened, cut to nothing, the pieces are written one after the other, the file gets
 * its length, and all of it is flushed. Lives on the graph's reactor.
 */

#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/storage/driver.h"

struct layout;

/* Returns new. options: the create options of the image, with the member "file"; kept by reference. */
struct layout *layout_new(struct graph *graph, const struct json *options);
void layout_free(struct layout *layout);

/* Bytes for an offset of the file, len > 0. Takes data (NULL: fails with the text of ENOMEM when run). */
void layout_add(struct layout *layout, uint64_t offset, uint8_t *data, uint64_t len);

/*
 * Takes layout. The file will be size bytes long, or as long as the pieces make it, whatever is more. What names
 * the image in errors: "Could not write WHAT header". done may be called before this returns.
 */
void layout_run(struct layout *layout, uint64_t size, const char *what, driver_done_fn *done,
                void *arg);

#endif
