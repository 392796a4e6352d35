/*
 * Making ranges read as zeroes, and discarding them.
 *
 * Zeroes go to the driver in parts that begin and end at its preferred alignment; a part it does
 * not want (-ENOTSUP) is written from the graph's buffer of zeroes, unless the requester would
 * rather not (REQ_NO_FALLBACK). Blocks that are only touched in part are read, changed, written.
 * A discard is a hint: what cannot be discarded is left as it is.
 */
#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/storage/core.h"

/* The next part of [pos, end): up to a boundary of align, or whole multiples of it, at most max. */
static uint64_t next_part(uint64_t pos, uint64_t end, uint32_t align, uint64_t max)
{
    uint64_t len = end - pos;
    uint64_t head = pos % align;

    if (head)
        len = MIN(len, align - head);
    else if (len > align)
        len -= end % align;
    if (max) {
        if (max > align)
            max -= max % align;
        len = MIN(len, max);
    }
    return len;
}

static void zero_part_done(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result == -ENOTSUP && sub->kind == REQ_ZERO && !(io->req->flags & REQ_NO_FALLBACK)) {
        io->by_hand_end = io->pos + io->part;
        io->next(io);
        return;
    }
    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    io->pos += io->part;
    io->next(io);
}

/* Writes zeroes for [pos, pos + len); at most as many as the buffer and the driver take at once. */
static void zero_by_write(struct io *io, uint64_t len)
{
    struct node *node = io->req->node;
    const struct node_limits *limits = &node->limits;
    uint8_t *zeroes = graph_zeroes(node->graph);
    uint32_t flags = io->req->flags & node->supported_write_flags & REQ_FUA;

    if (!zeroes) {
        io_fail_later(io, -ENOMEM);
        return;
    }
    len = MIN(len, (uint64_t)ZEROES_BYTES);
    if (limits->max_transfer)
        len = MIN(len, MAX(align_down_u64(limits->max_transfer, limits->request_alignment),
                           limits->request_alignment));
    io->part = len;
    io->iov = (struct iovec){ zeroes, len };
    io_sub(io, REQ_WRITE, flags, io->pos, len, iov_view(&io->iov, 1), zero_part_done);
}

static uint32_t zero_flags(const struct io *io)
{
    struct node *node = io->req->node;
    uint32_t flags = io->req->flags & node->supported_zero_flags;

    /* The user of the node decides whether space is given back, not the requester alone. */
    if (!node->open.discard_unmap)
        flags &= ~(uint32_t)REQ_MAY_UNMAP;
    if (io->req->kind == REQ_WRITE && node->open.detect_zeroes == DETECT_ZEROES_UNMAP &&
        node->open.discard_unmap)
        flags |= REQ_MAY_UNMAP & node->supported_zero_flags;
    return flags & (REQ_FUA | REQ_MAY_UNMAP | REQ_NO_FALLBACK);
}

static void zero_next(struct io *io)
{
    struct req *req = io->req;
    struct node *node = req->node;
    const struct node_limits *limits = &node->limits;
    uint32_t align = limits->request_alignment;
    uint64_t len = io->end - io->pos, part;
    uint32_t have = node->supported_zero_flags & node->supported_write_flags;

    if (len == 0) {
        if ((req->flags & REQ_FUA) && !(have & REQ_FUA))
            io_flush_after(io);
        else
            io_end(io, 0);
        return;
    }
    if (!is_aligned(io->pos, align) || len < align) {
        if (req->flags & REQ_NO_FALLBACK)
            io_end(io, -ENOTSUP);
        else
            io_block_part(io);
        return;
    }
    len = align_down_u64(len, align);
    part = next_part(io->pos, io->pos + len,
                     limits->zero_alignment ? limits->zero_alignment : align, limits->max_zero);
    if (io->pos < io->by_hand_end) {
        zero_by_write(io, MIN(len, io->by_hand_end - io->pos));
        return;
    }
    io->part = part;
    io_sub(io, REQ_ZERO, zero_flags(io), io->pos, part, (struct iov_view){ 0 }, zero_part_done);
}

static void start_task(struct task *task)
{
    struct io *io = container_of(task, struct io, task);

    zero_next(io);
}

void io_zero(struct req *req)
{
    struct node *node = req->node;
    struct io *io = io_new(req);

    if (!io)
        return;
    io->next = zero_next;
    io->zeroing = true;
    if ((req->flags & REQ_NO_FALLBACK) &&
        (!(node->supported_zero_flags & REQ_NO_FALLBACK) || req->range_len != req->len)) {
        io_fail_later(io, -ENOTSUP);
        return;
    }
    reactor_defer(node->graph->reactor, &io->task, start_task);
}

/* ---- Discard ---- */

static void discard_next(struct io *io);

static void discard_done(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result < 0 && sub->result != -ENOTSUP) {
        io_end(io, sub->result);
        return;
    }
    io->pos += io->part;
    discard_next(io);
}

static void discard_next(struct io *io)
{
    struct node *node = io->req->node;
    const struct node_limits *limits = &node->limits;
    uint32_t align = MAX(limits->discard_alignment, limits->request_alignment);

    if (io->pos >= io->end) {
        io_end(io, 0);
        return;
    }
    io->part = next_part(io->pos, io->end, align, limits->max_discard);
    io_sub(io, REQ_DISCARD, 0, io->pos, io->part, (struct iov_view){ 0 }, discard_done);
}

void io_discard(struct req *req)
{
    struct node *node = req->node;
    uint32_t align = node->limits.request_alignment;
    struct io *io;

    if (!node->open.discard_unmap) {
        /* The data stays: nobody needs to hear of a change. */
        req_untrack(req);
        req_end_later(req, 0);
        return;
    }
    io = io_new(req);
    if (!io)
        return;
    io->end = MIN(io->end, node->size);
    if (!is_aligned(io->end, align) && io->end != node->size)
        io->end = align_down_u64(io->end, align);
    io->end = align_down_u64(io->end, align);
    io->pos = align_up_u64(io->pos, align);
    if (io->pos >= io->end)
        io_fail_later(io, 0);
    else
        discard_next(io);
}
