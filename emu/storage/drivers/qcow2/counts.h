#ifndef EMU_STORAGE_DRIVERS_QCOW2_COUNTS_H
#define EMU_STORAGE_DRIVERS_QCOW2_COUNTS_H

/*
 * A whole refcount structure in memory: blocks as on disk, with the place of each.
 *
 * Two of them may share blocks: the second starts as the first's twin and takes copies of the blocks that it changes.
 */

#include <stdint.h>

#include "emu/base/attrs.h"

struct qcow2_counts {
    unsigned cluster_bits, order; /* log2 of the bytes of a block, of the bits of a count. */
    unsigned block_bits;          /* log2 of the counts of a block. */
    uint64_t max;                 /* Largest count. */
    uint8_t **blocks;             /* owned, and what they point to unless shared; NULL: all zero. */
    uint64_t *places;             /* owned; host offset of each block, 0: none yet. */
    uint64_t count;               /* Blocks, as many as a refcount table may have. */
    const struct qcow2_counts *twin; /* Blocks that are the same memory there are not owned. */
};

/* Room for count blocks, all NULL. False when out of memory. */
MUST_USE bool qcow2_counts_init(struct qcow2_counts *counts, unsigned cluster_bits, unsigned order,
                                uint64_t count);
void qcow2_counts_fini(struct qcow2_counts *counts);
/* Makes counts equal to twin, sharing its blocks; twin must outlive it unchanged. */
MUST_USE bool qcow2_counts_share(struct qcow2_counts *counts, const struct qcow2_counts *twin);

uint64_t qcow2_counts_get(const struct qcow2_counts *counts, uint64_t cluster);
/*
 * Sets a count. *vacated is the host offset of the block that held it so far when that block has to move because of
 * this, else 0. -ENOMEM, -EFBIG (beyond the largest table), -ERANGE (too large a count): nothing changed.
 */
MUST_USE int qcow2_counts_set(struct qcow2_counts *counts, uint64_t cluster, uint64_t value,
                              uint64_t *vacated);
/* Number of the last block that exists, plus one. */
uint64_t qcow2_counts_used(const struct qcow2_counts *counts);

#endif
