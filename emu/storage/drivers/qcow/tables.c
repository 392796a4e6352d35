/* The tables and the compressed clusters of qcow, as the request machine wants them. */

#include <errno.h>
#include <zlib.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow/qcow.h"

enum { WINDOW_BITS = -12, MEMORY_LEVEL = 9 };
#define COMPRESSED (UINT64_C(1) << 63)

static struct qcow *qcow_from(struct sparse *s) { return container_of(s, struct qcow, sparse); }

/* Whole sectors only: metadata and data never share one. */
bool qcow_table_valid(const struct levels *l, uint64_t offset)
{
    return offset % QCOW_SECTOR == 0 && offset <= INT64_MAX - l->l2_bytes;
}

static int qcow_find(struct sparse *s, uint64_t cluster, struct meta_wait *wait,
                     struct sparse_place *out)
{
    struct qcow *q = qcow_from(s);
    unsigned len_shift = 63 - q->header.cluster_bits;
    uint64_t word;
    int ret = levels_word(&q->levels, cluster, wait, &word);

    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (ret)
        return ret == -EINVAL ? -EIO : ret;
    if (word & COMPRESSED) {
        out->kind = SPARSE_COMPRESSED;
        out->host = word & bits_mask64(len_shift);
        out->len = (uint32_t)(word >> len_shift & (s->block_size - 1));
        return out->len ? 0 : -EIO;
    }
    if (!word)
        return 0;
    out->kind = SPARSE_DATA;
    out->host = word;
    return word % QCOW_SECTOR || word > (uint64_t)INT64_MAX - s->block_size ? -EIO : 0;
}

static int qcow_place(struct sparse *s, uint64_t cluster, uint64_t *count, struct meta_wait *wait,
                      uint64_t *host)
{
    int ret = levels_place(&qcow_from(s)->levels, cluster, count, wait, host);

    return ret == -EINVAL ? -EIO : ret;
}

static int qcow_link(struct sparse *s, uint64_t cluster, uint64_t count, struct sparse_place place,
                     struct meta_wait *wait)
{
    struct qcow *q = qcow_from(s);
    unsigned len_shift = 63 - q->header.cluster_bits;
    struct levels_run run = { .block = cluster, .count = count };

    if (place.kind == SPARSE_COMPRESSED) {
        if (place.host > bits_mask64(len_shift))
            return -EFBIG; /* A word cannot say this offset. */
        run.first = COMPRESSED | (uint64_t)place.len << len_shift | place.host;
        run.end = place.host + place.len;
        /* Whoever compresses wants small files: what follows need not begin at a multiple of the cluster size. */
        q->levels.align = QCOW_SECTOR;
    } else {
        run.first = place.host;
        run.step = s->block_size;
        run.end = place.host + count * s->block_size;
    }
    return levels_link(&q->levels, run, wait);
}

static int qcow_unpack(struct sparse *s, uint64_t cluster, const uint8_t *in, uint32_t len,
                       uint8_t *out)
{
    z_stream z = { .next_in = (uint8_t *)(uintptr_t)in,
                   .avail_in = len,
                   .next_out = out,
                   .avail_out = s->block_size };
    int ret;

    (void)cluster;
    if (inflateInit2(&z, WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    ret = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* The stream may be said to be longer than it is. */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int qcow_pack(struct sparse *s, uint64_t cluster, uint64_t host, const uint8_t *in,
                     uint8_t *out, uint32_t *len)
{
    z_stream z = { .next_in = (uint8_t *)(uintptr_t)in,
                   .avail_in = s->block_size,
                   .next_out = out,
                   .avail_out = s->block_size };
    int ret;

    (void)cluster;
    (void)host;
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    ret = deflate(&z, Z_FINISH);
    *len = s->block_size - z.avail_out;
    deflateEnd(&z);
    return ret == Z_STREAM_END && *len < s->block_size ? 0 : -ENOSPC;
}

const struct sparse_ops qcow_sparse_ops = {
    .find = qcow_find,
    .place = qcow_place,
    .link = qcow_link,
    .unpack = qcow_unpack,
    .pack = qcow_pack,
};
