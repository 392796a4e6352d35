/*
 * The read machine: looks extents up one by one and keeps a few of them in flight.
 *
 * A read sees the mapping at the moment it looks; clusters it then reads from are not given to anyone else
 * before the request it belongs to has ended (limbo.h).
 */

#include "emu/storage/drivers/qcow2/read.h"

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/map.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { UNPACK_ALIGN = 4096 };

struct qcow2_unpack {
    struct qcow2_read_part *part;
    struct op op;
    struct qcow2_codec codec;
    struct iovec iov;
    uint64_t offset, len; /* Guest range wanted. */
    uint8_t *packed;      /* owned, with the cluster in one block */
};

static void read_step(struct qcow2_read *read);

static struct iov_view data_at(const struct qcow2_read *read, uint64_t offset)
{
    return iov_view_advance(read->data, offset - read->base);
}

static void part_ended(struct qcow2_read_part *part, int result)
{
    struct qcow2_read *read = part->read;

    part->busy = false;
    read->in_flight--;
    if (result && !read->result)
        read->result = result;
    read_step(read);
}

static void part_done(struct req *req)
{
    struct qcow2_read_part *part = container_of(req, struct qcow2_read_part, req);

    if (part->encrypted && !req->result)
        sector_decrypt_iov(part->read->q->crypt.volume.cipher, part->crypt_at, part->crypt_data,
                           part->crypt_len);
    part_ended(part, req->result);
}

/* The part reads encrypted data from `host` on, if that is what the image holds. */
static int note_encrypted(struct qcow2_read *read, struct qcow2_read_part *part, uint64_t host)
{
    const struct qcow2_crypt *crypt = &read->q->crypt;

    part->encrypted = crypt->method != QCOW2_CRYPT_NONE;
    part->crypt_at = qcow2_crypt_at(crypt, read->pos, host);
    return part->encrypted && !crypt->volume.cipher ? -EIO : 0;
}

/* Reads [host, host + len) of a child into the buffer for guest offset; behind its end there are zeroes. */
static void read_child(struct qcow2_read *read, struct qcow2_read_part *part, struct edge *edge,
                       uint64_t size, uint64_t host, uint64_t len)
{
    struct iov_view data = data_at(read, read->pos);
    uint64_t have = MIN(len, sub_saturate_u64(size, host));

    if (have < len)
        iov_fill(iov_view_advance(data, have), len - have, 0);
    read->pos += len;
    if (!have)
        return;
    part->busy = true;
    part->req = (struct req){ 0 }; /* The memory held other things before. */
    part->crypt_data = data;
    part->crypt_len = align_down_u64(have, CRYPT_SECTOR);
    read->in_flight++;
    debug_event(read->q->node->file, edge == read->q->data ? "read_aio" : "read_backing_aio");
    req_submit_part(&part->req, edge, REQ_READ, 0, host, have, data, part_done);
}

/* ---- Compressed clusters ---- */

static void unpack_free(struct qcow2_unpack *unpack)
{
    if (unpack)
        xfree(unpack->packed);
    xfree(unpack);
}

static void unpack_end(struct qcow2_unpack *unpack, int result)
{
    struct qcow2_read_part *part = unpack->part;
    struct qcow2_read *read = part->read;

    if (!result)
        iov_copy_to(data_at(read, unpack->offset), unpack->len,
                    unpack->codec.out + (unpack->offset & (read->q->geo.cluster_size - 1)));
    part->unpack = NULL;
    unpack_free(unpack);
    part_ended(part, result);
}

static void unpacked(struct op *op)
{
    struct qcow2_unpack *unpack = container_of(op, struct qcow2_unpack, op);

    unpack_end(unpack, op->result < 0 ? (int)op->result : 0);
}

static void packed_read(struct req *req)
{
    struct qcow2_read_part *part = container_of(req, struct qcow2_read_part, req);
    struct qcow2_unpack *unpack = part->unpack;

    if (req->result) {
        unpack_end(unpack, req->result);
        return;
    }
    unpack->op.done = unpacked;
    reactor_work(part->read->q->reactor, &unpack->op, qcow2_codec_decompress, &unpack->codec);
}

