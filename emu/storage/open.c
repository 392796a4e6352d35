/*
 * Opening a node: children, then the driver, then the backing file that the header names.
 *
 * One struct opening is one node being opened; children opened inline are openings of their own
 * that report to it. Every step ends in a callback. A failure at any step drops the node, which
 * closes what was opened, and then reports.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/str.h"
#include "emu/storage/core.h"
#include "emu/storage/open.h"

struct opening {
    struct graph *graph;
    struct json *options; /* Owned. */
    unsigned flags;
    struct open_inherit inherit;
    node_open_fn *done;
    void *arg;
    struct node *node;        /* Holds a reference. */
    struct node *probed_file; /* Holds a reference. */
    bool opened_probed;       /* It was opened here, not named. */
    struct opts opts;
    const struct driver *driver;
    const struct driver_child *row; /* The child being opened. */
    struct err *err;
    struct close_ticket ticket;
    struct task task;
    struct op op; /* Looking at what a name is. */
    struct file_stat stat;
};

static void next_child(struct opening *o);

static void end(struct opening *o, struct node *node)
{
    struct graph *graph = o->graph;

    opts_fini(&o->opts);
    json_free(o->options);
    graph->opening--;
    o->done(o->arg, node, o->err);
    xfree(o);
    graph_idle_check(graph);
}

static void closed(void *arg, struct err *err)
{
    struct opening *o = arg;

    err_ignore(err);
    end(o, NULL);
}

static void fail(struct opening *o, struct err *err)
{
    o->err = err;
    if (o->probed_file)
        node_unref(o->probed_file);
    if (!o->node) {
        end(o, NULL);
        return;
    }
    close_ticket_init(&o->ticket, closed, o);
    node_unref_ticket(o->node, &o->ticket);
}

/* ---- Last steps ---- */

/* Leaves of options what decides which disk it is, not how it is used. */
static void keep_identity(struct json *options)
{
    static const char *const uses[] = {
        "node-name", "read-only", "auto-read-only", "cache",   "force-share",
        "discard",   "aio",       "detect-zeroes",  "locking",
    };
    const char *key;
    struct json *value;

    for (size_t i = 0; i < ARRAY_LEN(uses); i++)
        json_object_del(options, uses[i]);
    json_object_for_each(options, i, key, value) {
        if (json_type_of(value) == JSON_OBJECT)
            keep_identity(value);
    }
}

/* Whether the name of the file alone would not find the same disk again. */
static bool needs_options(const struct node *node)
{
    static const char *const members[] = { "offset", "size", "key-secret", "encrypt", "header" };

    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (json_object_has(node->options, members[i]))
            return true;
    }
    return false;
}

static void name_filename(struct node *node)
{
    struct json *shown;

    if (*node->filename)
        return;
    xfree(node->filename);
    if (node->file && !str_has_prefix(node->file->node->filename, "json:") &&
        !needs_options(node)) {
        node->filename = xstrdup(node->file->node->filename);
        return;
    }
    shown = json_copy(node->options);
    keep_identity(shown);
    char *text = json_to_text(shown, JSON_COMPACT | JSON_HASH_ORDER);

    node->filename = xasprintf("json:%s", text);
    xfree(text);
    json_free(shown);
}

/* In the lists that clients see an image comes before the backing files that were opened because of it. */
static void list_before_backing(struct node *node)
{
    node_vec below = { 0 };
    struct node *first = NULL;

    if (!node->backing || !node->backing->inherits)
        return;
    graph_descendants(node->backing->node, &below);
    list_for_each(at, &node->graph->nodes, struct node, link) {
        vec_for_each(each, &below) {
            if (!first && *each == at)
                first = at;
        }
    }
    vec_fini(&below);
    if (!first)
        return;
    list_del(&node->link);
    list_add_tail(&first->link, &node->link);
}

static void all_settled(void *arg, struct err *err)
{
    struct opening *o = arg;
    struct node *node = o->node;

    if (!err && map_has(&o->graph->names, node->name))
        err = err_new("Duplicate nodes with node-name='%s'", node->name);
    if (err) {
        fail(o, err);
        return;
    }
    graph_list(node);
    list_before_backing(node);
    node->monitor_owned = o->flags & NODE_OPEN_MONITOR;
    end(o, node);
}

static void finish(struct opening *o) { node_settle(o->node, all_settled, o); }

