/* The radix tree of a simulated file. */
#include "emu/reactor/sim_tree.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

#define SLOT_BITS 6
#define SLOTS (1u << SLOT_BITS)
/* Page numbers have 52 bits at most. */
#define HEIGHT_MAX 9

struct sim_tree_node {
    unsigned refs;
    unsigned used;
    void *slots[SLOTS]; /* Nodes, or pages in the lowest level. */
};

/* ---- Pages ---- */

void sim_page_drop_versions(struct sim_page *page)
{
    while (page->versions) {
        struct sim_version *version = page->versions;

        page->versions = version->older;
        xfree(version);
    }
}

static void page_unref(struct sim_page *page)
{
    if (--page->refs > 0)
        return;
    sim_page_drop_versions(page);
    xfree(page->data);
    xfree(page->durable);
    xfree(page);
}

static struct sim_page *page_clone(const struct sim_page *page)
{
    struct sim_page *clone = xmemdup(page, sizeof(*page));
    struct sim_version **tail = &clone->versions;

    clone->refs = 1;
    clone->data = page->data ? xmemdup(page->data, SIM_PAGE) : NULL;
    clone->durable = page->durable ? xmemdup(page->durable, SIM_PAGE) : NULL;
    for (const struct sim_version *v = page->versions; v; v = v->older) {
        *tail = xmemdup(v, sizeof(*v));
        tail = &(*tail)->older;
    }
    *tail = NULL;
    return clone;
}

/* ---- Nodes ---- */

static void node_unref(struct sim_tree_node *node, unsigned height)
{
    if (--node->refs > 0)
        return;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (node->slots[i] && height > 1)
            node_unref(node->slots[i], height - 1);
        else if (node->slots[i])
            page_unref(node->slots[i]);
    }
    xfree(node);
}

static struct sim_tree_node *node_new(void)
{
    struct sim_tree_node *node = NEW(struct sim_tree_node);

    node->refs = 1;
    return node;
}

/* The node for changing; its children then have one more owner. */
static struct sim_tree_node *node_own(struct sim_tree_node *node, unsigned height)
{
    struct sim_tree_node *copy;

    if (node->refs == 1)
        return node;
    copy = xmemdup(node, sizeof(*node));
    copy->refs = 1;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (node->slots[i] && height > 1)
            ((struct sim_tree_node *)node->slots[i])->refs++;
        else if (node->slots[i])
            ((struct sim_page *)node->slots[i])->refs++;
    }
    node->refs--;
    return copy;
}

static unsigned slot_of(uint64_t index, unsigned height)
{
    return (index >> ((height - 1) * SLOT_BITS)) % SLOTS;
}

static bool covers(const struct sim_tree *tree, uint64_t index)
{
    return tree->height > 0 && index >> (tree->height * SLOT_BITS) == 0;
}

/* ---- The tree ---- */

void sim_tree_fini(struct sim_tree *tree)
{
    if (tree->root)
        node_unref(tree->root, tree->height);
    *tree = (struct sim_tree){ 0 };
}

void sim_tree_share(struct sim_tree *to, const struct sim_tree *from)
{
    *to = *from;
    if (to->root)
        to->root->refs++;
}

const struct sim_page *sim_tree_get(const struct sim_tree *tree, uint64_t index)
{
    const struct sim_tree_node *node = tree->root;

    if (!covers(tree, index))
        return NULL;
    for (unsigned height = tree->height; height > 1 && node; height--)
        node = node->slots[slot_of(index, height)];
    return node ? node->slots[slot_of(index, 1)] : NULL;
}

/* Adds levels on top until the tree reaches index. */
static void grow(struct sim_tree *tree, uint64_t index)
{
    if (!tree->root) {
        tree->root = node_new();
        tree->height = 1;
    }
    while (!covers(tree, index)) {
        struct sim_tree_node *top = node_new();

        check(tree->height < HEIGHT_MAX);
        if (tree->root->used > 0) {
            top->slots[0] = tree->root;
            top->used = 1;
        } else {
            node_unref(tree->root, tree->height);
        }
        tree->root = top;
        tree->height++;
    }
}

struct sim_page *sim_tree_own(struct sim_tree *tree, uint64_t index)
{
    struct sim_tree_node *node;
    void **slot;
    struct sim_page *page;

    grow(tree, index);
    node = tree->root = node_own(tree->root, tree->height);
    for (unsigned height = tree->height; height > 1; height--) {
        slot = &node->slots[slot_of(index, height)];
        if (*slot) {
            *slot = node_own(*slot, height - 1);
        } else {
            *slot = node_new();
            node->used++;
        }
        node = *slot;
    }
    slot = &node->slots[slot_of(index, 1)];
    page = *slot;
    if (!page) {
        page = NEW(struct sim_page);
        page->refs = 1;
        page->hole = true;
        node->used++;
    } else if (page->refs > 1) {
        page->refs--;
        page = page_clone(page);
    }
    *slot = page;
    return page;
}

/* Nodes left empty stay: the next look is as quick as the first. */
void sim_tree_remove(struct sim_tree *tree, uint64_t index)
{
    struct sim_tree_node *node;
    void **slot;

    if (!sim_tree_get(tree, index))
        return;
    node = tree->root = node_own(tree->root, tree->height);
    for (unsigned height = tree->height; height > 1; height--) {
        slot = &node->slots[slot_of(index, height)];
        node = *slot = node_own(*slot, height - 1);
    }
    slot = &node->slots[slot_of(index, 1)];
    page_unref(*slot);
    *slot = NULL;
    node->used--;
}

/* The first page at or after *index below the node, which covers *index. */
static bool next_below(const struct sim_tree_node *node, unsigned height, uint64_t *index)
{
    unsigned shift = (height - 1) * SLOT_BITS;

    for (unsigned i = slot_of(*index, height); node->used > 0 && i < SLOTS; i++) {
        uint64_t beyond = ((*index >> shift) + 1) << shift;

        if (node->slots[i] && (height == 1 || next_below(node->slots[i], height - 1, index)))
            return true;
        *index = beyond;
    }
    return false;
}

bool sim_tree_next(const struct sim_tree *tree, uint64_t *index)
{
    return covers(tree, *index) && next_below(tree->root, tree->height, index);
}
