/* The list of exports: ids, adding, deleting. */
#include "emu/storage/export/export.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/export/fuse_export.h"
#include "emu/storage/export/nbd_server.h"
#include "emu/storage/nbd_wire/nbd_wire.h"

#define STOP_REPLY_NS (1 * NS_PER_SEC) /* A command answers after this long, whatever is stuck. */

/* Somebody who waits for exports to be gone. */
struct stop {
    struct list link;
    const struct export *only; /* NULL: for all of them ... */
    bool nbd_only;             /* ... or those of the server. */
    graph_done_fn *done;
    void *arg;
};

struct adding {
    struct export *export;
    graph_done_fn *done;
    void *arg;
};

static char *describe_parent(struct edge *edge)
{
    const struct export *export = edge->owner;

    return xasprintf("node is used by block export '%s'", export->id);
}

static char *identify_parent(struct edge *edge)
{
    (void)edge;
    return xstrdup(
        "an unnamed block device"); /* As the reference calls all users without a name. */
}

/* A drain needs nothing of an export: the core holds its requests back, and clients wait. */
static const struct edge_parent_ops parent_ops = {
    .what = "block export",
    .describe = describe_parent,
    .identify = identify_parent,
};

struct exports *exports_new(struct graph *graph)
{
    struct exports *exports = NEW(struct exports);

    exports->graph = graph;
    exports->reactor = graph_reactor(graph);
    list_init(&exports->list);
    list_init(&exports->stops);
    notifier_list_init(&exports->on_deleted);
    notifier_list_init(&exports->on_client_gone);
    return exports;
}

void exports_free(struct exports *exports)
{
    if (!exports)
        return;
    check(list_empty(&exports->list) && !exports->server && exports->settling == 0);
    reactor_undefer(&exports->sweep);
    timer_disarm(&exports->stop_timer);
    notifier_list_fini(&exports->on_deleted);
    notifier_list_fini(&exports->on_client_gone);
    xfree(exports);
}

/* ---- Ending ---- */

static void export_free(struct export *export)
{
    for (unsigned i = 0; i < export->bitmap_count; i++)
        export->bitmaps[i]->busy = false;
    if (export->edge)
        edge_detach(export->edge);
    fuse_export_free(export->fuse);
    list_del(&export->link);
    xfree(export->id);
    xfree(export->name);
    xfree(export->description);
    xfree(export);
}

/* Whether an export that somebody waits for is left. */
static bool left(struct exports *exports, const struct stop *stop)
{
    list_for_each(export, &exports->list, struct export, link) {
        if ((!stop->only || stop->only == export) &&
            (!stop->nbd_only || export->type == EXPORT_NBD))
            return true;
    }
    return false;
}

static void answer_stops(struct exports *exports, bool timeout)
{
    list_for_each_safe(stop, &exports->stops, struct stop, link) {
        if (!timeout && left(exports, stop))
            continue;
        list_del(&stop->link);
        stop->done(stop->arg, NULL);
        xfree(stop);
    }
    if (list_empty(&exports->stops))
        timer_disarm(&exports->stop_timer);
}

static void stop_timeout(struct timer *timer)
{
    answer_stops(container_of(timer, struct exports, stop_timer), true);
}

/* The newest export that can go, or NULL. */
static struct export *find_idle(struct exports *exports)
{
    list_for_each_reverse(export, &exports->list, struct export, link) {
        if (export->shutting_down && !export->users)
            return export;
    }
    return NULL;
}

/* Runs from the loop, so that an export never goes away under a caller's feet. */
static void sweep(struct task *task)
{
    struct exports *exports = container_of(task, struct exports, sweep);
    struct export *export;

    while ((export = find_idle(exports)) != NULL) {
        char *id = xstrdup(export->id);

        export_free(export);
        notify_all(&exports->on_deleted, id);
        xfree(id);
    }
    if (exports->settling == 0)
        answer_stops(exports, false);
}

static void sweep_later(struct exports *exports)
{
    reactor_defer(exports->reactor, &exports->sweep, sweep);
}

void export_use(struct export *export) { export->users++; }

void export_unuse(struct export *export)
{
    check(export->users > 0);
    if (--export->users == 0 && export->shutting_down)
        sweep_later(export->exports);
}