static struct err *attach(struct opening *o, struct node *child, const char *name, uint32_t role,
                          bool inherits)
{
    struct node *node = o->node;
    struct edge like = { .role = role, .parent = node };
    struct edge *edge;
    uint32_t perm = 0, shared = PERM_ALL, child_perm, child_shared;

    if (child->read_only && o->inherit.defaults.auto_read_only &&
        (role & (ROLE_DATA | ROLE_METADATA | ROLE_FILTERED)))
        node->read_only = true;
    memcpy(like.name, name, strlen(name) + 1);
    node_cumulative(node, &perm, &shared);
    if (node->driver->child_perm)
        node->driver->child_perm(node, &like, perm, shared, &child_perm, &child_shared);
    else
        node_default_perms(node, &like, perm, shared, &child_perm, &child_shared);
    if (node->open.force_share)
        child_shared = PERM_ALL;
    TRY(edge_attach_child(node, child, name, role, child_perm, child_shared, &edge));
    edge->inherits = inherits;
    return NULL;
}

/* ---- A child that a driver asks for ---- */

struct named_child {
    struct node *node; /* Borrowed: it is being opened. */
    char name[32];
    uint32_t role;
    driver_done_fn *done;
    void *arg;
};

static void named_child_opened(void *arg, struct node *child, struct err *err)
{
    struct named_child *n = arg;
    driver_done_fn *done = n->done;
    void *done_arg = n->arg;

    if (!err) {
        struct edge like = { .role = n->role, .parent = n->node };
        uint32_t perm = 0, shared = PERM_ALL, child_perm, child_shared;
        struct edge *edge;

        node_cumulative(n->node, &perm, &shared);
        node_default_perms(n->node, &like, perm, shared, &child_perm, &child_shared);
        if (n->node->open.force_share)
            child_shared = PERM_ALL;
        err = edge_attach_child(n->node, child, n->name, n->role, child_perm, child_shared, &edge);
        node_unref(child);
    }
    xfree(n);
    done(done_arg, err);
}

void open_child_file(struct node *node, const char *filename, const char *edge_name, uint32_t role,
                     driver_done_fn *done, void *arg)
{
    struct open_inherit inherit = open_inherit_for(node, role);
    char *path = filename_resolve(node->file->node->filename, filename);
    struct json *options = NULL, *file;
    struct named_child *n;
    struct err *err = node_options_from_filename(path, "raw", &options);

    xfree(path);
    file = err ? NULL : json_object_get(options, "file");
    if (!err && !file)
        err = err_new("'%s' does not name a file", filename);
    if (err) {
        json_free(options);
        done(arg, err);
        return;
    }
    n = NEW(struct named_child);
    *n = (struct named_child){ .node = node, .role = role, .done = done, .arg = arg };
    snprintf(n->name, sizeof(n->name), "%s", edge_name);
    open_start(node->graph, file, 0, &inherit, named_child_opened, n);
    json_free(options);
}

static void backing_opened(void *arg, struct node *backing, struct err *err)
{
    struct opening *o = arg;

    if (!err) {
        err = attach(o, backing, "backing", ROLE_COW, true);
        node_unref(backing);
    }
    if (err) {
        fail(o, err_prefix(err, "Could not open backing file: "));
        return;
    }
    finish(o);
}

/* What was said of a backing file beside the name in the header: its node name, its cache. */
static void add_options(struct json *options, const struct json *more)
{
    const char *key;
    struct json *value;

    json_object_for_each(more, i, key, value)
        json_object_set(options, key, json_ref(value));
}

/* Whether options of a backing file leave it to the header to say which file it is. */
static bool wants_named_file(const struct opening *o, const struct json *value)
{
    const char *name = json_object_get_str(value, "driver");
    const struct driver *driver = name ? driver_find(o->graph, name) : NULL;

    if (json_object_has(value, "file") || !o->node->backing_name || !*o->node->backing_name)
        return false;
    return !name || (driver && driver->is_format);
}

