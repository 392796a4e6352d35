/*
 * New blocks: the machine that gives blocks a place, fills what the guest did not write, writes the guest's bytes,
 * and links the blocks (S1, S2).
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/sparse/sparse_op.h"

enum { CHUNK = 1 << 20, RUN_BYTES_MAX = 4 << 20, FILL_ALIGN = 4096 };

enum cow_phase {
    COW_ZERO, /* The place is being zeroed: what was there before may not show. */
    COW_HEAD, /* Old bytes before the guest's are being copied, a chunk at a time. */
    COW_TAIL, /* Those behind. */
    COW_DATA,
    COW_GROW, /* The file is made to reach to the end of the blocks. */
    COW_LINK,
    COW_PHASE_COUNT,
};

struct cow {
    struct sparse *s;
    struct sparse_op *op;
    enum cow_phase phase;
    enum sparse_kind old;         /* What the blocks were. */
    struct sparse_place old_place;
    uint64_t block, blocks, host; /* Where they go. */
    uint64_t pos, len;            /* The guest's bytes, from block 0 on. */
    uint64_t copy_pos, copy_end;  /* Of the phase HEAD or TAIL. */
    uint8_t *chunk;               /* owned */
    uint64_t chunk_len;
    struct iovec iov;
    struct req req;
    struct meta_wait wait;
};

static void cow_enter(struct cow *cow, enum cow_phase phase);

static uint64_t host_of(const struct cow *cow, uint64_t pos)
{
    return cow->host + (pos - cow->block * cow->s->block_size);
}

static void cow_end(struct cow *cow, int result)
{
    struct sparse *s = cow->s;
    struct sparse_op *op = cow->op;
    uint64_t host_end = cow->host + cow->blocks * s->block_size;

    if (cow->phase != COW_LINK || result)
        s->fresh_from = MAX(s->fresh_from, host_end); /* Bytes of this may be there. */
    xfree(cow->chunk);
    xfree(cow);
    sparse_change_end(s);
    sparse_op_part_done(op, result);
}

static void cow_next(struct cow *cow, int result)
{
    if (result)
        cow_end(cow, result);
    else
        cow_enter(cow, cow->phase + 1);
}

static void req_done(struct req *req)
{
    struct cow *cow = container_of(req, struct cow, req);

    cow->s->meta.data_unsafe = true;
    cow_next(cow, req->result);
}

static void submit(struct cow *cow, struct edge *edge, enum req_kind kind, uint64_t offset,
                   uint64_t len, struct iov_view data, req_done_fn *done)
{
    cow->req = (struct req){ 0 };
    req_submit_part(&cow->req, edge, kind, 0, offset, len, data, done);
}

/* ---- Copying ---- */

static void copy_step(struct cow *cow);

static void chunk_written(struct req *req)
{
    struct cow *cow = container_of(req, struct cow, req);

    cow->s->meta.data_unsafe = true;
    cow->copy_pos += cow->chunk_len;
    if (req->result)
        cow_end(cow, req->result);
    else
        copy_step(cow);
}

static void chunk_write(struct cow *cow)
{
    submit(cow, cow->s->file, REQ_WRITE, host_of(cow, cow->copy_pos), cow->chunk_len,
           iov_view(&cow->iov, 1), chunk_written);
}

static void chunk_read(struct req *req)
{
    struct cow *cow = container_of(req, struct cow, req);

    if (req->result)
        cow_end(cow, req->result);
    else
        chunk_write(cow);
}

/* The next chunk of [copy_pos, copy_end), which lies in one block when that is compressed. */
static void copy_step(struct cow *cow)
{
    struct sparse *s = cow->s;
    uint64_t in_block = cow->copy_pos % s->block_size;
    uint8_t *plain;
    int ret;

    if (cow->copy_pos >= cow->copy_end) {
        cow_enter(cow, cow->phase + 1);
        return;
    }
    cow->chunk_len = MIN((uint64_t)CHUNK, cow->copy_end - cow->copy_pos);
    if (!cow->chunk)
        cow->chunk = try_alloc_aligned(FILL_ALIGN, MIN((uint64_t)CHUNK, (uint64_t)s->block_size));
    if (!cow->chunk) {
        cow_end(cow, -ENOMEM);
        return;
    }
    cow->iov = (struct iovec){ cow->chunk, cow->chunk_len };
    if (cow->old == SPARSE_HOLE) {
        submit(cow, s->node->backing, REQ_READ, s->base + cow->copy_pos, cow->chunk_len,
               iov_view(&cow->iov, 1), chunk_read);
        return;
    }
    ret = sparse_plain(s, cow->copy_pos / s->block_size, cow->old_place, &cow->wait, &plain);
    if (ret == META_WAIT)
        return;
    if (ret) {
        cow_end(cow, ret);
        return;
    }
    memcpy(cow->chunk, plain + in_block, cow->chunk_len);
    chunk_write(cow);
}

