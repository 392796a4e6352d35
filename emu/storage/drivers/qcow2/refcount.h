#ifndef EMU_STORAGE_DRIVERS_QCOW2_REFCOUNT_H
#define EMU_STORAGE_DRIVERS_QCOW2_REFCOUNT_H

/*
 * Reference counts of host clusters, and finding free ones.
 *
 * Counts are one flat array in two levels: the refcount table (in memory) points at blocks (cached). These
 * functions follow the rule of qcow2.h: done at once, or QCOW2_WAIT with nothing changed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/storage/drivers/qcow2/wait.h"

struct qcow2;

/* Count number index within the bytes of a block, 2^order bits each, lowest bits first within a byte. */
uint64_t qcow2_refcount_load(const uint8_t *data, unsigned order, uint64_t index);
void qcow2_refcount_store(uint8_t *data, unsigned order, uint64_t index, uint64_t value);

MUST_USE int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, struct qcow2_wait *wait,
                                uint64_t *out);
/* Sets a count whose block exists. */
MUST_USE int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value,
                                struct qcow2_wait *wait);

struct qcow2_run {
    uint64_t offset, len; /* Host bytes, whole clusters. */
    bool fresh;           /* Nothing was ever written there: it reads as zeroes. */
};

/*
 * Takes up to count_max (>= 1) adjacent free clusters, count 1 each. Finds the first free ones; with
 * fresh_only those behind everything that was ever written.
 */
MUST_USE int qcow2_alloc_run(struct qcow2 *q, uint64_t count_max, bool fresh_only,
                             struct qcow2_wait *wait, struct qcow2_run *out);
/* Takes exactly count adjacent clusters behind everything, for tables that must lie in one piece. */
MUST_USE int qcow2_alloc_region(struct qcow2 *q, uint64_t count, struct qcow2_wait *wait,
                                uint64_t *offset);
/*
 * Takes len (<= cluster size) bytes for a compressed cluster: adjacent to the last ones where that
 * fits. Each host cluster touched gets one more reference.
 */
MUST_USE int qcow2_alloc_bytes(struct qcow2 *q, uint32_t len, struct qcow2_wait *wait,
                               uint64_t *offset);

#endif
