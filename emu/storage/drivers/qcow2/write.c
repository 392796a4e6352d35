/*
 * Guest writes: cut into parts by what the mapping says.
 *
 * Clusters that are ours alone (COPIED) are written in place: one lookup and one request below, nothing else.
 * All others go to the copy-on-write machine: with new clusters, or, when the entry keeps a place that holds no
 * data yet (preallocated zeroes, missing subclusters), with that place.
 */

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/cow.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

/* What has to be done for one cluster. */
enum write_class {
    WRITE_IN_PLACE, /* Data, all ours. */
    WRITE_KEPT,     /* The place is ours; the entry has to change. */
    WRITE_NEW,
    WRITE_INVALID,
};

static enum write_class classify(const struct qcow2 *q, struct qcow2_entry entry, unsigned first,
                                 unsigned last)
{
    enum write_class class = WRITE_IN_PLACE;

    for (unsigned sub = first; sub <= last; sub++) {
        switch (qcow2_entry_sub(q, entry, sub)) {
        case QCOW2_SUB_INVALID: return WRITE_INVALID;
        case QCOW2_SUB_NONE:
        case QCOW2_SUB_ZERO:
        case QCOW2_SUB_COMPRESSED: return WRITE_NEW;
        case QCOW2_SUB_NONE_KEPT:
        case QCOW2_SUB_ZERO_KEPT: class = WRITE_KEPT; break;
        case QCOW2_SUB_DATA: break;
        }
    }
    return entry.word & QCOW2_COPIED ? class : WRITE_NEW;
}

struct span {
    enum write_class class;
    uint64_t len;  /* Guest bytes from op->pos of that class. */
    uint64_t host; /* IN_PLACE, KEPT: of the first cluster. */
    uint64_t clusters;
    struct qcow2_entry first, last; /* Entries at both ends. */
};

static enum write_class class_at(const struct qcow2 *q, struct qcow2_entry entry, uint64_t offset,
                                 uint64_t len)
{
    uint64_t in_cluster = offset & (q->geo.cluster_size - 1);
    uint64_t end = MIN(in_cluster + len, (uint64_t)q->geo.cluster_size);

    return classify(q, entry, (unsigned)(in_cluster >> q->geo.sub_bits),
                    (unsigned)((end - 1) >> q->geo.sub_bits));
}

/* The clusters from op->pos on that can be handled together. */
static void find_span(const struct qcow2_op *op, const struct qcow2_l2_at *at, struct span *span)
{
    const struct qcow2 *q = op->q;
    uint64_t max = MIN(op->end - op->pos, qcow2_l2_slice_left(q, op->pos));
    uint64_t cluster_left = q->geo.cluster_size - (op->pos & (q->geo.cluster_size - 1));

    span->first = span->last = qcow2_entry_load(q, at->block, at->index);
    span->class = class_at(q, span->first, op->pos, max);
    span->host = qcow2_entry_host(span->first);
    span->clusters = 1;
    span->len = MIN(max, cluster_left);
    while (span->len < max && span->class != WRITE_INVALID) {
        struct qcow2_entry entry =
            qcow2_entry_load(q, at->block, at->index + (uint32_t)span->clusters);

        if (class_at(q, entry, op->pos + span->len, max - span->len) != span->class)
            break;
        if (span->class != WRITE_NEW &&
            qcow2_entry_host(entry) != span->host + (span->clusters << q->geo.cluster_bits))
            break;
        span->last = entry;
        span->clusters++;
        span->len += MIN(max - span->len, (uint64_t)q->geo.cluster_size);
    }
}

static void in_place_done(struct req *req)
{
    struct qcow2_op_part *part = container_of(req, struct qcow2_op_part, req);

    part->busy = false;
    xfree(part->packed);
    part->packed = NULL;
    if (!req->result && !part->op->q->external)
        qcow2_file_grew(part->op->q, req->offset + req->len);
    qcow2_op_part_done(part->op, req->result);
}

static struct qcow2_op_part *free_part(struct qcow2_op *op)
{
    for (int i = 0; i < QCOW2_OP_PARTS; i++) {
        if (!op->parts[i].busy)
            return &op->parts[i];
    }
    return NULL;
}

/* Guest data must never land on metadata, whatever an entry says. */
static int check_data_place(struct qcow2 *q, uint64_t host, uint64_t clusters)
{
    for (uint64_t i = 0; i < clusters && !q->external; i++) {
        enum qcow2_owner_kind kind = qcow2_owner_of(&q->owner, (host >> q->geo.cluster_bits) + i);

        if (UNLIKELY(kind != QCOW2_OWNER_NONE))
            return qcow2_corrupt_overlap(q, host, clusters << q->geo.cluster_bits);
    }
    return 0;
}

