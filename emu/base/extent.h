/*
 * Set of byte ranges in flight, with nodes embedded in their owners. Ranges may overlap each other.
 *
 * A balanced search tree by offset in which each node knows the furthest end below it: insert,
 * remove and the first overlap cost O(log n). Order among equal offsets is that of insertion.
 */
#ifndef EMU_BASE_EXTENT_H
#define EMU_BASE_EXTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

/* Zeroed memory is a node in no set. off and len are read-only for the owner while it is in one. */
struct extent {
    uint64_t off, len;
    struct extent *left, *right, *parent;
    uint64_t max_last; /* Largest last byte in this subtree. */
    uint64_t seq;      /* Order of insertion, unique in the set. */
    uint32_t priority; /* Heap order of the treap. */
    bool linked;
};

/* Zeroed memory is an empty set. */
struct extent_set {
    struct extent *root;
    size_t count;
    uint64_t next_seq;
};

void extent_set_init(struct extent_set *set);

static inline bool extent_set_empty(const struct extent_set *set) { return !set->root; }

static inline size_t extent_set_count(const struct extent_set *set) { return set->count; }

static inline bool extent_linked(const struct extent *node) { return node->linked; }

/* The node must be in no set and stays borrowed until removed. len must not be 0 and the end must
 * fit 64 bits (asserted: the caller has checked the request). */
void extent_insert(struct extent_set *set, struct extent *node, uint64_t off, uint64_t len);

/* Harmless when the node is in no set. */
void extent_remove(struct extent_set *set, struct extent *node);

/* The range with the lowest offset that shares a byte with [off, off + len), or NULL. */
struct extent *extent_find(const struct extent_set *set, uint64_t off, uint64_t len);

/* The one after `prev` in offset order that shares a byte with that range, or NULL. */
struct extent *extent_find_next(const struct extent *prev, uint64_t off, uint64_t len);

/* The oldest (by insertion) range that overlaps, other than `except` (may be NULL); or NULL. Costs
 * one step per overlapping range. */
struct extent *extent_find_oldest(const struct extent_set *set, uint64_t off, uint64_t len,
                                  const struct extent *except);

/* All ranges in offset order: first, and next (NULL at the end). */
struct extent *extent_first(const struct extent_set *set);
struct extent *extent_next(const struct extent *node);

#endif
