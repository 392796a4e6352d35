/*
 * emu-img rebase: another backing file for an image.
 *
 * Safe: what the image shows stays the same. Wherever the image itself holds nothing, old and new backing file are
 * compared, and where they differ the old content is written into the image. Only then is the name in the header
 * changed, so that an interruption leaves an image that is right on its old backing file.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/buf.h"
#include "emu/base/str.h"
#include "emu/cmd/img/img.h"
#include "emu/cmd/img/progress.h"
#include "emu/storage/open.h"

static const char help[] =
    "Change backing file of the image.  Usage:\n\n"
    "  %s rebase [-f FMT | --image-opts] [-t CACHE] [-q] [-U] [-p]\n"
    "        [-b BACKING_FILENAME [-F BACKING_FMT] [-T BACKING_CACHE]] [-u]\n"
    "        [--object OBJDEF] [-c] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operation\n"
    "  -p, --progress                show progress indicator\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -t, --cache CACHE             cache mode of FILENAME (writeback)\n"
    "  -b, --backing FILENAME|\"\"     the new backing file, or none\n"
    "  -F, --backing-format FMT      its format\n"
    "  -T, --backing-cache CACHE     cache mode of the backing files (writeback)\n"
    "  -u, --backing-unsafe          only change the name, without looking at data\n"
    "  -c, --compress                write compressed clusters\n"
    "  -U, --force-share             open the image although others write to it\n"
    "      --object OBJDEF           an object, such as a secret\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "progress", no_argument, NULL, 'p' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "cache", required_argument, NULL, 't' },
    { "backing", required_argument, NULL, 'b' },
    { "backing-format", required_argument, NULL, 'F' },
    { "backing-cache", required_argument, NULL, 'T' },
    { "backing-unsafe", no_argument, NULL, 'u' },
    { "compress", no_argument, NULL, 'c' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { 0 },
};

enum { REBASE_CHUNK = 2 << 20, SECTOR = 512 };

struct rebase_options {
    struct image_spec image;
    const char *backing, *backing_format, *backing_cache;
    bool unsafe, compress, progress, quiet;
};

struct rebase {
    const struct rebase_options *o;
    struct image image, old, new; /* old and new: no node where there is no backing file. */
    struct buf *old_buf, *new_buf;
    uint64_t unit; /* What is written is a multiple of it, or ends with the image. */
    struct progress progress;
};

static const struct edge_parent_ops old_parent = { .what = "image tool" };

/* The backing file that is open below the image already. */
static struct err *attach_old(struct rebase *r)
{
    struct node *backing = node_backing(r->image.node);

    if (!backing)
        return NULL;
    TRY(edge_attach(backing, "root", &old_parent, NULL, PERM_CONSISTENT_READ, PERM_ALL,
                    &r->old.edge));
    r->old.node = node_ref(backing);
    r->old.tool = r->image.tool;
    return NULL;
}

static struct err *open_new(struct rebase *r)
{
    const struct rebase_options *o = r->o;
    char *full = filename_resolve(r->image.node->filename, o->backing);
    struct image_spec spec = { .name = full,
                               .format = o->backing_format,
                               .cache = o->backing_cache,
                               .force_share = o->image.force_share };
    struct err *err = image_open_plain(r->image.tool, &spec, &r->new);

    err = err_prefix(err, "Could not open new backing file '%s': ", o->backing);
    xfree(full);
    return err;
}

/* How far from `at` a backing image is known to read as zeroes; 0: there may be data. */
static struct err *zeroes_at(struct image *image, uint64_t at, uint64_t len, uint64_t *out)
{
    struct req_status status;
    int result;

    *out = len;
    if (!image->node || at >= image->node->size)
        return NULL;
    len = MIN(len, image->node->size - at);
    result = image_status(image, at, len, REQ_WANT_ZERO, &status);
    if (result < 0)
        return err_new_errno(result, "error while reading image metadata");
    *out = status.flags & STATUS_ZERO ? status.len : 0;
    return NULL;
}

