/*
 * Refcounts: access to one count, and new refcount blocks and tables.
 *
 * Invariants here:
 *  (1) A refcount block and its entry in the table appear in the same step, together with the count of the
 *      cluster that the block itself lies in: the structure describes itself at every moment.
 *  (2) Nothing metadata lies in is ever handed out, whatever the counts say: the owner map is asked.
 *  (3) A new table is filled before the header points to it (the commit sees to the order), and the old one
 *      is freed through limbo.
 */

#include "emu/storage/drivers/qcow2/refcount.h"

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/qcow2/alloc.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

uint64_t qcow2_refcount_load(const uint8_t *data, unsigned order, uint64_t index)
{
    switch (order) {
    case 3: return data[index];
    case 4: return load_be16(data + index * 2);
    case 5: return load_be32(data + index * 4);
    case 6: return load_be64(data + index * 8);
    default: {
        unsigned bits = 1U << order, per_byte = 8U / bits;

        return bits_get32(data[index / per_byte], (unsigned)(index % per_byte) * bits, bits);
    }
    }
}

void qcow2_refcount_store(uint8_t *data, unsigned order, uint64_t index, uint64_t value)
{
    switch (order) {
    case 3: data[index] = (uint8_t)value; break;
    case 4: store_be16(data + index * 2, (uint16_t)value); break;
    case 5: store_be32(data + index * 4, (uint32_t)value); break;
    case 6: store_be64(data + index * 8, value); break;
    default: {
        unsigned bits = 1U << order, per_byte = 8U / bits;
        uint8_t *byte = &data[index / per_byte];

        *byte =
            (uint8_t)bits_set32(*byte, (unsigned)(index % per_byte) * bits, bits, (uint32_t)value);
    }
    }
}

int qcow2_refblock_offset(struct qcow2 *q, uint64_t index, uint64_t *out)
{
    uint64_t entry = index < q->reftable.count ? q->reftable.entries[index] : 0;

    *out = entry & QCOW2_REFTABLE_MASK;
    if (entry & QCOW2_REFTABLE_RESERVED || !is_aligned(*out, q->geo.cluster_size))
        return qcow2_corrupt(q, "Refblock offset %#llx unaligned (reftable index: %#llx)",
                             (unsigned long long)entry, (unsigned long long)index);
    if (*out >= QCOW2_HOST_OFFSET_MAX)
        return qcow2_corrupt(q, "Refblock offset %#llx out of range (reftable index: %#llx)",
                             (unsigned long long)entry, (unsigned long long)index);
    return 0;
}

int qcow2_refcount_slice(struct qcow2 *q, uint64_t cluster, struct qcow2_wait *wait,
                         struct qcow2_block **out, uint64_t *index)
{
    uint64_t block, byte, slice;
    int ret = qcow2_refblock_offset(q, cluster >> q->geo.refblock_bits, &block);

    *out = NULL;
    if (ret || !block)
        return ret;
    byte = (cluster & bits_mask64(q->geo.refblock_bits)) << q->geo.refcount_order >> 3;
    slice = align_down_u64(byte, q->geo.slice_size);
    *index = cluster & (((uint64_t)q->geo.slice_size << 3 >> q->geo.refcount_order) - 1);
    return qcow2_cache_get(&q->ref_cache, block + slice, wait, out);
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, struct qcow2_wait *wait, uint64_t *out)
{
    struct qcow2_block *block;
    uint64_t index;
    int ret = qcow2_refcount_slice(q, cluster, wait, &block, &index);

    if (ret)
        return ret;
    *out = block ? qcow2_refcount_load(block->data, q->geo.refcount_order, index) : 0;
    return 0;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value, struct qcow2_wait *wait)
{
    struct qcow2_block *block;
    uint64_t index;
    int ret = qcow2_refcount_slice(q, cluster, wait, &block, &index);

    if (ret)
        return ret;
    if (!block || value > q->geo.refcount_max)
        return -ERANGE;
    ret = qcow2_cache_edit(block);
    if (ret)
        return ret;
    qcow2_refcount_store(block->data, q->geo.refcount_order, index, value);
    return 0;
}

/* Makes a block of zero counts at host offset and enters it in the table. */
int qcow2_refblock_create(struct qcow2 *q, uint64_t index, uint64_t offset)
{
    for (uint64_t at = 0; at < q->geo.cluster_size; at += q->geo.slice_size) {
        struct qcow2_block *block;
        int ret = qcow2_cache_create(&q->ref_cache, offset + at, &block);

        if (ret)
            return ret;
    }
    trace(qcow2_refblock_create, "index %llu at %#llx", (unsigned long long)index,
          (unsigned long long)offset);
    qcow2_table_set(&q->reftable, (uint32_t)index, offset);
    return qcow2_owner_add(&q->owner, offset >> q->geo.cluster_bits, 1, QCOW2_OWNER_REFBLOCK, NULL);
}

