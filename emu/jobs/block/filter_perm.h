#ifndef EMU_JOBS_BLOCK_FILTER_PERM_H
#define EMU_JOBS_BLOCK_FILTER_PERM_H

/*
 * Permissions of the jobs' filters on their child: what the parents take, and what they ever took. A filter that was
 * removed has no parents any more but may still hold a write that waits for a copy, and has to pass it on.
 */

#include "emu/storage/node.h"

/* First member of the state of a filter. */
struct filter_perm {
    uint32_t taken;
    bool
        unshare_writes; /* While anybody uses the filter, only through it may the child be written. */
    bool share_all; /* Others may write below: the job sees to it that it looks right from above. */
};

/* driver->child_perm of both filters. */
void filter_child_perm(struct node *node, const struct edge *child, uint32_t perm, uint32_t shared,
                       uint32_t *child_perm, uint32_t *child_shared);

#endif
