/* Backends: names for where disks are plugged in. */
#include "emu/storage/backend.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"

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
    list_add_tail(&graph->backends, &backend->link);
    *out = backend;
    return NULL;
}

void backend_free(struct backend *backend)
{
    if (!backend)
        return;
    check(!backend->root);
    list_del(&backend->link);
    xfree(backend->name);
    xfree(backend->device);
    xfree(backend);
}

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
        if (backend->device && str_eq(backend->device, id))
            return backend;
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
