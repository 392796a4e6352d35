/*
 * Sparse extents: grain directory and tables. A table is durable before the directory refers to it (LEAF, ROOT), and
 * both copies of both are changed together.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/vmdk/vmdk.h"

enum { GD_ENTRIES_MAX = 1 << 24, GRAIN_SECTORS_MAX = 0x200000 };

static int load_entry(struct vmdk_extent *x, uint64_t offset, struct meta_wait *wait, uint32_t *out)
{
    uint8_t *bytes;
    int ret = meta_get(&x->sparse.meta, offset, 4, wait, &bytes);

    if (!ret)
        *out = load_le32(bytes);
    return ret;
}

static int store_entry(struct vmdk_extent *x, uint64_t offset, enum meta_rank rank, uint32_t value,
                       struct meta_wait *wait)
{
    uint8_t *bytes;
    int ret = meta_edit(&x->sparse.meta, offset, 4, rank, wait, &bytes);

    if (!ret)
        store_le32(bytes, value);
    return ret;
}

/* Offset of the table of block by the directory at gd; 0: there is none. */
static int table_of(struct vmdk_extent *x, uint64_t gd, uint64_t block, struct meta_wait *wait,
                    uint64_t *out)
{
    uint32_t sector;
    int ret = load_entry(x, gd + block / x->gtes * 4, wait, &sector);

    if (!ret)
        *out = (uint64_t)sector * VMDK_SECTOR;
    return ret;
}

/* A compressed grain says in front how long it is. */
static int find_compressed(struct vmdk_extent *x, struct meta_wait *wait, struct sparse_place *out)
{
    uint8_t *marker;
    uint32_t len;
    int ret;

    out->kind = SPARSE_COMPRESSED;
    out->len = x->sparse.block_size;
    if (!x->markers)
        return 0;
    ret = meta_get(&x->sparse.meta, out->host, VMDK_MARKER_LEN, wait, &marker);
    if (ret)
        return ret;
    len = load_le32(marker + 8);
    if (len == 0 || len > (uint64_t)x->sparse.block_size * 2)
        return -EIO;
    out->len = VMDK_MARKER_LEN + len;
    return 0;
}

static int vmdk_find(struct sparse *s, uint64_t block, struct meta_wait *wait,
                     struct sparse_place *out)
{
    struct vmdk_extent *x = vmdk_extent_of(s);
    uint64_t table;
    uint32_t entry = 0;
    int ret = table_of(x, x->gd_offset, block, wait, &table);

    if (!ret && table)
        ret = load_entry(x, table + block % x->gtes * 4, wait, &entry);
    if (ret)
        return ret;
    *out = (struct sparse_place){ .kind = SPARSE_HOLE };
    if (!entry)
        return 0;
    if (entry == VMDK_ZEROED && x->zero_grain) {
        out->kind = SPARSE_ZERO;
        return 0;
    }
    out->kind = SPARSE_DATA;
    out->host = (uint64_t)entry * VMDK_SECTOR;
    return x->compressed ? find_compressed(x, wait, out) : 0;
}

/* Makes a table for block where the directory at gd has none. */
static int make_table(struct vmdk_extent *x, uint64_t gd, uint64_t block, struct meta_wait *wait)
{
    uint32_t len = (uint32_t)align_up_u64(x->gtes * 4, VMDK_SECTOR);
    uint64_t table, at = align_up_u64(x->next_free, VMDK_SECTOR);
    int ret = table_of(x, gd, block, wait, &table);

    if (ret || table)
        return ret;
    if (at / VMDK_SECTOR > UINT32_MAX)
        return -EFBIG;
    ret = meta_fresh(&x->sparse.meta, at, len, 0, META_LEAF, wait);
    if (!ret)
        ret =
            store_entry(x, gd + block / x->gtes * 4, META_ROOT, (uint32_t)(at / VMDK_SECTOR), wait);
    if (!ret)
        x->next_free = at + len;
    return ret;
}

