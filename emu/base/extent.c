#include "emu/base/extent.h"

#include <string.h>

#include "emu/base/check.h"
#include "emu/base/hash.h"

void extent_set_init(struct extent_set *set) { memset(set, 0, sizeof(*set)); }

static uint64_t last_of(const struct extent *e) { return e->off + (e->len - 1); }

static void refresh(struct extent *e)
{
    uint64_t last = last_of(e);

    if (e->left && e->left->max_last > last)
        last = e->left->max_last;
    if (e->right && e->right->max_last > last)
        last = e->right->max_last;
    e->max_last = last;
}

static void refresh_up(struct extent *e)
{
    for (; e; e = e->parent)
        refresh(e);
}

static void replace_child(struct extent_set *set, struct extent *parent, struct extent *old,
                          struct extent *new)
{
    if (!parent)
        set->root = new;
    else if (parent->left == old)
        parent->left = new;
    else
        parent->right = new;
    if (new)
        new->parent = parent;
}

/* Lifts e above its parent. */
static void rotate_up(struct extent_set *set, struct extent *e)
{
    struct extent *parent = e->parent;

    replace_child(set, parent->parent, parent, e);
    if (parent->left == e) {
        parent->left = e->right;
        if (e->right)
            e->right->parent = parent;
        e->right = parent;
    } else {
        parent->right = e->left;
        if (e->left)
            e->left->parent = parent;
        e->left = parent;
    }
    parent->parent = e;
    refresh(parent);
    refresh(e);
}

void extent_insert(struct extent_set *set, struct extent *node, uint64_t off, uint64_t len)
{
    struct extent **link = &set->root, *parent = NULL;

    check(!node->linked && len > 0 && off <= UINT64_MAX - (len - 1));
    node->off = off;
    node->len = len;
    node->left = node->right = NULL;
    node->seq = set->next_seq++;
    node->priority = (uint32_t)hash_u64(node->seq + 1);
    node->linked = true;
    while (*link) {
        parent = *link;
        link = off < parent->off ? &parent->left : &parent->right;
    }
    *link = node;
    node->parent = parent;
    refresh_up(node);
    while (node->parent && node->parent->priority < node->priority)
        rotate_up(set, node);
    set->count++;
}

void extent_remove(struct extent_set *set, struct extent *node)
{
    if (!node->linked)
        return;
    while (node->left && node->right)
        rotate_up(set, node->left->priority > node->right->priority ? node->left : node->right);
    replace_child(set, node->parent, node, node->left ? node->left : node->right);
    refresh_up(node->parent);
    node->linked = false;
    set->count--;
}

static bool overlaps(const struct extent *e, uint64_t off, uint64_t last)
{
    return e->off <= last && off <= last_of(e);
}

/* The overlapping range with the lowest offset below e. */
static struct extent *first_overlap(struct extent *e, uint64_t off, uint64_t last)
{
    while (e && e->max_last >= off) {
        if (e->left && e->left->max_last >= off) {
            struct extent *found = first_overlap(e->left, off, last);

            if (found)
                return found;
        }
        if (overlaps(e, off, last))
            return e;
        if (e->off > last)
            return NULL;
        e = e->right;
    }
    return NULL;
}

/* The last byte of a range that may reach beyond 64 bits. */
static uint64_t last_byte(uint64_t off, uint64_t len)
{
    return len - 1 > UINT64_MAX - off ? UINT64_MAX : off + (len - 1);
}

struct extent *extent_find(const struct extent_set *set, uint64_t off, uint64_t len)
{
    return len ? first_overlap(set->root, off, last_byte(off, len)) : NULL;
}

struct extent *extent_find_next(const struct extent *prev, uint64_t off, uint64_t len)
{
    uint64_t last = last_byte(off, len);
    const struct extent *e = prev;
    struct extent *found = first_overlap(e->right, off, last);

    while (!found && e->parent && e->off <= last) {
        const struct extent *child = e;

        e = e->parent;
        if (e->left != child)
            continue;
        if (overlaps(e, off, last))
            return (struct extent *)e;
        found = first_overlap(e->right, off, last);
    }
    return found;
}

struct extent *extent_find_oldest(const struct extent_set *set, uint64_t off, uint64_t len,
                                  const struct extent *except)
{
    struct extent *oldest = NULL;

    for (struct extent *e = extent_find(set, off, len); e; e = extent_find_next(e, off, len)) {
        if (e != except && (!oldest || e->seq < oldest->seq))
            oldest = e;
    }
    return oldest;
}

struct extent *extent_first(const struct extent_set *set)
{
    struct extent *e = set->root;

    while (e && e->left)
        e = e->left;
    return e;
}

struct extent *extent_next(const struct extent *node)
{
    if (node->right) {
        struct extent *e = node->right;

        while (e->left)
            e = e->left;
        return e;
    }
    while (node->parent && node->parent->right == node)
        node = node->parent;
    return node->parent;
}
