/* Requests to table-mapped images: dispatch, stepping, reads, status, flush. Writes are in write.c and cow.c. */

#include "emu/storage/drivers/sparse/sparse.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/trace.h"
#include "emu/storage/drivers/sparse/sparse_op.h"

enum { SECTOR = 512, SPAN_BLOCKS_MAX = 65536, ZERO_MAX = 1 << 30 };

/* ---- Life ---- */

struct err *sparse_init(struct sparse *s)
{
    list_init(&s->change_waiters);
    list_init(&s->active);
    list_init(&s->unpack_waiters);
    s->plain_block = UINT64_MAX;
    if (!meta_init(&s->meta, s->file, s->meta_ops, s, 0))
        return err_new_errno(ENOMEM, "Could not open image '%s'", s->node->filename);
    return NULL;
}

void sparse_adopt(struct sparse *s)
{
    struct node *node = s->node;

    node->limits.request_alignment = SECTOR;
    node->limits.zero_alignment = s->block_size;
    node->limits.discard_alignment = s->block_size;
    node->limits.max_zero = MAX((uint64_t)ZERO_MAX, (uint64_t)s->block_size);
    node->cluster_size = s->block_size;
    node->supported_zero_flags = REQ_MAY_UNMAP | REQ_NO_FALLBACK;
    if (s->ops->pack)
        node->supported_write_flags |= REQ_COMPRESSED;
}

void sparse_fini(struct sparse *s)
{
    meta_fini(&s->meta);
    sparse_plain_fini(s);
}

struct committing {
    struct sparse *s;
    bool fini;
    driver_done_fn *done;
    void *arg;
    struct meta_wait wait;
};

static void committed(struct meta_wait *wait, int result)
{
    struct committing *c = container_of(wait, struct committing, wait);
    struct err *err = NULL;
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    if (result)
        err = err_new_errno(result, "Could not write the metadata of image '%s'",
                            c->s->node->filename);
    if (c->fini)
        sparse_fini(c->s);
    xfree(c);
    done(arg, err);
}

static void commit(struct sparse *s, bool fini, driver_done_fn *done, void *arg)
{
    struct committing *c = NEW(struct committing);

    *c = (struct committing){ .s = s, .fini = fini, .done = done, .arg = arg };
    meta_wait_init(&c->wait, committed);
    if (meta_dirty(&s->meta) || s->meta.phase != META_IDLE || !fini)
        (void)meta_commit_wait(&s->meta, &c->wait);
    else
        committed(&c->wait, 0);
}

void sparse_close(struct sparse *s, driver_done_fn *done, void *arg) { commit(s, true, done, arg); }

void sparse_flush(struct sparse *s, driver_done_fn *done, void *arg)
{
    commit(s, false, done, arg);
}

/* ---- What is where ---- */

static bool follows(const struct sparse *s, const struct sparse_span *span,
                    struct sparse_place next)
{
    if (next.kind != span->place.kind)
        return false;
    return next.kind != SPARSE_DATA || next.host == span->place.host + span->blocks * s->block_size;
}

int sparse_span_at(struct sparse *s, uint64_t pos, uint64_t max, struct meta_wait *wait,
                   struct sparse_span *out)
{
    uint64_t block = pos / s->block_size;
    int ret = s->ops->find(s, block, wait, &out->place);

    if (ret)
        return ret;
    out->blocks = 1;
    out->len = MIN(max, s->block_size - pos % s->block_size);
    while (out->len < max && out->blocks < SPAN_BLOCKS_MAX &&
           out->place.kind != SPARSE_COMPRESSED) {
        struct sparse_place next;

        ret = s->ops->find(s, block + out->blocks, wait, &next);
        if (ret == META_WAIT)
            list_del(&wait->link); /* The span ends here; the load goes on. */
        if (ret || !follows(s, out, next))
            break;
        out->blocks++;
        out->len += MIN(max - out->len, (uint64_t)s->block_size);
    }
    return 0;
}

/* ---- Stepping ---- */

static void complete(struct sparse_op *op, int result)
{
    list_del(&op->link);
    trace(sparse_op_done, "kind %d offset %llu result %d", op->kind, (unsigned long long)op->start,
          result);
    if (op->req)
        req_complete(op->req, result);
    else
        op->finished(op, result);
}

void sparse_op_part_done(struct sparse_op *op, int result)
{
    op->in_flight--;
    if (result && !op->result)
        op->result = result;
    sparse_op_step(op);
}

struct sparse_part *sparse_op_free_part(struct sparse_op *op)
{
    for (int i = 0; i < SPARSE_PARTS; i++) {
        if (!op->parts[i].busy)
            return &op->parts[i];
    }
    return NULL;
}

struct iov_view sparse_op_view(const struct sparse_op *op, uint64_t pos)
{
    return iov_view_advance(op->data, pos - op->start);
}

static int start_next(struct sparse_op *op);

void sparse_op_step(struct sparse_op *op)
{
    if (op->stepping) {
        op->again = true;
        return;
    }
    op->stepping = true;
    do {
        op->again = false;
        while (!op->waiting && !op->result && op->pos < op->end) {
            int ret = start_next(op);

            if (ret == -EAGAIN)
                break; /* The end of a part goes on. */
            if (ret == META_WAIT)
                op->waiting = true;
            else if (ret)
                op->result = ret;
        }
    } while (op->again);
    op->stepping = false;
    if (!op->in_flight && !op->waiting && (op->result || op->pos >= op->end))
        complete(op, op->result);
}

static void op_wake(struct meta_wait *wait, int result)
{
    struct sparse_op *op = container_of(wait, struct sparse_op, wait);

    op->waiting = false;
    if (result && !op->result)
        op->result = result;
    sparse_op_step(op);
}

