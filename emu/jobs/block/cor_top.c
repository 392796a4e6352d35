/* The filter of a stream job. */

#include "emu/jobs/block/cor_top.h"

#include "emu/jobs/block/filter_perm.h"

struct cor_node {
    struct filter_perm perm;
};

struct cor_req {
    struct req child;
    struct req *parent;
};

static void child_done(struct req *child)
{
    struct cor_req *cr = container_of(child, struct cor_req, child);

    cr->parent->status = child->status;
    req_complete(cr->parent, child->result);
}

static void cor_submit(struct node *node, struct req *req)
{
    struct cor_req *cr = req->ctx;

    cr->parent = req;
    req_submit_part(&cr->child, node->file, req->kind, req->flags, req->offset, req->len, req->data,
                    child_done);
}

const struct driver driver_cor_top = {
    .name = "copy-on-read",
    .is_filter = true,
    .state_size = sizeof(struct cor_node),
    .req_size = sizeof(struct cor_req),
    .submit = cor_submit,
    .child_perm = filter_child_perm,
};
