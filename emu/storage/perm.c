/*
 * Permissions: what each parent takes of a child and lets others take.
 *
 * Edges of nodes follow from what the node's own parents want, so a change runs down the graph, parents before
 * children. It is tried on the edges themselves with a log of old values, and taken back as a whole
 * when any node refuses. Drivers that act on permissions (file locks) hear of it afterwards
 * (perm_settle.c).
 */
#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"

struct perm_change {
    struct edge *edge;
    uint32_t perm, shared;
};

struct perm_log {
    VEC(struct perm_change) changes;
    node_vec order; /* Affected nodes, children before parents. */
};

void node_cumulative(const struct node *node, uint32_t *perm, uint32_t *shared)
{
    *perm = 0;
    *shared = PERM_ALL;
    list_for_each(edge, &node->parents, struct edge, parent_link) {
        *perm |= edge->perm;
        *shared &= edge->shared;
    }
}

char *perm_names(uint32_t perm)
{
    static const char *const names[] = { "consistent read", "write", "write unchanged", "resize" };
    struct str text = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (perm & BIT(i))
            str_addf(&text, "%s%s", text.len ? ", " : "", names[i]);
    return str_steal(&text);
}

static struct err *conflict(const struct edge *wants, const struct edge *refuses)
{
    char *what = perm_names(wants->perm & ~refuses->shared);
    char *a = edge_parent_text(wants), *b = edge_parent_text(refuses);
    struct err *err =
        err_new("Permission conflict on node '%s': permissions '%s' are both required by %s (uses "
                "node '%s' as '%s' child) and unshared by %s (uses node '%s' as '%s' child).",
                wants->node->name, what, a, wants->node->name, wants->name, b, refuses->node->name,
                refuses->name);

    xfree(what);
    xfree(a);
    xfree(b);
    return err;
}

static struct err *check_parents(struct node *node)
{
    uint32_t perm, shared;

    node_cumulative(node, &perm, &shared);
    if (perm & ~shared) {
        list_for_each(a, &node->parents, struct edge, parent_link) {
            list_for_each(b, &node->parents, struct edge, parent_link) {
                if (a != b && (a->perm & ~b->shared))
                    return conflict(a, b);
            }
        }
    }
    if ((perm & (PERM_WRITE | PERM_WRITE_UNCHANGED)) && node->read_only)
        return err_new("Block node is read-only");
    if ((perm & PERM_WRITE) && !(perm & PERM_RESIZE) &&
        !is_aligned(node->size, node->limits.request_alignment))
        return err_new(
            "Cannot get 'write' permission without 'resize': Image size is not a multiple of "
            "request alignment");
    return NULL;
}

void node_default_perms(const struct node *node, const struct edge *child, uint32_t perm,
                        uint32_t shared, uint32_t *child_perm, uint32_t *child_shared)
{
    if (child->role & ROLE_FILTERED) {
        *child_perm = perm;
        *child_shared = shared;
        return;
    }
    if (child->role & ROLE_COW) {
        *child_perm = perm & PERM_CONSISTENT_READ;
        *child_shared = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
        if (shared & PERM_WRITE)
            *child_shared |= PERM_WRITE | PERM_RESIZE;
        return;
    }
    if (child->role & ROLE_METADATA) {
        perm |= PERM_CONSISTENT_READ;
        if (!node->read_only)
            perm |= PERM_WRITE | PERM_RESIZE;
        shared &= ~(uint32_t)(PERM_WRITE | PERM_RESIZE);
    }
    if (child->role & ROLE_DATA) {
        shared &= ~(uint32_t)PERM_RESIZE;
        if (perm & PERM_WRITE_UNCHANGED)
            perm |= PERM_WRITE;
        if (perm & PERM_WRITE)
            perm |= PERM_RESIZE;
    }
    *child_perm = perm;
    *child_shared = shared;
}

/* Post-order from the given nodes, without recursion. */
static void collect(struct node *const *nodes, size_t n, node_vec *order)
{
    struct frame {
        struct node *node;
        struct list *next;
    };
    VEC(struct frame) stack = { 0 };
    uint32_t mark;

    if (!n)
        return;
    mark = ++nodes[0]->graph->mark;
    for (size_t i = 0; i < n; i++) {
        if (core_of(nodes[i])->mark == mark)
            continue;
        core_of(nodes[i])->mark = mark;
        vec_push(&stack, (struct frame){ nodes[i], nodes[i]->children.next });
        while (vec_len(&stack)) {
            struct frame *top = &vec_last(&stack);

            if (top->next == &top->node->children) {
                vec_push(order, top->node);
                (void)vec_pop(&stack);
                continue;
            }
            struct node *child = list_entry(top->next, struct edge, child_link)->node;

            top->next = top->next->next;
            if (child && core_of(child)->mark != mark) {
                core_of(child)->mark = mark;
                vec_push(&stack, (struct frame){ child, child->children.next });
            }
        }
    }
    vec_fini(&stack);
}

static struct err *propose(struct perm_log *log, struct node *node)
{
    uint32_t perm, shared;

    TRY(check_parents(node));
    node_cumulative(node, &perm, &shared);
    list_for_each(edge, &node->children, struct edge, child_link) {
        uint32_t child_perm = 0, child_shared = PERM_ALL;

        if (node->driver->child_perm)
            node->driver->child_perm(node, edge, perm, shared, &child_perm, &child_shared);
        else
            node_default_perms(node, edge, perm, shared, &child_perm, &child_shared);
        if (node->open.force_share)
            child_shared = PERM_ALL;
        if (child_perm == edge->perm && child_shared == edge->shared)
            continue;
        vec_push(&log->changes, (struct perm_change){ edge, edge->perm, edge->shared });
        edge->perm = child_perm;
        edge->shared = child_shared;
    }
    return NULL;
}

struct err *perm_update(struct node *const *nodes, size_t n)
{
    struct perm_log log = { 0 };
    struct err *err = NULL;

    collect(nodes, n, &log.order);
    for (size_t i = vec_len(&log.order); i-- > 0 && !err;)
        err = propose(&log, vec_at(&log.order, i));
    if (err) {
        for (size_t i = vec_len(&log.changes); i-- > 0;) {
            struct perm_change *change = &vec_at(&log.changes, i);

            change->edge->perm = change->perm;
            change->edge->shared = change->shared;
        }
    } else {
        vec_for_each(node, &log.order)
            node_perm_apply(*node);
    }
    vec_fini(&log.changes);
    vec_fini(&log.order);
    return err;
}
