/*
 * Queries: the drivers are asked for facts one node after the other, then the answer is written.
 * Nodes are kept by references meanwhile; one that was deleted is told of as it was.
 */
#include "emu/storage/query.h"

#include "emu/base/alloc.h"
#include "emu/base/hbitmap.h"
#include "emu/base/str.h"
#include "emu/storage/backend.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/core.h"
#include "emu/storage/write_threshold.h"

struct entry {
    struct node *node; /* Holds a reference. */
    struct image_facts facts;
};

struct query {
    VEC(struct entry) entries;
    size_t next;
    bool flat, one_image;
    struct graph *backends; /* Of query_backends(). */
    query_done_fn *done;
    void *arg;
    struct task task;
};

static void collect(struct query *query, struct node *node)
{
    vec_for_each(entry, &query->entries) {
        if (entry->node == node)
            return;
    }
    vec_push(&query->entries, (struct entry){ .node = node_ref(node) });
}

static struct entry *entry_of(struct query *query, const struct node *node)
{
    vec_for_each(entry, &query->entries) {
        if (entry->node == node)
            return entry;
    }
    return NULL;
}

/* ---- ImageInfo ---- */

/* What the files below take: an own answer, or the sum over the children that store something. */
static bool actual_size(struct query *query, struct node *node, uint64_t *out)
{
    node_vec todo = { 0 };
    bool known = false;

    *out = 0;
    vec_push(&todo, node);
    while (vec_len(&todo)) {
        struct node *at = vec_pop(&todo);
        struct entry *entry = entry_of(query, at);

        if (entry && entry->facts.have_actual_size) {
            *out += entry->facts.actual_size;
            known = true;
            continue;
        }
        list_for_each(edge, &at->children, struct edge, child_link) {
            if (edge->role & (ROLE_DATA | ROLE_METADATA | ROLE_FILTERED))
                vec_push(&todo, edge->node);
        }
    }
    vec_fini(&todo);
    return known;
}

static void set_text(struct json *object, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_str(object, key, text);
}

static struct json *image_of(struct query *query, struct entry *entry)
{
    struct node *node = entry->node;
    const struct image_facts *facts = &entry->facts;
    struct json *image = json_object();
    const char *backing = facts->backing_filename ? facts->backing_filename : node->backing_name;
    const char *format = facts->backing_format ? facts->backing_format : node->backing_format;
    uint64_t size;

    json_object_set_str(image, "filename", node->filename);
    json_object_set_str(image, "format", node->driver->name);
    if (!str_has_prefix(node->driver->name, "null-"))
        json_object_set_bool(image, "dirty-flag", facts->dirty_flag);
    if (actual_size(query, node, &size))
        json_object_set_uint(image, "actual-size", size);
    json_object_set_uint(image, "virtual-size", node->size);
    if (facts->cluster_size || node->cluster_size)
        json_object_set_uint(image, "cluster-size",
                             facts->cluster_size ? facts->cluster_size : node->cluster_size);
    if (facts->encrypted)
        json_object_set_bool(image, "encrypted", true);
    if (facts->compressed)
        json_object_set_bool(image, "compressed", true);
    if (backing && *backing) {
        json_object_set_str(image, "backing-filename", backing);
        if (facts->full_backing_filename)
            json_object_set_str(image, "full-backing-filename", facts->full_backing_filename);
        else
            json_object_set_str(image, "full-backing-filename",
                                node->backing ? node->backing->node->filename : backing);
        set_text(image, "backing-filename-format", format);
    }
    if (facts->snapshots && json_array_len(facts->snapshots))
        json_object_set(image, "snapshots", json_ref(facts->snapshots));
    if (facts->format_specific)
        json_object_set(image, "format-specific", json_ref(facts->format_specific));
    return image;
}

/* With the images of the backing chain nested, innermost first. */
static struct json *image_chain(struct query *query, struct node *node)
{
    node_vec chain = { 0 };
    struct json *image = NULL;

    vec_push(&chain, node);
    while (!query->flat && (node = node_backing(node)) && entry_of(query, node))
        vec_push(&chain, node);
    while (vec_len(&chain)) {
        struct json *outer = image_of(query, entry_of(query, vec_pop(&chain)));

        if (image)
            json_object_set(outer, "backing-image", image);
        image = outer;
    }
    vec_fini(&chain);
    return image;
}

/* ---- BlockDeviceInfo ---- */

static struct json *bitmaps_of(struct node *node)
{
    struct json *list = json_array();