static int write_in_place(struct qcow2_op *op, const struct span *span)
{
    struct qcow2 *q = op->q;
    struct qcow2_op_part *part = free_part(op);
    uint64_t host = span->host + (op->pos & (q->geo.cluster_size - 1));
    struct iov_view data;
    int ret = check_data_place(q, span->host, span->clusters);

    if (ret)
        return ret;
    if (!part)
        return -EAGAIN;
    data = iov_view_advance(op->data, op->pos - op->base);
    part->packed = NULL;
    if (UNLIKELY(q->crypt.method != QCOW2_CRYPT_NONE)) {
        part->packed = qcow2_crypt_pack(&q->crypt, op->pos, host, data, span->len, &ret);
        if (ret)
            return ret;
        part->iov = (struct iovec){ part->packed, span->len };
        data = iov_view(&part->iov, 1);
    }
    part->busy = true;
    part->req = (struct req){ 0 }; /* The memory held other things before. */
    op->in_flight++;
    op->pos += span->len;
    debug_event(q->data, "write_aio");
    req_submit_part(&part->req, q->data, REQ_WRITE, 0, host, span->len, data, in_place_done);
    return 0;
}

static int write_mapping(struct qcow2_op *op, const struct qcow2_l2_at *at, const struct span *span)
{
    struct qcow2 *q = op->q;
    struct qcow2_cow_plan plan = {
        .offset = op->pos,
        .len = span->len,
        .block = at->block,
        .index = at->index,
        .run = { .offset = span->host, .len = span->clusters << q->geo.cluster_bits },
        .data = iov_view_advance(op->data, op->pos - op->base),
    };
    uint64_t start = qcow2_cluster_start(q, op->pos), unit;
    struct qcow2_entry last = span->last;
    int ret =
        qcow2_claim_check(q, start, qcow2_cluster_end(q, op->pos + span->len) - start, &op->wait);

    if (ret)
        return ret;
    if (span->class == WRITE_NEW && q->external) {
        plan.is_new = true;
        plan.run.offset = start;
        plan.run.fresh = start >= q->data->node->size;
    } else if (span->class == WRITE_NEW) {
        /* The slice must not be evicted by what allocation loads. */
        qcow2_cache_pin(at->block);
        ret = qcow2_alloc_run(q, span->clusters, false, &op->wait, &plan.run);
        qcow2_cache_unpin(at->block);
        if (ret)
            return ret;
        plan.is_new = true;
        if (plan.run.len < span->clusters << q->geo.cluster_bits) {
            plan.len = MIN(plan.len, start + plan.run.len - op->pos);
            last = qcow2_entry_load(
                q, at->block, at->index + (uint32_t)(plan.run.len >> q->geo.cluster_bits) - 1);
        }
    } else {
        ret = check_data_place(q, span->host, span->clusters);
        if (ret)
            return ret;
    }
    /* A cluster with data that moves must move whole; otherwise only touched subclusters are filled. */
    unit =
        plan.is_new && qcow2_entry_has_data(q, span->first) ? q->geo.cluster_size : q->geo.sub_size;
    plan.fill_start = align_down_u64(plan.offset, unit);
    unit = plan.is_new && qcow2_entry_has_data(q, last) ? q->geo.cluster_size : q->geo.sub_size;
    plan.fill_end = align_up_u64(plan.offset + plan.len, unit);
    return qcow2_cow_start(op, &plan);
}

/* The texts differ from those of reads. */
static int invalid_entry(struct qcow2_op *op, const struct qcow2_l2_at *at,
                         struct qcow2_entry entry)
{
    struct qcow2 *q = op->q;
    uint64_t host = qcow2_entry_host(entry);
    bool zero = q->geo.subs == 1 && entry.word & QCOW2_ZERO;

    if (!(entry.word & QCOW2_COMPRESSED) && host & (q->geo.cluster_size - 1))
        return qcow2_corrupt(q, "%s cluster offset %#llx unaligned (guest offset: %#llx)",
                             zero ? "Preallocated zero" : "Data", (unsigned long long)host,
                             (unsigned long long)qcow2_cluster_start(q, op->pos));
    return qcow2_corrupt_entry(q, at->block, at->index, entry);
}

int qcow2_write_start(struct qcow2_op *op)
{
    struct qcow2_l2_at at;
    struct span span;
    int ret = qcow2_l2_get_owned(op->q, op->pos, &op->wait, &at);

    if (ret)
        return ret;
    find_span(op, &at, &span);
    if (UNLIKELY(op->q->external && span.class != WRITE_NEW && span.class != WRITE_INVALID &&
                 span.host != qcow2_cluster_start(op->q, op->pos)))
        span.class = WRITE_INVALID;
    if (LIKELY(span.class == WRITE_IN_PLACE))
        return write_in_place(op, &span);
    if (span.class == WRITE_INVALID)
        return invalid_entry(op, &at, span.first);
    return write_mapping(op, &at, &span);
}
