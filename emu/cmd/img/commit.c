/*
 * emu-img commit: what an image holds goes into one of its backing files.
 *
 * The chain is opened a second time from the base upwards, so that the base may be written: each image gets the node
 * below it by name. While data is copied the overlays stay in place, so at every moment the top shows the same.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/base/vec.h"
#include "emu/cmd/img/img.h"
#include "emu/cmd/img/pump.h"
#include "emu/storage/open.h"

static const char help[] =
    "Commit image to its backing file.  Usage:\n\n"
    "  %s commit [-f FMT | --image-opts] [-t CACHE_MODE] [-b BASE_IMG] [-d]\n"
    "        [-r RATE] [-p] [-q] [--object OBJDEF] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operations\n"
    "  -p, --progress                show operation progress\n"
    "  -f, --format FMT              format of FILENAME\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -t, --cache CACHE_MODE        cache mode (writeback)\n"
    "  -d, --drop                    leave FILENAME as it is instead of emptying it\n"
    "  -b, --base BASE_IMG           commit into that image of the chain (implies -d)\n"
    "  -r, --rate RATE               bytes per second at most\n"
    "      --object OBJDEF           an object, such as a secret\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "progress", no_argument, NULL, 'p' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "cache", required_argument, NULL, 't' },
    { "drop", no_argument, NULL, 'd' },
    { "base", required_argument, NULL, 'b' },
    { "rate", required_argument, NULL, 'r' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { 0 },
};

struct commit_options {
    struct image_spec image;
    const char *base;
    uint64_t rate; /* Bytes per second, 0: no limit. */
    bool drop, progress, quiet;
};

/* The chain opened for the commit. */
struct commit {
    const struct commit_options *o;
    struct image top, base;
    unsigned depth; /* Layers above the base. */
    uint64_t copied;
    struct progress progress;
};

/* The options of the images from the top down to the base, as they were opened. */
typedef VEC(struct json *) layer_vec;

static void layers_fini(layer_vec *layers)
{
    for (size_t i = 0; i < vec_len(layers); i++)
        json_free(vec_at(layers, i));
    vec_fini(layers);
}

static bool is_named(const struct node *above, const struct node *node, const char *name)
{
    char *full = filename_resolve(above->filename, name);
    bool same = str_eq(node->filename, full) || str_eq(node->filename, name);

    xfree(full);
    return same;
}

/* Collects what to open again: the layers and the base last. */
static struct err *find_layers(struct node *top, const struct commit_options *o, layer_vec *layers)
{
    struct node *node = top;

    if (!node_backing(top))
        return err_new("Image does not have a backing file");
    for (;;) {
        struct node *below = node_backing(node);

        vec_push(layers, json_copy(node->options));
        if (node != top && (!o->base || is_named(top, node, o->base)))
            return NULL;
        if (!below)
            return err_new("Did not find '%s' in the backing chain of '%s'", o->base,
                           o->image.name);
        node = below;
    }
}

static void set_writable(struct json *options, bool writable)
{
    struct json *file = json_object_get(options, "file");

    json_object_set_bool(options, "read-only", !writable);
    json_object_set_bool(options, "auto-read-only", false);
    if (json_type_of(file) == JSON_OBJECT && json_object_has(file, "read-only"))
        set_writable(file, writable);
}

static const struct edge_parent_ops commit_parent = { .what = "image tool" };

/* Opens one layer over `below` (NULL: as its header says) and attaches to it. */
static struct err *open_layer(struct tool *tool, struct json *options, struct node *below,
                              bool writable, struct image *out)
{
    struct waiter waiter = { 0 };
    uint32_t perm = PERM_CONSISTENT_READ | (writable ? PERM_WRITE | PERM_RESIZE : 0);

    json_object_del(options, "node-name");
    set_writable(options, writable);
    if (below)
        json_object_set_str(options, "backing", below->name);
    node_open(tool->graph, options, 0, wait_node_done, &waiter);
    TRY(wait_for(tool->reactor, &waiter));
    out->tool = tool;
    out->node = waiter.node;
    TRY(edge_attach(out->node, "root", &commit_parent, NULL, perm, PERM_ALL, &out->edge));
    edge_settle(out->edge, wait_done, &waiter);
    return wait_for(tool->reactor, &waiter);
}

