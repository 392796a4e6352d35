/*
 * Changing edges: filters in and out, replacing a node, another backing file.
 *
 * A change is made, the permissions below it are worked out, and where they conflict it is undone.
 * Nothing waits: a request in flight keeps the node it went to.
 */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/core.h"

typedef VEC(struct edge *) edge_vec;

static struct err *check_frozen(const struct edge *edge)
{
    if (!edge->frozen)
        return NULL;
    if (edge->parent)
        return err_new("Cannot change frozen '%s' link from '%s' to '%s'", edge->name,
                       edge->parent->name, edge->node->name);
    return err_new("Cannot change '%s' link to '%s'", edge->name, edge->node->name);
}

static void move_all(edge_vec *edges, struct node *to)
{
    vec_for_each(edge, edges)
        edge_move(*edge, to);
}

/*
 * Moves edges, with permissions; back again when they conflict. Requests held on either side start when the
 * permissions are right for the nodes they now go to.
 */
static struct err *move_edges(edge_vec *edges, struct node *from, struct node *to)
{
    struct node *both[2] = { from, to };
    struct err *err;

    node_ref(from);
    node_ref(to);
    gate_close(from);
    gate_close(to);
    move_all(edges, to);
    err = perm_update(both, 2);
    if (err) {
        move_all(edges, from);
        struct err *back = perm_update(both, 2);

        check(!back);
    }
    gate_open(to);
    gate_open(from);
    node_unref(from);
    node_unref(to);
    return err;
}

struct err *node_new_filter(struct graph *graph, const struct driver *driver, const char *name,
                            struct node *child, struct node **out)
{
    bool named = name && *name;
    struct edge *edge, like = { .role = ROLE_FILTERED | ROLE_PRIMARY, .name = "file" };
    uint32_t perm, shared;
    struct node *node;
    struct err *err;

    if (named)
        TRY(graph_check_name(graph, name));
    node = node_new(graph, driver);
    if (named)
        memcpy(node->name, name, strlen(name) + 1);
    else
        graph_auto_name(graph, node->name);
    node->implicit = !named;
    node->size = child->size;
    node->limits = child->limits;
    node->cluster_size = 0;
    node->read_only = child->read_only;
    node->open = child->open;
    node->open.detect_zeroes = DETECT_ZEROES_OFF;
    node->supported_zero_flags = child->supported_zero_flags;
    node->supported_write_flags = child->supported_write_flags;
    node->options = json_object();
    json_object_set_str(node->options, "driver", driver->name);
    xfree(node->filename);
    node->filename = xstrdup(child->filename);
    if (driver->child_perm)
        driver->child_perm(node, &like, 0, PERM_ALL, &perm, &shared);
    else
        node_default_perms(node, &like, 0, PERM_ALL, &perm, &shared);
    err = edge_attach_child(node, child, "file", like.role, perm, shared, &edge);
    if (err) {
        node_unref(node);
        return err;
    }
    core_of(node)->opened = core_of(node)->made = true;
    graph_list(node);
    *out = node;
    return NULL;
}

static bool stays(const struct edge *edge) { return edge->ops && edge->ops->stays; }

struct err *graph_insert_filter(struct node *filter, struct node *node, const struct edge *except)
{
    edge_vec edges = { 0 };
    struct err *err = NULL;

    list_for_each(edge, &node->parents, struct edge, parent_link) {
        if (edge->parent != filter && edge != except && !stays(edge)) {
            if (!err)
                err = check_frozen(edge);
            vec_push(&edges, edge);
        }
    }
    if (!err)
        err = move_edges(&edges, node, filter);
    vec_fini(&edges);
    return err;
}

struct err *graph_remove_filter(struct node *filter)
{
    edge_vec edges = { 0 };
    struct node *below = NULL;
    struct err *err = NULL;

    list_for_each(edge, &filter->children, struct edge, child_link) {
        if (edge->role & ROLE_FILTERED)
            below = edge->node;
    }
    check(below);
    list_for_each(edge, &filter->parents, struct edge, parent_link) {
        if (!err)
            err = check_frozen(edge);
        vec_push(&edges, edge);
    }
    if (!err)
        err = move_edges(&edges, filter, below);
    vec_fini(&edges);
    return err;
}

struct err *graph_replace_node(struct node *from, struct node *to)
{
    edge_vec edges = { 0 };
    node_vec below = { 0 };
    struct err *err = NULL;

    graph_descendants(to, &below);
    list_for_each(edge, &from->parents, struct edge, parent_link) {
        bool inside = false;

        /* Parents that are below the new node would close a loop: they stay. */
        vec_for_each(node, &below)
            inside |= edge->parent == *node;
        if (inside || stays(edge))
            continue;
        if (!err)
            err = check_frozen(edge);
        vec_push(&edges, edge);
    }
    vec_fini(&below);
    if (!err)
        err = move_edges(&edges, from, to);
    vec_fini(&edges);
    return err;
}

static const struct driver_child *backing_row(const struct node *node)
{
    for (const struct driver_child *child = node->driver->children; child && child->name; child++)
        if (str_eq(child->name, "backing"))
            return child;
    return NULL;
}

struct err *node_set_backing(struct node *node, struct node *backing)
{
    struct edge *old = node->backing;
    const struct driver_child *row = backing_row(node);

    if (old && old->node == backing)
        return NULL;
    if (old)
        TRY(check_frozen(old));
    if (!backing) {
        if (old)
            edge_detach(old);
        return perm_update(&node, 1);
    }
    if (!node->driver->supports_backing)
        return err_new("Driver '%s' of node '%s' does not support backing files",
                       node->driver->name, node->name);
    if (old) {
        edge_vec one = { 0 };
        struct err *err;
        node_vec below = { 0 };
        bool loop = false;

        graph_descendants(backing, &below);
        vec_for_each(at, &below)
            loop |= *at == node;
        vec_fini(&below);
        if (loop)
            return err_new("Making '%s' a backing child of '%s' would create a cycle",
                           backing->name, node->name);
        vec_push(&one, old);
        err = move_edges(&one, old->node, backing);
        vec_fini(&one);
        return err;
    }
    struct edge *edge;
    uint32_t perm, shared, child_perm, child_shared;
    struct edge like = { .role = row ? row->role : ROLE_COW };

    node_cumulative(node, &perm, &shared);
    node_default_perms(node, &like, perm, shared, &child_perm, &child_shared);
    TRY(edge_attach_child(node, backing, "backing", like.role, child_perm, child_shared, &edge));
    return perm_update(&node, 1);
}