static int make_tables(struct vmdk_extent *x, uint64_t block, struct meta_wait *wait)
{
    int ret = make_table(x, x->gd_offset, block, wait);

    if (!ret && x->rgd_offset)
        ret = make_table(x, x->rgd_offset, block, wait);
    return ret;
}

static int vmdk_place(struct sparse *s, uint64_t block, uint64_t *count, struct meta_wait *wait,
                      uint64_t *host)
{
    struct vmdk_extent *x = vmdk_extent_of(s);
    int ret = x->has_footer ? -ENOTSUP : make_tables(x, block, wait);

    if (ret)
        return ret;
    *count = MIN(*count, x->gtes - block % x->gtes);
    *host = x->compressed ? align_up_u64(x->next_free, VMDK_SECTOR)
                          : round_up_any(x->next_free, s->block_size);
    return (*host + *count * s->block_size) / VMDK_SECTOR > UINT32_MAX ? -EFBIG : 0;
}

/* Repeating this is harmless, so it may wait half-way. */
static int vmdk_link(struct sparse *s, uint64_t block, uint64_t count, struct sparse_place place,
                     struct meta_wait *wait)
{
    struct vmdk_extent *x = vmdk_extent_of(s);
    uint64_t directories[] = { x->rgd_offset, x->gd_offset };
    bool zero = place.kind == SPARSE_ZERO;
    int ret = make_tables(x, block, wait);

    for (unsigned d = 0; d < ARRAY_LEN(directories) && !ret; d++) {
        uint64_t table;

        if (!directories[d])
            continue;
        ret = table_of(x, directories[d], block, wait, &table);
        for (uint64_t i = 0; i < count && !ret; i++) {
            uint64_t sector = (place.host + i * s->block_size) / VMDK_SECTOR;

            ret = store_entry(x, table + (block % x->gtes + i) * 4, META_LEAF,
                              zero ? VMDK_ZEROED : (uint32_t)sector, wait);
        }
    }
    if (ret || zero)
        return ret;
    if (place.kind == SPARSE_COMPRESSED)
        meta_forget(&s->meta, place.host, place.len);
    x->next_free =
        place.host + (place.kind == SPARSE_COMPRESSED ? place.len : count * s->block_size);
    return 0;
}

static int vmdk_unpack(struct sparse *s, uint64_t block, const uint8_t *in, uint32_t len,
                       uint8_t *out)
{
    const struct vmdk_extent *x = vmdk_extent_of(s);
    z_stream z = { 0 };
    int ret;

    if (x->markers) {
        if (len <= VMDK_MARKER_LEN)
            return -EIO;
        in += VMDK_MARKER_LEN;
        len -= VMDK_MARKER_LEN;
    }
    if (inflateInit(&z) != Z_OK)
        return -ENOMEM;
    z.next_in = (Bytef *)in;
    z.avail_in = len;
    z.next_out = out;
    z.avail_out = s->block_size;
    ret = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (ret != Z_STREAM_END && !(ret == Z_BUF_ERROR && z.avail_out == 0))
        return -EINVAL;
    memset(out + s->block_size - z.avail_out, 0, z.avail_out);
    return 0;
}

static int vmdk_pack(struct sparse *s, uint64_t block, uint64_t host, const uint8_t *in,
                     uint8_t *out, uint32_t *len)
{
    struct vmdk_extent *x = vmdk_extent_of(s);
    uLongf packed = (uLongf)s->block_size + SPARSE_PACK_EXTRA - VMDK_SECTOR;
    uint32_t used;

    if (compress(out + VMDK_MARKER_LEN, &packed, in, s->block_size) != Z_OK)
        return -EINVAL;
    store_le64(out, block * (s->block_size / VMDK_SECTOR));
    store_le32(out + 8, (uint32_t)packed);
    used = (uint32_t)packed + VMDK_MARKER_LEN;
    *len = (uint32_t)align_up_u64(used, VMDK_SECTOR);
    memset(out + used, 0, *len - used);
    return x->markers ? 0 : -EINVAL;
}

