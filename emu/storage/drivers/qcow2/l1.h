#ifndef EMU_STORAGE_DRIVERS_QCOW2_L1_H
#define EMU_STORAGE_DRIVERS_QCOW2_L1_H

/* The active L1 table as a whole. */

#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/storage/drivers/qcow2/wait.h"

struct qcow2;

/* L1 entries that a disk of that many bytes needs. */
uint64_t qcow2_l1_entries_for(const struct qcow2 *q, uint64_t size);
/*
 * Makes the table at least `need` entries long, by moving it to new clusters (the commit switches the header). 0,
 * QCOW2_WAIT or -errno; -EFBIG beyond the largest table.
 */
MUST_USE int qcow2_l1_grow(struct qcow2 *q, uint64_t need, struct qcow2_wait *wait);

#endif
