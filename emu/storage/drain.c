/*
 * Drain: close the gates of a node and of all above it, and learn when nothing is in flight there.
 *
 * A gate counts its reasons (core.h (2)); the first closes it for parents that are no nodes (their
 * requests wait in core->held) and passes on to parents that are. Requests of parent nodes pass: they
 * are parts of requests that the parent's gate has let in.
 */
#include "emu/storage/core.h"

void gate_close(struct node *start)
{
    node_vec todo = { 0 };

    vec_push(&todo, start);
    while (vec_len(&todo)) {
        struct node *node = vec_pop(&todo);

        if (node->gate++)
            continue;
        if (node->driver->drained_begin && core_of(node)->opened)
            node->driver->drained_begin(node);
        list_for_each(edge, &node->parents, struct edge, parent_link) {
            if (edge->quiesced)
                continue;
            edge->quiesced = true;
            if (edge->parent)
                vec_push(&todo, edge->parent);
            else if (edge->ops && edge->ops->drained_begin)
                edge->ops->drained_begin(edge);
        }
    }
    vec_fini(&todo);
}

void gate_open(struct node *start)
{
    node_vec todo = { 0 }, opened = { 0 };

    vec_push(&todo, start);
    while (vec_len(&todo)) {
        struct node *node = vec_pop(&todo);

        check(node->gate > 0);
        if (--node->gate)
            continue;
        if (!node->refs)
            continue; /* It is closing: it has no parents, and nothing waits at its gate. */
        vec_push(&opened, node_ref(node));
        list_for_each(edge, &node->parents, struct edge, parent_link) {
            if (!edge->quiesced)
                continue;
            edge->quiesced = false;
            if (edge->parent)
                vec_push(&todo, edge->parent);
        }
    }
    /* Parents may act at once, so the gates are all in order before they hear of it. */
    vec_for_each(node, &opened) {
        list_for_each_safe(edge, &(*node)->parents, struct edge, parent_link) {
            if (!edge->parent && edge->ops && edge->ops->drained_end)
                edge->ops->drained_end(edge);
        }
        node_release_held(*node);
    }
    vec_for_each(node, &opened)
        node_unref(*node);
    vec_fini(&opened);
    vec_fini(&todo);
}

void edge_quiesce(struct edge *edge)
{
    edge->quiesced = true;
    if (edge->parent)
        gate_close(edge->parent);
    else if (edge->ops && edge->ops->drained_begin)
        edge->ops->drained_begin(edge);
}

void edge_unquiesce(struct edge *edge)
{
    edge->quiesced = false;
    if (edge->parent)
        gate_open(edge->parent);
    else if (edge->ops && edge->ops->drained_end)
        edge->ops->drained_end(edge);
}

void node_release_held(struct node *node)
{
    struct node_core *core = core_of(node);
    struct list mine = LIST_INIT(mine);
    struct req *req;

    if (list_empty(&core->held) || core->perm_busy)
        return;
    list_splice_tail(&mine, &core->held);
    while ((req = list_pop_head(&mine, struct req, link))) {
        struct edge *edge = req->edge;

        if (node->gate && edge && !edge->parent && !(req->flags & REQ_NO_GATE)) {
            list_add_tail(&core->held, &req->link);
            continue;
        }
        req->core_state = 0;
        req_start(node, req); /* It counts before the reference goes. */
        node_unref(node);
    }
}

/* ---- Drains ---- */

static bool is_quiet(struct node *node)
{
    node_vec above = { 0 };
    bool quiet = true;

    graph_ancestors(node, &above);
    vec_for_each(at, &above)
        quiet &= (*at)->in_flight == 0;
    vec_fini(&above);
    return quiet;
}

void graph_drain_check(struct graph *graph)
{
    bool again;

    do {
        again = false;
        list_for_each(drain, &graph->drains, struct drain, link) {
            if (!is_quiet(drain->node))
                continue;
            list_del(&drain->link);
            drain->waiting = false;
            drain->done(drain); /* May end this and other drains. */
            again = true;
            break;
        }
    } while (again);
}

void drain_begin(struct drain *drain, struct node *node, void (*done)(struct drain *drain))
{
    struct graph *graph = node->graph;

    check(!drain->held);
    drain->done = done;
    drain->node = node_ref(node);
    drain->waiting = drain->held = true;
    core_of(node)->own_drains++;
    gate_close(node);
    list_add_tail(&graph->drains, &drain->link);
    reactor_defer(graph->reactor, &graph->drain_task, graph->drain_task.fn);
}

void drain_end(struct drain *drain)
{
    struct node *node = drain->node;

    if (!drain->held)
        return;
    drain->held = false;
    if (drain->waiting)
        list_del(&drain->link);
    drain->waiting = false;
    drain->node = NULL;
    core_of(node)->own_drains--;
    gate_open(node);
    node_unref(node);
}
