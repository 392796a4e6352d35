/* Opening: the footer (or its copy in front), the header of dynamic images, and where their next block goes. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/opts.h"
#include "emu/storage/drivers/sparse/image_load.h"
#include "emu/storage/drivers/vpc/vpc.h"

enum { ENTRIES_MAX = INT32_MAX / 4 };

struct opening {
    struct node *node;
    struct vpc *v;
    driver_done_fn *done;
    void *arg;
    enum { SIZE_AUTO, SIZE_CURRENT, SIZE_CHS } size_from;
    uint64_t entry, entries; /* Of the table, being looked through. */
    uint64_t free_offset;
    struct meta_wait wait;
};

static void open_end(struct opening *o, struct err *err)
{
    driver_done_fn *done = o->done;
    void *arg = o->arg;

    if (err && !o->v->fixed)
        sparse_fini(&o->v->sparse);
    xfree(o);
    done(arg, err);
}

/* ---- The footer ---- */

/*
 * Programs disagree on which of geometry and size is the size of the disk. Those that are known to write the exact
 * size are believed; for others it is the geometry, unless that is at its end.
 */
static bool size_is_exact(const struct opening *o, const uint8_t *footer)
{
    static const char creators[][VPC_CREATOR_LEN] = {
        { 'w', 'i', 'n', ' ' },  { 'q', 'e', 'm', '2' }, { 'd', '2', 'v', ' ' },
        { 't', 'a', 'p', '\0' }, { 'C', 'T', 'X', 'S' }, { 'w', 'a', '\0', '\0' },
    };

    if (o->size_from != SIZE_AUTO)
        return o->size_from == SIZE_CURRENT;
    for (size_t i = 0; i < ARRAY_LEN(creators); i++) {
        if (memcmp(footer + VPC_FTR_CREATOR, creators[i], VPC_CREATOR_LEN) == 0)
            return true;
    }
    return false;
}

static struct err *take_footer(struct opening *o, const uint8_t *footer)
{
    struct vpc_geometry geometry = {
        .cylinders = load_be16(footer + VPC_FTR_CYLINDERS),
        .heads = footer[VPC_FTR_HEADS],
        .sectors = footer[VPC_FTR_SECTORS],
    };
    uint64_t sectors = vpc_geometry_size(geometry);

    if (load_be32(footer + VPC_FTR_CHECKSUM) !=
        vpc_checksum(footer, VPC_FOOTER_LEN, VPC_FTR_CHECKSUM))
        return err_new("Incorrect header checksum");
    if (size_is_exact(o, footer) || sectors == VPC_GEOMETRY_MAX) {
        sectors = load_be64(footer + VPC_FTR_CURRENT_SIZE) / VPC_SECTOR;
        if (sectors > VPC_SECTORS_MAX)
            return err_new_errno(EFBIG, "Could not open '%s'", o->node->file->node->filename);
    }
    memcpy(o->v->footer, footer, VPC_FOOTER_LEN);
    node_set_size(o->node, sectors * VPC_SECTOR);
    o->node->limits.request_alignment = VPC_SECTOR;
    return NULL;
}

/* ---- Dynamic images ---- */

static void scan_table(struct opening *o);

static void scan_wake(struct meta_wait *wait, int result)
{
    struct opening *o = container_of(wait, struct opening, wait);

    if (result)
        open_end(o, err_new_errno(result, "Error reading pagetable"));
    else
        scan_table(o);
}

/* The next block goes behind the last one in the file. */
static void scan_table(struct opening *o)
{
    struct vpc *v = o->v;
    uint64_t file_size = o->node->file->node->size;

    for (; o->entry < o->entries; o->entry++) {
        uint8_t *bytes;
        uint64_t end;
        int ret = meta_get(&v->sparse.meta, v->table_offset + o->entry * 4, 4, &o->wait, &bytes);

        if (ret == META_WAIT)
            return;
        if (ret) {
            open_end(o, err_new_errno(ret, "Error reading pagetable"));
            return;
        }
        if (load_be32(bytes) == VPC_UNUSED)
            continue;
        end = (uint64_t)load_be32(bytes) * VPC_SECTOR + v->bitmap_size + v->sparse.block_size;
        o->free_offset = MAX(o->free_offset, end);
        if (end > file_size) {
            open_end(o, err_new("block-vpc: free_data_block_offset points after the end of file. "
                                "The image has been truncated."));
            return;
        }
    }
    v->free_offset = o->free_offset;
    open_end(o, NULL);
}

static struct err *take_dynamic_header(struct opening *o, const uint8_t *h)
{
    struct vpc *v = o->v;
    uint64_t size = o->node->size;
    uint32_t block_size = load_be32(h + VPC_DYN_BLOCK_SIZE);
    uint32_t entries = load_be32(h + VPC_DYN_ENTRIES);

