/* Private to the storage core: opening nodes. */
#ifndef EMU_STORAGE_OPEN_H
#define EMU_STORAGE_OPEN_H

#include "emu/storage/node.h"

/* What a child takes over unless its own options say otherwise. */
struct open_inherit {
    struct node_options defaults;
    unsigned depth; /* Images above it in this opening. */
};

MUST_USE struct err *open_common(struct opts *opts, const struct open_inherit *inherit,
                                 struct node_options *out);
struct open_inherit open_inherit_for(const struct node *parent, uint32_t role);

/* As node_open, with inherited options. */
void open_start(struct graph *graph, const struct json *options, unsigned flags,
                const struct open_inherit *inherit, node_open_fn *done, void *arg);

/* filename.c: the name of a backing file seen from the image that names it; returns new. */
char *filename_resolve(const char *image, const char *backing);

#endif
