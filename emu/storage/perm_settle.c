/*
 * Permissions that take effect outside the process (locks on image files).
 *
 * The calculus (perm.c) decides at once; drivers with prepare_perm then take or give up locks, which
 * takes time. Until then requests to the node are held, so nobody writes without the lock. A conflict
 * with another process is kept in core->perm_err: requests fail with -EACCES, whoever waits with
 * edge_settle gets the error and detaches, and the smaller need that results is tried again.
 */
#include "emu/base/alloc.h"
#include "emu/storage/core.h"

static void apply_done(void *arg, struct err *err);

static void apply_start(struct node *node)
{
    struct node_core *core = core_of(node);

    core->perm_busy = true;
    core->perm_again = false;
    node_cumulative(node, &core->perm_taken, &core->perm_shared);
    node->driver->prepare_perm(node, core->perm_taken, core->perm_shared, apply_done, node);
}

static void apply_done(void *arg, struct err *err)
{
    struct node *node = arg;
    struct node_core *core = core_of(node);

    err_free(core->perm_err);
    core->perm_err = err;
    core->perm_busy = false;
    if (core->perm_again) {
        apply_start(node);
        return;
    }
    node_release_held(node);
    reactor_defer(node->graph->reactor, &node->graph->settle_task, node->graph->settle_task.fn);
    node_quiet(node);
}

void node_perm_apply(struct node *node)
{
    struct node_core *core = core_of(node);
    uint32_t perm, shared;

    if (!node->driver->prepare_perm || core->closing)
        return;
    node_cumulative(node, &perm, &shared);
    if (core->perm_busy) {
        core->perm_again = perm != core->perm_taken || shared != core->perm_shared;
        return;
    }
    if (perm != core->perm_taken || shared != core->perm_shared || core->perm_err)
        apply_start(node);
}

/* 1: wait on. */
static int look(struct node *node, struct err **err)
{
    node_vec below = { 0 };
    int wait = 0;

    graph_descendants(node, &below);
    vec_for_each(at, &below) {
        if (core_of(*at)->perm_busy)
            wait = 1;
        else if (core_of(*at)->perm_err && !*err)
            *err = err_copy(core_of(*at)->perm_err);
    }
    vec_fini(&below);
    if (wait) {
        err_free(*err);
        *err = NULL;
    }
    return wait;
}

void graph_settle_check(struct graph *graph)
{
    struct list ready = LIST_INIT(ready);
    struct settler *settler;

    /* A callback may add waiters and free others' nodes: those found ready are taken out first. */
    list_for_each_safe(waiting, &graph->settlers, struct settler, link) {
        struct err *err = NULL;

        if (look(waiting->node, &err))
            continue;
        err_free(err);
        list_del(&waiting->link);
        list_add_tail(&ready, &waiting->link);
    }
    while ((settler = list_pop_head(&ready, struct settler, link))) {
        struct err *err = NULL;

        if (look(settler->node, &err)) {
            list_add_tail(&graph->settlers, &settler->link);
            continue;
        }
        settler->done(settler->arg, err);
        node_unref(settler->node);
        xfree(settler);
    }
}

void node_settle(struct node *node, graph_done_fn *done, void *arg)
{
    struct settler *settler = NEW(struct settler);

    settler->node = node_ref(node);
    settler->done = done;
    settler->arg = arg;
    list_add_tail(&node->graph->settlers, &settler->link);
    reactor_defer(node->graph->reactor, &node->graph->settle_task, node->graph->settle_task.fn);
}

void edge_settle(struct edge *edge, graph_done_fn *done, void *arg)
{
    node_settle(edge->node, done, arg);
}
