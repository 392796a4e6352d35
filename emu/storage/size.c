/* The size of nodes: changing it, and telling who depends on it. */
#include <errno.h>
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/core.h"

static void parent_resized(struct edge *edge)
{
    struct node *parent = edge->parent;

    if (!parent) {
        if (edge->ops && edge->ops->resized)
            edge->ops->resized(edge);
        return;
    }
    if (parent->driver->child_resized)
        parent->driver->child_resized(parent, edge);
    else if (parent->driver->is_filter && (edge->role & ROLE_FILTERED))
        node_set_size(parent, edge->node->size);
}

void node_set_size(struct node *node, uint64_t size)
{
    if (node->size == size)
        return;
    node->size = size;
    bitmaps_resize(node, size);
    list_for_each_safe(edge, &node->parents, struct edge, parent_link)
        parent_resized(edge);
}

/* ---- Truncate ---- */

struct truncating {
    struct node *node; /* Holds a reference, and an in-flight count for drains. */
    uint64_t old_size, size;
    struct req zero;
    graph_done_fn *done;
    void *arg;
    struct err *err;
    struct task task;
};

static void finish(struct truncating *t, struct err *err)
{
    struct node *node = t->node;

    t->done(t->arg, err);
    if (--node->in_flight == 0)
        node_quiet(node);
    node_unref(node);
    xfree(t);
}

static void zeroed(struct req *req)
{
    struct truncating *t = container_of(req, struct truncating, zero);

    finish(t, req->result < 0 ? err_new_errno(req->result, "Failed to zero the new area") : NULL);
}

static void truncated(void *arg, struct err *err)
{
    struct truncating *t = arg;
    struct node *node = t->node;

    if (err) {
        finish(t, err);
        return;
    }
    node->write_gen++;
    /* A backing file longer than the node was would show through in the new area. */
    uint64_t shows = node->backing ? MIN(node->backing->node->size, node->size) : 0;

    if (shows > t->old_size) {
        t->zero = (struct req){
            .kind = REQ_ZERO, .offset = t->old_size, .len = shows - t->old_size, .done = zeroed
        };
        node_submit(node, &t->zero);
        return;
    }
    finish(t, NULL);
}

static void fail_task(struct task *task)
{
    struct truncating *t = container_of(task, struct truncating, task);

    finish(t, t->err);
}

/* The largest disk: a multiple of every alignment there is. */
#define NODE_SIZE_MAX (INT64_MAX - (UINT64_C(1) << 30) + 1)

void edge_truncate(struct edge *edge, uint64_t size, bool exact, enum prealloc prealloc,
                   graph_done_fn *done, void *arg)
{
    struct node *node = edge->node;
    struct truncating *t = NEW(struct truncating);
    struct err *err = NULL;

    check(edge->perm & PERM_RESIZE);
    t->node = node_ref(node);
    t->old_size = node->size;
    t->size = size;
    t->done = done;
    t->arg = arg;
    node->in_flight++;
    if (size > INT64_MAX)
        err = err_new("Image size cannot be negative");
    else if (size > NODE_SIZE_MAX)
        err = err_new("offset(%" PRIu64 ") exceeds maximum(%" PRIu64 ")", size, NODE_SIZE_MAX);
    else if (node->read_only)
        err = err_new("Image is read-only");
    else if (core_of(node)->fenced)
        err = err_new_errno(EIO, "Node '%s' was cut off", node->name);
    else if (core_of(node)->perm_err)
        err = err_copy(core_of(node)->perm_err);
    else
        err = size < node->size ? bitmaps_check_resize(node) : NULL;
    if (!err && !node->driver->truncate) {
        struct node *below = node->driver->is_filter ? node_skip_filters(node) : node;

        if (below != node) {
            struct edge *child = list_first(&node->children, struct edge, child_link);

            list_for_each(each, &node->children, struct edge, child_link) {
                if (each->role & ROLE_FILTERED)
                    child = each;
            }
            edge_truncate(child, size, exact, prealloc, truncated, t);
            return;
        }
        err = err_new("Image format driver does not support resize");
    }
    if (err) {
        t->err = err;
        reactor_defer(node->graph->reactor, &t->task, fail_task);
        return;
    }
    node->driver->truncate(node, size, exact, prealloc, truncated, t);
}
