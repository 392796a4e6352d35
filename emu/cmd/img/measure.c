/* emu-img measure: how large an image file would be. */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/base/keyval.h"
#include "emu/cmd/common/image_options.h"
#include "emu/cmd/common/source_snapshot.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Calculate file size required for a new image.  Usage:\n\n"
    "  %s measure [-f FMT | --image-opts] [-o OPTIONS] [-O OUTPUT_FMT]\n"
    "        [--output human|json] [--object OBJDEF] [-l SNAPSHOT_PARAM] [-U]\n"
    "        (--size SIZE | FILENAME)\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -O, --target-format FMT       format of the new image (default is raw)\n"
    "  -o OPTIONS                    format-specific options of the new image\n"
    "  -s, --size SIZE               measure for an empty image of that size\n"
    "  -f, --format FMT              format of FILENAME\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -l, --snapshot SNAPSHOT_PARAM measure for a snapshot in FILENAME\n"
    "  -U, --force-share             open the image although others write to it\n"
    "      --object OBJDEF           an object, such as a secret\n"
    "      --output human|json       form of the output\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "target-format", required_argument, NULL, 'O' },
    { "size", required_argument, NULL, 's' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "snapshot", required_argument, NULL, 'l' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "output", required_argument, NULL, OPT_OUTPUT },
    { 0 },
};

struct measure_options {
    struct image_spec image;
    const char *format;
    char *options; /* owned */
    struct source_snapshot snapshot;
    bool json, have_size;
    uint64_t size;
};

static void print(const struct measure_result *r, bool json)
{
    CLEANUP(json_free) struct json *out = json_object();
    char *text;

    if (!json) {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", r->required,
               r->fully_allocated);
        if (r->have_bitmaps)
            printf("bitmaps size: %" PRIu64 "\n", r->bitmaps);
        return;
    }
    json_object_set_uint(out, "required", r->required);
    json_object_set_uint(out, "fully-allocated", r->fully_allocated);
    if (r->have_bitmaps)
        json_object_set_uint(out, "bitmaps", r->bitmaps);
    text = json_to_text(out, JSON_PRETTY | JSON_HASH_ORDER);
    printf("%s\n", text);
    xfree(text);
}

static struct err *measure(struct tool *tool, const struct measure_options *o,
                           const struct driver *driver, struct edge *source, uint64_t size)
{
    struct option_tables tables = { .format = driver->create_options };
    CLEANUP(json_free) struct json *values = NULL;
    CLEANUP(json_free) struct json *nested = NULL;
    struct measure_result result = { 0 };
    struct waiter waiter = { 0 };
    struct err *err;

    tables.protocol = driver_file.create_options;
    err = image_options_parse(&tables, o->options, &values);
    if (err) {
        tool_report(tool, err);
        return err_new("Invalid options for file format '%s'", driver->name);
    }
    TRY(keyval_nest(values, &nested));
    driver->measure(tool->graph, nested, source, size, &result, wait_done, &waiter);
    TRY(wait_for(tool->reactor, &waiter));
    print(&result, o->json);
    return NULL;
}

static struct err *run(struct tool *tool, const struct measure_options *o)
{
    const struct driver *driver = driver_find(tool->graph, o->format);
    struct image image = { 0 };
    struct err *err = NULL;

    if (o->image.name) {
        TRY(image_open(tool, &o->image, &image));
        err = source_snapshot_load(&o->snapshot, &image);
    }
    if (!err && !driver)
        err = err_new("Unknown file format '%s'", o->format);
    if (!err && !driver->create_options)
        err = err_new("Format driver '%s' does not support image creation", driver->name);
    if (!err && !driver->measure)
        err = err_new("Block driver '%s' does not support size measurement", driver->name);
    if (!err)
        err = measure(tool, o, driver, image.edge, image.node ? image.node->size : o->size);
    image_close(&image);
    return err;
}

static int parse_option(struct tool *tool, int c, struct measure_options *o)
{
    switch (c) {
    case 'O': o->format = optarg; return 0;
    case 'o': return img_join_options(tool, &o->options, optarg);
    case 'l': return source_snapshot_parse(&o->snapshot, tool, optarg);
    case 's': o->have_size = true; return img_parse_size(tool, "image size", optarg, &o->size);
    case OPT_OUTPUT: return img_parse_output(tool, optarg, &o->json);
    default: return img_image_option(tool, c, &o->image);
    }
}

/* What the operands and options ask for must fit together. */
static const char *find_mistake(const struct measure_options *o, int operands)
{
    if (operands > 1)
        return "At most one filename argument is allowed.";
    if (operands == 0 &&
        (o->image.image_opts || o->image.format || source_snapshot_set(&o->snapshot)))
        return "--image-opts, -f, and -l require a filename argument.";
    if (operands == 0 && !o->have_size)
        return "Either --size N or one filename must be specified.";
    if (operands == 1 && o->have_size)
        return "--size N cannot be used together with a filename.";
    return NULL;
}

int img_measure(struct tool *tool, int argc, char **argv)
{
    struct measure_options o = { .format = "raw" };
    const char *mistake;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hO:o:s:f:l:U", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    mistake = status ? NULL : find_mistake(&o, argc - optind);
    if (mistake) {
        tool_error(tool, "%s", mistake);
        status = 1;
    }
    if (status == 0) {
        struct err *err;

        o.image.name = argv[optind];
        err = run(tool, &o);
        if (err) {
            tool_report(tool, err);
            status = 1;
        }
    }
    source_snapshot_fini(&o.snapshot);
    xfree(o.options);
    return status;
}
