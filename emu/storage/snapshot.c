/* Internal snapshots: from a node to the driver below that keeps them. */
#include "emu/storage/snapshot.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"

static struct node *only_data_child(struct node *node)
{
    struct node *found = NULL;

    list_for_each(edge, &node->children, struct edge, child_link) {
        if (!(edge->role & (ROLE_DATA | ROLE_METADATA | ROLE_FILTERED)))
            continue;
        if (found)
            return NULL;
        found = edge->node;
    }
    return found;
}

struct node *node_snapshot_keeper(struct node *node)
{
    /* What a format with a table of its own maps cannot be taken back below it. */
    while (node && !node->driver->snapshots) {
        if (!node->driver->is_filter && !str_eq(node->driver->name, "raw"))
            return NULL;
        node = only_data_child(node);
    }
    return node;
}

size_t node_snapshots(struct node *node, const struct snapshot_info **out)
{
    struct node *keeper = node_snapshot_keeper(node);

    *out = NULL;
    return keeper ? keeper->driver->snapshots->list(keeper, out) : 0;
}

const struct snapshot_info *node_snapshot_find(struct node *node, const char *id, const char *name)
{
    const struct snapshot_info *all;
    const size_t n = node_snapshots(node, &all);

    for (size_t i = 0; i < n; i++)
        if ((!id || str_eq(all[i].id, id)) && (!name || str_eq(all[i].name, name)))
            return &all[i];
    return NULL;
}

const struct snapshot_info *node_snapshot_find_any(struct node *node, const char *id_or_name)
{
    const struct snapshot_info *found = node_snapshot_find(node, id_or_name, NULL);

    return found ? found : node_snapshot_find(node, NULL, id_or_name);
}

static struct node *keeper_or_refuse(struct node *node, graph_done_fn *done, void *arg)
{
    struct node *keeper = node_snapshot_keeper(node);

    if (!keeper)
        done(arg, err_new_errno(ENOTSUP, "Node '%s' (%s) keeps no snapshots", node->name,
                                node->driver->name));
    return keeper;
}

void node_snapshot_create(struct node *node, const struct snapshot_info *info, graph_done_fn *done,
                          void *arg)
{
    struct node *keeper = keeper_or_refuse(node, done, arg);

    if (keeper)
        keeper->driver->snapshots->create(keeper, info, done, arg);
}

void node_snapshot_apply(struct node *node, const char *id, graph_done_fn *done, void *arg)
{
    struct node *keeper = keeper_or_refuse(node, done, arg);

    if (keeper)
        keeper->driver->snapshots->apply(keeper, id, done, arg);
}

void node_snapshot_remove(struct node *node, const char *id, graph_done_fn *done, void *arg)
{
    struct node *keeper = keeper_or_refuse(node, done, arg);

    if (keeper)
        keeper->driver->snapshots->remove(keeper, id, done, arg);
}

void node_snapshot_show(struct node *node, const char *id, graph_done_fn *done, void *arg)
{
    struct node *keeper = keeper_or_refuse(node, done, arg);

    if (keeper)
        keeper->driver->snapshots->show(keeper, id, done, arg);
}

static void refuse_later(struct task *task)
{
    struct req *req = container_of(task, struct req, task);

    req->result = -ENOTSUP;
    req->done(req);
}

void node_submit_vmstate(struct node *node, struct req *req)
{
    struct node *keeper = node_snapshot_keeper(node);

    if (keeper && keeper->driver->snapshots->submit_vmstate) {
        keeper->driver->snapshots->submit_vmstate(keeper, req);
        return;
    }
    reactor_defer(node->graph->reactor, &req->task, refuse_later);
}
