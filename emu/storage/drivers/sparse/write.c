/* Writes, zeroes and discards of table-mapped images: what is done in place, and what has to change the table. */

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/storage/drivers/sparse/sparse_op.h"

int sparse_change_check(struct sparse *s, struct meta_wait *wait)
{
    return s->changing ? meta_wait_add(&s->change_waiters, wait) : 0;
}

void sparse_change_end(struct sparse *s)
{
    s->changing = false;
    meta_wait_wake_all(&s->change_waiters, 0);
}

static void in_place_done(struct req *req)
{
    struct sparse_part *part = container_of(req, struct sparse_part, req);

    part->busy = false;
    sparse_op_part_done(part->op, req->result);
}

static int write_in_place(struct sparse_op *op, const struct sparse_span *span)
{
    struct sparse *s = op->s;
    struct sparse_part *part = sparse_op_free_part(op);
    uint64_t pos = op->pos;

    if (!part)
        return -EAGAIN;
    part->busy = true;
    part->req = (struct req){ 0 };
    op->in_flight++;
    op->pos += span->len;
    req_submit_part(&part->req, s->file, REQ_WRITE, 0, span->place.host + pos % s->block_size,
                    span->len, sparse_op_view(op, pos), in_place_done);
    return 0;
}

int sparse_write_start(struct sparse_op *op)
{
    struct sparse *s = op->s;
    struct sparse_span span;
    int ret = sparse_span_at(s, op->pos, op->end - op->pos, &op->wait, &span);

    if (ret)
        return ret;
    if (s->write_once && (span.place.kind == SPARSE_DATA || span.place.kind == SPARSE_COMPRESSED))
        return -EIO;
    if (span.place.kind == SPARSE_DATA && !(op->flags & REQ_COMPRESSED))
        return write_in_place(op, &span);
    ret = sparse_change_check(s, &op->wait);
    if (ret)
        return ret;
    if (s->always_compress || (op->flags & REQ_COMPRESSED && s->ops->pack))
        return sparse_pack_start(op, &span);
    if (span.place.kind == SPARSE_DATA)
        return write_in_place(op, &span);
    return sparse_cow_start(op, &span);
}

/* ---- Zeroes and discards ---- */

/* What makes the whole block at op->pos read as zeroes, or be nothing. False: nothing does. */
static bool empty_kind(const struct sparse_op *op, enum sparse_kind *out)
{
    const struct sparse *s = op->s;
    bool may_unlink = s->can_unlink && !sparse_has_backing(s) &&
                      (op->kind == REQ_DISCARD || op->flags & REQ_MAY_UNMAP);

    *out = may_unlink ? SPARSE_HOLE : SPARSE_ZERO;
    return may_unlink || (s->can_zero && op->kind == REQ_ZERO);
}

/* Zeroes where DATA lies. */
static int zero_in_place(struct sparse_op *op, const struct sparse_span *span)
{
    struct sparse *s = op->s;
    struct sparse_part *part = sparse_op_free_part(op);
    uint64_t pos = op->pos;

    if (!part)
        return -EAGAIN;
    part->busy = true;
    part->req = (struct req){ 0 };
    op->in_flight++;
    op->pos += span->len;
    req_submit_part(&part->req, s->file, REQ_ZERO, op->flags & (REQ_MAY_UNMAP | REQ_NO_FALLBACK),
                    span->place.host + pos % s->block_size, span->len, (struct iov_view){ 0 },
                    in_place_done);
    return 0;
}

int sparse_zero_start(struct sparse_op *op)
{
    struct sparse *s = op->s;
    struct sparse_span span;
    enum sparse_kind kind;
    int ret = sparse_span_at(s, op->pos, op->end - op->pos, &op->wait, &span);
    bool zero;

    if (ret)
        return ret;
    if (s->explicit_zero && op->kind == REQ_ZERO && span.place.kind == SPARSE_DATA)
        return zero_in_place(op, &span);
    zero = span.place.kind == SPARSE_ZERO ||
           (span.place.kind == SPARSE_HOLE && !sparse_has_backing(s) &&
            !(s->explicit_zero && op->kind == REQ_ZERO));
    if (!zero) {
        uint64_t whole = MIN((uint64_t)s->block_size, s->size - MIN(s->size, op->pos));

        if (op->pos % s->block_size || op->end - op->pos < whole || s->write_once ||
            !empty_kind(op, &kind)) {
            if (op->kind == REQ_ZERO)
                return -ENOTSUP;
            op->pos += span.len;
            return 0;
        }
        ret = sparse_change_check(s, &op->wait);
        if (!ret)
            ret = s->ops->link(s, op->pos / s->block_size, 1, (struct sparse_place){ .kind = kind },
                               &op->wait);
        if (ret)
            return ret;
        span.len = MIN(op->end - op->pos, (uint64_t)s->block_size);
    }
    op->pos += span.len;
    return 0;
}
