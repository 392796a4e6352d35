/* emu-img snapshot: internal snapshots of an image that nobody runs. */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/nstime.h"
#include "emu/cmd/img/img.h"
#include "emu/cmd/img/snapshot_print.h"
#include "emu/storage/snapshot.h"

static const char help[] =
    "List or manipulate snapshots within image.  Usage:\n\n"
    "  %s snapshot [-f FMT | --image-opts] [-l | -a|-c|-d SNAPSHOT]\n"
    "        [-U] [--object OBJDEF] [-q] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operations\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -U, --force-share             open the image although others write to it\n"
    "      --object OBJDEF           an object, such as a secret\n"
    "  -l, --list                    list the snapshots (the default)\n"
    "  -c, --create SNAPSHOT         create a snapshot of that name\n"
    "  -a, --apply SNAPSHOT          give the disk the content of a snapshot\n"
    "  -d, --delete SNAPSHOT         delete a snapshot\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "list", no_argument, NULL, 'l' },
    { "create", required_argument, NULL, 'c' },
    { "apply", required_argument, NULL, 'a' },
    { "delete", required_argument, NULL, 'd' },
    { 0 },
};

struct snapshot_options {
    struct image_spec image;
    int action; /* 'l', 'c', 'a', 'd'; 0: none was named. */
    const char *name;
};

static void list(struct image *image)
{
    const struct snapshot_info *infos;
    size_t count = node_snapshots(image->node, &infos);

    if (!count)
        return;
    printf("Snapshot list:\n");
    snapshot_print_head(0);
    for (size_t i = 0; i < count; i++)
        snapshot_print(&infos[i], 0);
}

static struct err *create(struct image *image, const char *name, struct waiter *waiter)
{
    struct snapshot_info info = { .icount = 0 };
    const int64_t now = reactor_wall_now(image->tool->reactor);

    if (strlen(name) > SNAPSHOT_NAME_MAX)
        return err_new("The name is longer than %d bytes", SNAPSHOT_NAME_MAX);
    memcpy(info.name, name, strlen(name) + 1);
    info.date_sec = now / NS_PER_SEC;
    info.date_nsec = (uint32_t)(now % NS_PER_SEC);
    node_snapshot_create(image->node, &info, wait_done, waiter);
    return wait_for(image->tool->reactor, waiter);
}

static struct err *apply(struct image *image, const char *name, struct waiter *waiter)
{
    const struct snapshot_info *info;

    if (!node_snapshot_keeper(image->node))
        return err_new("Block driver does not support snapshots");
    info = node_snapshot_find_any(image->node, name);
    if (!info)
        return err_new("Failed to load snapshot: No such file or directory");
    node_snapshot_apply(image->node, info->id, wait_done, waiter);
    return wait_for(image->tool->reactor, waiter);
}

static struct err *delete_one(struct image *image, const char *name, struct waiter *waiter)
{
    const struct snapshot_info *info = node_snapshot_find_any(image->node, name);

    if (!info)
        return err_new("snapshot not found");
    node_snapshot_remove(image->node, info->id, wait_done, waiter);
    return wait_for(image->tool->reactor, waiter);
}

static void drained(struct drain *drain) { drain->done = NULL; }

static struct err *act(struct image *image, const struct snapshot_options *o)
{
    struct waiter waiter = { 0 };
    struct drain drain = { 0 };
    struct err *err = NULL;

    drain_begin(&drain, image->node, drained);
    while (drain.done)
        reactor_run_once(image->tool->reactor, -1);
    switch (o->action) {
    case 'c':
        err = err_prefix(create(image, o->name, &waiter),
                         "Could not create snapshot '%s': ", o->name);
        break;
    case 'a':
        err =
            err_prefix(apply(image, o->name, &waiter), "Could not apply snapshot '%s': ", o->name);
        break;
    case 'd':
        err = err_prefix(delete_one(image, o->name, &waiter),
                         "Could not delete snapshot '%s': ", o->name);
        break;
    default: list(image);
    }
    drain_end(&drain);
    return err;
}

static int parse_option(struct tool *tool, int c, struct snapshot_options *o)
{
    switch (c) {
    case 'q': return 0;
    case 'l':
    case 'c':
    case 'a':
    case 'd':
        if (o->action)
            return tool_usage(tool, "Cannot mix '-l', '-a', '-c', '-d'");
        o->action = c;
        o->name = optarg;
        o->image.writable = c != 'l';
        return 0;
    default: return img_image_option(tool, c, &o->image);
    }
}

int img_snapshot(struct tool *tool, int argc, char **argv)
{
    struct snapshot_options o = { .image = { .flags = NODE_OPEN_NO_BACKING } };
    struct image image;
    struct err *err;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hqf:Ulc:a:d:", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status)
        return status;
    o.image.name = argv[optind];
    err = image_open(tool, &o.image, &image);
    if (!err) {
        err = act(&image, &o);
        image_close(&image);
    }
    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}
