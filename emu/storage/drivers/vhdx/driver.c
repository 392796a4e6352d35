/* Driver "vhdx": the block allocation table, and marking the image before the first write of a session. */

#include <errno.h>
#include <string.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/uuid.h"
#include "emu/storage/create.h"
#include "emu/storage/drivers/vhdx/vhdx.h"

static struct vhdx *vhdx_of(struct sparse *s) { return (struct vhdx *)s; }

/* ---- The table ---- */

static uint64_t entry_offset(const struct vhdx *v, uint64_t block)
{
    return v->bat_offset + (block + block / v->chunk_ratio) * 8;
}

static int vhdx_find(struct sparse *s, uint64_t block, struct meta_wait *wait,
                     struct sparse_place *out)
{
    const struct vhdx *v = vhdx_of(s);
    uint8_t *bytes;
    uint64_t entry;
    int ret = meta_get(&s->meta, entry_offset(v, block), 8, wait, &bytes);

    if (ret)
        return ret;
    entry = load_le64(bytes);
    *out = (struct sparse_place){ .kind = SPARSE_ZERO };
    switch (entry & 7) {
    case VHDX_NOT_PRESENT:
    case VHDX_UNDEFINED:
    case VHDX_ZERO:
    case VHDX_UNMAPPED: return 0;
    case VHDX_PRESENT: break;
    default: return -EIO;
    }
    out->kind = SPARSE_DATA;
    out->host = entry & VHDX_OFFSET_MASK;
    /* A block on the headers or on the table is none. */
    if (out->host < VHDX_MIB || out->host > INT64_MAX - (uint64_t)s->block_size ||
        ranges_overlap(out->host, s->block_size, v->bat_offset, v->bat_len))
        return -EIO;
    return 0;
}

static int vhdx_place(struct sparse *s, uint64_t block, uint64_t *count, struct meta_wait *wait,
                      uint64_t *host)
{
    *host = vhdx_of(s)->next_free;
    return *host > INT64_MAX / 2 ? -EFBIG : 0;
}

/* Repeating this is harmless, so it may wait half-way. */
static int vhdx_link(struct sparse *s, uint64_t block, uint64_t count, struct sparse_place place,
                     struct meta_wait *wait)
{
    struct vhdx *v = vhdx_of(s);

    for (uint64_t i = 0; i < count; i++) {
        uint8_t *bytes;
        int ret = meta_edit(&s->meta, entry_offset(v, block + i), 8, META_ROOT, wait, &bytes);

        if (ret)
            return ret;
        store_le64(bytes, (place.host + i * s->block_size) | VHDX_PRESENT);
    }
    v->next_free = place.host + count * s->block_size;
    return 0;
}

const struct sparse_ops vhdx_sparse_ops = {
    .find = vhdx_find,
    .place = vhdx_place,
    .link = vhdx_link,
};

/* ---- Requests ---- */

struct vhdx_req {
    struct sparse_op op; /* First: sparse_submit() uses req->ctx as one. */
    struct list link;    /* In v->held. */
    struct req *req;
};

static void marked(void *arg, struct err *err)
{
    struct vhdx *v = arg;
    struct list held = LIST_INIT(held);
    struct vhdx_req *r;
    int result = err ? err_errnum(err) : 0;

    v->marking = false;
    v->marked = !err;
    list_splice_tail(&held, &v->held);
    while ((r = list_pop_head(&held, struct vhdx_req, link))) {
        if (err)
            req_complete(r->req, result ? -result : -EIO);
        else
            sparse_submit(v->sparse.node, r->req);
    }
    err_free(err);
}

/* Section 2.2.2.1: both identifiers change before the first change of a session. */
static void hold_and_mark(struct vhdx *v, struct req *req)
{
    struct vhdx_req *r = req->ctx;
    struct uuid uuids[2];

    r->req = req;
    list_add_tail(&v->held, &r->link);
    if (v->marking)
        return;
    v->marking = true;
    create_uuids(v->sparse.node->graph, uuids, ARRAY_LEN(uuids));
    memcpy(v->header + VHDX_HDR_FILE_GUID, uuids[0].bytes, VHDX_GUID_LEN);
    memcpy(v->header + VHDX_HDR_DATA_GUID, uuids[1].bytes, VHDX_GUID_LEN);
    vhdx_header_write(v, marked, v);
}

static void vhdx_submit(struct node *node, struct req *req)
{
    struct vhdx *v = node->state;

    if ((req->kind == REQ_WRITE || req->kind == REQ_ZERO) && !v->marked && !node->read_only)
        hold_and_mark(v, req);
    else
        sparse_submit(node, req);
}

static void vhdx_close(struct node *node, driver_done_fn *done, void *arg)
{
    sparse_close(node->state, done, arg);
}

static void vhdx_facts(struct node *node, struct image_facts *facts, driver_done_fn *done,
                       void *arg)
{
    facts->virtual_size = node->size;
    facts->cluster_size = node->cluster_size;
    done(arg, NULL);
}

/* Opening has found out all there is to find; a journal that was replayed counts as mended. */
static void vhdx_check(struct node *node, unsigned fix, struct check_result *result,
                       driver_done_fn *done, void *arg)
{
    const struct vhdx *v = node->state;

    if (v->replayed)
        result->corruptions_fixed++;
    done(arg, NULL);
}

static int vhdx_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return len >= 8 && memcmp(buf, VHDX_SIGNATURE, 8) == 0 ? 100 : 0;
}

static const struct driver_child vhdx_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_vhdx = {
    .name = "vhdx",
    .is_format = true,
    .state_size = sizeof(struct vhdx),
    .req_size = sizeof(struct vhdx_req),
    .children = vhdx_children,
    .open = vhdx_open,
    .close = vhdx_close,
    .submit = vhdx_submit,
    .facts = vhdx_facts,
    .check = vhdx_check,
    .probe = vhdx_probe,
    .create = vhdx_create,
    .create_options = vhdx_create_options,
};
