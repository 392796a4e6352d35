/* Creating: signature, two headers, two region tables, an empty journal, metadata, and the table of blocks. */

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
#include "emu/storage/drivers/vhdx/vhdx.h"

const struct create_option vhdx_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size; max of 64TB.", NULL },
    { "log_size", CREATE_OPT_SIZE, "Log size; min 1MB.", "1048576" },
    { "block_size", CREATE_OPT_SIZE,
      "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", "0" },
    { "subformat", CREATE_OPT_STR,
      "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.", NULL },
    { "block_state_zero", CREATE_OPT_BOOL,
      "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' "
      "when using 'qemu-img convert' with subformat=dynamic.",
      NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

enum { LOGICAL_SECTOR = 512, LOG_OFFSET = 1 << 20, ITEMS_OFFSET = 64 << 10, ITEMS = 5 };

struct vhdx_creation {
    uint64_t size, log_size, block_size;
    int subformat; /* 0: dynamic, 1: fixed. */
    bool state_zero;
    uint64_t blocks, bat_offset, bat_len, metadata_offset, data_offset;
};

/* ---- Options ---- */

static uint64_t default_block_size(uint64_t size)
{
    if (size > UINT64_C(32) << 40)
        return 64 << 20;
    if (size > UINT64_C(100) << 30)
        return 32 << 20;
    return size > UINT64_C(1) << 30 ? 16 << 20 : 8 << 20;
}

static struct err *check_sizes(struct vhdx_creation *c)
{
    if (c->size > VHDX_SIZE_MAX)
        return err_new("Image size too large; max of 64TB");
    if (c->size % LOGICAL_SECTOR)
        return err_new("Image size must be a multiple of 512 bytes");
    if (c->log_size > UINT32_MAX)
        return err_new("Log size must be smaller than 4 GB");
    if (!c->log_size || c->log_size % VHDX_MIB)
        return err_new("Log size must be a multiple of 1 MB");
    if (!c->block_size)
        c->block_size = default_block_size(c->size);
    if (c->block_size % VHDX_MIB)
        return err_new("Block size must be a multiple of 1 MB");
    if (!is_pow2(c->block_size))
        return err_new("Block size must be a power of two");
    if (c->block_size > VHDX_BLOCK_MAX)
        return err_new("Block size must not exceed %d", VHDX_BLOCK_MAX);
    return NULL;
}

static struct err *read_options(const struct json *options, struct vhdx_creation *c)
{
    static const char *const subformats[] = { "dynamic", "fixed" };
    CLEANUP(opts_fini) struct opts opts = { 0 };

    c->log_size = VHDX_MIB;
    c->state_zero = true;
    opts_init(&opts, options);
    TRY(opts_size(&opts, "size", &c->size));
    TRY(opts_size_opt(&opts, "log-size", &c->log_size));
    TRY(opts_size_opt(&opts, "block-size", &c->block_size));
    TRY(opts_enum_opt(&opts, "subformat", subformats, ARRAY_LEN(subformats), &c->subformat));
    TRY(opts_bool_opt(&opts, "block-state-zero", &c->state_zero));
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    return check_sizes(c);
}

static uint64_t entry_index(const struct vhdx_creation *c, uint64_t block)
{
    return block + block / vhdx_chunk_ratio(LOGICAL_SECTOR, (uint32_t)c->block_size);
}

static void lay_out(struct vhdx_creation *c)
{
    c->blocks = div_round_up(c->size, c->block_size);
    c->bat_offset = LOG_OFFSET + c->log_size;
    c->bat_len = align_up_u64(
        MAX(c->blocks ? entry_index(c, c->blocks - 1) * 8 + 8 : 0, UINT64_C(1)), VHDX_MIB);
    c->metadata_offset = c->bat_offset + c->bat_len;
    c->data_offset = align_up_u64(c->metadata_offset + VHDX_MIB, c->block_size);
}

/* ---- Pieces ---- */

static uint8_t *build_signature(void)
{
    static const char creator[] = "emu";
    uint8_t *bytes = NEW_ARRAY(uint8_t, VHDX_HEADER_LEN);

    memcpy(bytes, VHDX_SIGNATURE, 8);
    for (size_t i = 0; i < ARRAY_LEN(creator) - 1; i++)
        store_le16(bytes + 8 + i * 2, (uint16_t)creator[i]);
    return bytes;
}

static uint8_t *build_header(const struct vhdx_creation *c, const struct uuid *uuids, uint64_t seq)
{
    uint8_t *h = NEW_ARRAY(uint8_t, VHDX_HEADER_LEN);

    memcpy(h, "head", 4);
    store_le64(h + VHDX_HDR_SEQUENCE, seq);
    memcpy(h + VHDX_HDR_FILE_GUID, uuids[0].bytes, VHDX_GUID_LEN);
    memcpy(h + VHDX_HDR_DATA_GUID, uuids[1].bytes, VHDX_GUID_LEN);
    store_le16(h + VHDX_HDR_VERSION, 1);
    store_le32(h + VHDX_HDR_LOG_LEN, (uint32_t)c->log_size);
    store_le64(h + VHDX_HDR_LOG_OFFSET, LOG_OFFSET);
    store_le32(h + VHDX_HDR_CHECKSUM, vhdx_checksum(h, VHDX_HEADER_LEN, VHDX_HDR_CHECKSUM));
    return h;
}

static uint8_t *build_regions(const struct vhdx_creation *c)
{
    uint8_t *r = NEW_ARRAY(uint8_t, VHDX_REGION_LEN);

    memcpy(r, "regi", 4);
    store_le32(r + 8, 2);
    memcpy(r + 16, vhdx_guid_bat, VHDX_GUID_LEN);
    store_le64(r + 32, c->bat_offset);
    store_le32(r + 40, (uint32_t)c->bat_len);
    store_le32(r + 44, 1);
    memcpy(r + 48, vhdx_guid_metadata, VHDX_GUID_LEN);
    store_le64(r + 64, c->metadata_offset);
    store_le32(r + 72, VHDX_MIB);
    store_le32(r + 76, 1);
    store_le32(r + 4, vhdx_checksum(r, VHDX_REGION_LEN, 4));
    return r;
}

static uint8_t *build_metadata(const struct vhdx_creation *c, const struct uuid *id)
{
    static const struct {
        const uint8_t *guid;
        uint32_t offset, len, flags; /* flags: 2: of the virtual disk, 4: required. */
    } items[ITEMS] = {
        { vhdx_guid_file_parameters, 0, 8, 4 },  { vhdx_guid_disk_size, 8, 8, 6 },
        { vhdx_guid_page83, 16, 16, 6 },         { vhdx_guid_logical_sector, 32, 4, 6 },
        { vhdx_guid_physical_sector, 36, 4, 6 },
    };
    uint8_t *m = NEW_ARRAY(uint8_t, ITEMS_OFFSET + VHDX_HEADER_LEN), *data = m + ITEMS_OFFSET;

    memcpy(m, "metadata", 8);
    store_le16(m + 10, ITEMS);
    for (unsigned i = 0; i < ITEMS; i++) {
        uint8_t *entry = m + 32 + i * 32;

        memcpy(entry, items[i].guid, VHDX_GUID_LEN);
        store_le32(entry + 16, ITEMS_OFFSET + items[i].offset);
        store_le32(entry + 20, items[i].len);
        store_le32(entry + 24, items[i].flags);
    }
    store_le32(data, (uint32_t)c->block_size);
    store_le32(data + 4, c->subformat ? 1 : 0); /* Fixed: leave blocks allocated. */
    store_le64(data + 8, c->size);
    memcpy(data + 16, id->bytes, VHDX_GUID_LEN);
    store_le32(data + 32, LOGICAL_SECTOR);
    store_le32(data + 36, LOGICAL_SECTOR);
    return m;
}

/* NULL without memory. */
static uint8_t *build_bat(const struct vhdx_creation *c)
{
    uint8_t *bat = try_calloc(1, c->bat_len);

    for (uint64_t i = 0; bat && i < c->blocks; i++) {
        uint64_t place = c->data_offset + i * c->block_size;

        store_le64(bat + entry_index(c, i) * 8, c->subformat     ? place | VHDX_PRESENT
                                                : c->state_zero ? VHDX_ZERO
                                                                : VHDX_NOT_PRESENT);
    }
    return bat;
}

void vhdx_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct vhdx_creation c = { 0 };
    struct err *err = read_options(options, &c);
    struct layout *layout;
    struct uuid uuids[4];
    uint32_t sequence;

    if (err) {
        done(arg, err);
        return;
    }
    lay_out(&c);
    create_uuids(graph, uuids, ARRAY_LEN(uuids));
    sequence = load_le32(uuids[3].bytes);
    layout = layout_new(graph, options);
    layout_add(layout, VHDX_HEADER1, build_header(&c, uuids, sequence), VHDX_HEADER_LEN);
    layout_add(layout, VHDX_HEADER2, build_header(&c, uuids, sequence + UINT64_C(1)),
               VHDX_HEADER_LEN);
    layout_add(layout, VHDX_REGION1, build_regions(&c), VHDX_REGION_LEN);
    layout_add(layout, VHDX_REGION2, build_regions(&c), VHDX_REGION_LEN);
    layout_add(layout, c.bat_offset, build_bat(&c), c.bat_len);
    layout_add(layout, c.metadata_offset, build_metadata(&c, &uuids[2]),
               ITEMS_OFFSET + VHDX_HEADER_LEN);
    layout_add(layout, 0, build_signature(), VHDX_HEADER_LEN);
    layout_run(layout, c.data_offset + (c.subformat ? c.size : 0), "VHDX", done, arg);
}
