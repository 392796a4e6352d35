#ifndef EMU_STORAGE_DRIVERS_QCOW2_COW_H
#define EMU_STORAGE_DRIVERS_QCOW2_COW_H

/*
 * A write that changes the mapping: fills the edges of its clusters, writes data and edges at once, then links
 * the clusters into the L2 table.
 *
 *   HEAD   what lies before the data in its first unit is read (or known to be zero)
 *   TAIL   the same for what lies behind
 *   WRITE  one write of head, data and tail
 *   LINK   one step in memory: the entries change, the old clusters go to limbo
 *
 * The claim (O9) is held from before HEAD until LINK; the L2 slice is pinned so that LINK cannot fail for lack of
 * it. O2 holds because LINK comes after WRITE, and a commit that captures the entries begins with a flush.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/iov.h"
#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/refcount.h"

struct qcow2_block;

struct qcow2_cow_plan {
    uint64_t offset, len; /* Guest range of the data. */
    uint64_t fill_start,
        fill_end;              /* Guest range that must be in place when linked; covers the data. */
    struct qcow2_block *block; /* Slice with the entries. */
    uint32_t index;            /* Of the first. */
    struct qcow2_run run;      /* Host clusters, for the cluster that offset lies in onwards. */
    bool is_new; /* They were just allocated; otherwise the entries have them already. */
    struct iov_view data;
};

/* Takes the new clusters over in any case. -errno: nothing was started. */
MUST_USE int qcow2_cow_start(struct qcow2_op *op, const struct qcow2_cow_plan *plan);

/*
 * The step LINK, also for compressed writes: makes `word` the new place of entry, freeing what it had.
 */
void qcow2_cow_replace(struct qcow2 *q, struct qcow2_block *block, uint32_t index, uint64_t word,
                       uint64_t bitmap);

#endif
