/*
 * Requests: admission, the short way to the driver, and the end.
 *
 * An aligned read or write that needs nothing done to it goes to the driver as it is, with memory
 * from the node's pool; nothing is allocated. All others become a struct io (req_split.c).
 */
#include <errno.h>

#include "emu/storage/bitmap.h"
#include "emu/storage/core.h"

bool req_pending(const struct req *req) { return req->core_state != 0; }

static bool req_is_write(enum req_kind kind)
{
    return kind == REQ_WRITE || kind == REQ_ZERO || kind == REQ_DISCARD;
}

/* ---- End ---- */

static void wrote(struct node *node, const struct req *req, int result)
{
    uint64_t end = req->offset + req->len;

    /* A failed write may have changed any part of its range. */
    node->write_gen++;
    if (!list_empty(&node->bitmaps))
        bitmaps_dirty(node, req->offset, req->len);
    if (req->kind != REQ_DISCARD) {
        core_of(node)->written_end = MAX(core_of(node)->written_end, end);
        if (result == 0 && end > node->size)
            node_set_size(node, align_up_u64(end, SECTOR));
    }
    if (!notifier_list_empty(&node->on_write)) {
        struct node_write_note note = { node, req->kind, req->offset, req->len, result };

        notify_all(&node->on_write, &note);
    }
}

void req_end(struct req *req, int result)
{
    struct node *node = req->node;

    check(req->core_state & CORE_ACTIVE);
    /* One that was refused at the door is not tracked and touched nothing. */
    if (req->core_state & CORE_TRACKED) {
        if (req_is_write(req->kind))
            wrote(node, req, result);
        req_untrack(req);
    }
    req->core_state = 0;
    req->result = result;
    req->done(req); /* May free it, or start it again. */
    check(node->in_flight > 0);
    if (--node->in_flight == 0)
        node_quiet(node);
}

static void end_task(struct task *task)
{
    struct req *req = container_of(task, struct req, task);

    req_end(req, req->result);
}

void req_end_later(struct req *req, int result)
{
    req->result = result;
    reactor_defer(req->node->graph->reactor, &req->task, end_task);
}

static void driver_finish(struct req *req, int result)
{
    struct node *node = req->node;

    if (req->ctx) {
        pool_put(&core_of(node)->ctx_pool, req->ctx);
        req->ctx = NULL;
    }
    if (req->core_state & CORE_SUB) {
        req->core_state = 0;
        req->result = result;
        req->done(req);
        return;
    }
    req_end(req, result);
}

static void driver_finish_task(struct task *task)
{
    struct req *req = container_of(task, struct req, task);

    driver_finish(req, req->result);
}

void req_complete(struct req *req, int result)
{
    struct graph *graph = req->node->graph;

    check(result <= 0);
    /* Never from inside the submission, and not ever deeper through a long chain. */
    if ((req->core_state & CORE_IN_SUBMIT) || graph->nest >= NEST_MAX) {
        req->result = result;
        reactor_defer(graph->reactor, &req->task, driver_finish_task);
        return;
    }
    graph->nest++;
    driver_finish(req, result);
    graph->nest--;
}

/* ---- Start ---- */

static void driver_start_task(struct task *task)
{
    struct req *req = container_of(task, struct req, task);

    driver_start(req->node, req);
}

void driver_start(struct node *node, struct req *req)
{
    struct graph *graph = node->graph;

    if (graph->nest >= NEST_MAX) {
        reactor_defer(graph->reactor, &req->task, driver_start_task);
        return;
    }
    if (node->driver->req_size) {
        req->ctx = pool_get(&core_of(node)->ctx_pool);
        if (!req->ctx) {
            req->result = -ENOMEM;
            reactor_defer(graph->reactor, &req->task, driver_finish_task);
            return;
        }
    }
    req->core_state |= CORE_IN_SUBMIT;
    graph->nest++;
    node->driver->submit(node, req);
    graph->nest--;
    /* A completion from within was deferred: the request is still there. */
    req->core_state &= ~(uint32_t)CORE_IN_SUBMIT;
}

/* Whether the driver can have the request as it is. */
static bool is_plain(const struct node *node, const struct req *req)
{
    const struct node_limits *limits = &node->limits;
    uint32_t mask = limits->request_alignment - 1;
    uint32_t own;

    if (req->kind == REQ_WRITE) {
        own = node->supported_write_flags;
        if (node->open.detect_zeroes != DETECT_ZEROES_OFF)
            return false;
    } else if (req->kind == REQ_READ) {
        own = ~(uint32_t)(REQ_PREFETCH | REQ_COPY_ON_READ);
    } else {
        return false;
    }
    if (((req->offset | req->len) & mask) ||
        (req->flags & (REQ_FUA | REQ_COMPRESSED | REQ_PREFETCH | REQ_COPY_ON_READ) & ~own))
        return false;
    if (req->offset + req->len > node->size && (req->kind == REQ_READ || !node->driver->can_grow))
        return false;
    if ((limits->max_transfer && req->len > limits->max_transfer) ||
        (limits->max_iov && req->data.niov > limits->max_iov))
        return false;
    return limits->memory_alignment <= 1 ||
           iov_is_aligned(req->data, req->len, limits->memory_alignment);
}

static bool all_zero(const struct node *node, const struct req *req)
{
    return node->open.detect_zeroes != DETECT_ZEROES_OFF && !(req->flags & REQ_COMPRESSED) &&
           iov_is_zero(req->data, req->len);
}

