/* Driver "vmdk": requests are cut at the borders of extents and go to one after the other. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/json.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/vmdk/vmdk.h"

struct vmdk_req {
    union {
        struct sparse_op op;
        struct req sub; /* To a flat extent. */
    };
    struct vmdk *v;
    struct req *req;
    uint64_t pos, end, len; /* len: of the part under way. */
    size_t next;            /* FLUSH: extents committed so far. */
    bool running, again;
};

static void part_end(struct vmdk_req *r, int result);

static struct vmdk_extent *extent_at(const struct vmdk *v, uint64_t pos)
{
    size_t low = 0, high = v->extents.len;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (vec_at(&v->extents, middle)->start <= pos)
            low = middle;
        else
            high = middle;
    }
    return vec_at(&v->extents, low);
}

static void flat_done(struct req *sub)
{
    part_end(container_of(sub, struct vmdk_req, sub), sub->result);
}

static void sparse_done(struct sparse_op *op, int result)
{
    part_end(container_of(op, struct vmdk_req, op), result);
}

static void start_flat(struct vmdk_req *r, const struct vmdk_extent *x)
{
    struct req *req = r->req;
    uint64_t offset = x->flat_offset + r->pos - x->start;

    switch (req->kind) {
    case REQ_STATUS:
        req->status = (struct req_status){
            .flags = STATUS_DATA | STATUS_OFFSET_VALID | STATUS_RECURSE,
            .len = r->len,
            .host_offset = offset,
            .file = x->edge->node,
        };
        part_end(r, 0);
        return;
    case REQ_DISCARD: part_end(r, -ENOTSUP); return;
    case REQ_READ:
    case REQ_WRITE:
    case REQ_ZERO:
        r->sub = (struct req){ 0 };
        req_submit_part(&r->sub, x->edge, req->kind, req->flags & REQ_MAY_UNMAP, offset, r->len,
                        req->kind == REQ_ZERO ? (struct iov_view){ 0 }
                                              : iov_view_advance(req->data, r->pos - req->offset),
                        flat_done);
        return;
    case REQ_FLUSH:
    case REQ_KIND_COUNT: break;
    }
    unreachable();
}

static void start_part(struct vmdk_req *r)
{
    struct req *req = r->req;
    struct vmdk_extent *x = extent_at(r->v, r->pos);
    struct iov_view data = { 0 };

    r->len = MIN(r->end, x->start + x->size) - r->pos;
    if (x->flat) {
        start_flat(r, x);
        return;
    }
    if (req->kind == REQ_READ || req->kind == REQ_WRITE)
        data = iov_view_advance(req->data, r->pos - req->offset);
    sparse_run(&r->op, &x->sparse, req->kind, req->flags, r->pos - x->start, r->len, data,
               &req->status, sparse_done);
}

static void run(struct vmdk_req *r)
{
    r->running = true;
    do {
        r->again = false;
        start_part(r);
    } while (r->again);
    r->running = false;
}

static void part_end(struct vmdk_req *r, int result)
{
    struct req *req = r->req;

    r->pos += r->len;
    if (result || r->pos >= r->end || req->kind == REQ_STATUS) {
        r->again = false;
        req_complete(req, result);
    } else if (r->running) {
        r->again = true; /* Many small extents must not make a deep stack. */
    } else {
        run(r);
    }
}

/* ---- Flush: the tables of every extent; then the core flushes the files. ---- */

static void flush_next(void *arg, struct err *err)
{
    struct vmdk_req *r = arg;

    if (err) {
        int result = err_errnum(err) ? -err_errnum(err) : -EIO;

        err_free(err);
        req_complete(r->req, result);
        return;
    }
    while (r->next < r->v->extents.len) {
        struct vmdk_extent *x = vec_at(&r->v->extents, r->next++);

        if (!x->flat && meta_dirty(&x->sparse.meta)) {
            sparse_flush(&x->sparse, flush_next, r);
            return;
        }
    }
    req_complete(r->req, -ENOTSUP);
}

static void vmdk_submit(struct node *node, struct req *req)
{
    struct vmdk_req *r = req->ctx;
    uint64_t len = req->len;

    r->v = node->state;
    r->req = req;
    r->next = 0;
    r->running = r->again = false;
    if (req->kind == REQ_FLUSH) {
        flush_next(r, NULL);
        return;
    }
    len = MIN(len, sub_saturate_u64(node->size, req->offset));
    if (req->kind == REQ_READ && len < req->len)
        iov_fill(iov_view_advance(req->data, len), req->len - len, 0);
    if (!len) {
        req_complete(req, req->kind == REQ_READ ? 0 : -EIO);
        return;
    }
    r->pos = req->offset;
    r->end = req->offset + len;
    run(r);
}

/* ---- Closing ---- */

struct closing {
    struct vmdk *v;
    size_t next;
    struct err *err; /* owned; the first one. */
    driver_done_fn *done;
    void *arg;
};

static void close_next(void *arg, struct err *err)
{
    struct closing *c = arg;

    err_keep_first(&c->err, err);
    while (c->next < c->v->extents.len) {
        struct vmdk_extent *x = vec_at(&c->v->extents, c->next++);

        if (!x->flat) {
            sparse_close(&x->sparse, close_next, c);
            return;
        }
    }
    vmdk_fini(c->v);
    c->done(c->arg, c->err);
    xfree(c);
}

