/*
 * Zeroes and discards: changes of the mapping without data.
 *
 * Rules ("zero flag", and the reference's behaviour): version 3 marks clusters as zero; a discarded cluster
 * becomes zero as well, never unallocated, when a backing file could show through. Version 2 cannot say zero:
 * ZERO is left to the generic fallback, DISCARD works only without a backing file. Only whole units change:
 * discards are cut inwards, zeroes need edges that read as zero already. Each slice changes in one step.
 */

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

/* A partial unit at an edge of a ZERO: fine when the rest of the unit reads as zero. */
static int edge_ok(struct qcow2_op *op, uint64_t from, uint64_t to)
{
    bool zero = true;
    int ret = from < to ? qcow2_map_is_zero(op->q, from, to - from, &op->wait, &zero) : 0;

    return ret ? ret : zero ? 0 : -ENOTSUP;
}

/* A compressed cluster cannot be changed in part. */
static int check_partial(struct qcow2_op *op, uint64_t offset)
{
    struct qcow2 *q = op->q;
    struct qcow2_extent extent;
    int ret;

    if (q->geo.subs == 1 || is_aligned(offset, q->geo.cluster_size) ||
        offset >= q->header.fields.size)
        return 0;
    ret = qcow2_map_lookup(q, offset, 1, &op->wait, &extent);
    return ret ? ret : extent.kind == QCOW2_SUB_COMPRESSED ? -ENOTSUP : 0;
}

/* Whether the units at the edges of the ZERO's part [from, to) may become zero as a whole. */
static int check_edges(struct qcow2_op *op, uint64_t from, uint64_t to)
{
    struct qcow2 *q = op->q;
    uint64_t start = align_down_u64(from, q->geo.sub_size);
    uint64_t end = align_up_u64(to, q->geo.sub_size);
    int ret = edge_ok(op, start, from);

    if (!ret && to < q->header.fields.size)
        ret = edge_ok(op, to, MIN(end, q->header.fields.size));
    if (!ret)
        ret = check_partial(op, start);
    if (!ret)
        ret = check_partial(op, end);
    return ret;
}

int qcow2_zero_prepare(struct qcow2_op *op)
{
    struct qcow2 *q = op->q;
    uint64_t start = qcow2_cluster_start(q, op->base);
    int ret;

    if (q->header.version < 3)
        return -ENOTSUP;
    ret = qcow2_claim_check(q, start, qcow2_cluster_end(q, op->end) - start, &op->wait);
    return ret ? ret : check_edges(op, op->base, op->end);
}

struct change {
    struct qcow2 *q;
    bool discard, unmap, punch;
};

/* What the entry becomes when subclusters `bits` read as zero; the old place is given up when *drop. */
static struct qcow2_entry changed(const struct change *c, struct qcow2_entry old, uint32_t bits,
                                  bool *drop)
{
    const struct qcow2 *q = c->q;
    bool whole = q->geo.subs == 1 || bits == UINT32_MAX;
    bool placed = old.word & QCOW2_COMPRESSED || qcow2_entry_placed(q, old);
    bool keep = !(old.word & QCOW2_COMPRESSED) && placed && !c->unmap;
    struct qcow2_entry entry = { 0, 0 };

    *drop = whole && placed && !keep;
    if (!whole || keep)
        entry = old;
    if (c->discard && !placed && !qcow2_has_backing(q))
        return old; /* Reads as zeroes as it is. */
    if (q->header.version < 3)
        return (struct qcow2_entry){ 0, 0 }; /* Only discards without a backing file come here. */
    if (q->geo.subs == 1) {
        entry.word |= QCOW2_ZERO;
    } else {
        entry.bitmap &= ~(uint64_t)bits;
        entry.bitmap |= (uint64_t)bits << 32;
    }
    return entry;
}

static uint32_t unit_bits(const struct qcow2 *q, uint64_t cluster, uint64_t from, uint64_t to)
{
    unsigned first = (unsigned)((MAX(from, cluster) - cluster) >> q->geo.sub_bits);
    unsigned end =
        (unsigned)((MIN(to, cluster + q->geo.cluster_size) - cluster) >> q->geo.sub_bits);

    return bits_mask32(end) & ~bits_mask32(first);
}