static void start_copy(struct cow *cow, uint64_t from, uint64_t to)
{
    bool zero = cow->old == SPARSE_ZERO || (cow->old == SPARSE_HOLE && !sparse_has_backing(cow->s));

    cow->copy_pos = from;
    cow->copy_end = zero ? from : MIN(to, MAX(from, cow->s->size));
    copy_step(cow);
}

/* ---- The machine ---- */

static void do_link(struct cow *cow)
{
    struct sparse_place place = { .kind = SPARSE_DATA, .host = cow->host };
    int ret = cow->s->ops->link(cow->s, cow->block, cow->blocks, place, &cow->wait);

    if (ret == META_WAIT)
        return;
    cow_end(cow, ret);
}

static void grown(void *arg, struct err *err)
{
    int result = err ? -(err_errnum(err) ? err_errnum(err) : EIO) : 0;

    err_free(err);
    cow_next(arg, result);
}

/* Places are behind all that is used, so nothing that is being written elsewhere is cut off. */
static void grow(struct cow *cow)
{
    uint64_t end = cow->host + cow->blocks * cow->s->block_size;

    if (cow->s->file->node->size >= end)
        cow_enter(cow, COW_LINK);
    else
        edge_truncate(cow->s->file, end, false, PREALLOC_OFF, grown, cow);
}

static void cow_wake(struct meta_wait *wait, int result)
{
    struct cow *cow = container_of(wait, struct cow, wait);

    if (result)
        cow_end(cow, result);
    else if (cow->phase == COW_LINK)
        do_link(cow);
    else
        copy_step(cow);
}

/* The only writer of cow->phase. */
static void cow_enter(struct cow *cow, enum cow_phase phase)
{
    struct sparse *s = cow->s;
    uint64_t start = cow->block * s->block_size, bytes = cow->blocks * s->block_size;

    cow->phase = phase;
    switch (phase) {
    case COW_ZERO:
        if (cow->host >= s->fresh_from || cow->len == bytes)
            cow_enter(cow, COW_HEAD);
        else
            submit(cow, s->file, REQ_ZERO, cow->host, bytes, (struct iov_view){ 0 }, req_done);
        return;
    case COW_HEAD: start_copy(cow, start, cow->pos); return;
    case COW_TAIL: start_copy(cow, cow->pos + cow->len, start + bytes); return;
    case COW_DATA:
        submit(cow, s->file, REQ_WRITE, host_of(cow, cow->pos), cow->len,
               sparse_op_view(cow->op, cow->pos), req_done);
        return;
    case COW_GROW: grow(cow); return;
    case COW_LINK: do_link(cow); return;
    case COW_PHASE_COUNT: break;
    }
    unreachable();
}

int sparse_cow_start(struct sparse_op *op, const struct sparse_span *span)
{
    struct sparse *s = op->s;
    uint64_t block = op->pos / s->block_size, in_block = op->pos % s->block_size, host;
    uint64_t count = MIN(span->blocks, MAX(RUN_BYTES_MAX / s->block_size, UINT64_C(1)));
    int ret = s->ops->place(s, block, &count, &op->wait, &host);
    struct cow *cow;

    if (ret)
        return ret;
    check(count);
    cow = TRY_NEW(struct cow);
    if (!cow)
        return -ENOMEM;
    *cow = (struct cow){
        .s = s,
        .op = op,
        .old = span->place.kind,
        .old_place = span->place,
        .block = block,
        .blocks = count,
        .host = host,
        .pos = op->pos,
        .len = MIN(op->end - op->pos, count * s->block_size - in_block),
    };
    meta_wait_init(&cow->wait, cow_wake);
    s->changing = true;
    op->in_flight++;
    op->pos += cow->len;
    cow_enter(cow, COW_ZERO);
    return 0;
}
