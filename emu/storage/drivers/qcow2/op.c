/* Requests in flight: dispatch by kind, stepping, completion; claims; and the corrupt state. */

#include "emu/storage/drivers/qcow2/op.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

uint64_t qcow2_op_oldest(const struct qcow2 *q)
{
    return list_empty(&q->active) ? q->next_seq
                                  : list_first(&q->active, struct qcow2_op, link)->seq;
}

static void complete(struct qcow2_op *op, int result)
{
    struct qcow2 *q = op->q;
    bool idle;

    list_del(&op->link);
    /* The holder's own operations run while it holds the image; it does not wait for them here. */
    idle = list_empty(&q->active) && !list_empty(&q->exclusive.idle);
    trace(qcow2_op_done, "kind %d offset %llu result %d", op->kind, (unsigned long long)op->base,
          result);
    if (q->limbo.next < q->limbo.durable.len)
        qcow2_limbo_work(q);
    if (op->req)
        req_complete(op->req, result);
    else
        op->finished(op, result);
    if (idle)
        qcow2_exclusive_idle(q);
}

void qcow2_op_part_done(struct qcow2_op *op, int result)
{
    op->in_flight--;
    if (result && !op->result)
        op->result = result;
    qcow2_op_step(op);
}

static void flush_part_done(struct req *req)
{
    struct qcow2_op_part *part = container_of(req, struct qcow2_op_part, req);

    part->busy = false;
    qcow2_op_part_done(part->op, req->result);
}

/* Passes a part of the operation on to where the data lies. */
static void to_data_file(struct qcow2_op *op, enum req_kind kind, uint64_t offset, uint64_t len)
{
    struct qcow2_op_part *part = &op->parts[0];

    part->op = op;
    part->busy = true;
    part->req = (struct req){ 0 }; /* The memory held other things before. */
    op->in_flight++;
    req_submit_part(&part->req, op->q->data, kind, op->flags & REQ_MAY_UNMAP, offset, len,
                    (struct iov_view){ 0 }, flush_part_done);
}

void qcow2_op_discard_data(struct qcow2_op *op, uint64_t offset, uint64_t len)
{
    struct edge *data = op->q->data;

    len = MIN(len, sub_saturate_u64(data->node->size, offset));
    if (len)
        to_data_file(op, REQ_DISCARD, offset, len);
}

/*
 * Before the first change of guest data either the bitmaps stored in the image are marked as in use, or the header
 * says that they no longer match ("autoclear features").
 */
static int prepare(struct qcow2_op *op)
{
    struct qcow2 *q = op->q;
    int ret;

    if (op->prepared)
        return 0;
    if (q->corrupt)
        return -ENOMEDIUM;
    if (q->broken || q->read_only)
        return -EIO;
    if (UNLIKELY(!q->bitmaps.marked && q->commit.on_disk.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        q->header.fields.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
        q->header.dirty = true;
        return qcow2_commit_wait(q, &op->wait);
    }
    if (op->kind == REQ_ZERO && !op->data_zeroed) {
        ret = qcow2_zero_prepare(op);
        if (ret)
            return ret;
        if (q->data_raw) {
            op->data_zeroed = true;
            to_data_file(op, REQ_ZERO, op->base, op->end - op->base);
        }
    }
    if (op->data_zeroed && op->in_flight)
        return -EAGAIN;
    op->prepared = true;
    return 0;
}

void qcow2_op_step(struct qcow2_op *op)
{
    if (op->stepping) {
        op->again = true;
        return;
    }
    op->stepping = true;
    do {
        op->again = false;
        while (!op->waiting && !op->result && op->pos < op->end &&
               op->in_flight < QCOW2_OP_PARTS_MAX) {
            int ret = prepare(op);

            if (!ret)
                ret = op->start(op);
            if (ret == -EAGAIN)
                break; /* All slots are taken: the end of a part goes on. */
            if (ret == QCOW2_WAIT)
                op->waiting = true;
            else if (ret)
                op->result = ret;
        }
    } while (op->again);
    op->stepping = false;
    if (!op->in_flight && !op->waiting && (op->result || op->pos >= op->end))
        complete(op, op->result);
}

static void op_wake(struct qcow2_wait *wait, int result)
{
    struct qcow2_op *op = container_of(wait, struct qcow2_op, wait);

    op->waiting = false;
    if (result && !op->result)
        op->result = result;
    qcow2_op_step(op);
}

/* ---- Reads, status, flush ---- */

static void read_done(struct qcow2_read *read, int result)
{
    complete(container_of(read, struct qcow2_op, read), result);
}

static int status_start(struct qcow2_op *op)
{
    int ret = qcow2_map_status(op->q, op->pos, op->end - op->pos, &op->wait, &op->req->status);

    if (!ret)
        op->pos = op->end;
    return ret;
}

/* Keeps O6: the commit captures after the start of this flush, and ends with a flush of the file. */
static int flush_start(struct qcow2_op *op)
{
    struct qcow2_op_part *part = &op->parts[1];

    if (op->q->broken)
        return -EIO;
    if (op->q->external && op->pos == 0)
        to_data_file(op, REQ_FLUSH, 0, 0);
    op->pos = op->end;
    if (qcow2_commit_needed(op->q))
        return qcow2_commit_wait(op->q, &op->wait);
    part->op = op;
    part->busy = true;
    part->req = (struct req){ 0 }; /* The memory held other things before. */
    op->in_flight++;
    req_submit_part(&part->req, op->q->node->file, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 },
                    flush_part_done);
    return 0;
}