static bool refblock_missing(const struct qcow2 *q, uint64_t index)
{
    return index >= q->reftable.count || !q->reftable.entries[index];
}

/*
 * How many blocks are missing to count clusters [start, start + count) and the blocks themselves, which come right
 * behind.
 */
static uint64_t blocks_missing(const struct qcow2 *q, uint64_t start, uint64_t count)
{
    uint64_t missing = 0, first = start >> q->geo.refblock_bits;

    for (uint64_t index = first;
         index <= (start + MAX(count + missing, UINT64_C(1)) - 1) >> q->geo.refblock_bits; index++)
        missing += refblock_missing(q, index);
    return missing;
}

int qcow2_region_check(struct qcow2 *q, uint64_t start, uint64_t count, struct qcow2_wait *wait,
                       uint64_t *busy)
{
    *busy = 0;
    if (start + count > QCOW2_HOST_OFFSET_MAX >> q->geo.cluster_bits)
        return -EFBIG;
    for (uint64_t cluster = start; cluster < start + count; cluster++) {
        uint64_t value;
        int ret;

        if (refblock_missing(q, cluster >> q->geo.refblock_bits)) {
            cluster |= bits_mask64(q->geo.refblock_bits);
            continue;
        }
        ret = qcow2_refcount_get(q, cluster, wait, &value);
        if (ret)
            return ret;
        if (value)
            *busy = cluster + 1;
    }
    return 0;
}

int qcow2_region_take(struct qcow2 *q, uint64_t start, uint64_t count)
{
    uint64_t missing = blocks_missing(q, start, count);
    uint64_t next = start + count, end = start + count + missing;
    uint64_t first = start >> q->geo.refblock_bits;
    int ret = 0;

    for (uint64_t index = first; !ret && index <= (end - 1) >> q->geo.refblock_bits; index++) {
        if (refblock_missing(q, index))
            ret = qcow2_refblock_create(
                q, index, next++ << q->geo.cluster_bits); /* Keeps (1): counted below. */
    }
    for (uint64_t cluster = start; !ret && cluster < end; cluster++)
        ret = qcow2_refcount_set(q, cluster, 1, NULL);
    if (ret) {
        /* Out of memory half-way: what is in memory must not reach the disk. */
        q->broken = true;
        return ret;
    }
    q->fresh_from = MAX(q->fresh_from, end << q->geo.cluster_bits);
    return 0;
}

uint64_t qcow2_region_len(const struct qcow2 *q, uint64_t start, uint64_t count)
{
    return count + blocks_missing(q, start, count);
}

/* A table of at least `entries` entries in the clusters behind everything: keeps (3). */
int qcow2_reftable_grow(struct qcow2 *q, uint64_t entries, struct qcow2_wait *wait)
{
    struct qcow2_table grown, old = q->reftable;
    uint64_t max = QCOW2_REFTABLE_BYTES_MAX / 8;
    uint64_t count =
        MIN(round_up_any(MAX(entries, old.count + old.count / 2), q->geo.cluster_size / 8), max);
    uint64_t start, clusters, busy;
    int ret;

    if (entries > max)
        return -EFBIG;
    clusters = div_round_up(count * 8, q->geo.cluster_size);
    start = MAX(q->fresh_from >> q->geo.cluster_bits, q->free_hint);
    do {
        uint64_t len = qcow2_region_len(q, start, clusters);

        if (((start + len - 1) >> q->geo.refblock_bits) >= count) {
            if (count == max)
                return -EFBIG;
            return qcow2_reftable_grow(q, MIN(((start + len) >> q->geo.refblock_bits) + 2, max),
                                       wait);
        }
        ret = qcow2_region_check(q, start, len, wait, &busy);
        if (ret)
            return ret;
        start = busy ? busy : start;
    } while (busy);
    if (!qcow2_table_grown(&old, (uint32_t)count, start << q->geo.cluster_bits, &grown))
        return -ENOMEM;
    q->reftable = grown;
    ret = qcow2_region_take(q, start, clusters);
    if (!ret)
        ret = qcow2_owner_add(&q->owner, start, clusters, QCOW2_OWNER_REFTABLE, NULL);
    q->header.fields.reftable_offset = grown.offset;
    q->header.fields.reftable_clusters = (uint32_t)clusters;
    clusters = div_round_up((uint64_t)old.count * 8, q->geo.cluster_size);
    qcow2_owner_remove(&q->owner, old.offset >> q->geo.cluster_bits, clusters);
    qcow2_limbo_add(q, old.offset, clusters << q->geo.cluster_bits, false);
    qcow2_table_fini(&old);
    return ret;
}
