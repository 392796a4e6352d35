/*
 * Compressed writes (REQ_COMPRESSED): each whole cluster is packed on the pool of workers, then gets bytes
 * behind the last packed one, is written and linked.
 *
 * A cluster that does not shrink is stored as it is, by the ordinary path of writes. Places are handed out in
 * the order in which packing ends. The shared host cluster has its count raised before any entry refers to the
 * new bytes (O1 through the commit).
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/qcow2/codec.h"
#include "emu/storage/drivers/qcow2/cow.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { PACK_ALIGN = 4096 };

enum pack_phase { PACK_WORK, PACK_PLACE, PACK_WRITE, PACK_LINK, PACK_PLAIN, PACK_PHASE_COUNT };

struct pack {
    struct qcow2_claim claim;
    struct qcow2 *q;
    struct qcow2_op *op;
    enum pack_phase phase;
    uint64_t offset, len; /* Guest range; shorter than a cluster only at the end of the disk. */
    struct qcow2_codec codec;
    struct op work;
    struct qcow2_wait wait;
    uint64_t host;
    uint32_t packed_len;
    struct iovec iov;
    struct req req;
    struct qcow2_op plain;
    uint8_t *buffer; /* owned; the cluster, then room for its packed form. */
};

static void pack_enter(struct pack *pack, enum pack_phase phase);

static void pack_end(struct pack *pack, int result)
{
    struct qcow2_op *op = pack->op;

    qcow2_claim_drop(pack->q, &pack->claim);
    xfree(pack->buffer);
    xfree(pack);
    qcow2_op_part_done(op, result);
}

/* Gives the references of the bytes back. */
static void unplace(struct pack *pack)
{
    uint64_t start = qcow2_cluster_start(pack->q, pack->host);

    qcow2_limbo_add_unused(pack->q, start,
                           qcow2_cluster_end(pack->q, pack->host + pack->packed_len) - start);
}

static void pack_worked(struct op *work)
{
    struct pack *pack = container_of(work, struct pack, work);

    if (work->result == -ENOSPC) {
        pack_enter(pack, PACK_PLAIN);
    } else if (work->result < 0) {
        pack_end(pack, (int)work->result);
    } else {
        pack->packed_len = (uint32_t)work->result;
        pack_enter(pack, PACK_PLACE);
    }
}

static void pack_written(struct req *req)
{
    struct pack *pack = container_of(req, struct pack, req);

    if (req->result) {
        unplace(pack);
        pack_end(pack, req->result);
        return;
    }
    qcow2_file_grew(pack->q, req->offset + req->len);
    pack->q->unflushed_fill = true; /* All of the cluster depends on these bytes. */
    pack_enter(pack, PACK_LINK);
}

/* Continues a phase that waited for a block. */
static void pack_wake(struct qcow2_wait *wait, int result)
{
    struct pack *pack = container_of(wait, struct pack, wait);

    if (!result) {
        pack_enter(pack, pack->phase);
        return;
    }
    if (pack->phase == PACK_LINK)
        unplace(pack);
    pack_end(pack, result);
}

static int pack_place(struct pack *pack)
{
    struct qcow2 *q = pack->q;
    int ret = qcow2_alloc_bytes(q, pack->packed_len, &pack->wait, &pack->host);

    if (ret)
        return ret;
    if (pack->host + pack->packed_len > BIT64(MIN(62 - (q->geo.cluster_bits - 8), 56U))) {
        unplace(pack); /* An entry cannot say this offset. */
        return -EFBIG;
    }
    pack->iov = (struct iovec){ pack->codec.out, pack->packed_len };
    pack->phase = PACK_WRITE;
    debug_event(q->node->file, "write_compressed");
    req_submit_part(&pack->req, q->node->file, REQ_WRITE, 0, pack->host, pack->packed_len,
                    iov_view(&pack->iov, 1), pack_written);
    return 0;
}