/* ---- Reads ---- */

static void read_part_done(struct req *req)
{
    struct sparse_part *part = container_of(req, struct sparse_part, req);

    part->busy = false;
    sparse_op_part_done(part->op, req->result);
}

static int read_below(struct sparse_op *op, struct edge *edge, uint64_t offset, uint64_t len)
{
    struct sparse_part *part = sparse_op_free_part(op);
    uint64_t pos = op->pos;

    if (!part)
        return -EAGAIN;
    part->busy = true;
    part->req = (struct req){ 0 };
    op->in_flight++;
    op->pos += len;
    req_submit_part(&part->req, edge, REQ_READ, 0, offset, len, sparse_op_view(op, pos),
                    read_part_done);
    return 0;
}

static int read_start(struct sparse_op *op)
{
    struct sparse *s = op->s;
    struct sparse_span span;
    uint64_t in_block = op->pos % s->block_size;
    uint8_t *plain;
    int ret = sparse_span_at(s, op->pos, op->end - op->pos, &op->wait, &span);

    if (ret)
        return ret;
    switch (span.place.kind) {
    case SPARSE_DATA: return read_below(op, s->file, span.place.host + in_block, span.len);
    case SPARSE_HOLE:
        if (sparse_has_backing(s))
            return read_below(op, s->node->backing, s->base + op->pos, span.len);
        FALLTHROUGH;
    case SPARSE_ZERO: iov_fill(sparse_op_view(op, op->pos), span.len, 0); break;
    case SPARSE_COMPRESSED:
        ret = sparse_plain(s, op->pos / s->block_size, span.place, &op->wait, &plain);
        if (ret)
            return ret;
        iov_copy_to(sparse_op_view(op, op->pos), span.len, plain + in_block);
        break;
    }
    op->pos += span.len;
    return 0;
}

/* ---- Status, flush ---- */

static int status_start(struct sparse_op *op)
{
    struct sparse *s = op->s;
    struct sparse_span span;
    int ret = sparse_span_at(s, op->pos, op->end - op->pos, &op->wait, &span);
    struct req_status *status = op->status;

    if (ret)
        return ret;
    *status = (struct req_status){ .len = span.len };
    switch (span.place.kind) {
    case SPARSE_DATA:
        status->flags = STATUS_DATA | STATUS_OFFSET_VALID;
        status->host_offset = span.place.host + op->pos % s->block_size;
        status->file = s->file->node;
        break;
    case SPARSE_ZERO: status->flags = STATUS_ZERO; break;
    case SPARSE_COMPRESSED: status->flags = STATUS_DATA | STATUS_COMPRESSED; break;
    case SPARSE_HOLE:
        /* Where there is never a backing file, this layer decides. */
        status->flags = s->node->driver->supports_backing ? 0 : STATUS_ZERO;
        break;
    }
    op->pos = op->end;
    return 0;
}

/* Keeps S4: the commit captures after the start of this flush. With nothing to commit the core flushes the file. */
static int flush_start(struct sparse_op *op)
{
    op->pos = op->end;
    return meta_dirty(&op->s->meta) ? meta_commit_wait(&op->s->meta, &op->wait) : -ENOTSUP;
}

static int start_next(struct sparse_op *op)
{
    switch (op->kind) {
    case REQ_READ: return read_start(op);
    case REQ_WRITE: return op->s->node->read_only ? -EACCES : sparse_write_start(op);
    case REQ_ZERO:
    case REQ_DISCARD: return op->s->node->read_only ? -EACCES : sparse_zero_start(op);
    case REQ_STATUS: return status_start(op);
    case REQ_FLUSH: return flush_start(op);
    case REQ_KIND_COUNT: break;
    }
    unreachable();
}

static void op_start(struct sparse_op *op, struct sparse *s, uint64_t offset, uint64_t len)
{
    op->s = s;
    op->pos = op->start = offset;
    op->end = offset + len;
    if (op->kind == REQ_FLUSH)
        op->end = offset + 1;
    op->waiting = op->stepping = op->again = false;
    op->in_flight = 0;
    op->result = 0;
    meta_wait_init(&op->wait, op_wake);
    for (int i = 0; i < SPARSE_PARTS; i++) {
        op->parts[i].op = op;
        op->parts[i].busy = false;
    }
    list_add_tail(&s->active, &op->link);
    sparse_op_step(op);
}

void sparse_submit(struct node *node, struct req *req)
{
    struct sparse *s = node->state;
    struct sparse_op *op = req->ctx;
    uint64_t len = req->len;

    /* The alignment block of the last byte may lie behind the mapped area; it reads as zeroes. */
    if (req->kind == REQ_READ || req->kind == REQ_STATUS || req->kind == REQ_WRITE) {
        uint64_t have = sub_saturate_u64(sparse_blocks(s) * s->block_size, req->offset);

        if (have < len) {
            if (req->kind == REQ_READ)
                iov_fill(iov_view_advance(req->data, have), len - have, 0);
            len = have;
        }
        if (!len) {
            req_complete(req, req->kind == REQ_READ ? 0 : -EIO);
            return;
        }
    }
    op->req = req;
    op->kind = req->kind;
    op->flags = req->flags;
    op->data = req->data;
    op->status = &req->status;
    op_start(op, s, req->offset, len);
}

void sparse_run(struct sparse_op *op, struct sparse *s, enum req_kind kind, uint32_t flags,
                uint64_t offset, uint64_t len, struct iov_view data, struct req_status *status,
                void (*finished)(struct sparse_op *op, int result))
{
    op->req = NULL;
    op->finished = finished;
    op->kind = kind;
    op->flags = flags;
    op->data = data;
    op->status = status;
    op_start(op, s, offset, len);
}
