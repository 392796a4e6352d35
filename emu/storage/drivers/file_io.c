/* Driver "file": requests. */
#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/file.h"

/* For extending a file by its last block. */
enum { EXTEND_MAX = 4096 };
static _Alignas(EXTEND_MAX) const uint8_t zero_block[EXTEND_MAX];

static struct file_state *state_of(const struct file_req *fr) { return fr->req->node->state; }

static void changed(struct file_state *state)
{
    state->changes++;
    state->extent_known = false;
}

/* ---- Read and write ---- */

static void rw_done(struct op *op);

static void rw_go(struct file_req *fr)
{
    struct req *req = fr->req;
    struct file_state *state = state_of(fr);
    uint64_t len = fr->end - fr->pos;
    const struct iovec *iov = req->data.iov;
    unsigned niov = req->data.niov;

    /* The requester's vector as it is, where it is just that long. */
    if (!(niov == 1 && req->data.skip == 0 && iov->iov_len == len && fr->pos == req->offset)) {
        struct iov_view view = iov_view_advance(req->data, fr->pos - req->offset);

        niov = iov_slice(view, len, fr->iov, ARRAY_LEN(fr->iov));
        niov = MIN(niov, (unsigned)ARRAY_LEN(fr->iov));
        iov = fr->iov;
    }
    if (req->kind == REQ_READ)
        reactor_file_readv(state->file, &fr->op, iov, niov, fr->pos);
    else
        reactor_file_writev(state->file, &fr->op, iov, niov, fr->pos);
}

static void rw_end(struct file_req *fr, int result)
{
    struct req *req = fr->req;

    if (req->kind != REQ_READ)
        changed(state_of(fr));
    req_complete(req, result);
}

static void rw_done(struct op *op)
{
    struct file_req *fr = container_of(op, struct file_req, op);
    struct req *req = fr->req;
    struct file_state *state = state_of(fr);

    if (op->result < 0) {
        if (op->result == -EINTR || op->result == -EAGAIN)
            rw_go(fr);
        else
            rw_end(fr, (int)op->result);
        return;
    }
    if (op->result == 0 && req->kind == REQ_WRITE) {
        rw_end(fr, -ENOSPC);
        return;
    }
    uint64_t got = (uint64_t)op->result, align = req->node->limits.request_alignment;

    if (req->kind == REQ_WRITE)
        state->real_size = MAX(state->real_size, fr->pos + got);
    if (req->kind == REQ_READ && got < fr->end - fr->pos &&
        (got == 0 || fr->pos + got >= state->real_size)) {
        /* Past the end of the file there are zeroes. */
        fr->pos += got;
        iov_fill(iov_view_advance(req->data, fr->pos - req->offset), fr->end - fr->pos, 0);
        rw_end(fr, 0);
        return;
    }
    /* Direct access goes on from a block's start only. */
    fr->pos += got;
    if (fr->pos < fr->end)
        fr->pos = MAX(align_down_u64(fr->pos, align), req->offset);
    if (fr->pos >= fr->end)
        rw_end(fr, 0);
    else
        rw_go(fr);
}

/* ---- Zero and discard ---- */

enum { ZERO_PUNCH, ZERO_RANGE, ZERO_PUNCH_ANYWAY, ZERO_ALLOC, ZERO_EXTEND };

static void zero_go(struct file_req *fr);

static void zero_done(struct op *op)
{
    struct file_req *fr = container_of(op, struct file_req, op);
    struct file_state *state = state_of(fr);
    bool unsupported = op->result == -EOPNOTSUPP || op->result == -ENOSYS || op->result == -ENOTTY;

    if (op->result < 0 && !unsupported) {
        rw_end(fr, (int)op->result);
        return;
    }
    switch (fr->step) {
    case ZERO_PUNCH:
        state->no_punch |= unsupported;
        fr->step = unsupported ? ZERO_RANGE : ZERO_EXTEND;
        break;
    case ZERO_RANGE:
        state->no_zero |= unsupported;
        fr->step = unsupported ? ZERO_PUNCH_ANYWAY : ZERO_EXTEND;
        break;
    case ZERO_PUNCH_ANYWAY:
        state->no_punch |= unsupported;
        if (unsupported) {
            rw_end(fr, -ENOTSUP);
            return;
        }
        fr->step = ZERO_ALLOC;
        break;
    case ZERO_ALLOC:
        state->no_alloc |= unsupported;
        fr->step = ZERO_EXTEND;
        break;
    case ZERO_EXTEND:
        state->real_size = MAX(state->real_size, fr->end);
        rw_end(fr, 0);
        return;
    }
    zero_go(fr);
}

