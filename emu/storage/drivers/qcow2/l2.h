#ifndef EMU_STORAGE_DRIVERS_QCOW2_L2_H
#define EMU_STORAGE_DRIVERS_QCOW2_L2_H

/*
 * L2 entries: what one says of each subcluster, and finding the cached slice that holds it ("L1 and L2
 * tables", "Extended L2 entries"). Without extended entries a cluster is one subcluster.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/storage/drivers/qcow2/wait.h"

struct qcow2;
struct qcow2_block;

struct qcow2_entry {
    uint64_t word;
    uint64_t bitmap; /* Bits 0..31 allocated, 32..63 zero. Extended entries only. */
};

enum qcow2_sub {
    QCOW2_SUB_NONE, /* Not in this image: the backing file decides. The cluster has no place. */
    QCOW2_SUB_NONE_KEPT, /* The same, but the cluster has a place. */
    QCOW2_SUB_ZERO,      /* Zeroes; no place. */
    QCOW2_SUB_ZERO_KEPT, /* Zeroes; a place is kept. */
    QCOW2_SUB_DATA,
    QCOW2_SUB_COMPRESSED, /* The whole cluster. */
    QCOW2_SUB_INVALID,
};

struct qcow2_entry qcow2_entry_load(const struct qcow2 *q, const struct qcow2_block *block,
                                    uint32_t index);
/* The block must have been prepared by qcow2_cache_edit(). */
void qcow2_entry_store(const struct qcow2 *q, struct qcow2_block *block, uint32_t index,
                       struct qcow2_entry entry);
enum qcow2_sub qcow2_entry_sub(const struct qcow2 *q, struct qcow2_entry entry, unsigned sub);
/* Whether any subcluster is stored in this image (so that moving the cluster means copying). */
bool qcow2_entry_has_data(const struct qcow2 *q, struct qcow2_entry entry);
/* Host offset of the cluster, 0: none. Not for compressed ones. */
static inline uint64_t qcow2_entry_host(struct qcow2_entry entry)
{
    return entry.word & UINT64_C(0x00fffffffffffe00);
}
/* Whether the cluster has a place; in an external data file offset 0 is one. */
bool qcow2_entry_placed(const struct qcow2 *q, struct qcow2_entry entry);
/* Place and length in bytes of compressed data. */
void qcow2_entry_compressed(const struct qcow2 *q, struct qcow2_entry entry, uint64_t *host,
                            uint32_t *len);
/* The references that the entry holds are gone (limbo). */
void qcow2_entry_free(struct qcow2 *q, struct qcow2_entry entry, bool punch);

/* Where the entry of a guest offset is. */
struct qcow2_l2_at {
    struct qcow2_block *block; /* NULL: there is no L2 table. */
    uint32_t index;            /* Of the entry in the block. */
    bool owned; /* The table is not shared with a snapshot: COPIED bits can be trusted. */
};
MUST_USE int qcow2_l2_get(struct qcow2 *q, uint64_t offset, struct qcow2_wait *wait,
                          struct qcow2_l2_at *at);
/* The same for changing it: makes the table, or an own copy of a shared one. */
MUST_USE int qcow2_l2_get_owned(struct qcow2 *q, uint64_t offset, struct qcow2_wait *wait,
                                struct qcow2_l2_at *at);
/* Guest bytes that the slice around offset covers from there on. */
uint64_t qcow2_l2_slice_left(const struct qcow2 *q, uint64_t offset);

#endif