static const struct sparse_ops plain_ops = {
    .find = vmdk_find,
    .place = vmdk_place,
    .link = vmdk_link,
};

static const struct sparse_ops compressed_ops = {
    .find = vmdk_find,
    .place = vmdk_place,
    .link = vmdk_link,
    .unpack = vmdk_unpack,
    .pack = vmdk_pack,
};

/* ---- The header ---- */

static struct err *check_header(const struct vmdk_extent *x, const uint8_t *h)
{
    uint32_t version = load_le32(h + VMDK_HDR_VERSION), gtes = load_le32(h + VMDK_HDR_GTES);
    uint64_t grain = load_le64(h + VMDK_HDR_GRANULARITY), span = gtes * grain;
    uint64_t capacity = load_le64(h + VMDK_HDR_CAPACITY);
    uint64_t data = load_le64(h + VMDK_HDR_GRAIN_OFFSET);

    if (version > 3)
        return err_new("Unsupported VMDK version %" PRIu32, version);
    if (gtes > VMDK_GTES)
        return err_new("L2 table size too big");
    if (span == 0)
        return err_new("L1 entry size is invalid");
    if (data > x->edge->node->size / VMDK_SECTOR + 1)
        return err_new("File truncated, expecting at least %" PRId64 " bytes",
                       (int64_t)(data * VMDK_SECTOR));
    if (grain > GRAIN_SECTORS_MAX)
        return err_new("Invalid granularity, image may be corrupt");
    if (div_round_up(capacity, span) > GD_ENTRIES_MAX)
        return err_new("L1 size too big");
    if (capacity > INT64_MAX / VMDK_SECTOR)
        return err_new("Can't get image size '%s': File too large", x->edge->node->filename);
    return NULL;
}

static bool beyond(uint64_t sector, uint64_t len)
{
    return sector > (INT64_MAX - len) / VMDK_SECTOR;
}

struct err *vmdk_extent_init(struct vmdk_extent *x, struct node *node, const uint8_t *h)
{
    uint32_t flags = load_le32(h + VMDK_HDR_FLAGS);
    uint64_t gd = load_le64(h + VMDK_HDR_GD_OFFSET), rgd = load_le64(h + VMDK_HDR_RGD_OFFSET);
    uint64_t grain, gd_len;

    TRY(check_header(x, h));
    x->size = load_le64(h + VMDK_HDR_CAPACITY) * VMDK_SECTOR;
    x->gtes = load_le32(h + VMDK_HDR_GTES);
    grain = load_le64(h + VMDK_HDR_GRANULARITY) * VMDK_SECTOR;
    x->gd_entries = (uint32_t)div_round_up(x->size, x->gtes * grain);
    gd_len = (uint64_t)x->gd_entries * 4;
    if (beyond(gd, gd_len) || (flags & VMDK_FLAG_RGD && beyond(rgd, gd_len)))
        return err_new("The grain directory lies behind the end of the file");
    x->gd_offset = gd * VMDK_SECTOR;
    x->rgd_offset = flags & VMDK_FLAG_RGD ? rgd * VMDK_SECTOR : 0;
    x->zero_grain = flags & VMDK_FLAG_ZERO_GRAIN;
    x->compressed = flags & VMDK_FLAG_COMPRESSED;
    x->markers = flags & VMDK_FLAG_MARKERS;
    x->next_free = align_up_u64(x->edge->node->size, VMDK_SECTOR);
    x->sparse = (struct sparse){
        .node = node,
        .file = x->edge,
        .base = x->start,
        .size = x->size,
        .block_size = (uint32_t)grain,
        .ops = x->compressed ? &compressed_ops : &plain_ops,
        .can_zero = x->zero_grain && !x->compressed,
        .write_once = x->compressed,
        .always_compress = x->compressed,
        .fresh_from = align_up_u64(x->edge->node->size, VMDK_SECTOR),
    };
    return sparse_init(&x->sparse);
}
