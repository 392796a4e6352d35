/* Backends: names for where disks are plugged in. */
#include "emu/storage/backend.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"
#include "emu/storage/event.h"

struct err *backend_new(struct graph *graph, const char *name, struct backend **out)
{
    struct backend *backend;

    *out = NULL;
    if (*name && backend_find(graph, name))
        return err_new("Device with id '%s' already exists", name);
    if (*name && graph_find(graph, name))
        return err_new("Device name '%s' conflicts with an existing node name", name);
    backend = NEW(struct backend);
    backend->graph = graph;
    backend->name = xstrdup(name);
    backend->shared = PERM_ALL;
    backend->write_cache = true;
    list_add_tail(&graph->backends, &backend->link);
    *out = backend;
    return NULL;
}

void backend_free(struct backend *backend)
{
    if (!backend)
        return;
    check(!backend->ops);
    backend_remove(backend);
    list_del(&backend->link);
    xfree(backend->name);
    xfree(backend->device);
    xfree(backend->device_path);
    xfree(backend->device_alias);
    xfree(backend);
}

const char *backend_label(const struct backend *backend)
{
    if (*backend->name || !backend->device)
        return backend->name;
    return backend->device;
}

/* ---- The disk ---- */

static char *identify(struct edge *edge)
{
    const struct backend *backend = edge->owner;
    const char *label = backend_label(backend);

    if (!*label)
        return xstrdup("an unnamed block device");
    return xasprintf("block device '%s'", label);
}

static void drained_begin(struct edge *edge)
{
    const struct backend *backend = edge->owner;

    if (backend->ops && backend->ops->drained_begin)
        backend->ops->drained_begin(backend->owner);
}

static void drained_end(struct edge *edge)
{
    const struct backend *backend = edge->owner;

    if (backend->ops && backend->ops->drained_end)
        backend->ops->drained_end(backend->owner);
}

static void resized(struct edge *edge)
{
    const struct backend *backend = edge->owner;

    if (backend->ops && backend->ops->resized)
        backend->ops->resized(backend->owner);
}

static const struct edge_parent_ops backend_parent = {
    .what = "block device",
    .identify = identify,
    .drained_begin = drained_begin,
    .drained_end = drained_end,
    .resized = resized,
};

struct err *backend_insert(struct backend *backend, struct node *node)
{
    check(!backend->root);
    return edge_attach(node, "root", &backend_parent, backend, backend->perm, backend->shared,
                       &backend->root);
}

void backend_remove(struct backend *backend)
{
    struct edge *root = backend->root;

    backend->root = NULL;
    if (root)
        edge_detach(root);
}

struct err *backend_set_perm(struct backend *backend, uint32_t perm, uint32_t shared)
{
    if (backend->root)
        TRY(edge_set_perm(backend->root, perm, shared));
    backend->perm = perm;
    backend->shared = shared;
    return NULL;
}

/* ---- The device ---- */

struct err *backend_attach(struct backend *backend, const struct backend_device_ops *ops,
                           void *owner, const char *device, const char *path, const char *alias)
{
    if (backend->ops)
        return err_new("Drive '%s' is already in use by another block device", backend->name);
    backend->ops = ops;
    backend->owner = owner;
    backend->device = xstrdup(device);
    backend->device_path = xstrdup(path);
    backend->device_alias = alias ? xstrdup(alias) : NULL;
    backend->io_status = BACKEND_IO_OK;
    return NULL;
}

void backend_detach(struct backend *backend)
{
    backend->ops = NULL;
    backend->owner = NULL;
    backend->iothread = NULL;
    xfree(backend->device);
    xfree(backend->device_path);
    xfree(backend->device_alias);
    backend->device = NULL;
    backend->device_path = NULL;
    backend->device_alias = NULL;
    err_ignore(backend_set_perm(backend, 0, PERM_ALL)); /* Taking less cannot conflict. */
}

/* ---- Media ---- */

bool backend_is_removable(const struct backend *backend)
{
    return !backend->ops || backend->ops->removable;
}

bool backend_has_tray(const struct backend *backend)
{
    return backend->ops && backend->ops->has_tray;
}

bool backend_tray_is_open(const struct backend *backend)
{
    return backend_has_tray(backend) && backend->ops->tray_is_open(backend->owner);
}

struct err *backend_media_changed(struct backend *backend, bool inserted)
{
    struct storage_event event = { .kind = STORAGE_TRAY_MOVED, .backend = backend };
    bool was_open = backend_tray_is_open(backend);

    if (!backend->ops || !backend->ops->changed)
        return NULL;
    TRY(backend->ops->changed(backend->owner, inserted));
    event.u.tray_open = backend_tray_is_open(backend);
    if (event.u.tray_open != was_open)
        graph_raise(backend->graph, &event);
    return NULL;
}

/* ---- Finding ---- */

struct list *graph_backends(struct graph *graph) { return &graph->backends; }

struct backend *backend_find(struct graph *graph, const char *name)
{
    list_for_each(backend, &graph->backends, struct backend, link)
        if (*backend->name && str_eq(backend->name, name))
            return backend;
    return NULL;
}

struct backend *backend_find_device(struct graph *graph, const char *id)
{
    list_for_each(backend, &graph->backends, struct backend, link)
        if (backend->ops && (str_eq(backend->device, id) || str_eq(backend->device_path, id) ||
                             str_eq(backend->device_alias, id)))
            return backend;
    return NULL;
}

struct backend *backend_of_node(const struct node *node)
{
    list_for_each(edge, &node->parents, struct edge, parent_link)
        if (edge->ops == &backend_parent)
            return edge->owner;
    return NULL;
}

static struct err *medium_of(const struct backend *backend, const char *name, struct node **out)
{
    if (!backend->root)
        return err_new("Device '%s' has no medium", name);
    *out = backend->root->node;
    return NULL;
}

struct err *graph_lookup_disk(struct graph *graph, const char *device, struct node **out)
{
    return graph_lookup_either(graph, device, device, out);
}

struct err *graph_lookup_either(struct graph *graph, const char *device, const char *node_name,
                                struct node **out)
{
    struct backend *backend = device ? backend_find(graph, device) : NULL;

    *out = NULL;
    if (backend)
        return medium_of(backend, device, out);
    if (node_name && (*out = graph_find(graph, node_name)))
        return NULL;
    return err_new("Cannot find device='%s' nor node-name='%s'", device ? device : "",
                   node_name ? node_name : "");
}
