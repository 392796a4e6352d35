/* Creating: the size by the rules of the format, footer, and for dynamic images header and table. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/nstime.h"
#include "emu/base/opts.h"
#include "emu/base/uuid.h"
#include "emu/storage/create.h"
#include "emu/storage/drivers/layout/layout.h"
#include "emu/storage/drivers/vpc/vpc.h"

const struct create_option vpc_create_options[] = {
    { "size", CREATE_OPT_SIZE, "Virtual disk size", NULL },
    { "subformat", CREATE_OPT_STR,
      "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ",
      NULL },
    { "force_size", CREATE_OPT_BOOL,
      "Force disk size calculation to use the actual size specified, rather than using the nearest "
      "CHS-based calculation",
      NULL },
    { NULL, CREATE_OPT_STR, NULL, NULL },
};

enum { CREATE_DYNAMIC, CREATE_FIXED };

struct vpc_creation {
    uint64_t size;
    int subformat;
    bool force_size;
    uint64_t sectors;
    struct vpc_geometry geometry;
};

/*
 * The disk gets the size of the smallest geometry that holds it, unless the exact size is asked for or no geometry is
 * large enough.
 */
static struct err *choose_size(struct vpc_creation *c)
{
    uint64_t wanted = div_round_up(c->size, VPC_SECTOR);
    struct vpc_geometry g = { 0 };

    if (c->force_size) {
        g = (struct vpc_geometry){ VPC_GEOMETRY_CYLINDERS, VPC_GEOMETRY_HEADS,
                                   VPC_GEOMETRY_SECTORS };
    } else {
        uint64_t fitting = MIN(wanted, VPC_GEOMETRY_MAX);

        for (uint64_t more = 0; vpc_geometry_size(g) < fitting; more++)
            g = vpc_geometry_of(fitting + more);
    }
    c->geometry = g;
    c->sectors = vpc_geometry_size(g) == VPC_GEOMETRY_MAX ? wanted : vpc_geometry_size(g);
    if (c->sectors > VPC_SECTORS_MAX)
        return err_set_errnum(err_new("Disk size is too large, max size is 2040 GiB"), EFBIG);
    return NULL;
}

static struct err *read_options(const struct json *options, struct vpc_creation *c)
{
    static const char *const subformats[] = { "dynamic", "fixed" };
    CLEANUP(opts_fini) struct opts opts = { 0 };

    opts_init(&opts, options);
    TRY(opts_size(&opts, "size", &c->size));
    TRY(opts_enum_opt(&opts, "subformat", subformats, ARRAY_LEN(subformats), &c->subformat));
    TRY(opts_bool_opt(&opts, "force-size", &c->force_size));
    opts_mark(&opts, "driver");
    opts_mark(&opts, "file");
    TRY(opts_check_unused(&opts));
    return choose_size(c);
}

static uint8_t *build_footer(struct graph *graph, const struct vpc_creation *c)
{
    uint8_t *f = NEW_ARRAY(uint8_t, VPC_FOOTER_LEN);
    bool fixed = c->subformat == CREATE_FIXED;
    int64_t now = reactor_wall_now(graph_reactor(graph)) / NS_PER_SEC;
    struct uuid uuid;

    create_uuids(graph, &uuid, 1);
    memcpy(f + VPC_FTR_COOKIE, VPC_COOKIE, VPC_COOKIE_LEN);
    store_be32(f + VPC_FTR_FEATURES, 2);
    store_be32(f + VPC_FTR_VERSION, 0x00010000);
    store_be64(f + VPC_FTR_DATA_OFFSET, fixed ? UINT64_MAX : VPC_FOOTER_LEN);
    store_be32(f + VPC_FTR_TIME, (uint32_t)(now - VPC_TIME_BASE));
    memcpy(f + VPC_FTR_CREATOR, c->force_size ? "qem2" : "qemu", VPC_CREATOR_LEN);
    store_be32(f + VPC_FTR_CREATOR_VERSION, 0x00050003);
    memcpy(f + VPC_FTR_HOST_OS, "Wi2k", 4);
    store_be64(f + VPC_FTR_ORIGINAL_SIZE, c->sectors * VPC_SECTOR);
    store_be64(f + VPC_FTR_CURRENT_SIZE, c->sectors * VPC_SECTOR);
    store_be16(f + VPC_FTR_CYLINDERS, c->geometry.cylinders);
    f[VPC_FTR_HEADS] = c->geometry.heads;
    f[VPC_FTR_SECTORS] = c->geometry.sectors;
    store_be32(f + VPC_FTR_TYPE, fixed ? VPC_TYPE_FIXED : VPC_TYPE_DYNAMIC);
    memcpy(f + VPC_FTR_UUID, uuid.bytes, sizeof(uuid.bytes));
    store_be32(f + VPC_FTR_CHECKSUM, vpc_checksum(f, VPC_FOOTER_LEN, VPC_FTR_CHECKSUM));
    return f;
}

static uint8_t *build_dynamic_header(uint32_t entries)
{
    uint8_t *h = NEW_ARRAY(uint8_t, VPC_DYN_LEN);

    memcpy(h + VPC_DYN_COOKIE, VPC_DYNAMIC_COOKIE, VPC_COOKIE_LEN);
    store_be64(h + VPC_DYN_DATA_OFFSET, UINT64_MAX);
    store_be64(h + VPC_DYN_TABLE_OFFSET, VPC_FOOTER_LEN + VPC_DYN_LEN);
    store_be32(h + VPC_DYN_VERSION, 0x00010000);
    store_be32(h + VPC_DYN_ENTRIES, entries);
    store_be32(h + VPC_DYN_BLOCK_SIZE, VPC_BLOCK_DEFAULT);
    store_be32(h + VPC_DYN_CHECKSUM, vpc_checksum(h, VPC_DYN_LEN, VPC_DYN_CHECKSUM));
    return h;
}

static void lay_out_dynamic(struct layout *layout, uint8_t *footer, uint64_t size)
{
    uint32_t entries = (uint32_t)div_round_up(size, VPC_BLOCK_DEFAULT);
    uint64_t table = VPC_FOOTER_LEN + VPC_DYN_LEN;
    uint64_t table_len = align_up_u64((uint64_t)entries * 4, VPC_SECTOR);
    uint8_t *unused = try_alloc(table_len);

    if (unused)
        memset(unused, 0xff, table_len);
    layout_add(layout, 0, xmemdup(footer, VPC_FOOTER_LEN), VPC_FOOTER_LEN);
    layout_add(layout, VPC_FOOTER_LEN, build_dynamic_header(entries), VPC_DYN_LEN);
    if (entries)
        layout_add(layout, table, unused, table_len);
    layout_add(layout, table + table_len, footer, VPC_FOOTER_LEN);
}

void vpc_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg)
{
    struct vpc_creation c = { 0 };
    struct err *err = read_options(options, &c);
    uint64_t size = c.sectors * VPC_SECTOR;
    struct layout *layout;

    if (err) {
        done(arg, err);
        return;
    }
    layout = layout_new(graph, options);
    if (c.subformat == CREATE_FIXED)
        layout_add(layout, size, build_footer(graph, &c), VPC_FOOTER_LEN);
    else
        lay_out_dynamic(layout, build_footer(graph, &c), size);
    layout_run(layout, 0, "VHD", done, arg);
}
