#ifndef EMU_STORAGE_BITMAP_H
#define EMU_STORAGE_BITMAP_H

/*
 * Dirty bitmaps of a node: which ranges were written since the bitmap was made or cleared. Named bitmaps belong to
 * the user, unnamed ones to jobs. The core sets bits when a write, zero or discard completes, before its done.
 */

#include "emu/base/hbitmap.h"
#include "emu/storage/node.h"

struct bitmap {
    struct list link; /* In node->bitmaps. */
    struct node *node;
    char *name;          /* Owned; NULL for a job's. */
    struct hbitmap *map; /* Owned. */
    bool enabled;        /* Records writes. */
    bool persistent, inconsistent, read_only;
    bool busy;                /* A job or export uses it: changes are refused. */
    struct bitmap *successor; /* While a backup uses it: takes the writes. Owned. */
    void (*changed)(struct bitmap *bitmap, uint64_t offset,
                    uint64_t len); /* A job's wake-up; may be NULL. */
    void *owner;
};

/*
 * Texts of errors are the reference's ("Bitmap already exists: b0", ...). name NULL: a job's own.
 * granularity 0: default.
 */
struct err *bitmap_add(struct node *node, const char *name, uint32_t granularity, bool persistent,
                       bool disabled, struct bitmap **out) MUST_USE;
void bitmap_free(struct bitmap *bitmap);
struct bitmap *bitmap_find(struct node *node, const char *name);
/* Finds node and bitmap by name for commands: "Dirty bitmap 'x' not found". */
struct err *bitmap_lookup(struct graph *graph, const char *node_name, const char *name,
                          struct bitmap **out) MUST_USE;
enum bitmap_use { BITMAP_USE_READ, BITMAP_USE_CHANGE, BITMAP_USE_REMOVE };
/* Refuses busy, read-only, inconsistent bitmaps with the reference's texts. */
struct err *bitmap_check(const struct bitmap *bitmap, enum bitmap_use use) MUST_USE;
uint32_t bitmap_default_granularity(struct node *node);
void bitmap_set(struct bitmap *bitmap, uint64_t offset, uint64_t len);
void bitmap_reset(struct bitmap *bitmap, uint64_t offset, uint64_t len);
/*
 * Backup: freeze (writes go to a successor); then either abdicate (successor becomes the bitmap)
 * or reclaim (merged back).
 */
struct err *bitmap_freeze(struct bitmap *bitmap) MUST_USE;
void bitmap_abdicate(struct bitmap *bitmap);
void bitmap_reclaim(struct bitmap *bitmap);

/*
 * Removes a bitmap, from the image too when it is persistent; the bitmap is busy until done. On error it is still
 * there. bitmap_check(BITMAP_USE_REMOVE) comes before.
 */
void bitmap_remove(struct bitmap *bitmap, graph_done_fn *done, void *arg);
/*
 * Stores the node's persistent bitmaps in the image and makes them read-only in memory: before the image becomes
 * read-only (reopen, inactivation). bitmaps_begin_use: it has become writable again.
 */
void bitmaps_store(struct node *node, graph_done_fn *done, void *arg);
void bitmaps_begin_use(struct node *node, graph_done_fn *done, void *arg);
/*
 * Whether the node's image can keep a bitmap of that name: "Can't make bitmap 'b' persistent in 'n': ...", "Can't store
 * persistent bitmaps to n". granularity 0: default.
 */
struct err *bitmap_check_persistent(struct node *node, const char *name,
                                    uint32_t granularity) MUST_USE;
/* Adds what is dirty in the sources, of the same or other nodes of equal size; all or nothing. */
struct err *bitmap_merge(struct bitmap *target, struct bitmap *const *sources, size_t n) MUST_USE;

#endif
