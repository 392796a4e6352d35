#ifndef EMU_JOBS_BLOCK_BACKUP_H
#define EMU_JOBS_BLOCK_BACKUP_H

/*
 * The backup job: the target gets what the source held when the job was made, while guests go on writing.
 *
 * backup_new() checks, claims the nodes and puts the filter in place: that is the moment the
 * target will show. The job is CREATED then; several can be made before any is started, which
 * gives one moment to all of them.
 */

#include "emu/jobs/block/block_job.h"
#include "emu/jobs/block/launch.h"

struct bitmap;

enum backup_bitmap_mode { BACKUP_BITMAP_ON_SUCCESS, BACKUP_BITMAP_NEVER, BACKUP_BITMAP_ALWAYS };

struct backup_params {
    struct job_options job;
    struct node *source, *target; /* Borrowed. */
    enum sync_mode sync;
    const char *bitmap; /* Name; NULL: none. */
    OPT(enum backup_bitmap_mode) bitmap_mode;
    bool compress;
    int64_t speed;
    enum job_on_error on_source_error, on_target_error;
    const char *filter_name; /* NULL: automatic. */
    OPT(int64_t) max_workers, max_chunk;
    uint64_t min_cluster; /* Bytes, a power of two; 0: none. Copies are at least that large. */
    bool discard_source;  /* What was copied is not needed in the source any more. */
};

/* Fails with the reference's texts; nothing is left then, but a job that was seen CREATED ends NULL. */
struct err *backup_new(struct jobs *jobs, const struct backup_params *params,
                       struct block_job **out) MUST_USE;

#endif
