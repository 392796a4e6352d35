/* Dirty bitmaps: making, finding, checking, recording, and handing over to a successor. */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/storage/backend.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/core.h"

enum {
    NAME_MAX_BYTES = 1023,
    GRANULARITY_MIN = 512,
    GRANULARITY_DEFAULT_MIN = 4096,
    GRANULARITY_DEFAULT = 65536
};

uint32_t bitmap_default_granularity(struct node *node)
{
    uint32_t cluster = node_cluster_size(node);

    if (!cluster)
        return GRANULARITY_DEFAULT;
    return MAX(cluster, (uint32_t)GRANULARITY_DEFAULT_MIN);
}

static struct bitmap *bitmap_new(struct node *node, uint32_t granularity)
{
    struct bitmap *bitmap = NEW(struct bitmap);

    bitmap->map = hbitmap_new(node->size, granularity);
    if (!bitmap->map) {
        xfree(bitmap);
        return NULL;
    }
    bitmap->node = node;
    bitmap->enabled = true;
    list_init(&bitmap->link);
    return bitmap;
}

struct err *bitmap_add(struct node *node, const char *name, uint32_t granularity, bool persistent,
                       bool disabled, struct bitmap **out)
{
    struct bitmap *bitmap;

    if (!granularity)
        granularity = bitmap_default_granularity(node);
    if (!is_pow2(granularity) || granularity < GRANULARITY_MIN)
        return err_new("Granularity must be power of 2 and at least %d", GRANULARITY_MIN);
    if (name) {
        if (!*name)
            return err_new("Bitmap name cannot be empty");
        if (bitmap_find(node, name))
            return err_new("Bitmap already exists: %s", name);
        if (strlen(name) > NAME_MAX_BYTES)
            return err_new("Bitmap name too long: %s", name);
    }
    bitmap = bitmap_new(node, granularity);
    if (!bitmap)
        return err_new_errno(ENOMEM, "Cannot make a bitmap of node '%s'", node->name);
    bitmap->name = xstrdup(name);
    bitmap->persistent = persistent;
    bitmap->enabled = !disabled;
    list_add_tail(&node->bitmaps, &bitmap->link);
    *out = bitmap;
    return NULL;
}

void bitmap_free(struct bitmap *bitmap)
{
    if (!bitmap)
        return;
    bitmap_free(bitmap->successor); /* Which has none itself. */
    list_del(&bitmap->link);
    hbitmap_free(bitmap->map);
    xfree(bitmap->name);
    xfree(bitmap);
}

struct bitmap *bitmap_find(struct node *node, const char *name)
{
    list_for_each(bitmap, &node->bitmaps, struct bitmap, link) {
        if (bitmap->name && str_eq(bitmap->name, name))
            return bitmap;
    }
    return NULL;
}

struct err *bitmap_lookup(struct graph *graph, const char *node_name, const char *name,
                          struct bitmap **out)
{
    struct node *node;

    TRY(graph_lookup_disk(graph, node_name, &node));
    *out = bitmap_find(node, name);
    return *out ? NULL : err_new("Dirty bitmap '%s' not found", name);
}

struct err *bitmap_check(const struct bitmap *bitmap, enum bitmap_use use)
{
    const char *name = bitmap->name ? bitmap->name : "";
    struct err *err;

    if (bitmap->busy)
        return err_new("Bitmap '%s' is currently in use by another operation and cannot be used",
                       name);
    if (use != BITMAP_USE_READ && bitmap->read_only)
        return err_new("Bitmap '%s' is readonly and cannot be modified", name);
    if (use != BITMAP_USE_REMOVE && bitmap->inconsistent) {
        err = err_new("Bitmap '%s' is inconsistent and cannot be used", name);
        err_hint_append(err, "Try block-dirty-bitmap-remove to delete this bitmap from disk\n");
        return err;
    }
    return NULL;
}

void bitmap_set(struct bitmap *bitmap, uint64_t offset, uint64_t len)
{
    uint64_t size = hbitmap_size(bitmap->map);

    if (offset < size)
        hbitmap_set(bitmap->map, offset, MIN(len, size - offset));
}

void bitmap_reset(struct bitmap *bitmap, uint64_t offset, uint64_t len)
{
    uint64_t size = hbitmap_size(bitmap->map);

    if (offset < size)
        hbitmap_reset_inside(bitmap->map, offset, MIN(len, size - offset));
}

static void record(struct bitmap *bitmap, uint64_t offset, uint64_t len)
{
    if (bitmap->enabled && !bitmap->inconsistent) {
        bitmap_set(bitmap, offset, len);
        if (bitmap->changed)
            bitmap->changed(bitmap, offset, len);
    }
    if (bitmap->successor && bitmap->successor->enabled)
        bitmap_set(bitmap->successor, offset, len);
}

void bitmaps_dirty(struct node *node, uint64_t offset, uint64_t len)
{
    list_for_each_safe(bitmap, &node->bitmaps, struct bitmap, link)
        record(bitmap, offset, len);
}

struct err *bitmaps_check_resize(struct node *node)
{
    list_for_each(bitmap, &node->bitmaps, struct bitmap, link) {
        if (bitmap->busy && bitmap->name)
            return err_new(
                "Bitmap '%s' is currently in use by another operation and cannot be used",
                bitmap->name);
    }
    return NULL;
}

