/*
 * Driver "vdi": opening, and the map.
 *
 * The count of allocated blocks in the header is durable before an entry refers to a block below it, so that no
 * block is ever given away twice.
 */
#include <errno.h>
#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/vdi/vdi.h"

/* ---- The map ---- */

static int vdi_find(struct sparse *s, uint64_t block, struct meta_wait *wait,
                    struct sparse_place *out)
{
    const struct vdi *v = vdi_of(s);
    uint8_t *bytes;
    uint32_t entry;
    int ret = meta_get(&s->meta, v->map_offset + block * 4, 4, wait, &bytes);

    if (ret)
        return ret;
    entry = load_le32(bytes);
    *out = (struct sparse_place){ .kind = SPARSE_ZERO };
    if (entry == VDI_UNALLOCATED || entry == VDI_DISCARDED)
        return 0;
    out->kind = SPARSE_DATA;
    out->host = v->data_offset + (uint64_t)entry * VDI_BLOCK;
    /* A block that lies on the map or the header is none. */
    if (entry >= VDI_BLOCKS_MAX || out->host < VDI_HEADER_LEN ||
        ranges_overlap(out->host, VDI_BLOCK, v->map_offset, (uint64_t)v->blocks * 4))
        return -EIO;
    return 0;
}

static int vdi_place(struct sparse *s, uint64_t block, uint64_t *count, struct meta_wait *wait,
                     uint64_t *host)
{
    const struct vdi *v = vdi_of(s);

    if (v->allocated >= VDI_BLOCKS_MAX)
        return -ENOSPC;
    *count = MIN(*count, (uint64_t)(VDI_BLOCKS_MAX - v->allocated));
    *host = v->data_offset + (uint64_t)v->allocated * VDI_BLOCK;
    return 0;
}

/* Repeating this is harmless, so it may wait half-way. */
static int vdi_link(struct sparse *s, uint64_t block, uint64_t count, struct sparse_place place,
                    struct meta_wait *wait)
{
    struct vdi *v = vdi_of(s);
    uint32_t first = 0;
    uint8_t *bytes;
    int ret = 0;

    if (place.kind == SPARSE_DATA) {
        first = (uint32_t)((place.host - v->data_offset) / VDI_BLOCK);
        ret = meta_edit(&s->meta, VDI_HDR_ALLOCATED, 4, META_LEAF, wait, &bytes);
        if (ret)
            return ret;
        v->allocated = MAX(v->allocated, first + (uint32_t)count);
        store_le32(bytes, v->allocated);
    }
    for (uint32_t i = 0; i < count && !ret; i++) {
        ret = meta_edit(&s->meta, v->map_offset + (block + i) * 4, 4, META_ROOT, wait, &bytes);
        if (!ret)
            store_le32(bytes, place.kind == SPARSE_DATA ? first + i : VDI_DISCARDED);
    }
    return ret;
}

static const struct sparse_ops vdi_ops = {
    .find = vdi_find,
    .place = vdi_place,
    .link = vdi_link,
};

/* ---- Opening ---- */

static struct err *unsupported_field(const uint8_t *h)
{
    static const uint8_t null[VDI_UUID_LEN];
    uint32_t version = load_le32(h + VDI_HDR_VERSION);

    if (load_le32(h + VDI_HDR_SIGNATURE) != VDI_SIGNATURE)
        return err_new("Image not in VDI format (bad signature %08" PRIx32 ")",
                       load_le32(h + VDI_HDR_SIGNATURE));
    if (version != VDI_VERSION)
        return err_new("unsupported VDI image (version %u.%u)", version >> 16, version & 0xffff);
    if (load_le32(h + VDI_HDR_MAP_OFFSET) % VDI_SECTOR)
        return err_new("unsupported VDI image (unaligned block map offset 0x%" PRIx32 ")",
                       load_le32(h + VDI_HDR_MAP_OFFSET));
    if (load_le32(h + VDI_HDR_DATA_OFFSET) % VDI_SECTOR)
        return err_new("unsupported VDI image (unaligned data offset 0x%" PRIx32 ")",
                       load_le32(h + VDI_HDR_DATA_OFFSET));
    if (load_le32(h + VDI_HDR_SECTOR_SIZE) != VDI_SECTOR)
        return err_new("unsupported VDI image (sector size %" PRIu32 " is not %u)",
                       load_le32(h + VDI_HDR_SECTOR_SIZE), VDI_SECTOR);
    if (load_le32(h + VDI_HDR_BLOCK_SIZE) != VDI_BLOCK)
        return err_new("unsupported VDI image (block size %" PRIu32 " is not %u)",
                       load_le32(h + VDI_HDR_BLOCK_SIZE), VDI_BLOCK);
    if (memcmp(h + VDI_HDR_UUID_LINK, null, VDI_UUID_LEN) != 0)
        return err_new("unsupported VDI image (non-NULL link UUID)");
    if (memcmp(h + VDI_HDR_UUID_PARENT, null, VDI_UUID_LEN) != 0)
        return err_new("unsupported VDI image (non-NULL parent UUID)");
    return NULL;
}

