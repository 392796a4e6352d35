/* A node's life: references, closing, deletion by command. */
#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/core.h"

struct node *node_new(struct graph *graph, const struct driver *driver)
{
    struct node *node = NEW(struct node);
    struct node_core *core = NEW(struct node_core);

    node->graph = graph;
    node->driver = driver;
    node->core = core;
    core->node = node;
    node->filename = xstrdup("");
    node->refs = 1;
    node->limits = (struct node_limits){ .request_alignment = 1, .memory_alignment = 1 };
    node->state = xcalloc(1, MAX(driver->state_size, (size_t)1));
    list_init(&node->parents);
    list_init(&node->children);
    list_init(&node->bitmaps);
    list_init(&node->link);
    notifier_list_init(&node->on_write);
    list_init(&core->tracked);
    list_init(&core->held);
    list_init(&core->flush_queue);
    core->perm_shared = PERM_ALL;
    pool_init(&core->ctx_pool, MAX(driver->req_size, (size_t)1), REQUESTS_MAX);
    pool_init(&core->io_pool, sizeof(struct io), REQUESTS_MAX);
    return node;
}

static void node_free(struct node *node)
{
    struct node_core *core = core_of(node);

    check(list_empty(&node->parents) && list_empty(&node->children) && list_empty(&core->tracked));
    while (!list_empty(&node->bitmaps))
        bitmap_free(list_first(&node->bitmaps, struct bitmap, link));
    pool_fini(&core->ctx_pool);
    pool_fini(&core->io_pool);
    err_free(core->perm_err);
    reactor_undefer(&core->close_task);
    xfree(core);
    xfree(node->state);
    xfree(node->filename);
    xfree(node->backing_name);
    xfree(node->backing_format);
    json_free(node->options);
    xfree(node);
}

void close_ticket_init(struct close_ticket *ticket, graph_done_fn *done, void *arg)
{
    *ticket = (struct close_ticket){ .done = done, .arg = arg };
}

static void ticket_put(struct close_ticket *ticket)
{
    if (--ticket->pending == 0)
        ticket->done(ticket->arg, ticket->err);
}

static void close_done(void *arg, struct err *err)
{
    struct node *node = arg;
    struct graph *graph = node->graph;
    struct close_ticket *ticket = core_of(node)->ticket;

    if (err) {
        log_error("closing block node '%s': %s", node->name, err_text(err));
        err_keep_first(&graph->close_err, err);
    }
    while (!list_empty(&node->children)) {
        struct edge *edge = list_first(&node->children, struct edge, child_link);
        struct node *child = edge->node;

        /* What closes because of this node is part of its close. */
        if (ticket && child->refs == 1 && !core_of(child)->ticket) {
            core_of(child)->ticket = ticket;
            ticket->pending++;
        }
        edge_detach(edge);
    }
    node_free(node);
    graph->closing--;
    if (ticket)
        ticket_put(ticket);
    graph_idle_check(graph);
}

static void close_task(struct task *task)
{
    struct node *node = container_of(task, struct node_core, close_task)->node;

    if (node->driver->close && core_of(node)->opened)
        node->driver->close(node, close_done, node);
    else
        close_done(node, NULL);
}

static void maybe_close(struct node *node)
{
    struct node_core *core = core_of(node);

    if (node->refs || node->in_flight || core->perm_busy || core->closing)
        return;
    core->closing = true;
    reactor_defer(node->graph->reactor, &core->close_task, close_task);
}

struct node *node_ref(struct node *node)
{
    check(node->refs > 0);
    node->refs++;
    return node;
}

void node_unref(struct node *node)
{
    check(node->refs > 0);
    if (--node->refs == 0) {
        graph_unlist(node);
        node->graph->closing++;
        maybe_close(node);
    }
}

void node_unref_ticket(struct node *node, struct close_ticket *ticket)
{
    ticket->pending++;
    if (node->refs == 1) {
        check(!core_of(node)->ticket);
        core_of(node)->ticket = ticket;
        node_unref(node);
        return;
    }
    node_unref(node);
    ticket_put(ticket);
}

void node_quiet(struct node *node)
{
    if (node->gate && !list_empty(&node->graph->drains))
        reactor_defer(node->graph->reactor, &node->graph->drain_task, node->graph->drain_task.fn);
    if (!node->refs)
        maybe_close(node);
}

struct err *node_check_not_busy(struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        if (edge->parent || !edge->ops || !edge->ops->describe || edge->ops->hidden)
            continue;
        char *text = edge->ops->describe(edge);
        struct err *err = err_new("Node '%s' is busy: %s", node->name, text);

        xfree(text);
        return err;
    }
    return NULL;
}

/* ---- blockdev-del ---- */

static struct err *check_unused(struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        if (edge->parent || (edge->ops && edge->ops->hidden))
            continue;
        if (!edge->ops || !edge->ops->describe)
            return err_new("Node %s is in use", node->name);
    }
    TRY(node_check_not_busy(node));
    list_for_each_reverse(edge, &node->parents, struct edge, parent_link) {
        if (edge->parent && edge->parent->refs > 0 && (edge->role & ROLE_COW))
            return err_new("Node '%s' is busy: node is used as backing hd of '%s'", node->name,
                           edge->parent->name);
    }
    return NULL;
}

struct deletion {
    struct close_ticket ticket;
    graph_done_fn *done;
    void *arg;
};

static void deleted(void *arg, struct err *err)
{
    struct deletion *deletion = arg;

    deletion->done(deletion->arg, err);
    xfree(deletion);
}

struct err *node_delete(struct graph *graph, const char *name, graph_done_fn *done, void *arg)
{
    struct node *node = graph_find(graph, name);

    if (!node)
        return err_new("Failed to find node with node-name='%s'", name);
    TRY(check_unused(node));
    if (!node->monitor_owned)
        return err_new("Node %s is not owned by the monitor", name);
    if (node->refs > 1)
        return err_new("Block device %s is in use", name);
    struct deletion *deletion = NEW(struct deletion);

    deletion->done = done;
    deletion->arg = arg;
    close_ticket_init(&deletion->ticket, deleted, deletion);
    node->monitor_owned = false;
    node_unref_ticket(node, &deletion->ticket);
    return NULL;
}

/* ---- Facts ---- */

struct node *node_skip_filters(struct node *node)
{
    while (node->driver->is_filter && !list_empty(&node->children)) {
        struct edge *filtered = NULL;

        list_for_each(edge, &node->children, struct edge, child_link) {
            if (edge->role & ROLE_FILTERED)
                filtered = edge;
        }
        if (!filtered)
            break;
        node = filtered->node;
    }
    return node;
}

struct node *node_backing(struct node *node)
{
    node = node_skip_filters(node);
    return node->backing ? node_skip_filters(node->backing->node) : NULL;
}

uint32_t node_cluster_size(struct node *node) { return node_skip_filters(node)->cluster_size; }
