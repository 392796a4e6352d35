/*
 * What is known of an extent: the driver is asked; then, as wanted, the file below whether data it
 * stores reads as zeroes, or the backing chain, one layer after the other, for what this layer does
 * not hold.
 */
#include <errno.h>

#include "emu/storage/core.h"

static uint64_t asked(const struct io *io)
{
    return MIN(io->end, io->req->node->size) - io->req->offset;
}

static void answer(struct io *io, struct req_status status)
{
    struct req *req = io->req;
    struct node *node = req->node;

    status.len = MIN(status.len, asked(io));
    check(status.len > 0);
    if (req->offset + status.len >= node->size)
        status.flags |= STATUS_EOF;
    else
        status.flags &= ~(uint32_t)STATUS_EOF;
    status.flags &= ~(uint32_t)STATUS_RECURSE;
    req->status = status;
    io_end(io, 0);
}

/* ---- Backing chain ---- */

static void below_done(struct req *sub)
{
    struct io *io = io_of(sub);
    struct req_status status = sub->status;

    if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    status.depth += 1;
    status.len = MIN(status.len, io->part);
    answer(io, status);
}

/* This layer holds nothing for io->part bytes. */
static void unallocated(struct io *io)
{
    struct req *req = io->req;
    struct node *node = req->node;
    struct req_status status = { .len = io->part };
    uint64_t below = node->backing ? node->backing->node->size : 0;

    if (!node->backing || req->offset >= below) {
        /* Past a short backing file this layer decides: zeroes. */
        status.flags = STATUS_ZERO | (node->backing ? STATUS_ALLOCATED : 0);
        if (req->flags & REQ_STATUS_ONE)
            status.flags &= ~(uint32_t)STATUS_ALLOCATED;
        answer(io, status);
        return;
    }
    if (req->flags & REQ_STATUS_ONE) {
        answer(io, status);
        return;
    }
    io->part = MIN(io->part, below - req->offset);
    req_submit_part(&io->sub, node->backing, REQ_STATUS, req->flags & REQ_WANT_ZERO, req->offset,
                    io->part, (struct iov_view){ 0 }, below_done);
}

/* ---- The file below ---- */

static void file_done(struct req *sub)
{
    struct io *io = io_of(sub);
    struct req_status status = io->req->status;

    if (sub->result == 0) {
        if ((sub->status.flags & STATUS_EOF) && (sub->status.flags & STATUS_ZERO)) {
            status.flags |= STATUS_ZERO;
        } else {
            status.len = MIN(status.len, sub->status.len);
            status.flags |= sub->status.flags & STATUS_ZERO;
        }
    }
    answer(io, status);
}

static struct edge *child_of(struct node *node, const struct node *child)
{
    list_for_each(edge, &node->children, struct edge, child_link) {
        if (edge->node == child)
            return edge;
    }
    return NULL;
}

static void driver_done(struct req *sub)
{
    struct io *io = io_of(sub);
    struct req *req = io->req;
    struct node *node = req->node;
    struct req_status status = sub->status;
    uint64_t skip = req->offset - sub->offset;
    struct edge *file;

    if (sub->result == -ENOTSUP) {
        if (node->driver->is_filter && !list_empty(&node->children)) {
            struct edge *child = list_first(&node->children, struct edge, child_link);

            req_submit_part(sub, child, REQ_STATUS, req->flags & (REQ_WANT_ZERO | REQ_STATUS_ONE),
                            req->offset, asked(io), (struct iov_view){ 0 }, driver_done);
            return;
        }
        status = (struct req_status){ .flags = STATUS_DATA | STATUS_ALLOCATED,
                                      .len = sub->len,
                                      .host_offset = sub->offset };
        if (node->driver->is_protocol) {
            status.flags |= STATUS_OFFSET_VALID;
            status.file = node;
        }
    } else if (sub->result < 0) {
        io_end(io, sub->result);
        return;
    }
    /* The driver was asked from the start of the block. */
    if (status.len <= skip) {
        /* Its answer ends within that block: a small lie in the safe direction. */
        status = (struct req_status){ .flags = STATUS_DATA | STATUS_ALLOCATED,
                                      .len = node->limits.request_alignment };
    }
    status.len = MIN(status.len - skip, asked(io));
    if (node->driver->is_filter) {
        /* What it passes through has been asked of all layers. */
        answer(io, status);
        return;
    }
    if (status.flags & STATUS_OFFSET_VALID)
        status.host_offset += skip;
    if (status.flags & (STATUS_DATA | STATUS_ZERO))
        status.flags |= STATUS_ALLOCATED;
    if (!(status.flags & STATUS_ALLOCATED)) {
        io->part = status.len;
        unallocated(io);
        return;
    }
    if ((status.flags & STATUS_RECURSE) && (req->flags & REQ_WANT_ZERO) &&
        (status.flags & STATUS_DATA) && (status.flags & STATUS_OFFSET_VALID) &&
        !(status.flags & STATUS_ZERO) && status.file && (file = child_of(node, status.file)) &&
        status.host_offset < file->node->size) {
        uint64_t len = MIN(status.len, file->node->size - status.host_offset);

        req->status = status;
        req_submit_part(sub, file, REQ_STATUS, REQ_WANT_ZERO, status.host_offset, len,
                        (struct iov_view){ 0 }, file_done);
        return;
    }
    answer(io, status);
}

static void start_task(struct task *task)
{
    struct io *io = container_of(task, struct io, task);
    struct req *req = io->req;
    uint32_t align = req->node->limits.request_alignment;
    uint64_t offset = align_down_u64(req->offset, align);
    uint64_t end = align_up_u64(req->offset + asked(io), align);

    io->sub.status = (struct req_status){ 0 };
    io_sub(io, REQ_STATUS, req->flags & (REQ_WANT_ZERO | REQ_STATUS_ONE), offset, end - offset,
           (struct iov_view){ 0 }, driver_done);
}

void io_status(struct req *req)
{
    struct io *io = io_new(req);

    if (!io)
        return;
    req->status = (struct req_status){ 0 };
    /* The node may shrink before the driver is asked: admit() looked at the size just now. */
    start_task(&io->task);
}
