#ifndef EMU_STORAGE_IMAGE_NEW_H
#define EMU_STORAGE_IMAGE_NEW_H

/* Images that commands name by file: made first when asked for, then opened, all without waiting. */

#include "emu/storage/node.h"

struct image_new_options {
    const char *filename, *format; /* format NULL: probe what exists; a new image needs one. */
    bool create;
    uint64_t size;                        /* Of a new image, bytes. */
    const char *backing, *backing_format; /* What a new image's header says; NULL: nothing. */
    const char *node_name;                /* NULL: automatic. */
    bool no_backing;                      /* Do not open a backing file. */
    struct node_options open;             /* Cache, discard and the like. */
};

/* Refuses what cannot be made: "Unknown file format 'x'", "Backing file not supported for file format 'raw'". */
struct err *image_new_check(struct graph *graph, const struct image_new_options *options) MUST_USE;
/* "Formatting 'x', fmt=qcow2 ...", which the reference prints for every new image; with a newline. Returns new. */
char *image_new_text(struct graph *graph, const struct image_new_options *options);
/* options is copied. done gets the node with one reference. A file made for an image that fails then is left. */
void image_new(struct graph *graph, const struct image_new_options *options, node_open_fn *done,
               void *arg);

#endif
