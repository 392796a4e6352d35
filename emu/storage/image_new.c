/* Images by file name: the file, the format in it, the opening, one after the other. */
#include "emu/storage/image_new.h"

#include "emu/base/alloc.h"
#include "emu/base/json.h"
#include "emu/base/str.h"
#include "emu/storage/create.h"
#include "emu/storage/driver.h"

struct image_making {
    struct graph *graph;
    struct json *protocol; /* Owned: options of the node for the file. */
    struct json *format;   /* Owned: create options, NULL: the file is all of it. */
    struct json *open;     /* Owned. */
    node_open_fn *done;
    void *arg;
    struct err *err;
    struct task task;
};

/* Options of the node that a file name stands for, without the format. */
static struct err *find_protocol(const char *filename, struct json **out)
{
    CLEANUP(json_free) struct json *options = NULL;
    const struct json *file;

    TRY(node_options_from_filename(filename, "raw", &options));
    file = json_object_get(options, "file");
    *out = json_copy(file ? file : options);
    json_object_add(*out, "driver", json_str("file")); /* What may be a disk. */
    return NULL;
}

struct err *image_new_check(struct graph *graph, const struct image_new_options *options)
{
    const struct driver *driver = options->format ? driver_find(graph, options->format) : NULL;

    if (!options->create)
        return NULL;
    if (!driver)
        return err_new("Unknown file format '%s'", options->format ? options->format : "");
    if (!driver->create && !str_eq(driver->name, "raw"))
        return err_new("Format driver '%s' does not support image creation", driver->name);
    if (options->backing && !driver->supports_backing)
        return err_new("Backing file not supported for file format '%s'", driver->name);
    return NULL;
}

/* ---- The line ---- */

static void add_quoted(struct str *text, const char *value)
{
    for (; *value; value++)
        str_addf(text, *value == ',' ? ",," : "%c", *value);
}

char *image_new_text(struct graph *graph, const struct image_new_options *options)
{
    const struct driver *driver = driver_find(graph, options->format);
    struct str text = { 0 };

    str_addf(&text, "Formatting '%s', fmt=%s", options->filename, options->format);
    if (!driver->create_options)
        str_addf(&text, " size=%llu", (unsigned long long)options->size);
    for (const struct create_option *o = driver->create_options; o && o->name; o++) {
        const char *value = o->default_text;

        if (str_eq(o->name, "size")) {
            str_addf(&text, " size=%llu", (unsigned long long)options->size);
            continue;
        }
        if (str_eq(o->name, "backing_file"))
            value = options->backing;
        else if (str_eq(o->name, "backing_fmt"))
            value = options->backing_format;
        if (!value)
            continue;
        str_addf(&text, " %s=", o->name);
        add_quoted(&text, value);
    }
    str_addf(&text, "\n");
    return str_steal(&text);
}

/* ---- Making ---- */

static void opened(void *arg, struct node *node, struct err *err)
{
    struct image_making *making = arg;
    node_open_fn *done = making->done;
    void *done_arg = making->arg;

    json_free(making->protocol);
    json_free(making->format);
    json_free(making->open);
    xfree(making);
    done(done_arg, node, err);
}

static void fail_task(struct task *task)
{
    struct image_making *making = container_of(task, struct image_making, task);

    opened(making, NULL, making->err);
}

static void format_made(void *arg, struct err *err)
{
    struct image_making *making = arg;

    if (err)
        opened(making, NULL, err);
    else
        node_open(making->graph, making->open, 0, opened, making);
}

static void file_made(void *arg, struct err *err)
{
    struct image_making *making = arg;

    if (err || !making->format)
        format_made(making, err);
    else
        blockdev_create(making->graph, making->format, format_made, making);
}

static void start(struct image_making *making)
{
    struct json *file = json_object_take(making->protocol, "create");

    if (!file) {
        format_made(making, NULL);
        return;
    }
    blockdev_create(making->graph, file, file_made, making);
    json_free(file);
}