static void init_write_parts(struct qcow2_op *op)
{
    for (int i = 0; i < QCOW2_OP_PARTS; i++) {
        op->parts[i].op = op;
        op->parts[i].busy = false;
    }
}

void qcow2_op_start(struct qcow2_op *op)
{
    struct qcow2 *q = op->q;

    op->seq = q->next_seq++;
    op->pos = op->base;
    qcow2_wait_init(&op->wait, op_wake);
    op->waiting = op->stepping = op->again = op->prepared = op->data_zeroed = false;
    op->in_flight = 0;
    op->result = 0;
    list_add_tail(&q->active, &op->link);
    switch (op->kind) {
    case REQ_READ:
        qcow2_read_start(&op->read, q, op->base, op->end - op->base, op->data, read_done);
        return;
    case REQ_WRITE:
        init_write_parts(op);
        op->start = op->flags & REQ_COMPRESSED ? qcow2_compress_start : qcow2_write_start;
        break;
    case REQ_ZERO:
    case REQ_DISCARD: op->start = qcow2_change_start; break;
    case REQ_STATUS:
        op->prepared = true;
        op->start = status_start;
        break;
    case REQ_FLUSH:
        list_del(&op->link); /* Uses no cluster: it must not hold up the limbo it may wait for. */
        op->prepared = true;
        op->pos = 0;
        op->end = 1;
        op->start = flush_start;
        break;
    case REQ_KIND_COUNT: unreachable();
    }
    qcow2_op_step(op);
}

void qcow2_op_submit_at(struct node *node, struct req *req, uint64_t offset)
{
    struct qcow2_op *op = req->ctx;

    if (UNLIKELY(!qcow2_of(node)->data || qcow2_of(node)->corrupt)) {
        /* Found corrupt, or opened for its metadata alone. */
        req_complete(req, qcow2_of(node)->corrupt ? -ENOMEDIUM : -EIO);
        return;
    }
    op->q = qcow2_of(node);
    op->req = req;
    op->kind = req->kind;
    op->flags = req->flags;
    op->data = req->data;
    op->base = offset;
    op->end = offset + req->len;
    if (op->kind == REQ_FLUSH || !qcow2_exclusive_holds_back(op->q, op))
        qcow2_op_start(op);
}

void qcow2_op_submit(struct node *node, struct req *req)
{
    qcow2_op_submit_at(node, req, req->offset);
}

void qcow2_op_run(struct qcow2_op *op, struct qcow2 *q, enum req_kind kind, uint64_t offset,
                  uint64_t len, struct iov_view data,
                  void (*finished)(struct qcow2_op *op, int result))
{
    op->req = NULL;
    op->finished = finished;
    op->kind = kind;
    op->flags = 0;
    op->data = data;
    op->q = q;
    op->base = offset;
    op->end = offset + len;
    qcow2_op_start(op);
}

/* ---- Claims (O9) ---- */

int qcow2_claim_check(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_wait *wait)
{
    struct extent *range = extent_find(&q->in_flight, offset, len);

    if (!range)
        return 0;
    return qcow2_wait_add(&container_of(range, struct qcow2_claim, range)->waiters, wait);
}

void qcow2_claim_take(struct qcow2 *q, struct qcow2_claim *claim, uint64_t offset, uint64_t len)
{
    list_init(&claim->waiters);
    extent_insert(&q->in_flight, &claim->range, offset, len);
}

void qcow2_claim_drop(struct qcow2 *q, struct qcow2_claim *claim)
{
    extent_remove(&q->in_flight, &claim->range);
    qcow2_wait_wake_all(&claim->waiters, 0);
}
