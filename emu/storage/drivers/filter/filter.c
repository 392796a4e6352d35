#include "emu/storage/drivers/filter/filter.h"

const struct driver_child filter_children[] = {
    { "file", ROLE_DATA | ROLE_FILTERED | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

void filter_follow(struct node *node)
{
    struct node *file = node->file->node;

    node->supported_write_flags = (REQ_FUA | REQ_COMPRESSED) & file->supported_write_flags;
    node->supported_zero_flags =
        (REQ_FUA | REQ_MAY_UNMAP | REQ_NO_FALLBACK) & file->supported_zero_flags;
    node->supported_read_flags = REQ_PREFETCH & file->supported_read_flags;
    node_set_size(node, file->size);
}

static void answered(struct req *sub)
{
    struct filter_req *fr = container_of(sub, struct filter_req, sub);
    struct req *req = fr->req;

    if (req->kind == REQ_STATUS)
        req->status = sub->status;
    req_complete(req, sub->result);
}

void filter_pass_flags(struct filter_req *fr, struct req *req, uint32_t flags)
{
    fr->req = req;
    req_submit_part(&fr->sub, req->node->file, req->kind,
                    flags & ~(uint32_t)(REQ_NO_GATE | REQ_SERIALISING), req->offset, req->len,
                    req->data, answered);
}

void filter_pass(struct filter_req *fr, struct req *req) { filter_pass_flags(fr, req, req->flags); }

void filter_close(struct node *node, driver_done_fn *done, void *arg)
{
    (void)node;
    done(arg, NULL);
}

void filter_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                     driver_done_fn *done, void *arg)
{
    edge_truncate(node->file, size, exact, prealloc, done, arg);
}

void filter_child_resized(struct node *node, struct edge *child)
{
    node_set_size(node, child->node->size);
}