static void zero_go(struct file_req *fr)
{
    struct req *req = fr->req;
    struct file_state *state = state_of(fr);
    uint64_t inside = MIN(fr->end, state->real_size);
    uint32_t block = MAX(req->node->limits.request_alignment, (uint32_t)512);

    if (fr->step < ZERO_EXTEND && req->offset >= inside)
        fr->step = ZERO_EXTEND; /* All of it is past the end. */
    if (fr->step == ZERO_PUNCH && state->no_punch)
        fr->step = ZERO_RANGE;
    if (fr->step == ZERO_RANGE && state->no_zero)
        fr->step = ZERO_PUNCH_ANYWAY;
    if (fr->step == ZERO_PUNCH_ANYWAY && state->no_punch) {
        req_complete(req, -ENOTSUP);
        return;
    }
    if (fr->step == ZERO_ALLOC && state->no_alloc)
        fr->step = ZERO_EXTEND;
    switch (fr->step) {
    case ZERO_PUNCH:
    case ZERO_PUNCH_ANYWAY:
        reactor_file_allocate(state->file, &fr->op, FILE_PUNCH, req->offset, inside - req->offset);
        return;
    case ZERO_RANGE:
        reactor_file_allocate(state->file, &fr->op, FILE_ZERO, req->offset, inside - req->offset);
        return;
    case ZERO_ALLOC:
        reactor_file_allocate(state->file, &fr->op, FILE_ALLOC, req->offset, inside - req->offset);
        return;
    case ZERO_EXTEND: break;
    }
    if (fr->end <= state->real_size || fr->end <= req->node->size) {
        rw_end(fr, 0);
        return;
    }
    /* Not by truncating: that could cut off a write that extends the file at the same time. */
    block = (uint32_t)MIN((uint64_t)block, req->len);
    if (block > EXTEND_MAX) {
        rw_end(fr, -ENOTSUP);
        return;
    }
    fr->iov[0] = (struct iovec){ (void *)zero_block, block };
    reactor_file_writev(state->file, &fr->op, fr->iov, 1, fr->end - block);
}

static void discard_done(struct op *op)
{
    struct file_req *fr = container_of(op, struct file_req, op);
    struct file_state *state = state_of(fr);

    if (op->result < 0) {
        state->discard_failed++;
        state->no_punch |= op->result == -EOPNOTSUPP;
    } else {
        state->discard_ok++;
        state->discard_bytes += fr->req->len;
    }
    rw_end(fr, op->result == -EOPNOTSUPP ? -ENOTSUP : (int)op->result);
}

static void discard_go(struct file_req *fr)
{
    struct req *req = fr->req;
    struct file_state *state = state_of(fr);
    uint64_t inside = MIN(fr->end, state->real_size);

    if (state->no_punch)
        req_complete(req, -ENOTSUP);
    else if (req->offset >= inside)
        req_complete(req, 0);
    else
        reactor_file_allocate(state->file, &fr->op, FILE_PUNCH, req->offset, inside - req->offset);
}

/* ---- Flush and status ---- */

static void flush_done(struct op *op)
{
    struct file_req *fr = container_of(op, struct file_req, op);

    req_complete(fr->req, (int)op->result);
}

static void status_answer(struct file_req *fr, bool data, uint64_t end)
{
    struct req *req = fr->req;

    req->status = (struct req_status){
        .flags = STATUS_OFFSET_VALID | STATUS_ALLOCATED | (data ? STATUS_DATA : STATUS_ZERO),
        .len = MIN(end, fr->end) - req->offset,
        .host_offset = req->offset,
        .file = req->node,
    };
    req_complete(req, 0);
}

static void status_done(struct op *op)
{
    struct file_req *fr = container_of(op, struct file_req, op);
    struct file_state *state = state_of(fr);
    uint64_t offset = fr->req->offset;

    if (op->result == -ENXIO) {
        status_answer(fr, false, fr->end); /* The rest of the last sector. */
        return;
    }
    if (op->result < 0 || fr->extent.end <= offset) {
        /* All is data where the kernel does not tell. */
        status_answer(fr, true, fr->end);
        return;
    }
    if (state->changes == fr->changes) {
        state->extent_known = true;
        state->extent_start = offset;
        state->extent = fr->extent;
    }
    status_answer(fr, fr->extent.data, fr->extent.end);
}

static void status_go(struct file_req *fr)
{
    struct req *req = fr->req;
    struct file_state *state = state_of(fr);

    if (!(req->flags & REQ_WANT_ZERO)) {
        status_answer(fr, true, fr->end);
    } else if (state->extent_known && req->offset >= state->extent_start &&
               req->offset < state->extent.end) {
        status_answer(fr, state->extent.data, state->extent.end);
    } else {
        fr->changes = state->changes;
        reactor_file_extent(state->file, &fr->op, req->offset, &fr->extent);
    }
}

void file_submit(struct node *node, struct req *req)
{
    struct file_req *fr = req->ctx;
    struct file_state *state = node->state;

    fr->req = req;
    fr->pos = req->offset;
    fr->end = req->offset + req->len;
    fr->op.result = 0;
    switch (req->kind) {
    case REQ_READ:
    case REQ_WRITE:
        fr->op.done = rw_done;
        rw_go(fr);
        break;
    case REQ_ZERO:
        fr->op.done = zero_done;
        fr->step = req->flags & REQ_MAY_UNMAP ? ZERO_PUNCH : ZERO_RANGE;
        zero_go(fr);
        break;
    case REQ_DISCARD:
        fr->op.done = discard_done;
        discard_go(fr);
        break;
    case REQ_FLUSH:
        fr->op.done = flush_done;
        if (node->open.cache_no_flush)
            req_complete(req, 0);
        else
            reactor_file_sync(state->file, &fr->op, true);
        break;
    case REQ_STATUS:
        fr->op.done = status_done;
        status_go(fr);
        break;
    case REQ_KIND_COUNT: unreachable();
    }
}
