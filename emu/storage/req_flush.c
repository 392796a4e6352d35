/*
 * Flush: the driver writes back what it holds, then the children that may have been written to are
 * flushed.
 *
 * One flush runs at a time on a node and the others queue behind it; a flush that finds that
 * nothing was written since the last good one started asks only the children, which know the same
 * of themselves. After a failed flush the state of earlier writes is unknown for ever (the kernel
 * reports it once), so every later one fails until the node is opened anew.
 */
#include <errno.h>

#include "emu/storage/core.h"

static void flush_run(struct io *io);

static void flush_end(struct io *io, int result)
{
    struct node_core *core = core_of(io->req->node);
    struct io *next;

    if (result == 0)
        io->req->node->flushed_gen = MAX(io->req->node->flushed_gen, io->gen);
    else if (result != -ECANCELED)
        core->flush_failed = true;
    list_del(&io->link);
    next = list_first(&core->flush_queue, struct io, link);
    if (next)
        flush_run(next);
    io_end(io, result);
}

static void child_next(struct io *io);

static void child_done(struct req *sub)
{
    struct io *io = io_of(sub);

    /* Children may have changed meanwhile, but flushing the first again is harmless; the position
     * is kept as a count. */
    if (sub->result < 0 && io->error == 0)
        io->error = sub->result;
    child_next(io);
}

static void child_next(struct io *io)
{
    struct node *node = io->req->node;
    unsigned at = 0;

    list_for_each(edge, &node->children, struct edge, child_link) {
        if (at++ < io->depth)
            continue;
        io->depth = at;
        if (!(edge->perm & (PERM_WRITE | PERM_WRITE_UNCHANGED)))
            continue;
        req_submit_part(&io->sub, edge, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 }, child_done);
        return;
    }
    flush_end(io, io->error);
}

static void driver_done(struct req *sub)
{
    struct io *io = io_of(sub);

    if (sub->result < 0 && sub->result != -ENOTSUP)
        flush_end(io, sub->result);
    else
        child_next(io);
}

static void run_task(struct task *task)
{
    struct io *io = container_of(task, struct io, task);
    struct node *node = io->req->node;

    io->gen = node->write_gen;
    if (core_of(node)->flush_failed) {
        flush_end(io, -EIO);
        return;
    }
    if (node->flushed_gen == io->gen ||
        (node->open.cache_no_flush && list_empty(&node->children))) {
        child_next(io);
        return;
    }
    io_sub(io, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 }, driver_done);
}

static void flush_run(struct io *io)
{
    reactor_defer(io->req->node->graph->reactor, &io->task, run_task);
}

void io_flush(struct req *req)
{
    struct node_core *core = core_of(req->node);
    struct io *io;

    if (req->node->read_only) {
        req_end_later(req, 0);
        return;
    }
    io = io_new(req);
    if (!io)
        return;
    list_add_tail(&core->flush_queue, &io->link);
    if (list_first(&core->flush_queue, struct io, link) == io)
        flush_run(io);
}

static void flushed_after(struct req *sub)
{
    struct io *io = io_of(sub);

    io_end(io, sub->result);
}

void io_flush_after(struct io *io)
{
    struct req *sub = &io->sub;

    /* The write counts as done before the flush starts. */
    io->req->node->write_gen++;
    sub->kind = REQ_FLUSH;
    sub->flags = 0;
    sub->offset = sub->len = 0;
    sub->done = flushed_after;
    node_submit(io->req->node, sub);
}