static void export_shut_down(struct export *export)
{
    if (export->shutting_down)
        return;
    export->shutting_down = true;
    if (export->fuse)
        fuse_export_end(export->fuse);
    else if (export->exports->server)
        nbd_server_drop(export->exports->server, export);
    sweep_later(export->exports);
}

/* Calls done when what stop says is gone, or after STOP_REPLY_NS; now if there is nothing to wait for. */
static void add_stop(struct exports *exports, const struct stop *what)
{
    struct stop *stop = NEW(struct stop);

    *stop = *what;
    list_add_tail(&exports->stops, &stop->link);
    exports->stop_timer.fn = stop_timeout;
    timer_arm(exports->reactor, &exports->stop_timer,
              nstime_add(reactor_now(exports->reactor), STOP_REPLY_NS));
    sweep_later(exports);
}

struct err *export_del(struct exports *exports, const char *id, enum export_del_mode mode,
                       graph_done_fn *done, void *arg)
{
    struct export *export = export_find(exports, id);

    if (!export)
        return err_new("Export '%s' is not found", id);
    if (mode == EXPORT_DEL_SAFE && export->clients) {
        struct err *err = err_new("export '%s' still in use", id);

        err_hint_append(err, "Use mode='hard' to force client disconnect\n");
        return err;
    }
    export_shut_down(export);
    if (export->fuse || !export->users)
        add_stop(exports, &(struct stop){ .only = export, .done = done, .arg = arg });
    else
        done(arg, NULL);
    return NULL;
}

/* ---- Finding ---- */

struct export *export_find(struct exports *exports, const char *id)
{
    list_for_each(export, &exports->list, struct export, link) {
        if (str_eq(export->id, id))
            return export;
    }
    return NULL;
}

struct export *export_find_name(struct exports *exports, const char *name, size_t name_len)
{
    list_for_each(export, &exports->list, struct export, link) {
        if (!export->shutting_down && export->name && strlen(export->name) == name_len &&
            memcmp(export->name, name, name_len) == 0)
            return export;
    }
    return NULL;
}

/* ---- Adding ---- */