/*
 * The same file may just be closing, as the target of a job that has ended: its locks go with it. Other nodes that
 * close late are not waited for.
 */
enum { SETTLE_NS = 500000000 };

struct settling {
    struct image_making *making; /* NULL: went on without. */
    struct timer timer;
};

static void settled(void *arg, struct err *err)
{
    struct settling *settling = arg;

    err_ignore(err);
    timer_disarm(&settling->timer);
    if (settling->making)
        start(settling->making);
    xfree(settling);
}

static void waited_enough(struct timer *timer)
{
    struct settling *settling = container_of(timer, struct settling, timer);
    struct image_making *making = settling->making;

    settling->making = NULL;
    start(making);
}

static void start_task(struct task *task)
{
    struct image_making *making = container_of(task, struct image_making, task);
    struct reactor *reactor = graph_reactor(making->graph);
    struct settling *settling = NEW(struct settling);

    settling->making = making;
    settling->timer.fn = waited_enough;
    timer_arm(reactor, &settling->timer, reactor_now(reactor) + SETTLE_NS);
    graph_settle(making->graph, settled, settling);
}

/* What to create; the options for the file wait in a member of the protocol's. */
static struct err *plan_creation(struct image_making *making,
                                 const struct image_new_options *options)
{
    const struct driver *driver = driver_find(making->graph, options->format);
    const char *protocol = json_object_get_str(making->protocol, "driver");
    const struct driver *below = protocol ? driver_find(making->graph, protocol) : NULL;
    /* A protocol as the format: the file itself is the image. */
    const bool formatted = driver->create && !driver->is_protocol;
    struct json *file;

    if (!below || !below->create)
        return err_new("Protocol driver '%s' does not support creating new images", protocol);
    if (formatted) {
        making->format = json_object();
        json_object_set_str(making->format, "driver", driver->name);
        json_object_set(making->format, "file", json_copy(making->protocol));
        json_object_set_uint(making->format, "size", options->size);
        if (options->backing)
            json_object_set_str(making->format, "backing-file", options->backing);
        if (options->backing && options->backing_format)
            json_object_set_str(making->format, "backing-fmt", options->backing_format);
    }
    file = json_copy(making->protocol);
    json_object_set_uint(file, "size", formatted ? 0 : options->size);
    json_object_set(making->protocol, "create", file);
    return NULL;
}

static struct err *plan_open(struct image_making *making, const struct image_new_options *options)
{
    static const char *const detect[] = { "off", "on", "unmap" };
    const struct driver *driver =
        options->format ? driver_find(making->graph, options->format) : NULL;
    struct json *cache = json_object();

    if (driver && driver->is_protocol) {
        making->open = json_copy(making->protocol);
        json_object_del(making->open, "create");
    } else {
        TRY(node_options_from_filename(options->filename, options->format, &making->open));
    }
    if (options->node_name)
        json_object_set_str(making->open, "node-name", options->node_name);
    if (options->no_backing)
        json_object_set(making->open, "backing", json_null());
    json_object_set_bool(cache, "direct", options->open.cache_direct);
    json_object_set_bool(cache, "no-flush", options->open.cache_no_flush);
    json_object_set(making->open, "cache", cache);
    if (options->open.discard_unmap)
        json_object_set_str(making->open, "discard", "unmap");
    if (options->open.detect_zeroes != DETECT_ZEROES_OFF)
        json_object_set_str(making->open, "detect-zeroes", detect[options->open.detect_zeroes]);
    return NULL;
}

void image_new(struct graph *graph, const struct image_new_options *options, node_open_fn *done,
               void *arg)
{
    struct image_making *making = NEW(struct image_making);

    making->graph = graph;
    making->done = done;
    making->arg = arg;
    making->err = image_new_check(graph, options);
    if (!making->err)
        making->err = find_protocol(options->filename, &making->protocol);
    if (!making->err && options->create)
        making->err = plan_creation(making, options);
    if (!making->err)
        making->err = plan_open(making, options);
    reactor_defer(graph_reactor(graph), &making->task, making->err ? fail_task : start_task);
}