    list_for_each_reverse(bitmap, &node->bitmaps, struct bitmap, link) {
        struct json *one = json_object();

        if (bitmap->name)
            json_object_set_str(one, "name", bitmap->name);
        json_object_set_uint(one, "count", hbitmap_count(bitmap->map));
        json_object_set_uint(one, "granularity", hbitmap_granularity(bitmap->map));
        json_object_set_bool(one, "recording",
                             bitmap->enabled || (bitmap->successor && bitmap->successor->enabled));
        json_object_set_bool(one, "busy", bitmap->busy);
        json_object_set_bool(one, "persistent", bitmap->persistent);
        if (bitmap->inconsistent)
            json_object_set_bool(one, "inconsistent", true);
        json_array_add(list, one);
    }
    return list;
}

static struct json *device_of(struct query *query, struct node *node)
{
    static const char *const limits[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr" };
    static const char *const detect[] = { "off", "on", "unmap" };
    struct json *info = json_object(), *cache = json_object();
    int64_t depth = 0;

    for (struct node *at = node; !query->flat && (at = node_backing(at));)
        depth++;
    json_object_set_str(info, "file", node->filename);
    json_object_set_str(info, "node-name", node->name);
    json_object_set_bool(info, "ro", node->read_only);
    json_object_set_str(info, "drv", node->driver->name);
    if (node->backing)
        json_object_set_str(info, "backing_file",
                            node->backing_name ? node->backing_name
                                               : node->backing->node->filename);
    json_object_set_int(info, "backing_file_depth", depth);
    json_object_set_bool(info, "active", true);
    json_object_set_bool(info, "encrypted", entry_of(query, node)->facts.encrypted);
    json_object_set_str(info, "detect_zeroes", detect[node->open.detect_zeroes]);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        json_object_set_int(info, limits[i], 0);
    json_object_set(info, "image", image_chain(query, node));
    json_object_set_bool(cache, "writeback", true);
    json_object_set_bool(cache, "direct", node->open.cache_direct);
    json_object_set_bool(cache, "no-flush", node->open.cache_no_flush);
    json_object_set(info, "cache", cache);
    json_object_set_uint(info, "write_threshold", node_write_threshold(node));
    if (!list_empty(&node->bitmaps))
        json_object_set(info, "dirty-bitmaps", bitmaps_of(node));
    return info;
}

/* ---- BlockInfo ---- */

static bool is_shown(const struct backend *backend) { return *backend->name || backend->ops; }

static bool io_status_is_kept(const struct backend *backend)
{
    return backend->ops && backend->ops->keeps_io_status &&
           (backend->rerror == BACKEND_ERROR_STOP || backend->werror == BACKEND_ERROR_STOP ||
            backend->werror == BACKEND_ERROR_ENOSPC || backend->werror == BACKEND_ERROR_AUTO);
}

/* What the user put in: not the filters that jobs put above it. */
static struct node *disk_of(const struct backend *backend)
{
    struct node *node = backend->root->node;

    while (node->implicit && node->file)
        node = node->file->node;
    return node;
}

static struct json *inserted_of(struct query *query, const struct backend *backend)
{
    struct node *node = disk_of(backend);
    struct json *inserted;

    if (!entry_of(query, node))
        return NULL;
    inserted = device_of(query, node);
    json_object_set_bool(json_object_get(inserted, "cache"), "writeback", backend->write_cache);
    return inserted;
}

static struct json *backend_of(struct query *query, const struct backend *backend)
{
    static const char *const status[] = { "ok", "failed", "nospace" };
    const struct backend_device_ops *ops = backend->ops;
    struct json *info = json_object(), *inserted;
    bool locked = ops && ops->is_locked && ops->is_locked(backend->owner);

    json_object_set_str(info, "device", backend->name);
    set_text(info, "qdev", backend->device);
    json_object_set_str(info, "type", "unknown");
    json_object_set_bool(info, "removable", !ops || ops->removable);
    json_object_set_bool(info, "locked", locked);
    if (ops && ops->has_tray)
        json_object_set_bool(info, "tray_open", ops->tray_is_open(backend->owner));
    if (io_status_is_kept(backend))
        json_object_set_str(info, "io-status", status[backend->io_status]);
    inserted = backend->root ? inserted_of(query, backend) : NULL;
    if (inserted)
        json_object_set(info, "inserted", inserted);
    return info;
}

static struct json *all_backends(struct query *query)
{
    struct json *list = json_array();