static void resize(struct bitmap *bitmap, uint64_t size)
{
    if (hbitmap_truncate(bitmap->map, size))
        return;
    /* Without memory for the new area nothing is known of it: the bitmap is no longer good. */
    bitmap->inconsistent = true;
}

void bitmaps_resize(struct node *node, uint64_t size)
{
    list_for_each(bitmap, &node->bitmaps, struct bitmap, link) {
        resize(bitmap, size);
        if (bitmap->successor)
            resize(bitmap->successor, size);
    }
}

/* ---- Successors ---- */

struct err *bitmap_freeze(struct bitmap *bitmap)
{
    TRY(bitmap_check(bitmap, BITMAP_USE_READ));
    if (bitmap->successor)
        return err_new("Cannot create a successor for a bitmap that already has one");
    bitmap->successor = bitmap_new(bitmap->node, (uint32_t)hbitmap_granularity(bitmap->map));
    if (!bitmap->successor)
        return err_new_errno(ENOMEM, "Cannot make a bitmap of node '%s'", bitmap->node->name);
    bitmap->successor->enabled = bitmap->enabled;
    /* A disabled bitmap stays as it is; its successor records nothing. */
    bitmap->enabled = false;
    bitmap->busy = true;
    return NULL;
}

static void thaw(struct bitmap *bitmap)
{
    struct bitmap *successor = bitmap->successor;

    bitmap->enabled = successor->enabled;
    bitmap->successor = NULL;
    bitmap->busy = false;
    bitmap_free(successor);
}

void bitmap_abdicate(struct bitmap *bitmap)
{
    struct hbitmap *old = bitmap->map;

    check(bitmap->successor);
    bitmap->map = bitmap->successor->map;
    bitmap->successor->map = old;
    thaw(bitmap);
}

void bitmap_reclaim(struct bitmap *bitmap)
{
    check(bitmap->successor);
    hbitmap_merge(bitmap->map, bitmap->successor->map);
    thaw(bitmap);
}

/* ---- For commands ---- */

struct err *bitmap_check_persistent(struct node *node, const char *name, uint32_t granularity)
{
    if (!node->driver->bitmaps)
        return err_new("Can't store persistent bitmaps to %s", node->name);
    return node->driver->bitmaps->can_store(
        node, name, granularity ? granularity : bitmap_default_granularity(node));
}

struct err *bitmap_merge(struct bitmap *target, struct bitmap *const *sources, size_t n)
{
    uint64_t size = hbitmap_size(target->map);

    TRY(bitmap_check(target, BITMAP_USE_CHANGE));
    for (size_t i = 0; i < n; i++) {
        TRY(bitmap_check(sources[i], BITMAP_USE_READ));
        if (hbitmap_size(sources[i]->map) != size)
            return err_new(
                "Bitmaps are of different sizes (destination size is %llu, source size is %llu) and can't be "
                "merged",
                (unsigned long long)size, (unsigned long long)hbitmap_size(sources[i]->map));
    }
    for (size_t i = 0; i < n; i++)
        if (sources[i] != target)
            hbitmap_merge(target->map, sources[i]->map);
    return NULL;
}

/* ---- What the image keeps ---- */

struct image_change {
    struct node *node;     /* Holds a reference, and counts as a request for drains. */
    struct bitmap *bitmap; /* To be removed. */
    bool read_only;        /* What the bitmaps become. */
    graph_done_fn *done;
    void *arg;
};

static void image_changed(void *arg, struct err *err)
{
    struct image_change *change = arg;
    struct node *node = change->node;
    graph_done_fn *done = change->done;
    void *done_arg = change->arg;

    if (change->bitmap) {
        change->bitmap->busy = false;
        if (!err)
            bitmap_free(change->bitmap);
    } else if (!err) {
        list_for_each(bitmap, &node->bitmaps, struct bitmap, link) {
            if (bitmap->persistent)
                bitmap->read_only = change->read_only;
        }
    }
    xfree(change);
    done(done_arg, err);
    if (--node->in_flight == 0)
        node_quiet(node);
    node_unref(node);
}

static struct image_change *image_change_new(struct node *node, graph_done_fn *done, void *arg)
{
    struct image_change *change = NEW(struct image_change);

    *change = (struct image_change){ .node = node_ref(node), .done = done, .arg = arg };
    node->in_flight++;
    return change;
}

void bitmap_remove(struct bitmap *bitmap, graph_done_fn *done, void *arg)
{
    struct node *node = bitmap->node;
    struct image_change *change;

    if (!bitmap->persistent || !node->driver->bitmaps) {
        bitmap_free(bitmap);
        done(arg, NULL);
        return;
    }
    change = image_change_new(node, done, arg);
    change->bitmap = bitmap;
    bitmap->busy = true;
    node->driver->bitmaps->remove(node, bitmap->name, image_changed, change);
}

void bitmaps_store(struct node *node, graph_done_fn *done, void *arg)
{
    struct image_change *change = image_change_new(node, done, arg);

    change->read_only = true;
    if (node->driver->bitmaps && !node->read_only)
        node->driver->bitmaps->store(node, image_changed, change);
    else
        image_changed(change, NULL);
}

void bitmaps_begin_use(struct node *node, graph_done_fn *done, void *arg)
{
    struct image_change *change = image_change_new(node, done, arg);

    if (node->driver->bitmaps && !node->read_only)
        node->driver->bitmaps->begin_use(node, image_changed, change);
    else
        image_changed(change, NULL);
}
