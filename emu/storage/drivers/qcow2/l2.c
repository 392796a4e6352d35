/*
 * L2 entries and tables.
 *
 * Invariants: a table that the active L1 refers to without COPIED is shared with a snapshot and never changed:
 * it is copied first (O3 by the commit, O4 by limbo). Every entry is checked when it is looked at.
 */

#include "emu/storage/drivers/qcow2/l2.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/refcount.h"

struct qcow2_entry qcow2_entry_load(const struct qcow2 *q, const struct qcow2_block *block,
                                    uint32_t index)
{
    const uint8_t *p = block->data + (size_t)index * q->geo.l2_entry_size;

    return (struct qcow2_entry){ load_be64(p), q->geo.subs > 1 ? load_be64(p + 8) : 0 };
}

void qcow2_entry_store(const struct qcow2 *q, struct qcow2_block *block, uint32_t index,
                       struct qcow2_entry entry)
{
    uint8_t *p = block->data + (size_t)index * q->geo.l2_entry_size;

    store_be64(p, entry.word);
    if (q->geo.subs > 1)
        store_be64(p + 8, entry.bitmap);
}

bool qcow2_entry_placed(const struct qcow2 *q, struct qcow2_entry entry)
{
    return qcow2_entry_host(entry) || (q->external && entry.word & QCOW2_COPIED);
}

static enum qcow2_sub standard_sub(const struct qcow2 *q, uint64_t word)
{
    uint64_t host = word & QCOW2_OFFSET_MASK;
    bool placed = host || word & QCOW2_COPIED;

    if (word & QCOW2_L2_RESERVED || !is_aligned(host, q->geo.cluster_size))
        return QCOW2_SUB_INVALID;
    if (!host && word & QCOW2_COPIED && !q->external)
        return QCOW2_SUB_INVALID;
    if (word & QCOW2_ZERO) {
        if (q->header.version < 3)
            return QCOW2_SUB_INVALID;
        return placed ? QCOW2_SUB_ZERO_KEPT : QCOW2_SUB_ZERO;
    }
    return placed ? QCOW2_SUB_DATA : QCOW2_SUB_NONE;
}

enum qcow2_sub qcow2_entry_sub(const struct qcow2 *q, struct qcow2_entry entry, unsigned sub)
{
    bool placed = qcow2_entry_placed(q, entry);
    bool alloc, zero;

    if (entry.word & QCOW2_COMPRESSED)
        return entry.word & QCOW2_COPIED || q->external ? QCOW2_SUB_INVALID : QCOW2_SUB_COMPRESSED;
    if (q->geo.subs == 1)
        return standard_sub(q, entry.word);
    if (entry.word & (QCOW2_L2_RESERVED | QCOW2_ZERO) ||
        !is_aligned(qcow2_entry_host(entry), q->geo.cluster_size) ||
        (!placed && entry.word & QCOW2_COPIED) || ((uint32_t)entry.bitmap & entry.bitmap >> 32) ||
        (!placed && (uint32_t)entry.bitmap))
        return QCOW2_SUB_INVALID;
    alloc = entry.bitmap >> sub & 1;
    zero = entry.bitmap >> (32 + sub) & 1;
    if (alloc)
        return QCOW2_SUB_DATA;
    if (zero)
        return placed ? QCOW2_SUB_ZERO_KEPT : QCOW2_SUB_ZERO;
    return placed ? QCOW2_SUB_NONE_KEPT : QCOW2_SUB_NONE;
}

bool qcow2_entry_has_data(const struct qcow2 *q, struct qcow2_entry entry)
{
    if (entry.word & QCOW2_COMPRESSED)
        return true;
    if (q->geo.subs > 1)
        return (uint32_t)entry.bitmap != 0;
    return standard_sub(q, entry.word) == QCOW2_SUB_DATA;
}

void qcow2_entry_compressed(const struct qcow2 *q, struct qcow2_entry entry, uint64_t *host,
                            uint32_t *len)
{
    unsigned shift = 62 - (q->geo.cluster_bits - 8);
    uint64_t sectors = bits_get64(entry.word, shift, 62 - shift) + 1;

    *host = bits_get64(entry.word, 0, MIN(shift, 56U));
    *len = (uint32_t)(sectors * QCOW2_SECTOR - (*host & (QCOW2_SECTOR - 1)));
}

void qcow2_entry_free(struct qcow2 *q, struct qcow2_entry entry, bool punch)
{
    if (q->external)
        return; /* Nothing counts what lies in the data file. */
    if (entry.word & QCOW2_COMPRESSED) {
        uint64_t host, start;
        uint32_t len;

        qcow2_entry_compressed(q, entry, &host, &len);
        start = qcow2_cluster_start(q, host);
        qcow2_limbo_add(q, start, qcow2_cluster_end(q, host + len) - start, punch);
    } else if (qcow2_entry_host(entry)) {
        qcow2_limbo_add(q, qcow2_entry_host(entry), q->geo.cluster_size, punch);
    }
}

