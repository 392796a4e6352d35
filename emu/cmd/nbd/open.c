/* The image that emu-nbd exports. */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/cmd/common/create.h"
#include "emu/cmd/nbd/nbd.h"

static const struct edge_parent_ops window_parent = { .what = "NBD server" };

/* What lies behind the offset, as an image of its own. */
static struct err *cut(struct image *image, uint64_t offset)
{
    CLEANUP(json_free) struct json *options = json_object();
    struct image whole = *image;
    struct waiter waiter = { 0 };

    json_object_set_str(options, "driver", "raw");
    json_object_set_str(options, "file", whole.node->name);
    json_object_set_uint(options, "offset", offset);
    json_object_set_bool(options, "read-only", whole.node->read_only);
    node_open(whole.tool->graph, options, 0, wait_node_done, &waiter);
    TRY(wait_for(whole.tool->reactor, &waiter));
    image->node = waiter.node;
    image->edge = NULL;
    image_close(&whole);
    return edge_attach(image->node, "root", &window_parent, NULL, PERM_CONSISTENT_READ, PERM_ALL,
                       &image->edge);
}

/* -s: an overlay that goes when the process ends. */
static struct err *open_temporary(struct tool *tool, struct nbd_options *o, struct image *image)
{
    char path[PATH_MAX], full[PATH_MAX];
    const char *folder = getenv("TMPDIR");
    struct image_spec overlay = o->image;
    struct create_spec create = { .filename = path, .format = "qcow2", .quiet = true };
    struct image below;
    struct err *err;
    int fd;

    snprintf(path, sizeof(path), "%s/emu-nbd.XXXXXX", folder ? folder : "/var/tmp");
    TRY(image_open_plain(tool, &o->image, &below));
    create.have_size = true;
    create.size = below.node->size;
    create.backing_format = below.node->driver->name;
    image_close(&below);
    create.backing = realpath(o->image.name, full) ? full : o->image.name;
    fd = mkstemp(path);
    if (fd < 0)
        return err_new("Could not get temporary filename");
    close(fd);
    err = image_create(tool, &create);
    if (!err) {
        overlay.name = path;
        overlay.format = "qcow2";
        overlay.image_opts = false;
        overlay.writable = !o->read_only;
        err = image_open_plain(tool, &overlay, image);
    }
    unlink(path);
    return err;
}

struct err *nbd_open(struct tool *tool, struct nbd_options *o, struct image *image)
{
    struct err *err;

    if (o->temporary) {
        err = open_temporary(tool, o, image);
    } else {
        o->image.writable = !o->read_only;
        o->image.no_resize = true;
        err = image_open_plain(tool, &o->image, image);
    }
    TRY(err_prefix(err, "Failed to blk_new_open '%s': ", o->image.name));
    err = source_snapshot_load(&o->snapshot, image);
    if (!err && o->offset && o->offset >= image->node->size)
        err = err_new("Offset (%llu) has to be smaller than the image size (%llu)",
                      (unsigned long long)o->offset, (unsigned long long)image->node->size);
    if (!err && o->offset)
        err = cut(image, o->offset);
    if (err)
        image_close(image);
    return err;
}
