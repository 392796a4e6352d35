#ifndef EMU_JOBS_BLOCK_MIRROR_H
#define EMU_JOBS_BLOCK_MIRROR_H

/*
 * The mirror job: makes a target equal to a source that guests go on writing, and keeps it so until the user completes
 * (guests move to the target in one step) or ends it (soft cancel: guests stay).
 */

#include "emu/jobs/block/block_job.h"
#include "emu/jobs/block/launch.h"

enum mirror_copy_mode { MIRROR_BACKGROUND, MIRROR_WRITE_BLOCKING };

/* What backs the target when guests move to it. */
enum mirror_backing {
    MIRROR_BACKING_LEAVE,  /* What it has. */
    MIRROR_BACKING_SOURCE, /* sync=top: the backing file of the source; sync=none: the source. */
    MIRROR_BACKING_OPEN,   /* What its header says; it was opened without. */
};

struct mirror_params {
    struct job_options job;
    struct node *source, *target; /* Borrowed. */
    const char *replaces;         /* Node name; NULL: the source. */
    enum sync_mode sync;
    int64_t speed;
    uint32_t granularity; /* Bytes; 0: default. */
    int64_t buf_size;     /* Bytes; 0: default. */
    enum job_on_error on_source_error, on_target_error;
    bool unmap;
    const char *filter_name; /* NULL: automatic. */
    enum mirror_copy_mode copy_mode;
    enum mirror_backing backing;
    /*
     * An active commit: the target is below the source in its chain, grows to its size, and only what the layers
     * between hold is copied.
     */
    bool commit;
};

/* Fails with the reference's texts; nothing is left then, but a job that was seen CREATED ends NULL. */
struct err *mirror_new(struct jobs *jobs, const struct mirror_params *params,
                       struct block_job **out) MUST_USE;

/* block-job-change. job may be of any kind: "Job type does not support change". */
struct err *mirror_change(struct job *job, enum mirror_copy_mode mode) MUST_USE;

/* Whether every acknowledged guest write is on the target, and will be. False for other kinds of job. */
bool mirror_actively_synced(const struct job *job);

#endif
