/*
 * Copy on read: what a layer does not hold itself is read from below and written to it.
 *
 * The request is serialising and covers whole clusters, so that no write can come between reading and writing. Guests
 * see no change: dirty bitmaps are left alone. A request with REQ_PREFETCH wants nothing but that; one with memory is
 * then read as any other.
 */
#include <errno.h>

#include "emu/storage/core.h"

static void cor_next(struct io *io);

static uint64_t cor_end(const struct io *io)
{
    const struct node *node = io->req->node;

    return MIN(io->req->range_offset + io->req->range_len,
               align_up_u64(node->size, node->limits.request_alignment));
}

static void cor_written(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result == -ENOTSUP && sub->kind == REQ_ZERO) {
        io_sub(io, REQ_WRITE, 0, io->pos, io->part, iov_view(&io->iov, 1), cor_written);
        return;
    }
    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    io->req->node->write_gen++;
    io->pos += io->part;
    cor_next(io);
}

static void cor_read(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    if (mem_is_zero(io->bounce, io->part))
        io_sub(io, REQ_ZERO, 0, io->pos, io->part, (struct iov_view){ 0 }, cor_written);
    else
        io_sub(io, REQ_WRITE, 0, io->pos, io->part, iov_view(&io->iov, 1), cor_written);
}

static void cor_status(struct req *sub)
{
    struct io *io = io_of(sub);
    const uint32_t own = STATUS_DATA | STATUS_ZERO | STATUS_ALLOCATED;

    if (sub->result < 0 && sub->result != -ENOTSUP) {
        io_end(io, sub->result);
        return;
    }
    io->part = MIN(sub->status.len, cor_end(io) - io->pos);
    if (sub->result == -ENOTSUP || io->part == 0 || (sub->status.flags & own)) {
        io->pos += sub->result == 0 && io->part ? io->part : cor_end(io) - io->pos;
        cor_next(io);
        return;
    }
    io->part = MIN(io->part, (uint64_t)BOUNCE_BYTES);
    if (!io_bounce(io, io->part)) {
        io_end(io, -ENOMEM);
        return;
    }
    io->iov = (struct iovec){ io->bounce, io->part };
    io_sub(io, REQ_READ, 0, io->pos, io->part, iov_view(&io->iov, 1), cor_read);
}

static void cor_next(struct io *io)
{
    struct req *req = io->req;

    if (io->pos < cor_end(io)) {
        io->sub.status = (struct req_status){ 0 };
        io_sub(io, REQ_STATUS, REQ_STATUS_ONE, io->pos, cor_end(io) - io->pos,
               (struct iov_view){ 0 }, cor_status);
        return;
    }
    if (req->flags & REQ_PREFETCH) {
        io_end(io, 0);
        return;
    }
    io->pos = req->offset;
    io_rw_continue(io);
}

static void start_task(struct task *task) { cor_next(container_of(task, struct io, task)); }

void io_copy_on_read(struct req *req)
{
    struct io *io = io_new(req);

    if (!io)
        return;
    io->pos = req->range_offset;
    reactor_defer(req->node->graph->reactor, &io->task, start_task);
}