/* Splits a guest offset into L1 index, byte offset of the slice in the table, and index in the slice. */
static void split(const struct qcow2 *q, uint64_t offset, uint64_t *l1_index, uint64_t *slice,
                  uint32_t *index)
{
    uint64_t cluster = offset >> q->geo.cluster_bits;
    uint64_t entry = cluster & bits_mask64(q->geo.l2_bits);

    *l1_index = cluster >> q->geo.l2_bits;
    *slice = align_down_u64(entry * q->geo.l2_entry_size, q->geo.slice_size);
    *index = (uint32_t)(entry & (q->geo.slice_entries - 1));
}

uint64_t qcow2_l2_slice_left(const struct qcow2 *q, uint64_t offset)
{
    uint64_t covers = (uint64_t)q->geo.slice_entries << q->geo.cluster_bits;

    return covers - (offset & (covers - 1));
}

int qcow2_l2_get(struct qcow2 *q, uint64_t offset, struct qcow2_wait *wait, struct qcow2_l2_at *at)
{
    uint64_t l1_index, slice, entry, table;

    split(q, offset, &l1_index, &slice, &at->index);
    at->block = NULL;
    if (l1_index >= q->l1.count)
        return -EIO;
    entry = q->l1.entries[l1_index];
    table = entry & QCOW2_OFFSET_MASK;
    at->owned = entry & QCOW2_COPIED;
    if (UNLIKELY(entry & QCOW2_L1_RESERVED || !is_aligned(table, q->geo.cluster_size)))
        return qcow2_corrupt(q, "L2 table offset %#llx unaligned (L1 index: %#llx)",
                             (unsigned long long)table, (unsigned long long)l1_index);
    if (!table)
        return 0;
    return qcow2_cache_get(&q->l2_cache, table + slice, wait, &at->block);
}

/* Copies the whole table at host offset `table` from the cache to buf. */
static int copy_table(struct qcow2 *q, uint64_t table, uint8_t *buf, struct qcow2_wait *wait)
{
    for (uint64_t at = 0; at < q->geo.cluster_size; at += q->geo.slice_size) {
        struct qcow2_block *block;
        int ret = qcow2_cache_get(&q->l2_cache, table + at, wait, &block);

        if (ret)
            return ret;
        memcpy(buf + at, block->data, q->geo.slice_size);
    }
    return 0;
}

/* Puts a table with this content (NULL: zeroes) into new cache blocks. */
static int fill_table(struct qcow2 *q, uint64_t table, const uint8_t *content)
{
    for (uint64_t at = 0; at < q->geo.cluster_size; at += q->geo.slice_size) {
        struct qcow2_block *block;
        int ret = qcow2_cache_create(&q->l2_cache, table + at, &block);

        if (ret) {
            qcow2_cache_forget(&q->l2_cache, table, at);
            return ret;
        }
        if (content)
            memcpy(block->data, content + at, q->geo.slice_size);
    }
    return 0;
}

static int make_owned(struct qcow2 *q, uint32_t l1_index, struct qcow2_wait *wait)
{
    uint64_t old = q->l1.entries[l1_index] & QCOW2_OFFSET_MASK;
    CLEANUP(xfree) uint8_t *content = NULL;
    struct qcow2_run run;
    int ret;

    if (old) {
        content = try_alloc(q->geo.cluster_size);
        if (!content)
            return -ENOMEM;
        ret = copy_table(q, old, content, wait);
        if (ret)
            return ret;
    }
    q->alloc_what = "L2 table";
    ret = qcow2_alloc_run(q, 1, false, wait, &run);
    q->alloc_what = NULL;
    if (ret)
        return ret;
    ret = fill_table(q, run.offset, content);
    if (!ret)
        ret =
            qcow2_owner_add(&q->owner, run.offset >> q->geo.cluster_bits, 1, QCOW2_OWNER_L2, NULL);
    if (ret) {
        qcow2_limbo_add_unused(q, run.offset, run.len);
        return ret;
    }
    qcow2_table_set(&q->l1, l1_index, run.offset | QCOW2_COPIED);
    if (old) {
        qcow2_owner_remove(&q->owner, old >> q->geo.cluster_bits, 1);
        qcow2_limbo_add(q, old, q->geo.cluster_size, false);
    }
    return 0;
}

int qcow2_l2_get_owned(struct qcow2 *q, uint64_t offset, struct qcow2_wait *wait,
                       struct qcow2_l2_at *at)
{
    uint64_t l1_index, slice;
    uint32_t index;
    int ret = qcow2_l2_get(q, offset, wait, at);

    if (LIKELY(ret || (at->block && at->owned)))
        return ret;
    split(q, offset, &l1_index, &slice, &index);
    ret = make_owned(q, (uint32_t)l1_index, wait);
    return ret ? ret : qcow2_l2_get(q, offset, wait, at);
}