/* An identifier as the reference takes them: a letter, then letters, digits, '-', '.', '_'. */
static bool id_ok(const char *id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return id[0] && strchr(letters, id[0]) &&
           id[1 + strspn(id + 1,
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] ==
               '\0';
}

static struct err *check_options(struct exports *exports, const struct export_options *options,
                                 struct node **out)
{
    if (!id_ok(options->id))
        return err_new("Invalid block export id");
    if (export_find(exports, options->id))
        return err_new("Block export id '%s' is already in use", options->id);
    TRY(graph_lookup(exports->graph, options->node_name, out));
    if (options->writable && (*out)->read_only)
        return err_new("Cannot export read-only node as writable");
    return NULL;
}

static struct err *check_nbd_options(struct exports *exports, const struct export_options *options)
{
    const char *name = options->name ? options->name : options->node_name;

    if (!exports->server)
        return err_new("NBD server not running");
    if (strlen(name) > NBD_STRING_MAX)
        return err_new("export name '%s' too long", name);
    if (options->description && strlen(options->description) > NBD_STRING_MAX)
        return err_new("description '%s' too long", options->description);
    if (export_find_name(exports, name, strlen(name)))
        return err_new("NBD server already has export named '%s'", name);
    return NULL;
}

/* A bitmap without a node is looked for in the node and then down its backing chain. */
static struct err *find_bitmap(struct exports *exports, struct node *node,
                               const struct export_options *options, unsigned i,
                               struct bitmap **out)
{
    const char *name = options->bitmaps[i].name;

    if (options->bitmaps[i].node_name)
        return bitmap_lookup(exports->graph, options->bitmaps[i].node_name, name, out);
    for (struct node *at = node; at; at = node_backing(at)) {
        *out = bitmap_find(at, name);
        if (*out)
            return NULL;
    }
    return err_new("Bitmap '%s' is not found", name);
}

static struct err *take_bitmaps(struct export *export, struct node *node,
                                const struct export_options *options)
{
    for (unsigned i = 0; i < options->bitmap_count; i++) {
        struct bitmap *bitmap;

        TRY(find_bitmap(export->exports, node, options, i, &bitmap));
        TRY(bitmap_check(bitmap, BITMAP_USE_READ));
        if (!export->writable && !node->read_only && bitmap->enabled)
            return err_new("Enabled bitmap '%s' incompatible with readonly export", bitmap->name);
        if (strlen(bitmap->name) > NBD_STRING_MAX - strlen(NBD_CONTEXT_BITMAP_PREFIX))
            return err_new("Bitmap name '%s' is too long", bitmap->name);
        bitmap->busy = true;
        export->bitmaps[export->bitmap_count++] = bitmap;
    }
    return NULL;
}

static void added(void *arg, struct err *err)
{
    struct adding *adding = arg;
    struct export *export = adding->export;
    struct exports *exports = export->exports;

    exports->settling--;
    export->users--;
    if (!err && export->shutting_down)
        err = err_new("Block export '%s' was deleted meanwhile", export->id);
    if (err) {
        export->shutting_down = true;
        if (!export->users)
            export_free(export);
    }
    adding->done(adding->arg, err);
    xfree(adding);
    sweep_later(exports);
}

static void settled(void *arg, struct err *err)
{
    struct adding *adding = arg;

    if (!err && adding->export->fuse)
        fuse_export_start(adding->export->fuse, added, adding);
    else
        added(adding, err);
}

/* What depends on the type. */
static struct err *export_set_up(struct export *export, struct node *node,
                                 const struct export_options *options)
{
    if (export->type == EXPORT_FUSE)
        return fuse_export_new(export, &options->fuse, &export->fuse);
    export->name = xstrdup(options->name ? options->name : options->node_name);
    export->description = xstrdup(options->description);
    return take_bitmaps(export, node, options);
}

struct err *export_add(struct exports *exports, const struct export_options *options,
                       graph_done_fn *done, void *arg)
{
    struct export *export;
    struct adding *adding;
    struct node *node;
    struct err *err;
    uint32_t perm = PERM_CONSISTENT_READ | (options->writable ? PERM_WRITE : 0) |
                    (options->writable && options->fuse.growable ? PERM_RESIZE : 0);

    TRY(check_options(exports, options, &node));
    if (options->type == EXPORT_NBD)
        TRY(check_nbd_options(exports, options));
    export = NEW(struct export);
    export->exports = exports;
    export->type = options->type;
    export->id = xstrdup(options->id);
    export->writable = options->writable;
    export->writethrough = options->writethrough;
    export->allocation_depth = options->allocation_depth;
    list_add_tail(&exports->list, &export->link);
    err = export_set_up(export, node, options);
    if (!err)
        err = edge_attach(node, "root", &parent_ops, export, perm, PERM_ALL, &export->edge);
    if (err) {
        export_free(export);
        return err;
    }
    adding = NEW(struct adding);
    *adding = (struct adding){ export, done, arg };
    exports->settling++;
    export_use(export); /* Until settled: a deletion meanwhile waits. */
    edge_settle(export->edge, settled, adding);
    return NULL;
}

/* ---- The NBD server ---- */

struct err *exports_nbd_start(struct exports *exports, const struct nbd_server_options *options)
{
    if (exports->server)
        return err_new("NBD server already running");
    return nbd_server_new(exports, options, &exports->server);
}

static void close_exports(struct exports *exports, bool nbd_only, graph_done_fn *done, void *arg)
{
    list_for_each(export, &exports->list, struct export, link) {
        if (!nbd_only || export->type == EXPORT_NBD)
            export_shut_down(export);
    }
    nbd_server_free(exports->server);
    exports->server = NULL;
    add_stop(exports, &(struct stop){ .nbd_only = nbd_only, .done = done, .arg = arg });
}

void exports_close_all(struct exports *exports, graph_done_fn *done, void *arg)
{
    close_exports(exports, false, done, arg);
}

struct err *exports_nbd_stop(struct exports *exports, graph_done_fn *done, void *arg)
{
    if (!exports->server)
        return err_new("NBD server not running");
    close_exports(exports, true, done, arg);
    return NULL;
}

unsigned exports_nbd_port(const struct exports *exports)
{
    return exports->server ? nbd_server_port(exports->server) : 0;
}