static void vmdk_close(struct node *node, driver_done_fn *done, void *arg)
{
    struct closing *c = NEW(struct closing);

    *c = (struct closing){ .v = node->state, .done = done, .arg = arg };
    close_next(c, NULL);
}

/* ---- Facts ---- */

static struct json *extent_json(const struct vmdk_extent *x)
{
    struct json *json = json_object();

    json_object_set_uint(json, "virtual-size", x->size);
    json_object_set_str(json, "filename", x->edge->node->filename);
    if (!x->flat)
        json_object_set_uint(json, "cluster-size", x->sparse.block_size);
    json_object_set_str(json, "format", x->type);
    if (x->compressed)
        json_object_set_bool(json, "compressed", true);
    return json;
}

static void vmdk_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                       void *arg)
{
    struct vmdk *v = node->state;
    struct json *data = json_object(), *specific = json_object(), *extents = json_array();

    facts->virtual_size = node->size;
    facts->cluster_size = node->cluster_size;
    json_object_set_uint(data, "cid", v->descriptor.cid);
    json_object_set_uint(data, "parent-cid", v->descriptor.parent_cid);
    json_object_set_str(data, "create-type", v->descriptor.create_type);
    vec_for_each(x, &v->extents)
        json_array_add(extents, extent_json(*x));
    json_object_set(data, "extents", extents);
    json_object_set_str(specific, "type", "vmdk");
    json_object_set(specific, "data", data);
    facts->format_specific = specific;
    if (v->descriptor.parent_hint[0]) {
        facts->backing_filename = xstrdup(v->descriptor.parent_hint);
        facts->backing_format = xstrdup("vmdk");
    }
    done(arg, NULL);
}

/* ---- Check: every grain lies within its file. ---- */

struct checking {
    struct vmdk *v;
    struct check_result *result;
    driver_done_fn *done;
    void *arg;
    size_t extent;
    uint64_t block;
    struct meta_wait wait;
};

static void check_end(struct checking *c, const char *finding)
{
    driver_done_fn *done = c->done;
    void *arg = c->arg;

    if (finding) {
        c->result->report = xstrdup(finding);
        c->result->corruptions++;
    }
    xfree(c);
    done(arg, NULL);
}

static void check_run(struct checking *c)
{
    for (; c->extent < c->v->extents.len; c->extent++, c->block = 0) {
        struct vmdk_extent *x = vec_at(&c->v->extents, c->extent);

        for (; !x->flat && c->block < sparse_blocks(&x->sparse); c->block++) {
            struct sparse_place place;
            int ret = x->sparse.ops->find(&x->sparse, c->block, &c->wait, &place);

            if (ret == META_WAIT)
                return;
            if (ret) {
                check_end(c, "ERROR: could not get cluster_offset for sector\n");
                return;
            }
            if (place.host > x->edge->node->size) {
                check_end(c, "ERROR: cluster offset after file size\n");
                return;
            }
        }
    }
    check_end(c, NULL);
}

static void check_wake(struct meta_wait *wait, int result)
{
    struct checking *c = container_of(wait, struct checking, wait);

    if (result)
        check_end(c, "ERROR: could not get cluster_offset for sector\n");
    else
        check_run(c);
}

static void vmdk_check(struct node *node, unsigned fix, struct check_result *result,
                       driver_done_fn *done, void *arg)
{
    struct checking *c;

    if (fix) {
        done(arg, err_new_errno(ENOTSUP, "Repair is not supported for vmdk images"));
        return;
    }
    c = NEW(struct checking);
    *c = (struct checking){ .v = node->state, .result = result, .done = done, .arg = arg };
    meta_wait_init(&c->wait, check_wake);
    check_run(c);
}

/* "KDMV", or a text whose first line that is no comment or blank is version=1, 2 or 3. */
static int vmdk_probe(const uint8_t *buf, size_t len, const char *filename)
{
    size_t at = 0;

    if (len >= 4 && load_le32(buf) == VMDK_MAGIC)
        return 100;
    while (at < len) {
        if (buf[at] == '#' || buf[at] == '\n' || buf[at] == '\r' || buf[at] == ' ') {
            bool comment = buf[at] == '#';

            while (at < len && comment && buf[at] != '\n')
                at++;
            at++;
            continue;
        }
        return len - at > 10 && memcmp(buf + at, "version=", 8) == 0 && buf[at + 8] >= '1' &&
                       buf[at + 8] <= '3' && (buf[at + 9] == '\n' || buf[at + 9] == '\r')
                   ? 100
                   : 0;
    }
    return 0;
}

static const struct driver_child vmdk_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_vmdk = {
    .name = "vmdk",
    .is_format = true,
    .supports_backing = true,
    .state_size = sizeof(struct vmdk),
    .req_size = sizeof(struct vmdk_req),
    .children = vmdk_children,
    .open = vmdk_open,
    .close = vmdk_close,
    .submit = vmdk_submit,
    .facts = vmdk_facts,
    .check = vmdk_check,
    .probe = vmdk_probe,
    .create = vmdk_create,
    .create_options = vmdk_create_options,
};
