/* Edges: attaching, detaching, moving parents from child to child. */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"

struct edge *edge_new(struct node *child, struct node *parent, const char *name, uint32_t role)
{
    struct edge *edge = NEW(struct edge);

    check(strlen(name) < sizeof(edge->name));
    memcpy(edge->name, name, strlen(name) + 1);
    edge->parent = parent;
    edge->role = role;
    edge->shared = PERM_ALL;
    list_init(&edge->child_link);
    list_init(&edge->parent_link);
    if (parent)
        list_add_tail(&parent->children, &edge->child_link);
    edge_link(edge, child);
    return edge;
}

static struct edge **convenience(const struct edge *edge)
{
    if (!edge->parent)
        return NULL;
    if (str_eq(edge->name, "file"))
        return &edge->parent->file;
    if (str_eq(edge->name, "backing"))
        return &edge->parent->backing;
    return NULL;
}

void edge_link(struct edge *edge, struct node *child)
{
    edge->node = node_ref(child);
    list_add_tail(&child->parents, &edge->parent_link);
    if (convenience(edge))
        *convenience(edge) = edge;
    if (child->gate)
        edge_quiesce(edge);
}

void edge_unlink(struct edge *edge)
{
    struct node *child = edge->node;

    list_del(&edge->parent_link);
    if (edge->quiesced)
        edge_unquiesce(edge);
    if (convenience(edge) && *convenience(edge) == edge)
        *convenience(edge) = NULL;
    edge->node = NULL;
    node_unref(child);
}

/* Requests held at the old child belong to what the edge now leads to. */
static void move_held(struct edge *edge, struct node *from)
{
    list_for_each_safe(held, &core_of(from)->held, struct req, link) {
        if (held->edge != edge)
            continue;
        list_del(&held->link);
        held->node = node_ref(edge->node);
        list_add_tail(&core_of(edge->node)->held, &held->link);
        node_unref(from);
    }
}

void edge_move(struct edge *edge, struct node *to)
{
    struct node *from = node_ref(edge->node);

    if (from == to) {
        node_unref(from);
        return;
    }
    node_ref(to);
    /* The new child's gate first: the parent must not be let go in between when both are gated. */
    list_del(&edge->parent_link);
    bool was_quiesced = edge->quiesced;

    edge->node = to;
    list_add_tail(&to->parents, &edge->parent_link);
    if (to->gate && !was_quiesced)
        edge_quiesce(edge);
    else if (!to->gate && was_quiesced)
        edge_unquiesce(edge);
    node_unref(from); /* The edge's reference. */
    move_held(edge, from);
    node_unref(from);
    if (edge->ops && edge->ops->replaced)
        edge->ops->replaced(edge);
}

char *edge_parent_text(const struct edge *edge)
{
    if (edge->parent)
        return xasprintf("node '%s'", edge->parent->name);
    if (edge->ops && edge->ops->identify)
        return edge->ops->identify((struct edge *)edge);
    if (edge->ops && edge->ops->what)
        return xasprintf("%s", edge->ops->what);
    return xstrdup("an unnamed block device");
}

static void settle_after(struct node *node) { graph_settle_check(node->graph); }

void edge_detach(struct edge *edge)
{
    struct node *child = node_ref(edge->node);
    struct list *held = &core_of(child)->held;

    /* Its owner gave requests away that wait at the gate: they stay with this node. */
    list_for_each(req, held, struct req, link) {
        if (req->edge == edge)
            req->edge = NULL;
    }
    list_del(&edge->child_link);
    edge_unlink(edge);
    /* Taking less cannot conflict, except through drivers' own wishes, which it cannot make worse. */
    err_ignore(perm_update(&child, 1));
    settle_after(child);
    node_unref(child);
    xfree(edge);
}

static struct err *attach(struct edge *edge, struct edge **out)
{
    struct node *child = edge->node;
    struct err *err = perm_update(&child, 1);

    if (err) {
        list_del(&edge->child_link);
        edge_unlink(edge);
        xfree(edge);
        return err;
    }
    *out = edge;
    return NULL;
}

struct err *edge_attach(struct node *node, const char *name, const struct edge_parent_ops *ops,
                        void *owner, uint32_t perm, uint32_t shared, struct edge **out)
{
    struct edge *edge = edge_new(node, NULL, name, 0);

    edge->ops = ops;
    edge->owner = owner;
    edge->perm = perm;
    edge->shared = shared;
    /* The gate may have been closed before ops were known. */
    if (edge->quiesced && ops && ops->drained_begin)
        ops->drained_begin(edge);
    return attach(edge, out);
}

struct err *edge_attach_child(struct node *parent, struct node *child, const char *name,
                              uint32_t role, uint32_t perm, uint32_t shared, struct edge **out)
{
    node_vec below = { 0 };
    bool loop = false;

    graph_descendants(child, &below);
    vec_for_each(node, &below)
        loop |= *node == parent;
    vec_fini(&below);
    if (loop)
        return err_new("Making '%s' a %s child of '%s' would create a cycle", child->name, name,
                       parent->name);
    struct edge *edge = edge_new(child, parent, name, role);

    edge->perm = perm;
    edge->shared = shared;
    return attach(edge, out);
}

struct err *edge_set_perm(struct edge *edge, uint32_t perm, uint32_t shared)
{
    uint32_t old_perm = edge->perm, old_shared = edge->shared;
    struct err *err;

    edge->perm = perm;
    edge->shared = shared;
    err = perm_update(&edge->node, 1);
    if (err) {
        edge->perm = old_perm;
        edge->shared = old_shared;
    }
    return err;
}
