#ifndef EMU_JOBS_BLOCK_COMMIT_PRIV_H
#define EMU_JOBS_BLOCK_COMMIT_PRIV_H

/* Private to commit jobs: what was made of the parameters. */

#include "emu/jobs/block/commit.h"

struct commit_range {
    struct node *device;     /* Borrowed; the highest layer. */
    struct node *top, *base; /* References. */
    struct node *overlay;    /* Reference: the image above the top; NULL: active commit. */
    bool active;
    bool base_was_read_only;
};

/* commit.c: a job for layers that nobody writes to. */
struct err *commit_make(struct jobs *jobs, const struct commit_params *params,
                        const struct commit_range *range, struct block_job **out) MUST_USE;

#endif
