/*
 * Finding free clusters: runs for data, regions for tables, bytes for compressed clusters.
 *
 * Invariants: cluster 0 is never handed out, nor any that the owner map knows (refcount.c (2)); a count is 1 in
 * memory before the caller learns the offset (O1 in memory; the commit makes it so on disk).
 */

#include "emu/storage/drivers/qcow2/alloc.h"

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

/*
 * Makes the slice with the count of *at available, with block and table around it. *at moves up when a new block
 * takes that very cluster.
 */
static int ensure_slice(struct qcow2 *q, uint64_t *at, struct qcow2_wait *wait,
                        struct qcow2_block **out, uint64_t *index)
{
    uint64_t cluster = *at, block_index = cluster >> q->geo.refblock_bits;
    int ret;

    if (cluster >= QCOW2_HOST_OFFSET_MAX >> q->geo.cluster_bits)
        return -EFBIG;
    if (block_index >= q->reftable.count) {
        ret = qcow2_reftable_grow(q, block_index + 1, wait);
        if (ret)
            return ret;
    }
    ret = qcow2_refcount_slice(q, cluster, wait, out, index);
    if (ret || *out)
        return ret;
    /* A new block goes to the first cluster it counts. */
    cluster = block_index << q->geo.refblock_bits;
    if (!cluster || qcow2_owner_of(&q->owner, cluster))
        return cluster
                   ? qcow2_corrupt_overlap(q, cluster << q->geo.cluster_bits, q->geo.cluster_size)
                   : qcow2_corrupt(q,
                                   "Preventing invalid allocation of refcount block at offset 0");
    ret = qcow2_region_take(q, cluster, 0);
    if (ret)
        return ret;
    *at = MAX(*at, cluster + 1);
    return qcow2_refcount_slice(q, *at, wait, out, index);
}

static int check_free(struct qcow2 *q, uint64_t cluster)
{
    if (cluster && !qcow2_owner_of(&q->owner, cluster))
        return 0;
    if (!cluster && q->alloc_what)
        return qcow2_corrupt(q, "Preventing invalid allocation of %s at offset 0", q->alloc_what);
    return qcow2_corrupt_overlap(q, cluster << q->geo.cluster_bits, q->geo.cluster_size);
}

/* Takes the free clusters that begin at index of the slice. */
static int take_run(struct qcow2 *q, struct qcow2_block *block, uint64_t cluster, uint64_t index,
                    uint64_t max, struct qcow2_run *out)
{
    unsigned order = q->geo.refcount_order;
    uint64_t per_slice = (uint64_t)q->geo.slice_size << 3 >> order;
    uint64_t fresh = q->fresh_from >> q->geo.cluster_bits, n = 0;
    int ret;

    if (cluster < fresh)
        max = MIN(max, fresh - cluster);
    while (n < max && index + n < per_slice &&
           !qcow2_refcount_load(block->data, order, index + n)) {
        ret = check_free(q, cluster + n);
        if (ret)
            return ret;
        n++;
    }
    ret = qcow2_cache_edit(block);
    if (ret)
        return ret;
    for (uint64_t i = 0; i < n; i++)
        qcow2_refcount_store(block->data, order, index + i, 1);
    *out = (struct qcow2_run){
        .offset = cluster << q->geo.cluster_bits,
        .len = n << q->geo.cluster_bits,
        .fresh = cluster >= fresh,
    };
    q->fresh_from = MAX(q->fresh_from, out->offset + out->len);
    return 0;
}

int qcow2_alloc_run(struct qcow2 *q, uint64_t count_max, bool fresh_only, struct qcow2_wait *wait,
                    struct qcow2_run *out)
{
    uint64_t per_slice = (uint64_t)q->geo.slice_size << 3 >> q->geo.refcount_order;
    uint64_t fresh = q->fresh_from >> q->geo.cluster_bits;
    uint64_t cluster = fresh_only ? MAX(fresh, q->free_hint) : q->free_hint;

    if (q->corrupt || q->broken)
        return -EIO;
    for (;;) {
        struct qcow2_block *block;
        uint64_t index;
        int ret = ensure_slice(q, &cluster, wait, &block, &index);

        if (ret)
            return ret;
        for (; index < per_slice; index++, cluster++) {
            if (qcow2_refcount_load(block->data, q->geo.refcount_order, index))
                continue;
            ret = take_run(q, block, cluster, index, count_max, out);
            if (!ret && !fresh_only)
                q->free_hint = cluster + (out->len >> q->geo.cluster_bits);
            return ret;
        }
        if (!fresh_only)
            q->free_hint = cluster;
    }
}

int qcow2_alloc_region(struct qcow2 *q, uint64_t count, struct qcow2_wait *wait, uint64_t *offset)
{
    uint64_t start = MAX(q->fresh_from >> q->geo.cluster_bits, q->free_hint), len, busy;
    int ret;

    if (q->corrupt || q->broken)
        return -EIO;
    do {
        len = qcow2_region_len(q, start, count);
        if (((start + len - 1) >> q->geo.refblock_bits) >= q->reftable.count) {
            ret = qcow2_reftable_grow(q, ((start + len) >> q->geo.refblock_bits) + 1, wait);
            if (ret)
                return ret;
            start = MAX(start, q->fresh_from >> q->geo.cluster_bits);
            busy = start;
            continue;
        }
        ret = qcow2_region_check(q, start, len, wait, &busy);
        if (ret)
            return ret;
        start = busy ? busy : start;
    } while (busy);
    for (uint64_t i = 0; i < len; i++) {
        ret = check_free(q, start + i);
        if (ret)
            return ret;
    }
    *offset = start << q->geo.cluster_bits;
    return qcow2_region_take(q, start, count);
}

/* One more reference to the cluster that the last compressed data ended in; *ok false: it cannot take one. */
static int share_last(struct qcow2 *q, uint64_t cluster, struct qcow2_wait *wait, bool *ok,
                      bool commit)
{
    uint64_t value;
    int ret = qcow2_refcount_get(q, cluster, wait, &value);

    if (ret)
        return ret;
    *ok = value > 0 && value < q->geo.refcount_max;
    return *ok && commit ? qcow2_refcount_set(q, cluster, value + 1, wait) : 0;
}

int qcow2_alloc_bytes(struct qcow2 *q, uint32_t len, struct qcow2_wait *wait, uint64_t *offset)
{
    uint32_t room =
        q->bytes_next ? q->geo.cluster_size - (uint32_t)(q->bytes_next & (q->geo.cluster_size - 1))
                      : 0;
    uint64_t last = q->bytes_next >> q->geo.cluster_bits;
    struct qcow2_run run;
    bool shareable = false;
    int ret;

    if (q->corrupt || q->broken)
        return -EIO;
    if (q->bytes_next) {
        ret = share_last(q, last, wait, &shareable, room >= len);
        if (ret)
            return ret;
    }
    if (shareable && room >= len) {
        *offset = q->bytes_next;
    } else {
        q->alloc_what = "compressed cluster";
        ret = qcow2_alloc_run(q, 1, false, wait, &run);
        q->alloc_what = NULL;
        if (ret)
            return ret;
        *offset = run.offset;
        if (shareable && run.offset >> q->geo.cluster_bits == last + 1) {
            ret = share_last(q, last, wait, &shareable, true);
            if (ret) {
                qcow2_limbo_add_unused(q, run.offset, run.len);
                return ret;
            }
            *offset = q->bytes_next;
        }
    }
    q->bytes_next = *offset + len;
    if (is_aligned(q->bytes_next, q->geo.cluster_size))
        q->bytes_next = 0;
    return 0;
}