/* Opens the chain from the base up. */
static struct err *open_chain(struct commit *c, struct tool *tool, layer_vec *layers)
{
    size_t i = vec_len(layers) - 1;
    struct image above = { 0 };
    struct err *err = open_layer(tool, vec_at(layers, i), NULL, true, &c->base);
    struct node *below = c->base.node;

    c->depth = (unsigned)i;
    while (!err && i-- > 0) {
        struct image layer = { 0 };

        err = open_layer(tool, vec_at(layers, i), below, i == 0, &layer);
        image_close(&above);
        if (i == 0)
            c->top = layer;
        else
            above = layer;
        below = layer.node;
    }
    image_close(&above);
    return err;
}

static struct err *grow_base(struct commit *c)
{
    struct waiter waiter = { 0 };

    if (c->base.node->size >= c->top.node->size)
        return NULL;
    edge_truncate(c->base.edge, c->top.node->size, true, PREALLOC_OFF, wait_done, &waiter);
    return wait_for(c->top.tool->reactor, &waiter);
}

/* Copies what the layers above the base hold. */
static struct err *copy_layers(struct commit *c)
{
    uint64_t size = c->top.node->size, at = 0;
    struct pump *pump = pump_new(c->top.tool, &(struct pump_options){
                                                  .copy = { .source = c->top.edge,
                                                            .target = c->base.edge,
                                                            .use_status = true,
                                                            .unmap = true },
                                                  .rate = c->o->rate,
                                                  .progress = &c->progress,
                                                  .total = size,
                                              });
    struct err *err = NULL;

    while (at < size && !err) {
        struct req_status status;
        int result = image_status(&c->top, at, size - at, 0, &status);

        if (result < 0) {
            err = err_new_errno(result, "error while reading image metadata at byte %" PRIu64, at);
            break;
        }
        if ((status.flags & STATUS_ALLOCATED) && status.depth < c->depth)
            err = pump_copy(pump, at, status.len);
        else
            pump_skip(pump, status.len);
        at += status.len;
    }
    return pump_end(pump, err);
}

static struct err *empty_top(struct commit *c)
{
    struct node *top = node_skip_filters(c->top.node);
    struct waiter waiter = { 0 };
    struct err *err;

    if (c->o->drop || c->o->base)
        return NULL;
    if (top->driver->make_empty) {
        top->driver->make_empty(top, wait_done, &waiter);
        err = wait_for(c->top.tool->reactor, &waiter);
    } else {
        err = err_new("%s", strerror(ENOTSUP));
    }
    return err_prefix(err, "Could not empty %s: ", c->o->image.name);
}

static struct err *commit(struct commit *c)
{
    int result;

    TRY(grow_base(c));
    progress_start(&c->progress, c->top.tool, c->o->progress && !c->o->quiet);
    TRY(copy_layers(c));
    result = image_flush(&c->base);
    if (result < 0)
        return err_new_errno(result, "error while flushing '%s'", c->base.node->filename);
    progress_end(&c->progress);
    TRY(empty_top(c));
    if (!c->o->quiet)
        printf("Image committed.\n");
    return NULL;
}

static struct err *run(struct tool *tool, const struct commit_options *o)
{
    struct commit c = { .o = o };
    layer_vec layers = { 0 };
    struct image first;
    struct err *err;

    TRY(image_open(tool, &o->image, &first));
    err = find_layers(first.node, o, &layers);
    image_close(&first);
    if (!err)
        err = open_chain(&c, tool, &layers);
    if (!err)
        err = commit(&c);
    tool->progress_asked = NULL;
    image_close(&c.top);
    image_close(&c.base);
    layers_fini(&layers);
    return err;
}

static int parse_option(struct tool *tool, int c, struct commit_options *o)
{
    switch (c) {
    case 'q': o->quiet = true; return 0;
    case 'p': o->progress = true; return 0;
    case 'd': o->drop = true; return 0;
    case 't': o->image.cache = optarg; return 0;
    case 'b': o->base = optarg; return 0;
    case 'r': return img_parse_size(tool, "rate limit", optarg, &o->rate);
    default: return img_image_option(tool, c, &o->image);
    }
}

int img_commit(struct tool *tool, int argc, char **argv)
{
    struct commit_options o = { .image = { .writable = true } };
    struct err *err;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hf:t:b:dpqr:", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status)
        return status;
    o.image.name = argv[optind];
    err = run(tool, &o);
    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}
