/*
 * Intrusive binary min-heap by a uint64_t key; made for timers.
 *
 * Nodes are embedded and borrowed; the heap owns only its table of pointers. Nodes of equal key
 * come out in the order they went in, so runs are repeatable. Growth of the table aborts when out
 * of memory.
 */
#ifndef EMU_BASE_HEAP_H
#define EMU_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

/* Zeroed memory is a node in no heap. */
struct heap_node {
    uint64_t key;
    uint64_t seq; /* Orders equal keys. */
    size_t place; /* 1 + position in the table; 0: in no heap. */
};

/* Zeroed memory is an empty heap. */
struct heap {
    struct heap_node **nodes;
    size_t len, cap;
    uint64_t next_seq;
};

void heap_init(struct heap *h);
/* The heap must be empty of nodes anyone still believes linked; nodes are not touched. */
void heap_fini(struct heap *h);

static inline bool heap_empty(const struct heap *h) { return h->len == 0; }

static inline size_t heap_len(const struct heap *h) { return h->len; }

static inline bool heap_linked(const struct heap_node *node) { return node->place != 0; }

/* The node must be in no heap. */
void heap_insert(struct heap *h, struct heap_node *node, uint64_t key);

/* Takes the node out; harmless when it is in no heap. */
void heap_remove(struct heap *h, struct heap_node *node);

/* Gives the node a new key, inserting it when it is in no heap. It then counts as the newest. */
void heap_update(struct heap *h, struct heap_node *node, uint64_t key);

/* The node with the smallest key, NULL when empty. */
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->len ? h->nodes[0] : NULL;
}

/* Takes out and returns it. */
struct heap_node *heap_pop_min(struct heap *h);

#endif
