#ifndef EMU_STORAGE_DRIVERS_VMDK_VMDK_H
#define EMU_STORAGE_DRIVERS_VMDK_VMDK_H

/*
 * VMware images ("Virtual Disk Format 5.0"): a descriptor, which is text, and extents, which are flat files or sparse
 * ones. A sparse extent maps grains by a directory (GD) of tables (GT) of 32-bit sector numbers, mostly twice. The
 * descriptor may be part of the only sparse extent. Private to this folder.
 */

#include <stdint.h>

#include "emu/base/vec.h"
#include "emu/storage/drivers/sparse/sparse.h"

#define VMDK_MAGIC UINT32_C(0x564d444b) /* "KDMV", little-endian. */
#define VMDK_GD_AT_END UINT64_MAX
#define VMDK_NO_CID UINT32_C(0xffffffff)

/* Offsets of header fields. */
enum {
    VMDK_HDR_MAGIC = 0,
    VMDK_HDR_VERSION = 4,
    VMDK_HDR_FLAGS = 8,
    VMDK_HDR_CAPACITY = 12,
    VMDK_HDR_GRANULARITY = 20,
    VMDK_HDR_DESC_OFFSET = 28,
    VMDK_HDR_DESC_SIZE = 36,
    VMDK_HDR_GTES = 44,
    VMDK_HDR_RGD_OFFSET = 48,
    VMDK_HDR_GD_OFFSET = 56,
    VMDK_HDR_GRAIN_OFFSET = 64,
    VMDK_HDR_CHECK = 73,
    VMDK_HDR_COMPRESSION = 77,
    VMDK_HDR_LEN = 512,
};

enum {
    VMDK_FLAG_NEWLINE = 1 << 0,
    VMDK_FLAG_RGD = 1 << 1,
    VMDK_FLAG_ZERO_GRAIN = 1 << 2,
    VMDK_FLAG_COMPRESSED = 1 << 16,
    VMDK_FLAG_MARKERS = 1 << 17,
};

enum {
    VMDK_SECTOR = 512,
    VMDK_GTES = 512,
    VMDK_GRAIN_SECTORS = 128,
    VMDK_DESC_SECTORS = 20,
    VMDK_ZEROED = 1, /* A GT entry of a grain that reads as zeroes. */
    VMDK_MARKER_LEN = 12,
    VMDK_MARKER_FOOTER = 3,
};

/* ---- The descriptor (descriptor.c) ---- */

struct vmdk_extent_line {
    uint64_t sectors;
    char type[16];   /* "SPARSE", "FLAT", ... */
    char name[512];
    uint64_t offset; /* FLAT: first sector in the file. */
};

/* Zeroed memory is an empty one. */
struct vmdk_descriptor {
    uint32_t cid, parent_cid;
    char create_type[64], parent_hint[1024];
    VEC(struct vmdk_extent_line) extents;
};
/* text: terminated. Extents are taken when with_extents. */
MUST_USE struct err *vmdk_descriptor_parse(const char *text, bool with_extents,
                                           struct vmdk_descriptor *out);
void vmdk_descriptor_fini(struct vmdk_descriptor *d);

/* ---- Extents (extent.c) ---- */

struct vmdk_extent {
    struct sparse sparse; /* Unused when flat. First: see vmdk_extent_of. */
    struct edge *edge;    /* node->file, or a child of our own. */
    char type[16];
    uint64_t start, size; /* Bytes of the disk. */
    bool flat;
    uint64_t flat_offset; /* Bytes. */
    uint64_t gd_offset, rgd_offset; /* Bytes; rgd 0: none. */
    uint32_t gtes, gd_entries;
    bool zero_grain, compressed, markers, has_footer;
    uint64_t next_free;
};
static inline struct vmdk_extent *vmdk_extent_of(struct sparse *s)
{
    return (struct vmdk_extent *)s;
}

/* Takes the header of a sparse extent (VMDK_HDR_LEN bytes). x->edge, x->start are set. */
MUST_USE struct err *vmdk_extent_init(struct vmdk_extent *x, struct node *node,
                                      const uint8_t *header);

/* ---- The state of a node ---- */

struct vmdk {
    struct vmdk_descriptor descriptor;
    VEC(struct vmdk_extent *) extents; /* owned */
};

void vmdk_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
               void *arg);
void vmdk_fini(struct vmdk *v); /* All extents closed without writing. */
void vmdk_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option vmdk_create_options[];

#endif