/* Reads with zeroes for what lies behind the end. */
static struct err *read_padded(struct image *image, uint64_t at, uint8_t *data, uint64_t len,
                               const char *what)
{
    uint64_t there = image->node && at < image->node->size ? MIN(len, image->node->size - at) : 0;
    int result = there ? image_read(image, at, data, there) : 0;

    memset(data + there, 0, len - there);
    return result < 0 ? err_new_errno(result, "error while reading from %s backing file", what)
                      : NULL;
}

static struct err *write_old(struct rebase *r, uint64_t at, uint8_t *data, uint64_t len)
{
    struct iovec iov = { data, len };
    struct req req = { .kind = REQ_WRITE, .offset = at, .len = len, .data = { &iov, 1, 0 } };
    int result;

    /* Behind the old backing file there is no data to keep, but the new one must not show. */
    if (!r->old.node || at >= r->old.node->size)
        req.kind = REQ_ZERO;
    else if (r->o->compress && at % r->unit == 0 &&
             (len == r->unit || at + len == r->image.node->size))
        req.flags = REQ_COMPRESSED;
    result = wait_request(r->image.tool->reactor, r->image.edge, &req);
    return result < 0 ? err_new_errno(result, "Error while writing to COW image") : NULL;
}

/* Writes the units of [at, at + len) that differ. */
static struct err *write_differences(struct rebase *r, uint64_t at, uint64_t len)
{
    const uint8_t *a = r->old_buf->data, *b = r->new_buf->data;
    uint64_t old_size = r->old.node ? r->old.node->size : 0;
    uint64_t run = 0, i = 0;

    while (i < len) {
        uint64_t part = MIN(r->unit - (at + i) % r->unit, len - i);
        bool differs;

        if (at + i < old_size)
            part = MIN(part, old_size - at - i);
        differs = memcmp(a + i, b + i, part) != 0;

        /* Compressed data goes one cluster at a time. */
        if (run && (!differs || r->o->compress || at + i == old_size)) {
            TRY(write_old(r, at + i - run, r->old_buf->data + i - run, run));
            run = 0;
        }
        run += differs ? part : 0;
        i += part;
    }
    return run ? write_old(r, at + len - run, r->old_buf->data + len - run, run) : NULL;
}

/* Handles the start of [at, end), which the image does not hold; *done is how much. */
static struct err *settle_hole(struct rebase *r, uint64_t at, uint64_t end, uint64_t *done)
{
    uint64_t old_zero, new_zero, len;

    TRY(zeroes_at(&r->old, at, end - at, &old_zero));
    TRY(zeroes_at(&r->new, at, end - at, &new_zero));
    if (old_zero && new_zero) {
        *done = MIN(old_zero, new_zero);
        return NULL;
    }
    len = MIN(end - at, REBASE_CHUNK - at % r->unit);
    TRY(read_padded(&r->old, at, r->old_buf->data, len, "old"));
    TRY(read_padded(&r->new, at, r->new_buf->data, len, "new"));
    *done = len;
    return write_differences(r, at, len);
}

static struct err *copy_differences(struct rebase *r)
{
    uint64_t size = r->image.node->size, at = 0;

    while (at < size) {
        struct req_status status;
        uint64_t end, done;
        int result = image_status(&r->image, at, size - at, REQ_STATUS_ONE, &status);

        if (result < 0)
            return err_new_errno(result, "error while reading image metadata");
        end = at + status.len;
        if (status.flags & STATUS_ALLOCATED)
            at = end;
        while (at < end) {
            TRY(settle_hole(r, at, end, &done));
            at += done;
            progress_update(&r->progress, at, size);
        }
    }
    return NULL;
}

static struct err *change_name(struct rebase *r)
{
    const char *name = r->o->backing && *r->o->backing ? r->o->backing : NULL;
    const char *format = name ? r->o->backing_format : NULL;
    struct waiter waiter = { 0 };
    struct err *err;