    list_for_each(backend, &query->backends->backends, struct backend, link)
        if (is_shown(backend))
            json_array_add(list, backend_of(query, backend));
    return list;
}

/* ---- Running ---- */

static void finish(struct query *query)
{
    struct json *result;

    if (query->backends) {
        result = all_backends(query);
    } else if (query->one_image) {
        result = image_chain(query, vec_at(&query->entries, 0).node);
    } else {
        result = json_array();
        for (size_t i = vec_len(&query->entries); i-- > 0;)
            json_array_add(result, device_of(query, vec_at(&query->entries, i).node));
    }
    query->done(query->arg, result);
    vec_for_each(entry, &query->entries) {
        image_facts_fini(&entry->facts);
        node_unref(entry->node);
    }
    vec_fini(&query->entries);
    xfree(query);
}

static void next_task(struct task *task);

static void facts_done(void *arg, struct err *err)
{
    struct query *query = arg;

    /* A driver that cannot say is told of without. */
    err_ignore(err);
    query->next++;
    reactor_defer(vec_at(&query->entries, 0).node->graph->reactor, &query->task, next_task);
}

static void next_task(struct task *task)
{
    struct query *query = container_of(task, struct query, task);
    struct entry *entry;

    if (vec_empty(&query->entries)) {
        finish(query);
        return;
    }
    while (query->next < vec_len(&query->entries) &&
           !vec_at(&query->entries, query->next).node->driver->facts)
        query->next++;
    if (query->next == vec_len(&query->entries)) {
        finish(query);
        return;
    }
    entry = &vec_at(&query->entries, query->next);
    entry->node->driver->facts(entry->node, &entry->facts, facts_done, query);
}

static void run(struct query *query, struct graph *graph)
{
    reactor_defer(graph->reactor, &query->task, next_task);
}

void query_nodes(struct graph *graph, bool flat, query_done_fn *done, void *arg)
{
    struct query *query = NEW(struct query);

    query->flat = flat;
    query->done = done;
    query->arg = arg;
    list_for_each(node, &graph->nodes, struct node, link)
        collect(query, node);
    run(query, graph);
}

void query_backends(struct graph *graph, query_done_fn *done, void *arg)
{
    struct query *query = NEW(struct query);

    query->backends = graph;
    query->done = done;
    query->arg = arg;
    list_for_each(node, &graph->nodes, struct node, link)
        collect(query, node);
    run(query, graph);
}

void query_image(struct node *node, bool flat, query_done_fn *done, void *arg)
{
    struct query *query = NEW(struct query);
    node_vec below = { 0 };

    query->flat = flat;
    query->one_image = true;
    query->done = done;
    query->arg = arg;
    graph_descendants(node, &below);
    vec_for_each(each, &below)
        collect(query, *each);
    vec_fini(&below);
    run(query, node->graph);
}

/* ---- Statistics ---- */

static struct json *stats_of(struct node *node, bool nested)
{
    static const char *const zeroes[] = {
        "rd_bytes",
        "wr_bytes",
        "zone_append_bytes",
        "unmap_bytes",
        "rd_operations",
        "wr_operations",
        "zone_append_operations",
        "flush_operations",
        "unmap_operations",
        "rd_total_time_ns",
        "wr_total_time_ns",
        "zone_append_total_time_ns",
        "flush_total_time_ns",
        "unmap_total_time_ns",
        "rd_merged",
        "wr_merged",
        "zone_append_merged",
        "unmap_merged",
        "failed_rd_operations",
        "failed_wr_operations",
        "failed_zone_append_operations",
        "failed_flush_operations",
        "failed_unmap_operations",
        "invalid_rd_operations",
        "invalid_wr_operations",
        "invalid_zone_append_operations",
        "invalid_flush_operations",
        "invalid_unmap_operations",
    };
    struct json *one = json_object(), *stats = json_object();

    if (node)
        json_object_set_str(one, "node-name", node->name);
    for (size_t i = 0; i < ARRAY_LEN(zeroes); i++)
        json_object_set_int(stats, zeroes[i], 0);
    /* Counting is for devices; of a node only this is known, as with the reference. */
    json_object_set_uint(stats, "wr_highest_offset", node ? core_of(node)->written_end : 0);
    json_object_set_bool(stats, "account_invalid", false);
    json_object_set_bool(stats, "account_failed", false);
    json_object_set(stats, "timed_stats", json_array());
    json_object_set(one, "stats", stats);
    if (node && nested && node->file)
        json_object_set(one, "parent", stats_of(node->file->node, false));
    if (node && nested && node->backing)
        json_object_set(one, "backing", stats_of(node->backing->node, false));
    return one;
}

struct json *query_backend_stats(struct graph *graph)
{
    struct json *list = json_array(), *one;

    list_for_each(backend, &graph->backends, struct backend, link) {
        if (!is_shown(backend))
            continue;
        one = stats_of(backend->root ? disk_of(backend) : NULL, true);
        json_object_set_str(one, "device", backend->name);
        set_text(one, "qdev", backend->device);
        json_object_set_bool(json_object_get(one, "stats"), "account_invalid", true);
        json_object_set_bool(json_object_get(one, "stats"), "account_failed", true);
        json_array_add(list, one);
    }
    return list;
}

struct json *query_node_stats(struct graph *graph)
{
    struct json *list = json_array();

    list_for_each(node, &graph->nodes, struct node, link)
        json_array_add(list, stats_of(node, true));
    return list;
}
