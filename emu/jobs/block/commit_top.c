/* The filter of a commit job. */

#include "emu/jobs/block/commit_top.h"

struct commit_req {
    struct req child;
    struct req *parent;
};

static void child_done(struct req *child)
{
    struct commit_req *cr = container_of(child, struct commit_req, child);

    cr->parent->status = child->status;
    req_complete(cr->parent, child->result);
}

static void commit_top_submit(struct node *node, struct req *req)
{
    struct commit_req *cr = req->ctx;

    cr->parent = req;
    req_submit_part(&cr->child, node->file, req->kind, req->flags, req->offset, req->len, req->data,
                    child_done);
}

/* The data seen through the filter stays right whatever the job writes below. */
static void commit_top_perm(struct node *node, const struct edge *child, uint32_t perm,
                            uint32_t shared, uint32_t *child_perm, uint32_t *child_shared)
{
    (void)node;
    (void)child;
    (void)perm;
    (void)shared;
    *child_perm = 0;
    *child_shared = PERM_ALL;
}

const struct driver driver_commit_top = {
    .name = "commit_top",
    .is_filter = true,
    .req_size = sizeof(struct commit_req),
    .submit = commit_top_submit,
    .child_perm = commit_top_perm,
};