static int pack_link(struct pack *pack)
{
    struct qcow2 *q = pack->q;
    unsigned shift = 62 - (q->geo.cluster_bits - 8);
    uint64_t sectors =
        (pack->host + pack->packed_len - 1) / QCOW2_SECTOR - pack->host / QCOW2_SECTOR;
    struct qcow2_l2_at at;
    int ret;

    if (q->corrupt || q->broken)
        return -EIO;
    ret = qcow2_l2_get_owned(q, pack->offset, &pack->wait, &at);
    if (!ret)
        ret = qcow2_cache_edit(at.block);
    if (ret)
        return ret;
    qcow2_cow_replace(q, at.block, at.index, QCOW2_COMPRESSED | sectors << shift | pack->host, 0);
    return 0;
}

static void plain_done(struct qcow2_op *op, int result)
{
    pack_end(container_of(op, struct pack, plain), result);
}

/* The only writer of pack->phase but for PACK_WRITE, which begins where PACK_PLACE succeeds. */
static void pack_enter(struct pack *pack, enum pack_phase phase)
{
    int ret;

    pack->phase = phase;
    switch (phase) {
    case PACK_WORK:
        pack->work.done = pack_worked;
        reactor_work(pack->q->reactor, &pack->work, qcow2_codec_compress, &pack->codec);
        return;
    case PACK_PLACE:
        ret = pack_place(pack);
        if (ret && ret != QCOW2_WAIT)
            pack_end(pack, ret);
        return;
    case PACK_LINK:
        ret = pack_link(pack);
        if (ret == QCOW2_WAIT)
            return;
        if (ret)
            unplace(pack);
        pack_end(pack, ret);
        return;
    case PACK_PLAIN:
        qcow2_claim_drop(pack->q, &pack->claim); /* It must not stand in the way of the write. */
        pack->iov = (struct iovec){ pack->buffer, pack->len };
        qcow2_op_run(&pack->plain, pack->q, REQ_WRITE, pack->offset, pack->len,
                     iov_view(&pack->iov, 1), plain_done);
        return;
    case PACK_WRITE:
    case PACK_PHASE_COUNT: break;
    }
    unreachable();
}

int qcow2_compress_start(struct qcow2_op *op)
{
    struct qcow2 *q = op->q;
    uint64_t len = MIN(op->end - op->pos, (uint64_t)q->geo.cluster_size);
    struct pack *pack;
    int ret;

    if (q->external)
        return -ENOTSUP;
    if (!is_aligned(op->pos, q->geo.cluster_size) ||
        (len < q->geo.cluster_size && op->pos + len < q->header.fields.size))
        return -EINVAL;
    if (op->in_flight >= QCOW2_OP_PARTS)
        return -EAGAIN;
    ret = qcow2_claim_check(q, op->pos, q->geo.cluster_size, &op->wait);
    if (ret)
        return ret;
    pack = TRY_NEW(struct pack);
    if (!pack)
        return -ENOMEM;
    pack->buffer = try_alloc_aligned(PACK_ALIGN, (size_t)q->geo.cluster_size * 2);
    if (!pack->buffer) {
        xfree(pack);
        return -ENOMEM;
    }
    pack->q = q;
    pack->op = op;
    pack->offset = op->pos;
    pack->len = len;
    qcow2_wait_init(&pack->wait, pack_wake);
    iov_copy_from(iov_view_advance(op->data, op->pos - op->base), len, pack->buffer);
    memset(pack->buffer + len, 0, q->geo.cluster_size - len);
    /* Only a packed form that is shorter than the cluster is worth it. */
    pack->codec =
        (struct qcow2_codec){ q->header.compression, pack->buffer, q->geo.cluster_size,
                              pack->buffer + q->geo.cluster_size, q->geo.cluster_size - 1 };
    qcow2_claim_take(q, &pack->claim, op->pos, q->geo.cluster_size);
    op->in_flight++;
    op->pos += len;
    pack_enter(pack, PACK_WORK);
    return 0;
}
