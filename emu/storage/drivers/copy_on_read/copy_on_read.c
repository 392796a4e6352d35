/*
 * Driver "copy-on-read": what is read from backing files is stored in the image above them. With a bottom node, what
 * lies below that one is left there.
 */
#include "emu/base/arith.h"
#include "emu/base/attrs.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/filter/filter.h"

struct copy_on_read {
    struct node *bottom; /* The last whose data is copied; NULL: all. A reference. */
};

/* A read in parts, when there is a bottom: the extent at pos is asked for, then read. */
struct cor_req {
    struct filter_req base;
    uint64_t pos; /* Bytes of the request that are read. */
};

static bool in_chain(struct node *node, const struct node *wanted, unsigned *depth)
{
    *depth = 0;
    for (node = node_skip_filters(node); node; node = node_backing(node), (*depth)++)
        if (node == wanted)
            return true;
    return false;
}

static struct err *find_bottom(struct node *node, struct opts *opts)
{
    struct copy_on_read *cor = node->state;
    const char *name = NULL;
    struct node *bottom;
    unsigned depth;

    TRY(opts_str_opt(opts, "bottom", &name));
    if (!name)
        return NULL;
    bottom = graph_find(node->graph, name);
    if (!bottom)
        return err_new("Bottom node '%s' not found", name);
    if (bottom->driver->is_filter)
        return err_new("Bottom node '%s' is a filter", name);
    if (!in_chain(node->file->node, bottom, &depth))
        return err_new("Bottom node '%s' is not below '%s'", name, node->file->node->name);
    cor->bottom = node_ref(bottom);
    return NULL;
}

static void cor_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                     void *arg)
{
    struct err *err = find_bottom(node, opts);

    (void)flags;
    if (!err) {
        filter_follow(node);
        node->supported_read_flags |= REQ_PREFETCH;
    }
    done(arg, err);
}

static void cor_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct copy_on_read *cor = node->state;

    if (cor->bottom)
        node_unref(cor->bottom);
    done(arg, NULL);
}

/* ---- Reading in parts ---- */

static void next_part(struct cor_req *cr);

static void part_read(struct req *sub)
{
    struct cor_req *cr = container_of(sub, struct cor_req, base.sub);
    struct req *req = cr->base.req;

    cr->pos += sub->len;
    if (sub->result < 0 || cr->pos == req->len)
        req_complete(req, sub->result);
    else
        next_part(cr);
}

static void part_known(struct req *sub)
{
    struct cor_req *cr = container_of(sub, struct cor_req, base.sub);
    struct req *req = cr->base.req;
    const struct copy_on_read *cor = req->node->state;
    uint32_t flags = req->flags & REQ_PREFETCH;
    struct iov_view data = { 0 };
    unsigned bottom;
    uint64_t len;

    if (sub->result < 0) {
        req_complete(req, sub->result);
        return;
    }
    /* Below the bottom nothing is allocated as far as copying is concerned. */
    if (in_chain(req->node->file->node, cor->bottom, &bottom) &&
        (sub->status.flags & STATUS_ALLOCATED) && sub->status.depth <= bottom)
        flags |= REQ_COPY_ON_READ;
    len = MIN(sub->status.len, req->len - cr->pos);
    if (!(flags & REQ_PREFETCH))
        data = iov_view_advance(req->data, cr->pos);
    req_submit_part(sub, req->node->file, REQ_READ, flags, req->offset + cr->pos, len, data,
                    part_read);
}

static void next_part(struct cor_req *cr)
{
    struct req *req = cr->base.req;

    req_submit_part(&cr->base.sub, req->node->file, REQ_STATUS, 0, req->offset + cr->pos,
                    req->len - cr->pos, (struct iov_view){ 0 }, part_known);
}

static void cor_submit(struct node *node, struct req *req)
{
    const struct copy_on_read *cor = node->state;
    struct cor_req *cr = req->ctx;

    if (req->kind != REQ_READ || node->read_only || req->offset + req->len > node->size) {
        filter_pass(&cr->base, req);
    } else if (!cor->bottom) {
        filter_pass_flags(&cr->base, req, req->flags | REQ_COPY_ON_READ);
    } else {
        cr->base.req = req;
        cr->pos = 0;
        next_part(cr);
    }
}

static void cor_child_perm(struct node *node, const struct edge *child, uint32_t perm,
                           uint32_t shared, uint32_t *child_perm, uint32_t *child_shared)
{
    (void)child;
    *child_perm = perm | (node->read_only ? 0 : PERM_WRITE_UNCHANGED);
    *child_shared = shared | PERM_WRITE_UNCHANGED;
}

const struct driver driver_copy_on_read = {
    .name = "copy-on-read",
    .is_filter = true,
    .has_variable_size = true,
    .can_grow = true,
    .state_size = sizeof(struct copy_on_read),
    .req_size = sizeof(struct cor_req),
    .children = filter_children,
    .open = cor_open,
    .close = cor_close,
    .submit = cor_submit,
    .child_perm = cor_child_perm,
    .truncate = filter_truncate,
    .child_resized = filter_child_resized,
};
