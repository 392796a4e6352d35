#ifndef EMU_STORAGE_DRIVERS_QCOW2_ALLOC_H
#define EMU_STORAGE_DRIVERS_QCOW2_ALLOC_H

/* Between refcount.c and alloc.c: the steps that allocation is made of. */

#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/storage/drivers/qcow2/refcount.h"

struct qcow2_block;

/* Host offset of refcount block number index, 0 when there is none; checked. */
MUST_USE int qcow2_refblock_offset(struct qcow2 *q, uint64_t index, uint64_t *out);
/* The cached slice with the count of cluster, and its index in it; *out NULL when there is no block. */
MUST_USE int qcow2_refcount_slice(struct qcow2 *q, uint64_t cluster, struct qcow2_wait *wait,
                                  struct qcow2_block **out, uint64_t *index);
/* Makes a block of zero counts at a host offset and enters it in the table. Its own count is the caller's to set. */
MUST_USE int qcow2_refblock_create(struct qcow2 *q, uint64_t index, uint64_t offset);
/* Clusters needed for count clusters at start and the refcount blocks that are missing to count them. */
uint64_t qcow2_region_len(const struct qcow2 *q, uint64_t start, uint64_t count);
/* Loads all counts of the region; *busy is the cluster after the last one in use, or 0. */
MUST_USE int qcow2_region_check(struct qcow2 *q, uint64_t start, uint64_t count,
                                struct qcow2_wait *wait, uint64_t *busy);
/* Takes a region that was checked just before; new refcount blocks lie behind it. */
MUST_USE int qcow2_region_take(struct qcow2 *q, uint64_t start, uint64_t count);
/* Moves the refcount table to a larger place. */
MUST_USE int qcow2_reftable_grow(struct qcow2 *q, uint64_t entries, struct qcow2_wait *wait);

#endif
