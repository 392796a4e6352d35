/* Creating VDI images: header and map; a static image has all blocks mapped in order. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/opts.h"
#include "emu/base/uuid.h"
#include "emu/storage/create.h"
#include "emu/storage/drivers/layout/layout.h"
#include "emu/storage/drivers/vdi/vdi.h"

const struct create_option vdi_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "static", CREATE_OPT_BOOL, "VDI static (pre-allocated) image", "off" },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

struct vdi_creation {
    uint64_t size;
    int prealloc; /* enum prealloc */
};

static struct err *read_options(const struct json *options, struct vdi_creation *c)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init(&opts, options);
    TRY(opts_size(&opts, "size", &c->size));
    TRY(opts_enum_opt(&opts, "preallocation", modes, ARRAY_LEN(modes), &c->prealloc));
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    if (c->prealloc != PREALLOC_OFF && c->prealloc != PREALLOC_METADATA)
        return err_new("Preallocation mode not supported for vdi");
    if (c->size > VDI_SIZE_MAX)
        return err_new("Unsupported VDI image size (size is 0x%" PRIx64
                       ", max supported is 0x%" PRIx64 ")",
                       c->size, VDI_SIZE_MAX);
    return NULL;
}

static uint8_t *build_header(struct graph *graph, const struct vdi_creation *c, uint32_t blocks,
                             uint64_t map_bytes)
{
    uint8_t *h = NEW_ARRAY(uint8_t, VDI_HEADER_LEN);
    struct uuid uuids[2];
    bool all = c->prealloc == PREALLOC_METADATA;

    create_uuids(graph, uuids, ARRAY_LEN(uuids));
    memcpy(h + VDI_HDR_TEXT, VDI_TEXT, strlen(VDI_TEXT));
    store_le32(h + VDI_HDR_SIGNATURE, VDI_SIGNATURE);
    store_le32(h + VDI_HDR_VERSION, VDI_VERSION);
    store_le32(h + VDI_HDR_SIZE, 0x180);
    store_le32(h + VDI_HDR_TYPE, all ? VDI_TYPE_STATIC : VDI_TYPE_DYNAMIC);
    store_le32(h + VDI_HDR_MAP_OFFSET, VDI_HEADER_LEN);
    store_le32(h + VDI_HDR_DATA_OFFSET, (uint32_t)(VDI_HEADER_LEN + map_bytes));
    store_le32(h + VDI_HDR_SECTOR_SIZE, VDI_SECTOR);
    store_le64(h + VDI_HDR_DISK_SIZE, align_up_u64(c->size, VDI_SECTOR));
    store_le32(h + VDI_HDR_BLOCK_SIZE, VDI_BLOCK);
    store_le32(h + VDI_HDR_BLOCKS, blocks);
    store_le32(h + VDI_HDR_ALLOCATED, all ? blocks : 0);
    memcpy(h + VDI_HDR_UUID_IMAGE, uuids[0].bytes, VDI_UUID_LEN);
    memcpy(h + VDI_HDR_UUID_SNAPSHOT, uuids[1].bytes, VDI_UUID_LEN);
    return h;
}

/* At most 2 GiB, for the largest disk. NULL without memory. */
static uint8_t *build_map(uint32_t blocks, uint64_t map_bytes, bool all)
{
    uint8_t *map = try_calloc(1, map_bytes);

    for (uint32_t i = 0; map && i < blocks; i++)
        store_le32(map + (uint64_t)i * 4, all ? i : VDI_UNALLOCATED);
    return map;
}

void vdi_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct vdi_creation c = { 0 };
    struct err *err = read_options(options, &c);
    uint32_t blocks = (uint32_t)div_round_up(c.size, VDI_BLOCK);
    uint64_t map_bytes = align_up_u64((uint64_t)blocks * 4, VDI_SECTOR), size;
    struct layout *layout;
    bool all = c.prealloc == PREALLOC_METADATA;

    if (err) {
        done(arg, err);
        return;
    }
    size = VDI_HEADER_LEN + map_bytes + (all ? (uint64_t)blocks * VDI_BLOCK : 0);
    layout = layout_new(graph, options);
    layout_add(layout, 0, build_header(graph, &c, blocks, map_bytes), VDI_HEADER_LEN);
    if (blocks)
        layout_add(layout, VDI_HEADER_LEN, build_map(blocks, map_bytes, all), map_bytes);
    layout_run(layout, size, "VDI", done, arg);
}
