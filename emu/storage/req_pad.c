/*
 * Parts that do not fill their block: read the block, change what was asked for, write it back.
 *
 * The whole request is serialising then (req_serial.c), so nobody else touches the block between.
 */
#include <errno.h>
#include <string.h>

#include "emu/storage/core.h"

/* A debugging driver below is told where in a read-modify-write the request is. */
static void come_by(const struct io *io, const char *head, const char *tail)
{
    struct node *node = io->req->node;

    if (node->driver->debug && io->req->kind != REQ_READ)
        node->driver->debug->event(node, io->pos > io->block ? head : tail);
}

static void block_done(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    io->pos += io->part;
    io->next(io);
}

static void block_read(struct req *sub)
{
    struct io *io = io_of(sub);
    struct node *node = io->req->node;
    uint8_t *at = io->bounce + (io->pos - io->block);

    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    if (io->req->kind == REQ_READ) {
        iov_copy_to(io_view(io), io->part, at);
        block_done(sub);
        return;
    }
    come_by(io, "pwritev_rmw_after_head", "pwritev_rmw_after_tail");
    if (!io->zeroing)
        iov_copy_from(io_view(io), io->part, at);
    else
        memset(at, 0, io->part);
    io_sub(io, REQ_WRITE, io->req->flags & node->supported_write_flags & REQ_FUA, io->block,
           io->block_len, iov_view(&io->iov, 1), block_done);
}

void io_block_part(struct io *io)
{
    struct node *node = io->req->node;
    uint32_t align = node->limits.request_alignment;

    io->block = align_down_u64(io->pos, align);
    io->block_len = align;
    io->part = MIN(io->block + align, io->end) - io->pos;
    if (!io_bounce(io, align)) {
        io_fail_later(io, -ENOMEM);
        return;
    }
    io->iov = (struct iovec){ io->bounce, align };
    if (io->block >= align_up_u64(node->size, align)) {
        /* Past the end there is nothing to read. */
        memset(io->bounce, 0, align);
        io->sub.result = 0;
        block_read(&io->sub);
        return;
    }
    come_by(io, "pwritev_rmw_head", "pwritev_rmw_tail");
    io_sub(io, REQ_READ, 0, io->block, align, iov_view(&io->iov, 1), block_read);
}
