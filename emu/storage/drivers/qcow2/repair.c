/*
 * Rebuilding the refcount structure from the references found: new blocks and a new table behind everything
 * that is in use, written by the next commit, which switches the header last (O8). The old structure is simply
 * not counted.
 */

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/alloc.h"
#include "emu/storage/drivers/qcow2/check.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

static void uncount(struct qcow2_checking *c, uint64_t offset, uint64_t clusters)
{
    uint64_t first = offset >> c->q->geo.cluster_bits;

    for (uint64_t cluster = first; cluster < MIN(first + clusters, c->clusters); cluster++)
        c->refs[cluster] -= c->refs[cluster] > 0;
    qcow2_owner_remove(&c->q->owner, first, clusters);
}

static void forget_old(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;

    for (uint32_t i = 0; i < q->reftable.count; i++) {
        uint64_t entry = q->reftable.entries[i];

        if (entry && !(entry & (q->geo.cluster_size - 1)) &&
            entry >> q->geo.cluster_bits < c->clusters) {
            uncount(c, entry, 1);
            qcow2_cache_forget(&q->ref_cache, entry, q->geo.cluster_size);
        }
    }
    uncount(c, q->header.fields.reftable_offset, q->header.fields.reftable_clusters);
}

/* Sizes of the new structure: table clusters and blocks, which count themselves. */
static int plan(const struct qcow2 *q, uint64_t used, uint64_t *table, uint64_t *blocks)
{
    *table = *blocks = 0;
    for (;;) {
        uint64_t need = div_round_up(used + *table + *blocks, BIT64(q->geo.refblock_bits));
        uint64_t need_table = div_round_up(need * 8, q->geo.cluster_size);

        if (need * 8 > QCOW2_REFTABLE_BYTES_MAX)
            return -EFBIG;
        if (need == *blocks && need_table == *table)
            return 0;
        *blocks = MAX(*blocks, need);
        *table = MAX(*table, need_table);
    }
}

int qcow2_repair_rebuild(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    uint64_t used = MAX(c->clusters, c->highest), table, blocks, start = used;
    struct qcow2_table fresh;
    int ret = plan(q, used, &table, &blocks);

    if (ret)
        return ret;
    if (!qcow2_table_init(&fresh, (uint32_t)(table * q->geo.cluster_size / 8),
                          start << q->geo.cluster_bits))
        return -ENOMEM;
    forget_old(c);
    qcow2_table_fini(&q->reftable);
    q->reftable = fresh;
    q->reftable.moved = true;
    ret = qcow2_owner_add(&q->owner, start, table, QCOW2_OWNER_REFTABLE, NULL);
    for (uint64_t i = 0; !ret && i < blocks; i++)
        ret = qcow2_refblock_create(q, i, (start + table + i) << q->geo.cluster_bits);
    for (uint64_t cluster = 0; !ret && cluster < c->clusters; cluster++) {
        if (c->refs[cluster])
            ret = qcow2_refcount_set(q, cluster,
                                     MIN((uint64_t)c->refs[cluster], q->geo.refcount_max), NULL);
    }
    for (uint64_t cluster = start; !ret && cluster < start + table + blocks; cluster++)
        ret = qcow2_refcount_set(q, cluster, 1, NULL);
    if (ret) {
        q->broken = true; /* Half a structure must not be written. */
        return ret;
    }
    q->header.fields.reftable_offset = q->reftable.offset;
    q->header.fields.reftable_clusters = (uint32_t)table;
    q->fresh_from = MAX(q->fresh_from, (start + table + blocks) << q->geo.cluster_bits);
    c->highest = start + table + blocks;
    return 0;
}
