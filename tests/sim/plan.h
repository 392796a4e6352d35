#ifndef EMU_TESTS_SIM_PLAN_H
#define EMU_TESTS_SIM_PLAN_H

/* What a seed decides before a scenario begins. */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/rng.h"
#include "emu/jobs/job_error.h"

/* How the job is meant to end. */
enum ending {
    END_WELL,
    END_CANCEL,
    END_TARGET_ERROR,
    END_TARGET_FULL,
    END_SOURCE_ERROR,
    END_STALLED_CANCEL,
    END_STREAM_RESET, /* Of a target behind NBD. */
    END_NO_MEMORY,    /* One allocation of a size that input decides fails. */
    ENDING_COUNT
};

enum work {
    WORK_MIRROR,
    WORK_MIRROR_BLOCKING,
    WORK_BACKUP,
    WORK_BACKUP_BITMAP,
    WORK_STREAM, /* An overlay gets what the source below it holds. */
    WORK_COMMIT, /* What an overlay holds goes to the source below it, under the guest. */
    WORK_COUNT
};

struct plan {
    uint64_t size; /* Bytes, of the guest's disk. */
    uint32_t cluster, target_cluster, bitmap_granularity;
    uint32_t direct_block; /* Files are open for direct access of such blocks; 0: they are not. */
    bool backing, target_raw, target_nbd;
    bool discards; /* The guest sends them, and they reach the file. */
    bool busy_start; /* The guest is busy when the job begins. */
    bool manual_finalize, manual_dismiss;
    enum work work;
    enum ending ending;
    enum job_on_error on_error;
    uint64_t strike_at; /* Event of the fault or cancel, from the job's start. */
    unsigned crash_points;
};

void plan_choose(struct plan *plan, struct rng *rng);
static inline bool plan_is_mirror(const struct plan *plan)
{
    return plan->work == WORK_MIRROR || plan->work == WORK_MIRROR_BLOCKING;
}
/* The guest works on an overlay of the source. */
static inline bool plan_is_chain(const struct plan *plan)
{
    return plan->work == WORK_STREAM || plan->work == WORK_COMMIT;
}
/* The job becomes READY, and the guest moves to its target when it is completed. */
static inline bool plan_pivots(const struct plan *plan)
{
    return plan_is_mirror(plan) || plan->work == WORK_COMMIT;
}

#endif
