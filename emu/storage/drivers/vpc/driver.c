/*
 * Driver "vpc": the table of dynamic images, and requests to fixed ones, which go to the file as they are.
 *
 * The bitmap of a new block says that all of it was written; which sectors an older image says were not is of no
 * interest, as they hold zeroes. The copy of the footer in front is never changed, so that the image opens whatever a
 * crash leaves at its end.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/vpc/vpc.h"

/* ---- The table of dynamic images ---- */

static int vpc_find(struct sparse *s, uint64_t block, struct meta_wait *wait,
                    struct sparse_place *out)
{
    const struct vpc *v = vpc_of(s);
    uint8_t *bytes;
    uint32_t entry;
    int ret = meta_get(&s->meta, v->table_offset + block * 4, 4, wait, &bytes);

    if (ret)
        return ret;
    entry = load_be32(bytes);
    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (entry != VPC_UNUSED) {
        out->kind = SPARSE_DATA;
        out->host = (uint64_t)entry * VPC_SECTOR + v->bitmap_size;
    }
    return 0;
}

static int vpc_place(struct sparse *s, uint64_t block, uint64_t *count, struct meta_wait *wait,
                     uint64_t *host)
{
    const struct vpc *v = vpc_of(s);

    if (v->free_offset / VPC_SECTOR >= VPC_UNUSED)
        return -EFBIG;
    *count = 1;
    *host = v->free_offset + v->bitmap_size;
    return 0;
}

/* Repeating this is harmless, so it may wait half-way. */
static int vpc_link(struct sparse *s, uint64_t block, uint64_t count, struct sparse_place place,
                    struct meta_wait *wait)
{
    struct vpc *v = vpc_of(s);
    uint64_t start = place.host - v->bitmap_size, end = place.host + s->block_size;
    uint8_t *bytes = NULL;
    int ret = meta_fresh(&s->meta, start, v->bitmap_size, 0xff, META_LEAF, wait);

    if (!ret)
        ret = meta_fresh(&s->meta, end, VPC_FOOTER_LEN, 0, META_LEAF, wait);
    if (!ret)
        ret = meta_edit(&s->meta, end, VPC_FOOTER_LEN, META_LEAF, wait, &bytes);
    if (ret)
        return ret;
    memcpy(bytes, v->footer, VPC_FOOTER_LEN);
    ret = meta_edit(&s->meta, v->table_offset + block * 4, 4, META_ROOT, wait, &bytes);
    if (ret)
        return ret;
    store_be32(bytes, (uint32_t)(start / VPC_SECTOR));
    v->free_offset = end;
    return 0;
}

const struct sparse_ops vpc_sparse_ops = {
    .find = vpc_find,
    .place = vpc_place,
    .link = vpc_link,
};

/* ---- Requests ---- */

struct vpc_req {
    union {
        struct sparse_op op; /* Dynamic. */
        struct req sub;      /* Fixed. */
    };
    struct req *req;
};

static void fixed_done(struct req *sub)
{
    struct req *req = container_of(sub, struct vpc_req, sub)->req;

    req_complete(req, sub->result);
}

static void fixed_submit(struct node *node, struct req *req)
{
    struct vpc_req *r = req->ctx;

    switch (req->kind) {
    case REQ_STATUS:
        req->status = (struct req_status){
            .flags = STATUS_DATA | STATUS_OFFSET_VALID | STATUS_RECURSE,
            .len = req->len,
            .host_offset = req->offset,
            .file = node->file->node,
        };
        req_complete(req, 0);
        return;
    case REQ_DISCARD:
    case REQ_FLUSH: req_complete(req, -ENOTSUP); return; /* The core flushes the file. */
    case REQ_READ:
    case REQ_WRITE:
    case REQ_ZERO:
        if (req->kind != REQ_READ && req->offset + req->len > node->size) {
            req_complete(req, -EIO); /* The footer is there. */
            return;
        }
        r->req = req;
        r->sub = (struct req){ 0 };
        req_submit_part(&r->sub, node->file, req->kind, req->flags & REQ_MAY_UNMAP, req->offset,
                        req->len, req->data, fixed_done);
        return;
    case REQ_KIND_COUNT: break;
    }
    unreachable();
}

static void vpc_submit(struct node *node, struct req *req)
{
    const struct vpc *v = node->state;

    if (v->fixed)
        fixed_submit(node, req);
    else
        sparse_submit(node, req);
}

static void vpc_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct vpc *v = node->state;

    if (v->fixed)
        done(arg, NULL);
    else
        sparse_close(&v->sparse, done, arg);
}

static void vpc_facts(struct node *node, struct image_facts *facts, driver_done_fn *done, void *arg)
{
    const struct vpc *v = node->state;

    facts->virtual_size = node->size;
    if (load_be32(v->footer + VPC_FTR_TYPE) != VPC_TYPE_FIXED)
        facts->cluster_size = node->cluster_size;
    done(arg, NULL);
}

static int vpc_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return len >= VPC_COOKIE_LEN && memcmp(buf, VPC_COOKIE, VPC_COOKIE_LEN) == 0 ? 100 : 0;
}

static const struct driver_child vpc_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_vpc = {
    .name = "vpc",
    .is_format = true,
    .state_size = sizeof(struct vpc),
    .req_size = sizeof(struct vpc_req),
    .children = vpc_children,
    .open = vpc_open,
    .close = vpc_close,
    .submit = vpc_submit,
    .facts = vpc_facts,
    .probe = vpc_probe,
    .create = vpc_create,
    .create_options = vpc_create_options,
};
