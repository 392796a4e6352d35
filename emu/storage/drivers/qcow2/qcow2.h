#ifndef EMU_STORAGE_DRIVERS_QCOW2_QCOW2_H
#define EMU_STORAGE_DRIVERS_QCOW2_QCOW2_H

/*
 * The state of an open qcow2 image, private to this folder.
 *
 * How the driver works. All metadata that an operation needs is looked up or changed in memory by
 * plain functions that either finish at once or return QCOW2_WAIT, having changed nothing: then a
 * block is being loaded (or a commit is running), the caller's struct qcow2_wait is called back, and the
 * caller tries again from the start. So every change of metadata is atomic as seen by all others, and no
 * lock is ever held. Changed metadata stays in memory until a commit (commit.h) captures all of it at one
 * moment and writes it in the order that keeps the file consistent after a crash at any point.
 *
 * Ordering invariants (the names are those of the design notes; code cites them):
 *  O1  A cluster's refcount is durable before any durable table refers to it.
 *  O2  Bytes that the driver itself puts into a new cluster (copied or zero edges) are durable before an L2
 *      entry that refers to them.
 *  O3  An L2 table is durable before the L1 entry that refers to it.
 *  O4  A reference is durably gone before the refcount goes down, and before the cluster is used again.
 *  O5  Host space is punched out only after O4, and while the cluster is still counted as used.
 *  O6  A flush completes when all that completed before it is reachable after a crash.
 *  O7  Refcounts are never deferred beyond the commit, so the dirty bit is never needed (lazy refcounts
 *      are allowed by the format, not required).
 *  O8  Pointers in the header change by a write of its first sector alone.
 *  O9  One cluster of the guest is allocated by one request at a time; others wait; reads see the old state.
 *  O10 When in doubt a refcount stays too high: a leak is safe, the opposite is not.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/bitset.h"
#include "emu/base/err.h"
#include "emu/base/extent.h"
#include "emu/base/list.h"
#include "emu/base/vec.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/qcow2/bitmaps.h"
#include "emu/storage/drivers/qcow2/cache.h"
#include "emu/storage/drivers/qcow2/commit.h"
#include "emu/storage/drivers/qcow2/encrypt.h"
#include "emu/storage/drivers/qcow2/exclusive.h"
#include "emu/storage/drivers/qcow2/format.h"
#include "emu/storage/drivers/qcow2/header.h"
#include "emu/storage/drivers/qcow2/limbo.h"
#include "emu/storage/drivers/qcow2/owner.h"
#include "emu/storage/drivers/qcow2/snapshot_list.h"
#include "emu/storage/drivers/qcow2/table.h"
#include "emu/storage/drivers/qcow2/wait.h"

struct qcow2_op;

/* Sizes that follow from the header; constant while the image is open. */
struct qcow2_geometry {
    unsigned cluster_bits;
    uint32_t cluster_size;
    unsigned l2_bits;       /* log2 of the entries of an L2 table. */
    uint32_t l2_entry_size; /* 8, or 16 with extended entries. */
    uint32_t slice_size;    /* Bytes of a cached piece of an L2 table or refcount block. */
    uint32_t slice_entries; /* L2 entries in one. */
    unsigned sub_bits; /* log2 of the bytes of a subcluster (cluster_bits when there are none). */
    uint32_t sub_size;
    uint32_t subs;           /* Subclusters per cluster: 32 or 1. */
    unsigned refcount_order; /* log2 of the bits of a refcount. */
    uint64_t refcount_max;
    unsigned refblock_bits; /* log2 of the refcounts of a block. */
};

/* Runtime options that can change while the image is open. */
struct qcow2_switches {
    bool discard_no_unref;
    bool pass_discard_request, pass_discard_snapshot, pass_discard_other;
};

struct qcow2 {
    struct node *node;
    struct reactor *reactor;
    struct qcow2_geometry geo;
    struct qcow2_header header;
    struct qcow2_table l1, reftable;
    struct qcow2_cache l2_cache, ref_cache;
    struct qcow2_owner owner; /* Which host clusters are metadata. */
    struct qcow2_snapshots snapshots;
    struct snapshot_info *snapshot_infos; /* owned; the same for others, NULL: not made yet. */
    struct qcow2_commit commit;
    struct qcow2_limbo limbo;
    struct qcow2_crypt crypt;
    struct qcow2_bitmaps bitmaps;
    struct qcow2_exclusive exclusive;

