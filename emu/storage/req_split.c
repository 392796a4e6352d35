/*
 * Requests that the driver cannot have as they are: cut into parts that it can, one part at a time.
 *
 * A part is a slice of the requester's memory where block and memory alignment allow, and otherwise
 * goes through a bounce buffer of at most BOUNCE_BYTES.
 */
#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/storage/core.h"

struct io *io_new(struct req *req)
{
    struct io *io = pool_get(&core_of(req->node)->io_pool);

    if (!io) {
        req_end_later(req, -ENOMEM);
        return NULL;
    }
    *io = (struct io){ .req = req, .pos = req->offset, .end = req->offset + req->len };
    return io;
}

void io_end(struct io *io, int result)
{
    struct req *req = io->req;

    check(io->sub.core_state == 0);
    xfree(io->bounce);
    pool_put(&core_of(req->node)->io_pool, io);
    req_end(req, result);
}

void io_fail_later(struct io *io, int result)
{
    struct req *req = io->req;

    check(io->sub.core_state == 0);
    xfree(io->bounce);
    pool_put(&core_of(req->node)->io_pool, io);
    req_end_later(req, result);
}

void io_sub(struct io *io, enum req_kind kind, uint32_t flags, uint64_t offset, uint64_t len,
            struct iov_view data, req_done_fn *done)
{
    struct req *sub = &io->sub;

    sub->kind = kind;
    sub->flags = flags;
    sub->offset = offset;
    sub->len = len;
    sub->data = data;
    sub->done = done;
    sub->edge = NULL;
    sub->node = io->req->node;
    sub->core_state = CORE_SUB;
    driver_start(sub->node, sub);
}

bool io_bounce(struct io *io, uint64_t len)
{
    const struct node_limits *limits = &io->req->node->limits;

    if (io->bounce_size >= len)
        return true;
    xfree(io->bounce);
    io->bounce_size = 0;
    io->bounce =
        try_alloc_aligned(MAX(MAX(limits->memory_alignment, limits->request_alignment), 16u), len);
    if (!io->bounce)
        return false;
    io->bounce_size = len;
    return true;
}

struct iov_view io_view(const struct io *io)
{
    return iov_view_advance(io->req->data, io->pos - io->req->offset);
}

static void part_done(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    if (io->block_len && io->req->kind == REQ_READ)
        iov_copy_to(io_view(io), io->part, io->bounce);
    io->pos += io->part;
    io->next(io);
}

/* How much of [pos, pos + len) the first max_iov elements cover. */
static uint64_t iov_limit(struct iov_view view, uint64_t len, uint32_t max_iov)
{
    uint64_t covered = 0;

    if (!max_iov || iov_slice(view, len, NULL, 0) <= max_iov)
        return len;
    for (unsigned i = 0; i < view.niov && max_iov; i++) {
        uint64_t base = view.iov[i].iov_len;

        if (i == 0)
            base -= view.skip;
        if (base)
            max_iov--;
        covered += base;
    }
    return MIN(covered, len);
}

static void rw_next(struct io *io)
{
    struct req *req = io->req;
    struct node *node = req->node;
    const struct node_limits *limits = &node->limits;
    uint32_t align = limits->request_alignment;
    uint64_t len = io->end - io->pos, direct;
    bool write = req->kind == REQ_WRITE;
    uint32_t flags = req->flags & (node->supported_write_flags | ~(uint32_t)REQ_FUA);
    struct iov_view view;

    if (len == 0) {
        if (write && (req->flags & REQ_FUA) && !(node->supported_write_flags & REQ_FUA))
            io_flush_after(io);
        else
            io_end(io, 0);
        return;
    }
    view = io_view(io);
    if (!write) {
        uint64_t readable = align_up_u64(node->size, align);

        if (io->pos >= node->size) {
            iov_fill(view, len, 0);
            io_end(io, 0);
            return;
        }
        len = MIN(len, readable - io->pos);
    }
    if (!is_aligned(io->pos, align) || len < align) {
        io_block_part(io);
        return;
    }
    len = align_down_u64(len, align);
    if (limits->max_transfer)
        len = MIN(len, MAX(align_down_u64(limits->max_transfer, align), align));
    io->block_len = 0;
    direct = align_down_u64(iov_limit(view, len, limits->max_iov), align);
    if (direct &&
        (limits->memory_alignment <= 1 || iov_is_aligned(view, direct, limits->memory_alignment))) {
        io->part = direct;
        io_sub(io, req->kind, flags, io->pos, direct, view, part_done);
        return;
    }
    len = MIN(len, (uint64_t)BOUNCE_BYTES);
    if (!io_bounce(io, len)) {
        io_fail_later(io, -ENOMEM);
        return;
    }
    io->part = io->block_len = len;
    io->iov = (struct iovec){ io->bounce, len };
    if (write)
        iov_copy_from(view, len, io->bounce);
    io_sub(io, req->kind, flags, io->pos, len, iov_view(&io->iov, 1), part_done);
}

void io_rw_continue(struct io *io)
{
    io->next = rw_next;
    rw_next(io);
}

static void start_task(struct task *task)
{
    struct io *io = container_of(task, struct io, task);

    io->next(io);
}

void io_rw(struct req *req)
{
    struct io *io = io_new(req);

    if (!io)
        return;
    io->next = rw_next;
    /* What ends without asking the driver must not end inside the submission. */
    if (req->kind == REQ_READ && req->offset + req->len > req->node->size)
        reactor_defer(req->node->graph->reactor, &io->task, start_task);
    else
        rw_next(io);
}
