/* emu-img amend: options of an image that exists. */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/cmd/common/image_options.h"
#include "emu/cmd/img/img.h"
#include "emu/cmd/img/progress.h"

static const char help[] =
    "Update format-specific options of the image.  Usage:\n\n"
    "  %s amend [-f FMT | --image-opts] [-t CACHE] [--force] [-p] [-q]\n"
    "        [--object OBJDEF] -o OPTIONS FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operation\n"
    "  -p, --progress                show progress\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -t, --cache CACHE             cache mode (writeback)\n"
    "      --force                   allow what can make data unreadable\n"
    "      --object OBJDEF           an object, such as a secret\n"
    "  -o, --options OPTIONS         what to change ('-o help' for the list)\n";

enum { OPT_FORCE = OPT_IMG_LAST };

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "progress", no_argument, NULL, 'p' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "cache", required_argument, NULL, 't' },
    { "force", no_argument, NULL, OPT_FORCE },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "options", required_argument, NULL, 'o' },
    { 0 },
};

struct amend_options {
    struct image_spec image;
    char *options; /* owned */
    unsigned flags;
    bool progress, quiet;
};

static struct err *check_driver(const struct driver *driver)
{
    if (driver->amend)
        return NULL;
    return err_new("Format driver '%s' does not support option amendment", driver->name);
}

/* -o help with a format and without an image. */
static struct err *print_help_of(struct tool *tool, const char *format)
{
    const struct driver *driver = driver_find(tool->graph, format);
    struct option_tables tables;

    if (!driver)
        return err_new("Unknown file format '%s'", format);
    TRY(check_driver(driver));
    tables = (struct option_tables){ .format = driver->amend_options };
    printf("Amend options for '%s':\n", driver->name);
    image_options_print(&tables);
    return NULL;
}

struct amendment {
    struct waiter waiter;
    struct progress progress;
};

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    struct amendment *a = arg;

    progress_update(&a->progress, done, total);
}

static void amended(void *arg, struct err *err)
{
    struct amendment *a = arg;

    wait_done(&a->waiter, err);
}

static struct err *amend(struct image *image, const struct amend_options *o)
{
    const struct driver *driver = image->node->driver;
    CLEANUP(json_free) struct json *values = NULL;
    CLEANUP(json_free) struct json *nested = NULL;
    struct option_tables tables = { .format = driver->amend_options };
    struct amendment a = { 0 };
    struct err *err;

    TRY(check_driver(driver));
    TRY(image_options_parse(&tables, o->options, &values));
    TRY(keyval_nest(values, &nested));
    progress_start(&a.progress, image->tool, o->progress && !o->quiet);
    driver->amend(image->node, nested, o->flags, show_progress, amended, &a);
    err = wait_for(image->tool->reactor, &a.waiter);
    if (!err)
        progress_end(&a.progress);
    image->tool->progress_asked = NULL;
    return err;
}

static struct err *run(struct tool *tool, const struct amend_options *o)
{
    bool wants_help = image_options_want_help(o->options);
    struct image image;
    struct err *err;

    if (o->image.format && wants_help)
        return print_help_of(tool, o->image.format);
    if (!o->image.name)
        return err_new("Expecting one image file name");
    TRY(image_open(tool, &o->image, &image));
    if (wants_help)
        err = print_help_of(tool, image.node->driver->name);
    else
        err = amend(&image, o);
    image_close(&image);
    return err;
}

static int parse_option(struct tool *tool, int c, struct amend_options *o)
{
    switch (c) {
    case 'q': o->quiet = true; return 0;
    case 'p': o->progress = true; return 0;
    case 't': o->image.cache = optarg; return 0;
    case OPT_FORCE: o->flags |= AMEND_FORCE; return 0;
    case 'o': return img_join_options(tool, &o->options, optarg);
    default: return img_image_option(tool, c, &o->image);
    }
}

int img_amend(struct tool *tool, int argc, char **argv)
{
    struct amend_options o = { .image = { .writable = true } };
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hqpf:t:o:", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    if (status == 0 && !o.options)
        status = tool_usage(tool, "Must specify options (-o)");
    if (status == 0) {
        struct err *err;

        o.image.name = optind == argc - 1 ? argv[optind] : NULL;
        err = run(tool, &o);
        if (err) {
            tool_report(tool, err);
            status = 1;
        }
    }
    xfree(o.options);
    return status;
}
