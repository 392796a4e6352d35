/* emu-img bitmap: the persistent dirty bitmaps of an image. Operations are carried out in the order given. */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/hbitmap.h"
#include "emu/base/vec.h"
#include "emu/cmd/img/img.h"
#include "emu/storage/bitmap.h"

static const char help[] =
    "Perform modifications of the persistent bitmap in the image.  Usage:\n\n"
    "  %s bitmap (--merge SOURCE | --add | --remove | --clear |\n"
    "        --enable | --disable).. [-f FMT | --image-opts]\n"
    "        [-b SRC_FILENAME [-F SRC_FMT]] [-g SIZE] [--object OBJDEF] FILENAME BITMAP\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "      --add                     create BITMAP, recording from now on\n"
    "  -g, --granularity SIZE        what one bit of a new bitmap stands for\n"
    "      --remove                  remove BITMAP\n"
    "      --clear                   clear BITMAP\n"
    "      --enable, --disable       start or stop recording in BITMAP\n"
    "      --merge SOURCE            add what is dirty in bitmap SOURCE to BITMAP\n"
    "  -b, --source-file FILE        the image that holds SOURCE\n"
    "  -F, --source-format FMT       its format\n"
    "      --object OBJDEF           an object, such as a secret\n";

enum {
    OPT_ADD = OPT_IMG_LAST,
    OPT_REMOVE,
    OPT_CLEAR,
    OPT_ENABLE,
    OPT_DISABLE,
    OPT_MERGE,
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "add", no_argument, NULL, OPT_ADD },
    { "granularity", required_argument, NULL, 'g' },
    { "remove", no_argument, NULL, OPT_REMOVE },
    { "clear", no_argument, NULL, OPT_CLEAR },
    { "enable", no_argument, NULL, OPT_ENABLE },
    { "disable", no_argument, NULL, OPT_DISABLE },
    { "merge", required_argument, NULL, OPT_MERGE },
    { "source-file", required_argument, NULL, 'b' },
    { "source-format", required_argument, NULL, 'F' },
    { 0 },
};

struct operation {
    int kind;           /* OPT_ADD, ... */
    const char *source; /* Of OPT_MERGE. */
};

struct bitmap_options {
    struct image_spec image, source;
    const char *name;
    uint64_t granularity;
    VEC(struct operation) operations;
    bool adds, merges;
};

static const char *operation_name(int kind)
{
    switch (kind) {
    case OPT_ADD: return "add";
    case OPT_REMOVE: return "remove";
    case OPT_CLEAR: return "clear";
    case OPT_ENABLE: return "enable";
    case OPT_DISABLE: return "disable";
    default: return "merge";
    }
}

static struct err *find(struct node *node, const char *name, enum bitmap_use use,
                        struct bitmap **out)
{
    *out = bitmap_find(node, name);
    if (!*out)
        return err_new("Dirty bitmap '%s' not found", name);
    return bitmap_check(*out, use);
}

static struct err *add(struct node *node, const struct bitmap_options *o)
{
    struct bitmap *bitmap;

    TRY(bitmap_check_persistent(node, o->name, (uint32_t)o->granularity));
    return bitmap_add(node, o->name, (uint32_t)o->granularity, true, false, &bitmap);
}

static struct err *merge(struct node *node, struct node *source_node, const char *target_name,
                         const char *source_name)
{
    struct bitmap *target, *source;

    TRY(find(node, target_name, BITMAP_USE_CHANGE, &target));
    TRY(find(source_node, source_name, BITMAP_USE_READ, &source));
    return bitmap_merge(target, &source, 1);
}

static struct err *operate(struct tool *tool, struct node *node, struct node *source,
                           const struct bitmap_options *o, const struct operation *operation)
{
    struct waiter waiter = { 0 };
    struct bitmap *bitmap;

    switch (operation->kind) {
    case OPT_ADD: return add(node, o);
    case OPT_MERGE: return merge(node, source, o->name, operation->source);
    case OPT_REMOVE:
        TRY(find(node, o->name, BITMAP_USE_REMOVE, &bitmap));
        bitmap_remove(bitmap, wait_done, &waiter);
        return wait_for(tool->reactor, &waiter);
    }
    TRY(find(node, o->name, BITMAP_USE_CHANGE, &bitmap));
    if (operation->kind == OPT_CLEAR)
        hbitmap_reset_all(bitmap->map);
    else
        bitmap->enabled = operation->kind == OPT_ENABLE;
    return NULL;
}

static struct err *operate_all(struct image *image, struct image *source,
                               const struct bitmap_options *o)
{
    struct node *source_node = source->node ? source->node : image->node;

    for (size_t i = 0; i < vec_len(&o->operations); i++) {
        const struct operation *operation = &vec_at(&o->operations, i);

        TRY(err_prefix(operate(image->tool, image->node, source_node, o, operation),
                       "Operation %s on bitmap %s failed: ", operation_name(operation->kind),
                       o->name));
    }
    return NULL;
}

static struct err *run(struct tool *tool, const struct bitmap_options *o)
{
    struct image_spec spec = o->image, source_spec = o->source;
    struct image image, source = { 0 };
    struct err *err;

    /* No data is read; and either may be the backing file of the other. */
    spec.flags |= NODE_OPEN_NO_BACKING;
    source_spec.flags |= NODE_OPEN_NO_BACKING;
    TRY(image_open(tool, &spec, &image));
    err = o->source.name ? image_open(tool, &source_spec, &source) : NULL;
    if (!err)
        err = operate_all(&image, &source, o);
    image_close(&source);
    image_close(&image);
    return err;
}

static void add_operation(struct bitmap_options *o, int kind, const char *source)
{
    struct operation operation = { kind, source };

    vec_push(&o->operations, operation);
    o->adds |= kind == OPT_ADD;
    o->merges |= kind == OPT_MERGE;
}

static int parse_option(struct tool *tool, int c, struct bitmap_options *o)
{
    switch (c) {
    case 'b': o->source.name = optarg; return 0;
    case 'F': o->source.format = optarg; return 0;
    case 'g': return img_parse_number(tool, "granularity", optarg, 1, INT64_MAX, &o->granularity);
    case OPT_ADD:
    case OPT_REMOVE:
    case OPT_CLEAR:
    case OPT_ENABLE:
    case OPT_DISABLE: add_operation(o, c, NULL); return 0;
    case OPT_MERGE: add_operation(o, c, optarg); return 0;
    default: return img_image_option(tool, c, &o->image);
    }
}

static const char *find_mistake(const struct bitmap_options *o, int operands)
{
    if (operands != 2)
        return "Expecting filename and bitmap name";
    if (vec_empty(&o->operations))
        return "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge";
    if (o->granularity && !o->adds)
        return "granularity only supported with --add";
    if (o->source.format && !o->source.name)
        return "-F only supported with -b";
    if (o->source.name && !o->merges)
        return "Merge bitmap source file only supported with --merge";
    return NULL;
}

int img_bitmap(struct tool *tool, int argc, char **argv)
{
    struct bitmap_options o = { .image = { .writable = true } };
    const char *mistake;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hb:f:F:g:", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    mistake = status ? NULL : find_mistake(&o, argc - optind);
    if (mistake) {
        tool_error(tool, "%s", mistake);
        status = 1;
    }
    if (status == 0) {
        struct err *err;

        o.image.name = argv[optind];
        o.name = argv[optind + 1];
        err = run(tool, &o);
        if (err) {
            tool_report(tool, err);
            status = 1;
        }
    }
    vec_fini(&o.operations);
    return status;
}