void req_run(struct req *req)
{
    struct node *node = req->node;

    if (LIKELY(is_plain(node, req))) {
        driver_start(node, req);
        return;
    }
    switch (req->kind) {
    case REQ_READ:
        if (req->flags & REQ_COPY_ON_READ) {
            io_copy_on_read(req);
            return;
        }
        if ((req->flags & REQ_PREFETCH)) {
            if (node->supported_read_flags & REQ_PREFETCH)
                driver_start(node, req);
            else
                req_end_later(req, 0);
            return;
        }
        io_rw(req);
        break;
    case REQ_WRITE:
        if (req->flags & REQ_COMPRESSED && !(node->supported_write_flags & REQ_COMPRESSED))
            req_end_later(req, -ENOTSUP);
        else if (all_zero(node, req))
            io_zero(req);
        else
            io_rw(req);
        break;
    case REQ_ZERO: io_zero(req); break;
    case REQ_DISCARD: io_discard(req); break;
    case REQ_FLUSH: io_flush(req); break;
    case REQ_STATUS: io_status(req); break;
    case REQ_KIND_COUNT: unreachable();
    }
}

/* 0, or why the request cannot be. Clips status and discard to the node. */
static int admit(struct node *node, struct req *req)
{
    bool may_grow = !req->edge || (req->edge->perm & PERM_RESIZE);
    bool from_node = !req->edge || req->edge->parent;
    uint64_t size = node->size, end;

    if (core_of(node)->fenced)
        return -EIO;
    if (core_of(node)->perm_err)
        return -EACCES;
    if (req->kind == REQ_FLUSH)
        return 0;
    if (add_overflow_u64(req->offset, req->len, &end) || end > INT64_MAX)
        return -EIO;
    if ((req_is_write(req->kind) || (req->flags & REQ_COPY_ON_READ)) && node->read_only)
        return -EPERM;
    switch (req->kind) {
    case REQ_READ: return end <= size || from_node ? 0 : -EIO;
    case REQ_WRITE:
    case REQ_ZERO:
        if (end <= size)
            return 0;
        if (!may_grow)
            return -EIO;
        return node->driver->can_grow || (end <= align_up_u64(size, node->limits.request_alignment))
                   ? 0
                   : -ENOSPC;
    case REQ_DISCARD:
    case REQ_STATUS:
        if (end <= size)
            return 0;
        return from_node && req->offset < size ? 0 : -EIO;
    case REQ_FLUSH:
    case REQ_KIND_COUNT: break;
    }
    return 0;
}

static void assert_perms(const struct edge *edge, const struct req *req)
{
    uint32_t perm = edge->perm;

    switch (req->kind) {
    case REQ_WRITE:
    case REQ_ZERO:
        check((perm & PERM_WRITE) ||
              ((req->flags & REQ_UNCHANGED) && (perm & PERM_WRITE_UNCHANGED)));
        break;
    case REQ_DISCARD: check(perm & (PERM_WRITE | PERM_WRITE_UNCHANGED)); break;
    case REQ_READ:
        check(!(req->flags & REQ_COPY_ON_READ) || (perm & (PERM_WRITE | PERM_WRITE_UNCHANGED)));
        break;
    case REQ_FLUSH:
    case REQ_STATUS:
    case REQ_KIND_COUNT: break;
    }
}

static void hold(struct node *node, struct req *req)
{
    req->node = node_ref(node);
    req->core_state = CORE_HELD;
    list_add_tail(&core_of(node)->held, &req->link);
}

void req_start(struct node *node, struct req *req)
{
    int result;

    if (UNLIKELY(core_of(node)->perm_busy)) {
        hold(node, req);
        return;
    }
    req->node = node;
    req->core_state = CORE_ACTIVE;
    req->ctx = NULL;
    node->in_flight++;
    result = admit(node, req);
    if (UNLIKELY(result < 0)) {
        req_end_later(req, result);
        return;
    }
    if (UNLIKELY(req->len == 0 && req->kind != REQ_FLUSH)) {
        req_end_later(req, 0);
        return;
    }
    if (req->kind == REQ_FLUSH || req->kind == REQ_STATUS) {
        req_run(req);
        return;
    }
    req_track(req);
    if (LIKELY(!core_of(node)->serialising) || !req_must_wait(req))
        req_run(req);
}

void node_submit(struct node *node, struct req *req)
{
    check(req->core_state == 0);
    req->edge = NULL;
    req_start(node, req);
}

void edge_submit(struct edge *edge, struct req *req)
{
    struct node *node = edge->node;

    check(req->core_state == 0);
    assert_perms(edge, req);
    req->edge = edge;
    /* Requests of parent nodes belong to requests that the parent's own gate has let in before. */
    if (UNLIKELY(node->gate) && !edge->parent && !(req->flags & REQ_NO_GATE)) {
        hold(node, req);
        return;
    }
    req_start(node, req);
}

void req_submit_part(struct req *child, struct edge *edge, enum req_kind kind, uint32_t flags,
                     uint64_t offset, uint64_t len, struct iov_view data, req_done_fn *done)
{
    child->kind = kind;
    child->flags = flags;
    child->offset = offset;
    child->len = len;
    child->data = data;
    child->done = done;
    edge_submit(edge, child);
}