    if (memcmp(h + VPC_DYN_COOKIE, VPC_DYNAMIC_COOKIE, VPC_COOKIE_LEN) != 0)
        return err_new("Invalid header magic");
    if (!is_pow2(block_size) || block_size < VPC_SECTOR)
        return err_new("Invalid block size %" PRIu32, block_size);
    if (entries > ENTRIES_MAX)
        return err_new("Max Table Entries too large (%" PRId32 ")", (int32_t)entries);
    if ((uint64_t)entries * block_size < size)
        return err_new("Page table too small");
    v->table_offset = load_be64(h + VPC_DYN_TABLE_OFFSET);
    if (v->table_offset > INT64_MAX / 2)
        return err_new("block-vpc: free_data_block_offset points after the end of file. "
                       "The image has been truncated.");
    if (v->table_offset % 4)
        return err_new("block-vpc: the page table offset %" PRIu64 " is not aligned",
                       v->table_offset);
    v->bitmap_size = (uint32_t)align_up_u64(div_round_up(block_size / VPC_SECTOR, 8), VPC_SECTOR);
    v->sparse = (struct sparse){
        .node = o->node,
        .file = o->node->file,
        .size = size,
        .block_size = block_size,
        .ops = &vpc_sparse_ops,
        .fresh_from = align_up_u64(o->node->file->node->size, VPC_SECTOR),
    };
    TRY(sparse_init(&v->sparse));
    sparse_adopt(&v->sparse);
    o->entries = div_round_up(size, block_size);
    o->free_offset = align_up_u64(v->table_offset + (uint64_t)entries * 4, VPC_SECTOR);
    return NULL;
}

static void dynamic_header_read(void *arg, uint8_t *header, int result)
{
    struct opening *o = arg;
    struct err *err = result ? err_new_errno(result, "Error reading dynamic VHD header")
                             : take_dynamic_header(o, header);

    xfree(header);
    if (err)
        open_end(o, err);
    else
        scan_table(o);
}

static void read_dynamic_header(struct opening *o, uint64_t offset)
{
    uint64_t size = o->node->file->node->size;

    if (size < VPC_DYN_LEN || offset > size - VPC_DYN_LEN)
        open_end(o, err_new("Error reading dynamic VHD header"));
    else
        image_load(o->node->file, offset, VPC_DYN_LEN, dynamic_header_read, o);
}

/* ---- The beginning ---- */

static void last_sector_read(void *arg, uint8_t *footer, int result)
{
    struct opening *o = arg;
    struct err *err;

    if (result)
        err = err_new_errno(result, "Unable to read VHD header");
    else if (memcmp(footer, VPC_COOKIE, VPC_COOKIE_LEN) != 0 ||
             load_be32(footer + VPC_FTR_TYPE) != VPC_TYPE_FIXED)
        err = err_new("invalid VPC image");
    else
        err = take_footer(o, footer);
    xfree(footer);
    open_end(o, err);
}

static void first_sector_read(void *arg, uint8_t *footer, int result)
{
    struct opening *o = arg;
    uint64_t size = o->node->file->node->size, offset;
    struct err *err;

    if (!result && memcmp(footer, VPC_COOKIE, VPC_COOKIE_LEN) != 0) {
        xfree(footer);
        o->v->fixed = true;
        if (size < VPC_FOOTER_LEN)
            open_end(o, err_new("invalid VPC image"));
        else
            image_load(o->node->file, size - VPC_FOOTER_LEN, VPC_FOOTER_LEN, last_sector_read, o);
        return;
    }
    err = result ? err_new_errno(result, "Unable to read VHD header") : take_footer(o, footer);
    offset = err ? 0 : load_be64(footer + VPC_FTR_DATA_OFFSET);
    xfree(footer);
    if (err)
        open_end(o, err);
    else
        read_dynamic_header(o, offset);
}

void vpc_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done, void *arg)
{
    static const char *const modes[] = { "chs", "current_size" };
    struct opening *o = NEW(struct opening);
    const char *mode = NULL;
    struct err *err;

    o->node = node;
    o->v = node->state;
    o->done = done;
    o->arg = arg;
    meta_wait_init(&o->wait, scan_wake);
    err = opts_str_opt(opts, "force_size_calc", &mode);
    if (!err && mode) {
        if (strcmp(mode, modes[0]) == 0)
            o->size_from = SIZE_CHS;
        else if (strcmp(mode, modes[1]) == 0)
            o->size_from = SIZE_CURRENT;
        else
            err = err_new("Invalid size calculation algorithm");
    }
    if (err)
        open_end(o, err);
    else
        image_load(node->file, 0, VPC_FOOTER_LEN, first_sector_read, o);
}
