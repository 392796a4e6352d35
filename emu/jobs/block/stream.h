#ifndef EMU_JOBS_BLOCK_STREAM_H
#define EMU_JOBS_BLOCK_STREAM_H

/*
 * The stream job: a node gets what the layers between it and a base hold, and then uses the base as its backing file.
 */

#include "emu/jobs/block/block_job.h"
#include "emu/jobs/block/launch.h"

struct stream_params {
    struct job_options job;
    struct node *top;         /* Borrowed. */
    const char *base;         /* File name. */
    const char *base_node;    /* Node name. */
    const char *bottom; /* Node name: the last one to be copied from. At most one of the three. */
    const char *backing_file; /* What to write to the image header; NULL: the name of the base. */
    bool mask_protocol;
    int64_t speed;
    enum job_on_error on_error;
    const char *filter_name; /* NULL: automatic. */
};

/*
 * Checks, makes the node writable where it is not, and makes the job, which is CREATED then. done may come at once;
 * the strings of params are borrowed until then.
 */
void stream_new(struct jobs *jobs, const struct stream_params *params, block_job_made_fn *done,
                void *arg);

#endif