static void open_backing(struct opening *o)
{
    struct node *node = o->node;
    struct json *value = json_object_get(o->options, "backing");
    struct open_inherit inherit = open_inherit_for(node, ROLE_COW);
    struct json *options = NULL;
    struct err *err = NULL;

    inherit.depth = o->inherit.depth + 1;
    if (!o->driver->supports_backing || (o->flags & NODE_OPEN_NO_BACKING) ||
        (value && json_type_of(value) == JSON_NULL)) {
        finish(o);
        return;
    }
    if (value && json_type_of(value) == JSON_STRING) {
        struct node *backing = NULL;

        err = *json_get_str(value) ? graph_lookup(o->graph, json_get_str(value), &backing) : NULL;
        if (!err && *json_get_str(value))
            err = attach(o, backing, "backing", ROLE_COW, false);
        if (err)
            fail(o, err);
        else
            finish(o);
        return;
    }
    if (value && !wants_named_file(o, value)) {
        options = json_copy(value);
    } else if (node->backing_name && *node->backing_name) {
        char *name = filename_resolve(node->filename, node->backing_name);
        const char *driver = value ? json_object_get_str(value, "driver") : NULL;

        err = node_options_from_filename(name, driver ? driver : node->backing_format, &options);
        xfree(name);
        if (!err && value)
            add_options(options, value);
    } else if (value) {
        options = json_copy(value);
    } else {
        finish(o);
        return;
    }
    if (!err && inherit.depth > OPEN_NEST_MAX)
        err = err_new("The backing chain of '%s' is longer than %d images", node->filename,
                      OPEN_NEST_MAX);
    if (err)
        fail(o, err_prefix(err, "Could not open backing file: "));
    else
        open_start(o->graph, options, o->flags & ~(unsigned)NODE_OPEN_MONITOR, &inherit,
                   backing_opened, o);
    json_free(options);
}

static void driver_opened(void *arg, struct err *err)
{
    struct opening *o = arg;
    struct node *node = o->node;
    const char *unused;

    if (err) {
        fail(o, err);
        return;
    }
    core_of(node)->opened = true;
    check(is_pow2(node->limits.request_alignment) && is_pow2(node->limits.memory_alignment));
    opts_mark(&o->opts, "backing");
    unused = opts_unused(&o->opts);
    if (unused)
        err = err_new("Block %s '%s' does not support the option '%s'",
                      o->driver->is_protocol ? "protocol" : "format", o->driver->name, unused);
    name_filename(node);
    if (!err)
        err = perm_update(&node, 1);
    if (err)
        fail(o, err);
    else
        open_backing(o);
}

static void children_settled(void *arg, struct err *err)
{
    struct opening *o = arg;

    if (err)
        fail(o, err);
    else
        o->driver->open(o->node, &o->opts, o->flags, driver_opened, o);
}

/* ---- Children ---- */

static void child_opened(void *arg, struct node *child, struct err *err)
{
    struct opening *o = arg;

    if (!err) {
        err = attach(o, child, o->row->name, o->row->role, true);
        node_unref(child);
    }
    if (err) {
        fail(o, err);
        return;
    }
    o->row++;
    next_child(o);
}

static void next_child(struct opening *o)
{
    for (; o->row && o->row->name; o->row++) {
        const struct json *value = NULL;
        struct node *child;
        struct err *err = NULL;

        if (str_eq(o->row->name, "backing"))
            continue; /* After the header was read. */
        if (o->probed_file && str_eq(o->row->name, "file")) {
            opts_mark(&o->opts, "file");
            err = attach(o, o->probed_file, "file", o->row->role, o->opened_probed);
            node_unref(o->probed_file);
            o->probed_file = NULL;
        } else {
            err = opts_child_opt(&o->opts, o->row->name, &value);
            if (!err && !value && o->row->required)
                err = err_new("A block device must be specified for \"%s\"", o->row->name);
            if (!err && value && json_type_of(value) == JSON_STRING) {
                err = graph_lookup(o->graph, json_get_str(value), &child);
                if (!err)
                    err = attach(o, child, o->row->name, o->row->role, false);
            } else if (!err && value) {
                struct open_inherit inherit = open_inherit_for(o->node, o->row->role);

                inherit.depth = o->inherit.depth;
                open_start(o->graph, value, o->flags & ~(unsigned)NODE_OPEN_MONITOR, &inherit,
                           child_opened, o);
                return;
            }
        }
        if (err) {
            fail(o, err);
            return;
        }
    }
    node_settle(o->node, children_settled, o);
}

/* ---- First steps ---- */

static struct err *make_node(struct opening *o)
{
    const char *name = NULL;
    struct node_options common;

