/* The machine of mapping-changing writes; cow.h tells its phases. */

#include "emu/storage/drivers/qcow2/cow.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { FILL_ALIGN = 4096, COW_INLINE_IOV = 18 };

enum cow_phase { COW_HEAD, COW_TAIL, COW_WRITE, COW_LINK, COW_PHASE_COUNT };

struct cow {
    struct qcow2_claim claim;
    struct qcow2 *q;
    struct qcow2_op *op;
    struct qcow2_cow_plan plan;
    enum cow_phase phase;
    uint8_t *packed;     /* owned; what is written instead when the image is encrypted. */
    uint8_t *fill;       /* owned; head bytes, then tail bytes. NULL: there are none. */
    uint64_t head, tail; /* Bytes of fill to be written before and behind the data. */
    bool head_zero, tail_zero;
    int result;
    struct iovec fill_iov;
    struct iovec *iov; /* inline_iov, or owned. */
    struct iovec inline_iov[COW_INLINE_IOV];
    union {
        struct req req;
        struct qcow2_read read;
    };
};

static void cow_enter(struct cow *cow, enum cow_phase phase);

static void cow_free(struct cow *cow)
{
    xfree(cow->fill);
    xfree(cow->packed);
    if (cow->iov != cow->inline_iov)
        xfree(cow->iov);
    xfree(cow);
}

void qcow2_cow_replace(struct qcow2 *q, struct qcow2_block *block, uint32_t index, uint64_t word,
                       uint64_t bitmap)
{
    struct qcow2_entry old = qcow2_entry_load(q, block, index);

    qcow2_entry_store(q, block, index, (struct qcow2_entry){ word, bitmap });
    qcow2_entry_free(q, old, false);
}

/* Bits of the subclusters of cluster `start` that [fill_start, fill_end) covers. */
static uint32_t sub_bits(const struct cow *cow, uint64_t start)
{
    const struct qcow2_geometry *geo = &cow->q->geo;
    uint64_t from = MAX(cow->plan.fill_start, start) - start;
    uint64_t to = MIN(cow->plan.fill_end, start + geo->cluster_size) - start;
    unsigned first = (unsigned)(from >> geo->sub_bits),
             last = (unsigned)((to - 1) >> geo->sub_bits);

    return bits_mask32(last + 1) & ~bits_mask32(first);
}

static int cow_link(struct cow *cow)
{
    struct qcow2 *q = cow->q;
    const struct qcow2_cow_plan *plan = &cow->plan;
    uint64_t start = qcow2_cluster_start(q, plan->offset), host = plan->run.offset;
    int ret;

    if (q->corrupt || q->broken)
        return q->corrupt ? -ENOMEDIUM : -EIO;
    ret = qcow2_cache_edit(plan->block);
    if (ret)
        return ret;
    for (uint32_t i = 0; start < plan->offset + plan->len; i++) {
        struct qcow2_entry old = qcow2_entry_load(q, plan->block, plan->index + i);
        uint64_t bitmap = 0;

        if (q->geo.subs > 1) {
            uint32_t set = sub_bits(cow, start);

            bitmap = old.word & QCOW2_COMPRESSED ? 0 : old.bitmap;
            bitmap = (bitmap & ~((uint64_t)set << 32)) | set;
        }
        if (plan->is_new)
            qcow2_cow_replace(q, plan->block, plan->index + i, host | QCOW2_COPIED, bitmap);
        else
            qcow2_entry_store(q, plan->block, plan->index + i,
                              (struct qcow2_entry){ host | QCOW2_COPIED, bitmap });
        start += q->geo.cluster_size;
        host += q->geo.cluster_size;
    }
    return 0;
}

static void cow_end(struct cow *cow, int result)
{
    struct qcow2_op *op = cow->op;
    struct qcow2 *q = cow->q;

    if (result && cow->plan.is_new && !q->external)
        qcow2_limbo_add_unused(q, cow->plan.run.offset, cow->plan.run.len);
    qcow2_cache_unpin(cow->plan.block);
    qcow2_claim_drop(q, &cow->claim);
    cow_free(cow);
    qcow2_op_part_done(op, result);
}

static void write_done(struct req *req)
{
    struct cow *cow = container_of(req, struct cow, req);

    if (req->result) {
        cow_end(cow, req->result);
        return;
    }
    if (!cow->q->external)
        qcow2_file_grew(cow->q, req->offset + req->len);
    cow->q->unflushed_fill = true;
    cow_enter(cow, COW_LINK);
}

