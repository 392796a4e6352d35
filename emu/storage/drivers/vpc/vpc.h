#ifndef EMU_STORAGE_DRIVERS_VPC_VPC_H
#define EMU_STORAGE_DRIVERS_VPC_VPC_H

/*
 * Virtual hard disk images (Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0): fixed ones,
 * which are the disk and a footer, and dynamic ones. All integers are big-endian. Private to this folder.
 *
 * A dynamic image begins with a copy of the footer and a header, then has a table of 32-bit sector numbers, and
 * blocks, each with a bitmap of its written sectors in front. The footer follows the last block.
 */

#include <stdint.h>

#include "emu/storage/drivers/sparse/sparse.h"

#define VPC_COOKIE "conectix"
#define VPC_DYNAMIC_COOKIE "cxsparse"

/* Offsets of footer fields. */
enum {
    VPC_FTR_COOKIE = 0,
    VPC_FTR_FEATURES = 8,
    VPC_FTR_VERSION = 12,
    VPC_FTR_DATA_OFFSET = 16,
    VPC_FTR_TIME = 24, /* Seconds since 2000-01-01 00:00 UTC. */
    VPC_FTR_CREATOR = 28,
    VPC_FTR_CREATOR_VERSION = 32,
    VPC_FTR_HOST_OS = 36,
    VPC_FTR_ORIGINAL_SIZE = 40,
    VPC_FTR_CURRENT_SIZE = 48,
    VPC_FTR_CYLINDERS = 56,
    VPC_FTR_HEADS = 58,
    VPC_FTR_SECTORS = 59,
    VPC_FTR_TYPE = 60,
    VPC_FTR_CHECKSUM = 64,
    VPC_FTR_UUID = 68,
    VPC_FOOTER_LEN = 512,
    VPC_COOKIE_LEN = 8,
    VPC_CREATOR_LEN = 4,
};

/* Of the dynamic header. */
enum {
    VPC_DYN_COOKIE = 0,
    VPC_DYN_DATA_OFFSET = 8,
    VPC_DYN_TABLE_OFFSET = 16,
    VPC_DYN_VERSION = 24,
    VPC_DYN_ENTRIES = 28,
    VPC_DYN_BLOCK_SIZE = 32,
    VPC_DYN_CHECKSUM = 36,
    VPC_DYN_LEN = 1024,
};

enum { VPC_TYPE_FIXED = 2, VPC_TYPE_DYNAMIC = 3 };

#define VPC_UNUSED UINT32_C(0xffffffff)
#define VPC_TIME_BASE INT64_C(946684800)

enum {
    VPC_SECTOR = 512,
    VPC_BLOCK_DEFAULT = 2 << 20,
    VPC_GEOMETRY_CYLINDERS = 65535,
    VPC_GEOMETRY_HEADS = 16,
    VPC_GEOMETRY_SECTORS = 255,
};
/* What the largest geometry holds, and the largest disk there may be, in sectors. */
#define VPC_GEOMETRY_MAX                                                                           \
    ((uint64_t)VPC_GEOMETRY_CYLINDERS * VPC_GEOMETRY_HEADS * VPC_GEOMETRY_SECTORS)
#define VPC_SECTORS_MAX (UINT64_C(0xff000000))

struct vpc_geometry {
    uint16_t cylinders;
    uint8_t heads, sectors;
};

/* Appendix "CHS Calculation" of the specification; total: sectors. */
struct vpc_geometry vpc_geometry_of(uint64_t total);
static inline uint64_t vpc_geometry_size(struct vpc_geometry g)
{
    return (uint64_t)g.cylinders * g.heads * g.sectors;
}
/* One's complement of the sum of bytes, the 4 at skip left out. */
uint32_t vpc_checksum(const uint8_t *bytes, uint32_t len, uint32_t skip);

void vpc_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option vpc_create_options[];

/* Opening (open.c) sets all of the state below. */
struct vpc {
    struct sparse sparse; /* Dynamic images; first, as sparse_submit() expects. */
    bool fixed;
    uint64_t table_offset;
    uint32_t bitmap_size;
    uint64_t free_offset; /* Where the next block's bitmap goes; the footer is there. */
    uint8_t footer[VPC_FOOTER_LEN];
};
static inline struct vpc *vpc_of(struct sparse *s) { return (struct vpc *)s; }
extern const struct sparse_ops vpc_sparse_ops;
void vpc_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
              void *arg);

#endif
