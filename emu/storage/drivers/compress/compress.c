/* Driver "compress": has all that is written stored compressed. */
#include "emu/base/arith.h"
#include "emu/base/attrs.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/filter/filter.h"

static void compress_open(struct node *node, struct opts *opts, unsigned flags,
                          driver_done_fn *done, void *arg)
{
    struct node *file = node->file->node;
    uint32_t cluster = node_cluster_size(file);

    (void)opts;
    (void)flags;
    if (!(file->supported_write_flags & REQ_COMPRESSED)) {
        done(arg,
             err_new("Compression is not supported for underlying format: %s", file->driver->name));
        return;
    }
    filter_follow(node);
    /* Whole clusters only; the core reads the rest of those that a write does not fill. */
    if (cluster)
        node->limits.request_alignment = MAX(node->limits.request_alignment, cluster);
    done(arg, NULL);
}

static void compress_submit(struct node *node, struct req *req)
{
    uint32_t flags = req->flags;

    (void)node;
    if (req->kind == REQ_WRITE)
        flags |= REQ_COMPRESSED;
    filter_pass_flags(req->ctx, req, flags);
}

const struct driver driver_compress = {
    .name = "compress",
    .is_filter = true,
    .has_variable_size = true,
    .req_size = sizeof(struct filter_req),
    .children = filter_children,
    .open = compress_open,
    .close = filter_close,
    .submit = compress_submit,
    .truncate = filter_truncate,
    .child_resized = filter_child_resized,
};