    struct extent_set in_flight; /* struct qcow2_claim: guest ranges being allocated (O9). */
    struct list active;          /* struct qcow2_op, in order of start. */
    uint64_t next_seq;

    uint64_t free_hint;  /* Cluster index below which no free cluster is known. */
    uint64_t fresh_from; /* Host offset: never written from here on, so it reads as zeroes. */
    uint64_t file_size;  /* What is known of the length of the file: grows with completed writes. */
    uint64_t bytes_next; /* Host offset where the next compressed cluster goes, 0: nowhere yet. */

    struct edge
        *data; /* Where guest data lies: the file, or the external data file; NULL: not opened. */
    bool external;      /* In a file of its own: host offset and guest offset are the same there. */
    bool data_raw;      /* That file must stay valid as a raw image. */
    bool read_only;
    const char *alloc_what; /* What a place is being looked for, for texts; NULL: data. */
    bool corrupt; /* Found broken metadata: no more writes. */
    bool broken;  /* Memory is not fit to be written: no more commits. */
    bool warned_corrupt;
    bool discard_no_unref;
    bool pass_discard_request, pass_discard_snapshot, pass_discard_other;
    bool checking;       /* Opened for check or repair. */
    struct qcow2_switches next_switches; /* While reopening. */
    bool unflushed_fill; /* O2: driver-made bytes were written since the last flush. */
};

static inline struct qcow2 *qcow2_of(struct node *node) { return node->state; }

static inline uint64_t qcow2_cluster_start(const struct qcow2 *q, uint64_t offset)
{
    return offset & ~(uint64_t)(q->geo.cluster_size - 1);
}

static inline uint64_t qcow2_cluster_end(const struct qcow2 *q, uint64_t offset)
{
    return qcow2_cluster_start(q, offset + q->geo.cluster_size - 1);
}

/*
 * Reports broken metadata, once: a line for people and the event; when the image is writable sets the corrupt bit
 * and refuses all requests from now on. Returns -EIO for the caller to pass on.
 */
int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...) PRINTF(2, 3);
/* The same for what does no harm as long as it is left alone: the image stays in use. */
int qcow2_corrupt_note(struct qcow2 *q, const char *fmt, ...) PRINTF(2, 3);
/* A write to [offset, offset + len) of the file would have hit metadata of another kind. */
int qcow2_corrupt_overlap(struct qcow2 *q, uint64_t offset, uint64_t len);
struct qcow2_entry;
/* An L2 entry means nothing. */
int qcow2_corrupt_entry(struct qcow2 *q, const struct qcow2_block *block, uint32_t index,
                        struct qcow2_entry entry);

/* Whether unallocated clusters may read as anything but zeroes, now or when the backing file is opened. */
static inline bool qcow2_has_backing(const struct qcow2 *q)
{
    return q->node->backing || q->header.backing_name;
}

/* Where what can be read around a guest offset ends: the disk, or the area behind it for the state of the VM. */
static inline uint64_t qcow2_readable_end(const struct qcow2 *q, uint64_t offset)
{
    unsigned bits = q->geo.l2_bits + q->geo.cluster_bits;
    uint64_t size = q->header.fields.size;

    if (size && offset >> bits <= (size - 1) >> bits)
        return size;
    return (uint64_t)q->l1.count << bits;
}

/* Notes that the file was cut to this length; all is settled and nothing lies behind. */
static inline void qcow2_file_cut(struct qcow2 *q, uint64_t end)
{
    if (end < q->file_size)
        q->file_size = end;
    if (end < q->fresh_from)
        q->fresh_from = end;
}

/* Notes that the file is at least this long. */
static inline void qcow2_file_grew(struct qcow2 *q, uint64_t end)
{
    if (end > q->file_size)
        q->file_size = end;
}

#endif
