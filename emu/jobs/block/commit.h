#ifndef EMU_JOBS_BLOCK_COMMIT_H
#define EMU_JOBS_BLOCK_COMMIT_H

/*
 * The commit job: what the layers from a top down to a base hold goes into the base, which then takes their place.
 *
 * When guests write to the top, or it is the highest layer, it is a mirror to the base (active commit): it becomes
 * READY, follows the writes, and moves the guests to the base when completed.
 */

#include "emu/jobs/block/block_job.h"
#include "emu/jobs/block/launch.h"

struct commit_params {
    struct job_options job;
    struct node *device;       /* Borrowed; the highest layer. */
    const char *top, *base;    /* File names. */
    const char *top_node, *base_node;
    const char
        *backing_file; /* What to write to the image above the top; NULL: the name of the base. */
    bool mask_protocol;
    int64_t speed;
    enum job_on_error on_error;
    const char *filter_name; /* NULL: automatic. */
};

/*
 * Checks, makes the base writable where it is not, and makes the job, which is CREATED then. done may come at once;
 * the strings of params are borrowed until then.
 */
void commit_new(struct jobs *jobs, const struct commit_params *params, block_job_made_fn *done,
                void *arg);

#endif
