#include "emu/base/heap.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

void heap_init(struct heap *h) { memset(h, 0, sizeof(*h)); }

void heap_fini(struct heap *h)
{
    xfree(h->nodes);
    memset(h, 0, sizeof(*h));
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void put(struct heap *h, size_t place, struct heap_node *node)
{
    h->nodes[place] = node;
    node->place = place + 1;
}

static void sift_up(struct heap *h, struct heap_node *node)
{
    size_t place = node->place - 1;

    while (place > 0) {
        size_t parent = (place - 1) / 2;

        if (!before(node, h->nodes[parent]))
            break;
        put(h, place, h->nodes[parent]);
        place = parent;
    }
    put(h, place, node);
}

static void sift_down(struct heap *h, struct heap_node *node)
{
    size_t place = node->place - 1;

    for (;;) {
        size_t child = 2 * place + 1;

        if (child >= h->len)
            break;
        if (child + 1 < h->len && before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (!before(h->nodes[child], node))
            break;
        put(h, place, h->nodes[child]);
        place = child;
    }
    put(h, place, node);
}

void heap_insert(struct heap *h, struct heap_node *node, uint64_t key)
{
    check(!heap_linked(node));
    if (h->len == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 16;
        h->nodes = xrealloc_array(h->nodes, h->cap, sizeof(h->nodes[0]));
    }
    node->key = key;
    node->seq = h->next_seq++;
    put(h, h->len++, node);
    sift_up(h, node);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    struct heap_node *last;
    size_t place;

    if (!heap_linked(node))
        return;
    place = node->place - 1;
    check(place < h->len && h->nodes[place] == node);
    last = h->nodes[--h->len];
    node->place = 0;
    if (last == node)
        return;
    put(h, place, last);
    sift_up(h, last);
    sift_down(h, last);
}

void heap_update(struct heap *h, struct heap_node *node, uint64_t key)
{
    heap_remove(h, node);
    heap_insert(h, node, key);
}

struct heap_node *heap_pop_min(struct heap *h)
{
    struct heap_node *node = heap_min(h);

    if (node)
        heap_remove(h, node);
    return node;
}
