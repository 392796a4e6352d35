/* The graph: names, walks, and closing everything. */
#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/backend.h"
#include "emu/storage/core.h"
#include "emu/storage/event.h"
#include "emu/storage/fdset.h"

struct idle_waiter {
    struct list link;
    graph_done_fn *done;
    void *arg;
};

static void idle_task(struct task *task);
static void drain_task(struct task *task)
{
    graph_drain_check(container_of(task, struct graph, drain_task));
}
static void settle_task(struct task *task)
{
    graph_settle_check(container_of(task, struct graph, settle_task));
}

struct graph *graph_new(struct reactor *reactor, const struct driver *const *drivers)
{
    struct graph *graph = NEW(struct graph);

    graph->reactor = reactor;
    graph->drivers = drivers;
    list_init(&graph->nodes);
    list_init(&graph->drains);
    list_init(&graph->settlers);
    list_init(&graph->idle_waiters);
    list_init(&graph->backends);
    list_init(&graph->fdsets);
    list_init(&graph->fd_names);
    notifier_list_init(&graph->on_event);
    map_init(&graph->names);
    graph->drain_task.fn = drain_task;
    graph->settle_task.fn = settle_task;
    return graph;
}

void graph_free(struct graph *graph)
{
    if (!graph)
        return;
    check(list_empty(&graph->nodes) && !graph->opening && !graph->closing);
    check(list_empty(&graph->drains) && list_empty(&graph->settlers) &&
          list_empty(&graph->idle_waiters) && list_empty(&graph->backends));
    reactor_undefer(&graph->drain_task);
    reactor_undefer(&graph->settle_task);
    reactor_undefer(&graph->idle_task);
    err_free(graph->close_err);
    notifier_list_fini(&graph->on_event);
    map_fini(&graph->names);
    fdsets_fini(graph);
    xfree(graph->zeroes);
    xfree(graph);
}

struct reactor *graph_reactor(struct graph *graph) { return graph->reactor; }
void graph_set_yank(struct graph *graph, struct yank *yank) { graph->yank = yank; }
struct yank *graph_yank(struct graph *graph) { return graph->yank; }
void graph_set_objects(struct graph *graph, struct objects *objects) { graph->objects = objects; }
struct objects *graph_objects(struct graph *graph) { return graph->objects; }
struct notifier_list *graph_events(struct graph *graph) { return &graph->on_event; }
void graph_raise(struct graph *graph, struct storage_event *event)
{
    notify_all(&graph->on_event, event);
}
struct list *graph_nodes(struct graph *graph) { return &graph->nodes; }

struct node *graph_find(struct graph *graph, const char *node_name)
{
    return map_get(&graph->names, node_name);
}

struct err *graph_lookup(struct graph *graph, const char *node_name, struct node **out)
{
    *out = graph_find(graph, node_name);
    if (*out)
        return NULL;
    return err_new("Cannot find device='%s' nor node-name='%s'", node_name, node_name);
}

const struct driver *driver_find(const struct graph *graph, const char *name)
{
    for (const struct driver *const *driver = graph->drivers; *driver; driver++)
        if (str_eq((*driver)->name, name))
            return *driver;
    return NULL;
}

uint8_t *graph_zeroes(struct graph *graph)
{
    if (!graph->zeroes) {
        graph->zeroes = try_alloc_aligned(4096, ZEROES_BYTES);
        if (graph->zeroes)
            memset(graph->zeroes, 0, ZEROES_BYTES);
    }
    return graph->zeroes;
}

/* ---- Names ---- */

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool name_is_well_formed(const char *name)
{
    if (!is_letter(*name))
        return false;
    for (const char *c = name; *c; c++)
        if (!is_letter(*c) && !(*c >= '0' && *c <= '9') && *c != '-' && *c != '.' && *c != '_')
            return false;
    return true;
}

struct err *graph_check_name(struct graph *graph, const char *name)
{
    if (!name_is_well_formed(name))
        return err_new("Invalid node-name: '%s'", name);
    if (strlen(name) >= sizeof(((struct node *)0)->name))
        return err_new("Node name too long");
    if (backend_find(graph, name))
        return err_new("node-name=%s is conflicting with a device id", name);
    if (map_has(&graph->names, name))
        return err_new("Duplicate nodes with node-name='%s'", name);
    return NULL;
}

void graph_auto_name(struct graph *graph, char out[32])
{
    struct str name = { 0 };

    str_addf(&name, "#block%03u", graph->next_auto++);
    memcpy(out, str_cstr(&name), name.len + 1);
    str_fini(&name);
}

void graph_list(struct node *node)
{
    list_add_tail(&node->graph->nodes, &node->link);
    map_put(&node->graph->names, node->name, node);
    core_of(node)->listed = true;
}

void graph_unlist(struct node *node)
{
    if (!core_of(node)->listed)
        return;
    core_of(node)->listed = false;
    list_del(&node->link);
    map_remove(&node->graph->names, node->name);
}

/* ---- Walks ---- */

static void visit(struct node *node, uint32_t mark, node_vec *out)
{
    if (core_of(node)->mark == mark)
        return;
    core_of(node)->mark = mark;
    vec_push(out, node);
}

void graph_ancestors(struct node *start, node_vec *out)
{
    uint32_t mark = ++start->graph->mark;

    visit(start, mark, out);
    for (size_t i = 0; i < vec_len(out); i++) {
        list_for_each(edge, &vec_at(out, i)->parents, struct edge, parent_link) {
            if (edge->parent)
                visit(edge->parent, mark, out);
        }
    }
}

void graph_descendants(struct node *start, node_vec *out)
{
    uint32_t mark = ++start->graph->mark;

    visit(start, mark, out);
    for (size_t i = 0; i < vec_len(out); i++) {
        list_for_each(edge, &vec_at(out, i)->children, struct edge, child_link)
            visit(edge->node, mark, out);
    }
}

/* ---- Rest ---- */

static void idle_task(struct task *task)
{
    struct graph *graph = container_of(task, struct graph, idle_task);
    struct list ready = LIST_INIT(ready);
    struct idle_waiter *waiter;

    if (graph->opening || graph->closing)
        return;
    list_splice_tail(&ready, &graph->idle_waiters);
    while ((waiter = list_pop_head(&ready, struct idle_waiter, link))) {
        struct err *err = graph->close_err;

        graph->close_err = NULL;
        waiter->done(waiter->arg, err);
        xfree(waiter);
    }
}

void graph_idle_check(struct graph *graph)
{
    if (!graph->opening && !graph->closing && !list_empty(&graph->idle_waiters))
        reactor_defer(graph->reactor, &graph->idle_task, idle_task);
}

void graph_settle(struct graph *graph, void (*done)(void *arg, struct err *err), void *arg)
{
    struct idle_waiter *waiter = NEW(struct idle_waiter);

    waiter->done = done;
    waiter->arg = arg;
    list_add_tail(&graph->idle_waiters, &waiter->link);
    graph_idle_check(graph);
}

void graph_close_all(struct graph *graph, graph_done_fn *done, void *arg)
{
    node_vec owned = { 0 };

    list_for_each(node, &graph->nodes, struct node, link)
        if (node->monitor_owned)
            vec_push(&owned, node);
    /* Users go before what they use, or the log would tell of nothing but conflicts. */
    for (size_t i = vec_len(&owned); i-- > 0;) {
        vec_at(&owned, i)->monitor_owned = false;
        node_unref(vec_at(&owned, i));
    }
    vec_fini(&owned);
    graph_settle(graph, done, arg);
}
