#ifndef EMU_STORAGE_DRIVERS_SPARSE_IMAGE_LOAD_H
#define EMU_STORAGE_DRIVERS_SPARSE_IMAGE_LOAD_H

/* Reading a piece of an image file, for the open functions of format drivers. */

#include <stdint.h>

struct edge;

/* bytes: owned by the receiver, len bytes as asked; NULL when result is not 0. */
typedef void image_load_fn(void *arg, uint8_t *bytes, int result);

/*
 * Reads len bytes (1 to 64 MiB; more: -EFBIG) at offset; behind the end of the file they are zero. done is called
 * later or from within.
 */
void image_load(struct edge *edge, uint64_t offset, uint64_t len, image_load_fn *done, void *arg);

#endif