    if (name && !format)
        return err_new(
            "Could not change the backing file to '%s': backing format must be specified", name);
    if (!r->image.node->driver->set_backing) {
        err = err_new("%s", strerror(ENOTSUP));
    } else {
        r->image.node->driver->set_backing(r->image.node, name, format, wait_done, &waiter);
        err = wait_for(r->image.tool->reactor, &waiter);
    }
    if (!err)
        return NULL;
    if (err_errnum(err) == ENOSPC) {
        err_free(err);
        return err_new(
            "Could not change the backing file to '%s': No space left in the file header",
            name ? name : "");
    }
    return err_prefix(err, "Could not change the backing file to '%s': ", name ? name : "");
}

static struct err *rebase_safely(struct rebase *r)
{
    struct err *err;

    TRY(attach_old(r));
    if (*r->o->backing)
        TRY(open_new(r));
    r->unit = MAX(r->image.node->cluster_size, (uint32_t)SECTOR);
    r->unit = MIN(r->unit, (uint64_t)REBASE_CHUNK);
    r->old_buf = buf_try_new(REBASE_CHUNK, 4096);
    r->new_buf = buf_try_new(REBASE_CHUNK, 4096);
    if (!r->old_buf || !r->new_buf)
        return err_new("Out of memory for buffers of %d bytes", REBASE_CHUNK);
    progress_start(&r->progress, r->image.tool, r->o->progress && !r->o->quiet);
    err = copy_differences(r);
    if (!err)
        progress_end(&r->progress);
    r->image.tool->progress_asked = NULL;
    return err;
}

static struct err *rebase(struct tool *tool, struct rebase *r)
{
    const struct rebase_options *o = r->o;

    if (o->backing_format && !driver_find(tool->graph, o->backing_format))
        return err_new("Invalid format name: '%s'", o->backing_format);
    if (o->compress && !r->image.node->driver->can_compress)
        return err_new("Compression not supported for this file format");
    if (!o->unsafe)
        TRY(rebase_safely(r));
    return change_name(r);
}

static struct err *run(struct tool *tool, const struct rebase_options *o)
{
    struct rebase r = { .o = o };
    struct err *err;

    if (!tool_cache_valid(o->image.cache))
        return err_new("Invalid cache option: %s", o->image.cache);
    if (!tool_cache_valid(o->backing_cache))
        return err_new("Invalid source cache option: %s", o->backing_cache);
    TRY(image_open(tool, &o->image, &r.image));
    err = rebase(tool, &r);
    image_close(&r.new);
    image_close(&r.old);
    image_close(&r.image);
    buf_unref(r.old_buf);
    buf_unref(r.new_buf);
    return err;
}

static int parse_option(struct tool *tool, int c, struct rebase_options *o)
{
    switch (c) {
    case 'q': o->quiet = true; return 0;
    case 'p': o->progress = true; return 0;
    case 'u': o->unsafe = true; return 0;
    case 'c': o->compress = true; return 0;
    case 't': o->image.cache = optarg; return 0;
    case 'T': o->backing_cache = optarg; return 0;
    case 'b': o->backing = optarg; return 0;
    case 'F': o->backing_format = optarg; return 0;
    default: return img_image_option(tool, c, &o->image);
    }
}

int img_rebase(struct tool *tool, int argc, char **argv)
{
    struct rebase_options o = { .image = { .writable = true } };
    struct err *err;
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hf:F:b:upt:T:qUc", long_options, help)) != -1)
        status = parse_option(tool, c, &o);
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status == 0 && !o.unsafe && !o.backing)
        status = tool_usage(tool, "Must specify backing file (-b) or use simple rebase mode (-u)");
    if (status)
        return status;
    o.image.name = argv[optind];
    o.image.flags = o.unsafe ? NODE_OPEN_NO_BACKING : 0;
    err = run(tool, &o);
    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}