    opts_init(&o->opts, o->options);
    opts_mark(&o->opts, "driver");
    TRY(opts_str_opt(&o->opts, "node-name", &name));
    if ((o->flags & NODE_OPEN_MONITOR) && !name)
        return err_new("'node-name' must be specified for the root node");
    if (name)
        TRY(graph_check_name(o->graph, name));
    TRY(open_common(&o->opts, &o->inherit, &common));
    o->node = node_new(o->graph, o->driver);
    o->node->open = common;
    o->node->read_only = common.read_only;
    o->node->options = json_ref(o->options);
    if (name)
        memcpy(o->node->name, name, strlen(name) + 1);
    else
        graph_auto_name(o->graph, o->node->name);
    return NULL;
}

static void with_driver(struct opening *o)
{
    struct err *err = make_node(o);

    if (err) {
        fail(o, err);
        return;
    }
    o->row = o->driver->children;
    next_child(o);
}

static void probed(void *arg, const struct driver *driver, struct err *err)
{
    struct opening *o = arg;

    if (err) {
        fail(o, err);
        return;
    }
    o->driver = driver;
    o->flags |= str_eq(driver->name, "raw") ? NODE_OPEN_PROBED_RAW : 0;
    json_object_set_str(o->options, "driver", driver->name);
    with_driver(o);
}

static void probe_file_opened(void *arg, struct node *file, struct err *err)
{
    struct opening *o = arg;

    if (err) {
        fail(o, err);
        return;
    }
    o->probed_file = file;
    probe_format(file, probed, o);
}

static void looked_at(struct op *op)
{
    struct opening *o = container_of(op, struct opening, op);
    bool is_device = op->result >= 0 && (o->stat.is_block || o->stat.is_char);

    /* That it is not there is said by the driver. */
    probed(o, driver_find(o->graph, is_device ? "host_device" : "file"), NULL);
}

static void open_for_probe(struct opening *o)
{
    struct json *file = json_object_get(o->options, "file");
    struct opts opts = { 0 };
    struct open_inherit inherit = o->inherit;
    struct err *err;

    if (!file && json_object_get_str(o->options, "filename")) {
        /* What only has a name is a file or a disk of the host. */
        o->op.done = looked_at;
        reactor_path_stat(o->graph->reactor, &o->op, json_object_get_str(o->options, "filename"),
                          &o->stat);
        return;
    }
    if (!file) {
        fail(o, err_new("Parameter 'driver' is missing"));
        return;
    }
    if (json_type_of(file) == JSON_STRING) {
        struct node *node;

        err = graph_lookup(o->graph, json_get_str(file), &node);
        if (err)
            fail(o, err);
        else
            probe_file_opened(o, node_ref(node), NULL);
        return;
    }
    opts_init(&opts, o->options);
    err = open_common(&opts, &o->inherit, &inherit.defaults);
    opts_fini(&opts);
    if (err) {
        fail(o, err);
        return;
    }
    inherit.defaults.discard_unmap = true;
    inherit.defaults.detect_zeroes = DETECT_ZEROES_OFF;
    o->opened_probed = true;
    open_start(o->graph, file, o->flags & ~(unsigned)NODE_OPEN_MONITOR, &inherit, probe_file_opened,
               o);
}

static void start_task(struct task *task)
{
    struct opening *o = container_of(task, struct opening, task);
    const char *driver = json_object_get_str(o->options, "driver");

    if (!driver) {
        open_for_probe(o);
        return;
    }
    o->driver = driver_find(o->graph, driver);
    if (!o->driver)
        fail(o, err_new("Unknown driver '%s'", driver));
    else
        with_driver(o);
}

void open_start(struct graph *graph, const struct json *options, unsigned flags,
                const struct open_inherit *inherit, node_open_fn *done, void *arg)
{
    struct opening *o = NEW(struct opening);

    o->graph = graph;
    o->options = json_copy(options);
    o->flags = flags;
    o->inherit = *inherit;
    o->done = done;
    o->arg = arg;
    graph->opening++;
    reactor_defer(graph->reactor, &o->task, start_task);
}

void node_open(struct graph *graph, const struct json *options, unsigned flags, node_open_fn *done,
               void *arg)
{
    struct open_inherit inherit = { 0 };

    open_start(graph, options, flags, &inherit, done, arg);
}
