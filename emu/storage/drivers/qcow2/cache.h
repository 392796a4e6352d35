#ifndef EMU_STORAGE_DRIVERS_QCOW2_CACHE_H
#define EMU_STORAGE_DRIVERS_QCOW2_CACHE_H

/*
 * Write-back cache of metadata: slices of L2 tables, or of refcount blocks, by host offset.
 *
 * A block that is here is found without I/O. A changed block stays until a commit wrote it, so the cache
 * may grow past its limit for a while; at half of the limit a commit is started, at twice the limit
 * who needs another block waits for it. Blocks captured by a commit may change on: the commit
 * then writes the content of the moment of capture (block->captured_data).
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/iov.h"
#include "emu/base/list.h"
#include "emu/storage/drivers/qcow2/wait.h"
#include "emu/storage/req.h"

struct qcow2;

struct qcow2_block {
    uint64_t offset; /* Host offset. */
    uint8_t *data;   /* owned; slice_size bytes as on disk. */
    uint8_t *
        captured_data; /* What the commit writes: data itself, or an older copy (owned). NULL: not captured. */
    struct qcow2_cache *cache;
    struct qcow2_block *hash_next;
    struct list lru;        /* In cache->lru, used last at the tail. */
    struct list dirty_link; /* In cache->dirty, or the commit's list. */
    struct list waiters;    /* struct qcow2_wait, while loading. */
    unsigned pins;
    bool loading, dirty, doomed;
    struct req io;
    struct iovec iov;
};

struct qcow2_cache {
    struct qcow2 *q;
    uint32_t block_size;
    struct qcow2_block **buckets; /* owned */
    uint32_t bucket_mask;
    struct list lru, dirty;
    uint32_t count, dirty_count, limit; /* Blocks. */
    unsigned loading;
};

/* limit is the number of blocks to keep. False when out of memory. */
MUST_USE bool qcow2_cache_init(struct qcow2_cache *cache, struct qcow2 *q, uint32_t block_size,
                               uint32_t limit);
/* Nothing may be loading. Zeroed is fine. */
void qcow2_cache_fini(struct qcow2_cache *cache);

/*
 * 0: *out is the block at offset (a multiple of the block size), valid until control returns to the loop
 * unless pinned. QCOW2_WAIT: it is being loaded. -errno otherwise.
 */
MUST_USE int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, struct qcow2_wait *wait,
                             struct qcow2_block **out);
/* Makes a block of zeroes that is dirty, for new tables, forgetting what was there. -ENOMEM. */
MUST_USE int qcow2_cache_create(struct qcow2_cache *cache, uint64_t offset,
                                struct qcow2_block **out);
/* To be called before each change of block->data: marks it dirty. -ENOMEM (nothing changed). */
MUST_USE int qcow2_cache_edit(struct qcow2_block *block);
/* Forgets the blocks in [offset, offset + len), changed or not: the cluster was freed. */
void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset, uint64_t len);
/* Forgets all blocks. None may be changed, pinned or loading. */
void qcow2_cache_clear(struct qcow2_cache *cache);

static inline void qcow2_cache_pin(struct qcow2_block *block) { block->pins++; }
static inline void qcow2_cache_unpin(struct qcow2_block *block) { block->pins--; }

/* ---- For the commit ---- */
/* Moves all dirty blocks to list, captured and in order of offset; returns how many. */
uint32_t qcow2_cache_capture(struct qcow2_cache *cache, struct list *list);
/* Ends the capture of a block; it becomes dirty again unless written. */
void qcow2_cache_release(struct qcow2_block *block, bool written);

#endif