/* A cluster that lies nowhere: it can be given up, but not freed. */
static bool unaligned(const struct qcow2 *q, struct qcow2_entry entry)
{
    return !(entry.word & QCOW2_COMPRESSED) && qcow2_entry_host(entry) & (q->geo.cluster_size - 1);
}

/* Changes [from, to), which lies within the slice. */
static int change_slice(const struct change *c, struct qcow2_l2_at at, uint64_t from, uint64_t to)
{
    struct qcow2 *q = c->q;
    bool edited = false;

    for (uint64_t cluster = qcow2_cluster_start(q, from); cluster < to;
         cluster += q->geo.cluster_size, at.index++) {
        struct qcow2_entry old = qcow2_entry_load(q, at.block, at.index), entry;
        bool drop;

        for (unsigned sub = 0; sub < q->geo.subs; sub++) {
            if (qcow2_entry_sub(q, old, sub) != QCOW2_SUB_INVALID)
                continue;
            if (!c->discard || !unaligned(q, old))
                return qcow2_corrupt_entry(q, at.block, at.index, old);
        }
        entry = changed(c, old, unit_bits(q, cluster, from, to), &drop);
        if (entry.word == old.word && entry.bitmap == old.bitmap)
            continue;
        if (!edited) {
            int ret = qcow2_cache_edit(at.block);

            if (ret)
                return ret;
            edited = true;
        }
        qcow2_entry_store(q, at.block, at.index, entry);
        if (drop && unaligned(q, old))
            qcow2_corrupt_note(q, "Cannot free unaligned cluster %#llx",
                               (unsigned long long)qcow2_entry_host(old));
        else if (drop)
            qcow2_entry_free(q, old, c->punch);
    }
    return 0;
}

/* Whether nothing has to be done for lack of an L2 table; *skip bytes then. */
static int absent(struct qcow2_op *op, bool *skip)
{
    struct qcow2_l2_at at;
    int ret = qcow2_l2_get(op->q, op->pos, &op->wait, &at);

    *skip = !ret && !at.block;
    return ret;
}

int qcow2_change_start(struct qcow2_op *op)
{
    struct qcow2 *q = op->q;
    struct change c = { .q = q, .discard = op->kind == REQ_DISCARD };
    struct qcow2_l2_at at = { 0 };
    uint64_t stop = op->end;
    int ret;

    c.unmap = c.discard ? !q->discard_no_unref : op->flags & REQ_MAY_UNMAP && !q->discard_no_unref;
    c.punch = q->pass_discard_request;
    if (q->external && op->in_flight)
        return -EAGAIN;
    if (c.discard) {
        bool skip = false;

        if (q->header.version < 3 && qcow2_has_backing(q))
            return -ENOTSUP;
        op->pos = align_up_u64(op->pos, q->geo.cluster_size);
        if (stop < q->header.fields.size)
            stop = align_down_u64(stop, q->geo.cluster_size);
        else
            stop = align_up_u64(stop, q->geo.cluster_size);
        if (op->pos < stop && !qcow2_has_backing(q)) {
            ret = absent(op, &skip);
            if (ret)
                return ret;
        }
        if (op->pos >= stop || skip) {
            uint64_t covers = BIT64(q->geo.l2_bits + q->geo.cluster_bits);

            op->pos =
                op->pos >= stop ? op->end : MIN(op->end, align_down_u64(op->pos, covers) + covers);
            return 0;
        }
    }
    stop = MIN(stop, op->pos + qcow2_l2_slice_left(q, op->pos));
    ret =
        qcow2_claim_check(q, qcow2_cluster_start(q, op->pos),
                          qcow2_cluster_end(q, stop) - qcow2_cluster_start(q, op->pos), &op->wait);
    if (!ret)
        ret = qcow2_l2_get_owned(q, op->pos, &op->wait, &at);
    /* Again, at the moment of the change: others may have written beside it while this one waited. */
    if (!ret && !c.discard)
        ret = check_edges(op, op->pos, stop);
    if (!ret)
        ret = change_slice(&c, at, align_down_u64(op->pos, q->geo.sub_size),
                           align_up_u64(stop, q->geo.sub_size));
    if (!ret && c.discard && q->external && c.punch)
        qcow2_op_discard_data(op, op->pos, stop - op->pos);
    if (!ret)
        op->pos = stop;
    return ret;
}
