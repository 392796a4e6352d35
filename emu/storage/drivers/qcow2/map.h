#ifndef EMU_STORAGE_DRIVERS_QCOW2_MAP_H
#define EMU_STORAGE_DRIVERS_QCOW2_MAP_H

/* From guest ranges to extents of one kind, and what REQ_STATUS says of them. */

#include <stdint.h>

#include "emu/storage/drivers/qcow2/l2.h"

struct req_status;

struct qcow2_extent {
    enum qcow2_sub kind;
    uint64_t len;            /* Guest bytes. */
    uint64_t host;           /* DATA: of the first byte. COMPRESSED: of the compressed data. */
    uint32_t compressed_len; /* COMPRESSED */
};

/*
 * The longest extent from offset on, at most max bytes: adjacent subclusters of one kind, data adjacent in the
 * file too. A compressed extent ends with its cluster.
 */
MUST_USE int qcow2_map_lookup(struct qcow2 *q, uint64_t offset, uint64_t max,
                              struct qcow2_wait *wait, struct qcow2_extent *out);
/* REQ_STATUS for [offset, offset + max). */
MUST_USE int qcow2_map_status(struct qcow2 *q, uint64_t offset, uint64_t max,
                              struct qcow2_wait *wait, struct req_status *out);
/* Whether the whole range reads as zeroes for sure: *out. */
MUST_USE int qcow2_map_is_zero(struct qcow2 *q, uint64_t offset, uint64_t len,
                               struct qcow2_wait *wait, bool *out);

#endif
