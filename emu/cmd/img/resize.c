/* emu-img resize */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/err.h"
#include "emu/base/str.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Resize the image to the new size.  Usage:\n\n"
    "  %s resize [-f FMT | --image-opts] [--preallocation PREALLOC] [--shrink]\n"
    "        [--object OBJDEF] [-q] FILENAME [+-]SIZE[bkKMGTPE]\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operation\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "      --shrink                  the new size may be smaller than the old one\n"
    "      --preallocation PREALLOC  how new areas are allocated\n"
    "      --object OBJDEF           an object, such as a secret\n"
    "  FILENAME                      image to resize\n"
    "  [+-]SIZE[bkKMGTPE]            new size, or what to add or take away\n";

enum { OPT_SHRINK = OPT_IMG_LAST, OPT_PREALLOCATION };

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "preallocation", required_argument, NULL, OPT_PREALLOCATION },
    { "shrink", no_argument, NULL, OPT_SHRINK },
    { 0 },
};

static const char *const prealloc_names[] = {
    [PREALLOC_OFF] = "off",
    [PREALLOC_METADATA] = "metadata",
    [PREALLOC_FALLOC] = "falloc",
    [PREALLOC_FULL] = "full",
};

struct resize_options {
    struct image_spec image;
    enum prealloc prealloc;
    bool quiet, shrink;
    enum { SIZE_SET, SIZE_GROW, SIZE_SHRINK } direction;
    uint64_t amount;
};

/* The size wanted; 1 after a message. */
static int new_size(struct tool *tool, const struct resize_options *o, uint64_t old, uint64_t *out)
{
    *out = o->amount;
    if (o->direction == SIZE_GROW && __builtin_add_overflow(old, o->amount, out))
        *out = UINT64_MAX;
    if (o->direction == SIZE_SHRINK)
        *out = old > o->amount ? old - o->amount : 0;
    if (*out > 0 && *out <= INT64_MAX)
        return 0;
    tool_error(tool, "New image size must be positive");
    return 1;
}

static int check_direction(struct tool *tool, const struct resize_options *o, uint64_t old,
                           uint64_t size)
{
    if (size <= old && o->prealloc != PREALLOC_OFF) {
        tool_error(tool, "Preallocation can only be used for growing images");
        return 1;
    }
    if (size >= old || o->shrink)
        return 0;
    tool_error(tool, "Use the --shrink option to perform a shrink operation.");
    tool_warn(tool,
              "Shrinking an image will delete all data beyond the shrunken image's end. "
              "Before performing such an operation, make sure there is no important data there.");
    return 1;
}

static int resize(struct image *image, const struct resize_options *o)
{
    struct tool *tool = image->tool;
    uint64_t old = image->node->size, size;
    struct waiter waiter = { 0 };
    struct err *err;

    if (new_size(tool, o, old, &size) || check_direction(tool, o, old, size))
        return 1;
    edge_truncate(image->edge, size, true, o->prealloc, wait_done, &waiter);
    err = wait_for(tool->reactor, &waiter);
    if (err) {
        tool_report(tool, err);
        return 1;
    }
    if (!o->quiet)
        printf("Image resized.\n");
    return 0;
}

static int parse_size_operand(struct tool *tool, const char *text, struct resize_options *o)
{
    struct err *err;

    o->direction = *text == '+' ? SIZE_GROW : *text == '-' ? SIZE_SHRINK : SIZE_SET;
    if (o->direction != SIZE_SET)
        text++;
    err = parse_size(text, &o->amount);
    if (!err)
        return 0;
    if (err_errnum(err) == ERANGE) {
        tool_error(tool, "Value '%s' is out of range for parameter 'size'", text);
    } else {
        tool_error(tool, "Parameter 'size' expects a non-negative number below 2^64");
        fprintf(stderr,
                "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                "and exabytes, respectively.\n");
    }
    err_free(err);
    return 1;
}

static int parse_option(struct tool *tool, int c, struct resize_options *o)
{
    int index;

    switch (c) {
    case 'q': o->quiet = true; return 0;
    case OPT_SHRINK: o->shrink = true; return 0;
    case OPT_PREALLOCATION:
        index = str_index(optarg, prealloc_names, ARRAY_LEN(prealloc_names));
        if (index >= 0) {
            o->prealloc = (enum prealloc)index;
            return 0;
        }
        tool_error(tool, "Invalid preallocation mode '%s'", optarg);
        return 1;
    default: return img_image_option(tool, c, &o->image);
    }
}

int img_resize(struct tool *tool, int argc, char **argv)
{
    struct resize_options o = { .image = { .writable = true } };
    struct image image;
    struct err *err;
    int c, status = 0;

    /* The size comes last and may start with '-'. */
    if (argc > 1 && strcmp(argv[argc - 1], "-h") != 0 && strcmp(argv[argc - 1], "--help") != 0) {
        if (argc < 3)
            return tool_usage(tool, "Not enough arguments");
        argc--;
    }
    while (status == 0 && (c = img_getopt(tool, argc, argv, ":hqf:", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting image file name and size");
    if (status == 0)
        status = parse_size_operand(tool, argv[argc], &o);
    if (status)
        return status;
    o.image.name = argv[optind];
    err = image_open(tool, &o.image, &image);
    if (err) {
        tool_report(tool, err);
        return 1;
    }
    status = resize(&image, &o);
    image_close(&image);
    return status;
}
