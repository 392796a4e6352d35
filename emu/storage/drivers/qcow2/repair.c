/*
 * Rebuilding the refcount structure from the references found: new blocks and a new table behind everything
 * that is in use, written by the next commit, which switches the header last (O8). The old structure is simply
 * not counted.
 */

#include <errno.h>
#include <stdlib.h>

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

/* A cluster that the old structure lies in, and the references to it so far. */
struct old_place {
    uint64_t cluster;
    uint32_t refs;
};
typedef VEC(struct old_place) old_places;

static int by_cluster(const void *a, const void *b)
{
    uint64_t left = ((const struct old_place *)a)->cluster;
    uint64_t right = ((const struct old_place *)b)->cluster;

    return left < right ? -1 : left > right;
}

static void add_old(const struct qcow2_checking *c, old_places *old, uint64_t cluster)
{
    if (cluster < c->clusters)
        vec_push(old, (struct old_place){ cluster, c->refs[cluster] });
}

static bool usable_block(const struct qcow2_checking *c, uint64_t entry)
{
    return entry && !(entry & (c->q->geo.cluster_size - 1)) &&
           entry >> c->q->geo.cluster_bits < c->clusters;
}

static void find_old(const struct qcow2_checking *c, old_places *old)
{
    const struct qcow2 *q = c->q;
    uint64_t table = q->header.fields.reftable_offset >> q->geo.cluster_bits;

    for (uint32_t i = 0; i < q->header.fields.reftable_clusters; i++)
        add_old(c, old, table + i);
    for (uint32_t i = 0; i < q->reftable.count; i++) {
        if (usable_block(c, q->reftable.entries[i]))
            add_old(c, old, q->reftable.entries[i] >> q->geo.cluster_bits);
    }
    if (old->len)
        qsort(old->items, old->len, sizeof(*old->items), by_cluster);
}

/* What the old structure referred to is counted less in the new one. */
static void report_old(struct qcow2_checking *c, const old_places *old)
{
    for (size_t i = 0; i < old->len; i++) {
        const struct old_place *place = &old->items[i];

        if ((i && place->cluster == place[-1].cluster) || c->refs[place->cluster] == place->refs)
            continue;
        qcow2_check_line(c, "Repairing cluster %llu refcount=%u reference=%u",
                         (unsigned long long)place->cluster, place->refs, c->refs[place->cluster]);
    }
}

static void forget_old(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    old_places old = { 0 };

    find_old(c, &old);
    for (uint32_t i = 0; i < q->reftable.count; i++) {
        uint64_t entry = q->reftable.entries[i];

        if (usable_block(c, entry)) {
            uncount(c, entry, 1);
            qcow2_cache_forget(&q->ref_cache, entry, q->geo.cluster_size);
        }
    }
    uncount(c, q->header.fields.reftable_offset, q->header.fields.reftable_clusters);
    report_old(c, &old);
    vec_fini(&old);
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
    uint64_t used = MAX(div_round_up(q->file_size, q->geo.cluster_size), c->highest), table, blocks,
             start = used;
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
