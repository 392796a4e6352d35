#ifndef EMU_STORAGE_DRIVERS_FILTER_FILTER_H
#define EMU_STORAGE_DRIVERS_FILTER_FILTER_H

/* What filter drivers with one child "file" have in common: they look like their child and pass requests on. */

#include "emu/storage/driver.h"

struct filter_req {
    struct req sub;
    struct req *req;
};

extern const struct driver_child filter_children[]; /* "file", required. */

/* In open: takes size, flags and limits of node->file. */
void filter_follow(struct node *node);
/* Passes a request of a filter on as it is and completes it with the answer. */
void filter_pass(struct filter_req *fr, struct req *req);
/* The same with these flags. */
void filter_pass_flags(struct filter_req *fr, struct req *req, uint32_t flags);

/* Driver callbacks. */
void filter_close(struct node *node, driver_done_fn *done, void *arg);
void filter_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                     driver_done_fn *done, void *arg);
void filter_child_resized(struct node *node, struct edge *child);

#endif