static int read_compressed(struct qcow2_read *read, struct qcow2_read_part *part,
                           const struct qcow2_extent *extent)
{
    struct qcow2 *q = read->q;
    uint64_t have =
        MIN((uint64_t)extent->compressed_len, sub_saturate_u64(q->file_size, extent->host));
    size_t packed_room = align_up_u64(extent->compressed_len, UNPACK_ALIGN);
    struct qcow2_unpack *unpack;

    /* The last sector may be cut off by the end of the file; more than that may not. */
    if (have + QCOW2_SECTOR <= extent->compressed_len)
        return -EIO;
    unpack = TRY_NEW(struct qcow2_unpack);
    if (!unpack)
        return -ENOMEM;
    unpack->packed = try_alloc_aligned(UNPACK_ALIGN, packed_room + q->geo.cluster_size);
    if (!unpack->packed) {
        unpack_free(unpack);
        return -ENOMEM;
    }
    memset(unpack->packed + have, 0, packed_room - have);
    unpack->part = part;
    unpack->offset = read->pos;
    unpack->len = extent->len;
    unpack->codec =
        (struct qcow2_codec){ q->header.compression, unpack->packed, extent->compressed_len,
                              unpack->packed + packed_room, q->geo.cluster_size };
    unpack->iov = (struct iovec){ unpack->packed, have };
    part->unpack = unpack;
    part->busy = true;
    part->req = (struct req){ 0 }; /* The memory held other things before. */
    read->in_flight++;
    read->pos += extent->len;
    debug_event(q->node->file, "read_compressed");
    req_submit_part(&part->req, q->node->file, REQ_READ, 0, extent->host, have,
                    iov_view(&unpack->iov, 1), packed_read);
    return 0;
}

/* ---- The machine ---- */

static int start_part(struct qcow2_read *read, struct qcow2_read_part *part)
{
    struct qcow2 *q = read->q;
    struct edge *backing = q->node->backing;
    struct qcow2_extent extent;
    int ret = qcow2_map_lookup(q, read->pos, read->end - read->pos, &read->wait, &extent);

    if (ret)
        return ret;
    part->encrypted = false;
    switch (extent.kind) {
    case QCOW2_SUB_DATA:
        ret = note_encrypted(read, part, extent.host);
        if (ret)
            return ret;
        read_child(read, part, q->data, q->external ? q->data->node->size : q->file_size,
                   extent.host, extent.len);
        return 0;
    case QCOW2_SUB_NONE:
    case QCOW2_SUB_NONE_KEPT:
        if (backing && read->pos < q->header.fields.size) {
            read_child(read, part, backing, backing->node->size, read->pos, extent.len);
            return 0;
        }
        FALLTHROUGH;
    case QCOW2_SUB_ZERO:
    case QCOW2_SUB_ZERO_KEPT:
        iov_fill(data_at(read, read->pos), extent.len, 0);
        read->pos += extent.len;
        return 0;
    case QCOW2_SUB_COMPRESSED: return read_compressed(read, part, &extent);
    case QCOW2_SUB_INVALID: break;
    }
    return -EIO;
}

static struct qcow2_read_part *free_part(struct qcow2_read *read)
{
    for (int i = 0; i < QCOW2_READ_PARTS; i++) {
        if (!read->parts[i].busy)
            return &read->parts[i];
    }
    return NULL;
}

static void read_step(struct qcow2_read *read)
{
    struct qcow2_read_part *part;

    if (read->stepping)
        return;
    read->stepping = true;
    while (!read->waiting && !read->result && read->pos < read->end && (part = free_part(read))) {
        int ret = start_part(read, part);

        if (ret == QCOW2_WAIT)
            read->waiting = true;
        else if (ret)
            read->result = ret;
    }
    read->stepping = false;
    if (!read->in_flight && !read->waiting && (read->result || read->pos == read->end))
        read->done(read, read->result);
}

static void read_wake(struct qcow2_wait *wait, int result)
{
    struct qcow2_read *read = container_of(wait, struct qcow2_read, wait);

    read->waiting = false;
    if (result && !read->result)
        read->result = result;
    read_step(read);
}

void qcow2_read_start(struct qcow2_read *read, struct qcow2 *q, uint64_t offset, uint64_t len,
                      struct iov_view data, void (*done)(struct qcow2_read *read, int result))
{
    uint64_t have = MIN(len, sub_saturate_u64(qcow2_readable_end(q, offset), offset));

    read->q = q;
    read->base = read->pos = offset;
    read->end = offset + have;
    read->data = data;
    read->done = done;
    qcow2_wait_init(&read->wait, read_wake);
    read->waiting = read->stepping = false;
    read->in_flight = 0;
    read->result = 0;
    for (int i = 0; i < QCOW2_READ_PARTS; i++) {
        read->parts[i].read = read;
        read->parts[i].unpack = NULL;
        read->parts[i].busy = false;
    }
    if (have < len)
        iov_fill(iov_view_advance(data, have), len - have,
                 0); /* Copying beyond the end of the disk. */
    read_step(read);
}