static struct err *take_header(struct node *node, const uint8_t *h)
{
    struct vdi *v = node->state;
    uint64_t size = load_le64(h + VDI_HDR_DISK_SIZE);
    uint32_t blocks = load_le32(h + VDI_HDR_BLOCKS);

    if (size > VDI_SIZE_MAX)
        return err_new("Unsupported VDI image size (size is 0x%" PRIx64
                       ", max supported is 0x%" PRIx64 ")",
                       size, VDI_SIZE_MAX);
    size = align_up_u64(size, VDI_SECTOR);
    TRY(unsupported_field(h));
    if (size > (uint64_t)blocks * VDI_BLOCK)
        return err_new("unsupported VDI image (disk size %" PRIu64
                       ", image bitmap has room for %" PRIu64 ")",
                       size, (uint64_t)blocks * VDI_BLOCK);
    if (blocks > VDI_BLOCKS_MAX)
        return err_new("unsupported VDI image (too many blocks %" PRIu32 ", max is %u)", blocks,
                       VDI_BLOCKS_MAX);
    v->map_offset = load_le32(h + VDI_HDR_MAP_OFFSET);
    v->data_offset = load_le32(h + VDI_HDR_DATA_OFFSET);
    v->blocks = blocks;
    v->allocated = load_le32(h + VDI_HDR_ALLOCATED);
    v->sparse = (struct sparse){
        .node = node,
        .file = node->file,
        .size = size,
        .block_size = VDI_BLOCK,
        .ops = &vdi_ops,
        .fresh_from = align_up_u64(node->file->node->size, VDI_SECTOR),
    };
    TRY(sparse_init(&v->sparse));
    sparse_adopt(&v->sparse);
    node_set_size(node, size);
    return NULL;
}

struct opening {
    struct node *node;
    driver_done_fn *done;
    void *arg;
};

static void header_read(void *arg, uint8_t *header, int result)
{
    struct opening o = *(struct opening *)arg;
    struct err *err;

    xfree(arg);
    err = result ? err_new_errno(result, "Could not read VDI header") : take_header(o.node, header);
    xfree(header);
    o.done(o.arg, err);
}

static void vdi_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                     void *arg)
{
    struct opening *o = NEW(struct opening);

    *o = (struct opening){ node, done, arg };
    image_load(node->file, 0, VDI_HEADER_LEN, header_read, o);
}

static void vdi_close(struct node *node, driver_done_fn *done, void *arg)
{
    sparse_close(node->state, done, arg);
}

static void vdi_facts(struct node *node, struct image_facts *facts, driver_done_fn *done, void *arg)
{
    facts->virtual_size = node->size;
    facts->cluster_size = VDI_BLOCK;
    done(arg, NULL);
}

static int vdi_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return len >= VDI_HEADER_LEN && load_le32(buf + VDI_HDR_SIGNATURE) == VDI_SIGNATURE ? 100 : 0;
}

static const struct driver_child vdi_children[] = {
    { "file", ROLE_METADATA | ROLE_DATA | ROLE_PRIMARY, true },
    { NULL, 0, false },
};

const struct driver driver_vdi = {
    .name = "vdi",
    .is_format = true,
    .state_size = sizeof(struct vdi),
    .req_size = sizeof(struct sparse_op),
    .children = vdi_children,
    .open = vdi_open,
    .close = vdi_close,
    .submit = sparse_submit,
    .facts = vdi_facts,
    .check = vdi_check,
    .probe = vdi_probe,
    .create = vdi_create,
    .create_options = vdi_create_options,
};
