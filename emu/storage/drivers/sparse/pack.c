/* Compressed blocks: unpacking the one last used, and packing what is written compressed. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/sparse/sparse_op.h"

enum { PACK_ALIGN = 4096 };

/* ---- Unpacking ---- */

struct unpacking {
    struct sparse *s;
    uint64_t block, host;
    uint32_t len;
    uint8_t *stored; /* owned */
    struct iovec iov;
    struct req req;
};

void sparse_plain_fini(struct sparse *s)
{
    check(!s->unpacking);
    xfree(s->plain);
    s->plain = NULL;
}

static void stored_read(struct req *req)
{
    struct unpacking *u = container_of(req, struct unpacking, req);
    struct sparse *s = u->s;
    int ret = req->result;

    s->plain_block = UINT64_MAX;
    if (!ret)
        ret = s->ops->unpack(s, u->block, u->stored, u->len, s->plain);
    if (!ret)
        s->plain_block = u->block;
    s->plain_host = u->host;
    s->unpacking = NULL;
    xfree(u->stored);
    xfree(u);
    /* Who asked first stands first, and takes what it wanted before another block is loaded. */
    meta_wait_wake_all(&s->unpack_waiters, ret);
}

int sparse_plain(struct sparse *s, uint64_t block, struct sparse_place place,
                 struct meta_wait *wait, uint8_t **bytes)
{
    struct unpacking *u;

    if (s->plain_block == block && s->plain_host == place.host && !s->unpacking) {
        *bytes = s->plain;
        return 0;
    }
    if (s->unpacking)
        return meta_wait_add(&s->unpack_waiters, wait);
    if (!s->ops->unpack || !place.len ||
        place.len > (uint64_t)s->block_size * 2 + SPARSE_PACK_EXTRA)
        return -EIO;
    if (!s->plain)
        s->plain = try_alloc(s->block_size);
    u = TRY_NEW(struct unpacking);
    if (u)
        u->stored = try_alloc_aligned(PACK_ALIGN, place.len);
    if (!s->plain || !u || !u->stored) {
        xfree(u);
        return -ENOMEM;
    }
    u->s = s;
    u->block = block;
    u->host = place.host;
    u->len = place.len;
    u->iov = (struct iovec){ u->stored, place.len };
    s->unpacking = u;
    (void)meta_wait_add(&s->unpack_waiters, wait);
    req_submit_part(&u->req, s->file, REQ_READ, 0, place.host, place.len, iov_view(&u->iov, 1),
                    stored_read);
    return META_WAIT;
}

/* ---- Packing ---- */

struct packing {
    struct sparse *s;
    struct sparse_op *op;
    uint64_t block;
    struct sparse_place place;
    uint8_t *packed; /* owned */
    struct iovec iov;
    struct req req;
    struct meta_wait wait;
};

static void packing_end(struct packing *p, int result)
{
    struct sparse *s = p->s;
    struct sparse_op *op = p->op;

    xfree(p->packed);
    xfree(p);
    sparse_change_end(s);
    sparse_op_part_done(op, result);
}

static void packing_link(struct packing *p)
{
    struct sparse *s = p->s;
    int ret = s->ops->link(s, p->block, 1, p->place, &p->wait);

    if (ret == META_WAIT)
        return;
    packing_end(p, ret);
}

static void packing_wake(struct meta_wait *wait, int result)
{
    struct packing *p = container_of(wait, struct packing, wait);

    if (result)
        packing_end(p, result);
    else
        packing_link(p);
}

static void packed_written(struct req *req)
{
    struct packing *p = container_of(req, struct packing, req);

    p->s->fresh_from = MAX(p->s->fresh_from, p->place.host + p->place.len);
    p->s->meta.data_unsafe = true;
    if (req->result)
        packing_end(p, req->result);
    else
        packing_link(p);
}

/* The block's bytes, zeroes behind what the guest gave; *len of the guest's are used. */
static uint8_t *gather(struct sparse_op *op, uint64_t *len)
{
    struct sparse *s = op->s;
    uint8_t *block = try_calloc(1, s->block_size);

    *len = MIN(op->end - op->pos, (uint64_t)s->block_size);
    if (block)
        iov_copy_from(sparse_op_view(op, op->pos), *len, block);
    return block;
}

int sparse_pack_start(struct sparse_op *op, const struct sparse_span *span)
{
    struct sparse *s = op->s;
    uint64_t block = op->pos / s->block_size, count = 1, host, len;
    uint64_t whole = MIN((uint64_t)s->block_size, s->size - MIN(s->size, op->pos));
    CLEANUP(xfree) uint8_t *plain = NULL;
    struct packing *p;
    int ret;

    if (op->pos % s->block_size || (op->end - op->pos < whole && !s->always_compress))
        return -EINVAL;
    ret = s->ops->place(s, block, &count, &op->wait, &host);
    if (ret)
        return ret;
    plain = gather(op, &len);
    p = TRY_NEW(struct packing);
    if (p)
        p->packed = try_alloc_aligned(PACK_ALIGN, (uint64_t)s->block_size + SPARSE_PACK_EXTRA);
    if (!plain || !p || !p->packed) {
        xfree(p);
        return -ENOMEM;
    }
    p->place = (struct sparse_place){ .kind = SPARSE_COMPRESSED, .host = host };
    ret = s->ops->pack(s, block, host, plain, p->packed, &p->place.len);
    if (ret) {
        xfree(p->packed);
        xfree(p);
        if (ret != -ENOSPC || s->always_compress)
            return ret == -ENOSPC ? -EIO : ret;
        op->flags &= ~(uint32_t)REQ_COMPRESSED; /* Stored as it is from here on. */
        return 0;
    }
    p->s = s;
    p->op = op;
    p->block = block;
    p->iov = (struct iovec){ p->packed, p->place.len };
    meta_wait_init(&p->wait, packing_wake);
    s->changing = true;
    op->in_flight++;
    op->pos += len;
    req_submit_part(&p->req, s->file, REQ_WRITE, 0, host, p->place.len, iov_view(&p->iov, 1),
                    packed_written);
    return 0;
}