/* One write of head, data and tail. */
static void submit_write(struct cow *cow)
{
    const struct qcow2_cow_plan *plan = &cow->plan;
    uint64_t start = qcow2_cluster_start(cow->q, plan->offset);
    uint64_t host = plan->run.offset + (plan->offset - cow->head - start);
    uint64_t len = cow->head + plan->len + cow->tail;
    struct iov_view data;
    unsigned n = 0;
    int ret;

    cow->req = (struct req){ 0 }; /* The memory held the read before. */
    if (cow->head)
        cow->iov[n++] = (struct iovec){ cow->fill, cow->head };
    n += iov_slice(plan->data, plan->len, cow->iov + n, UINT32_MAX);
    if (cow->tail)
        cow->iov[n++] = (struct iovec){ cow->fill + cow->head, cow->tail };
    data = iov_view(cow->iov, n);
    if (UNLIKELY(cow->q->crypt.method != QCOW2_CRYPT_NONE)) {
        cow->packed =
            qcow2_crypt_pack(&cow->q->crypt, plan->offset - cow->head, host, data, len, &ret);
        if (ret) {
            cow_end(cow, ret);
            return;
        }
        cow->fill_iov = (struct iovec){ cow->packed, len };
        data = iov_view(&cow->fill_iov, 1);
    }
    debug_event(cow->q->data, "write_aio");
    req_submit_part(&cow->req, cow->q->data, REQ_WRITE, 0, host, len, data, write_done);
}

static void fill_done(struct qcow2_read *read, int result)
{
    struct cow *cow = container_of(read, struct cow, read);

    if (result)
        cow_end(cow, result);
    else
        cow_enter(cow, cow->phase + 1);
}

static void read_fill(struct cow *cow, uint64_t offset, uint8_t *to, uint64_t len, bool zero)
{
    if (!len || zero) {
        if (len)
            memset(to, 0, len);
        cow_enter(cow, cow->phase + 1);
        return;
    }
    cow->fill_iov = (struct iovec){ to, len };
    qcow2_read_start(&cow->read, cow->q, offset, len, iov_view(&cow->fill_iov, 1), fill_done);
}

/* The only writer of cow->phase. */
static void cow_enter(struct cow *cow, enum cow_phase phase)
{
    const struct qcow2_cow_plan *plan = &cow->plan;

    cow->phase = phase;
    switch (phase) {
    case COW_HEAD: read_fill(cow, plan->fill_start, cow->fill, cow->head, cow->head_zero); break;
    case COW_TAIL:
        read_fill(cow, plan->offset + plan->len, (cow->tail ? cow->fill + cow->head : NULL),
                  cow->tail, cow->tail_zero);
        break;
    case COW_WRITE: submit_write(cow); break;
    case COW_LINK: cow_end(cow, cow_link(cow)); break;
    case COW_PHASE_COUNT: unreachable();
    }
}

/* Finds out which edges are zero; those of a fresh cluster need no writing then. */
static int look_at_edges(struct cow *cow)
{
    struct qcow2 *q = cow->q;
    const struct qcow2_cow_plan *plan = &cow->plan;
    struct qcow2_wait *wait = &cow->op->wait;
    int ret;

    cow->head = plan->offset - plan->fill_start;
    cow->tail = plan->fill_end - plan->offset - plan->len;
    if (cow->head) {
        ret = qcow2_map_is_zero(q, plan->fill_start, cow->head, wait, &cow->head_zero);
        if (ret)
            return ret;
    }
    if (cow->tail) {
        ret = qcow2_map_is_zero(q, plan->offset + plan->len, cow->tail, wait, &cow->tail_zero);
        if (ret)
            return ret;
    }
    /* Zeroes of the file do not decrypt to zeroes. */
    if (plan->is_new && plan->run.fresh && q->crypt.method == QCOW2_CRYPT_NONE) {
        cow->head = cow->head_zero ? 0 : cow->head;
        cow->tail = cow->tail_zero ? 0 : cow->tail;
    }
    return 0;
}

static int cow_init(struct cow *cow)
{
    unsigned niov = iov_slice(cow->plan.data, cow->plan.len, NULL, 0) + 2;
    int ret = look_at_edges(cow);

    if (ret)
        return ret;
    cow->iov = cow->inline_iov;
    if (niov > COW_INLINE_IOV) {
        cow->iov = try_calloc(niov, sizeof(*cow->iov));
        if (!cow->iov)
            return -ENOMEM;
    }
    if (cow->head + cow->tail) {
        cow->fill = try_alloc_aligned(FILL_ALIGN, cow->head + cow->tail);
        if (!cow->fill)
            return -ENOMEM;
    }
    return 0;
}

int qcow2_cow_start(struct qcow2_op *op, const struct qcow2_cow_plan *plan)
{
    struct qcow2 *q = op->q;
    uint64_t start = qcow2_cluster_start(q, plan->offset);
    struct cow *cow = TRY_NEW(struct cow);
    int ret = -ENOMEM;

    if (cow) {
        cow->q = q;
        cow->op = op;
        cow->plan = *plan;
        cow->iov = cow->inline_iov;
        ret = cow_init(cow);
    }
    if (ret) {
        if (plan->is_new && !q->external)
            qcow2_limbo_add_unused(q, plan->run.offset, plan->run.len);
        if (cow)
            cow_free(cow);
        return ret;
    }
    qcow2_cache_pin(plan->block);
    qcow2_claim_take(q, &cow->claim, start, qcow2_cluster_end(q, plan->offset + plan->len) - start);
    op->in_flight++;
    op->pos = plan->offset + plan->len;
    cow_enter(cow, COW_HEAD);
    return 0;
}
