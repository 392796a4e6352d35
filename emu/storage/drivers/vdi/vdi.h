#ifndef EMU_STORAGE_DRIVERS_VDI_VDI_H
#define EMU_STORAGE_DRIVERS_VDI_VDI_H

/*
 * VirtualBox disk images, version 1.1: a header, a map with one 32-bit little-endian entry per block of 1 MiB, and
 * the blocks, in the order in which they were first written. Private to this folder.
 */

#include <stdint.h>

#include "emu/storage/drivers/sparse/sparse.h"

#define VDI_SIGNATURE UINT32_C(0xbeda107f)
#define VDI_VERSION UINT32_C(0x00010001)
#define VDI_TEXT "<<< QEMU VM Virtual Disk Image >>>\n"

/* Map entries that are no block numbers. */
#define VDI_UNALLOCATED UINT32_C(0xffffffff)
#define VDI_DISCARDED UINT32_C(0xfffffffe) /* Reads as zeroes. */

enum {
    VDI_HEADER_LEN = 512,
    VDI_BLOCK = 1 << 20,
    VDI_SECTOR = 512,
    VDI_BLOCKS_MAX = 0x1fffff80, /* Largest map there may be. */
    VDI_TYPE_DYNAMIC = 1,
    VDI_TYPE_STATIC = 2,
};
#define VDI_SIZE_MAX ((uint64_t)VDI_BLOCKS_MAX * VDI_BLOCK)

/* Offsets of header fields. */
enum {
    VDI_HDR_TEXT = 0x00,
    VDI_HDR_SIGNATURE = 0x40,
    VDI_HDR_VERSION = 0x44,
    VDI_HDR_SIZE = 0x48, /* Of the header from here on. */
    VDI_HDR_TYPE = 0x4c,
    VDI_HDR_MAP_OFFSET = 0x154,
    VDI_HDR_DATA_OFFSET = 0x158,
    VDI_HDR_SECTOR_SIZE = 0x168,
    VDI_HDR_DISK_SIZE = 0x170,
    VDI_HDR_BLOCK_SIZE = 0x178,
    VDI_HDR_BLOCKS = 0x180,
    VDI_HDR_ALLOCATED = 0x184,
    VDI_HDR_UUID_IMAGE = 0x188,
    VDI_HDR_UUID_SNAPSHOT = 0x198,
    VDI_HDR_UUID_LINK = 0x1a8,
    VDI_HDR_UUID_PARENT = 0x1b8,
    VDI_UUID_LEN = 16,
};

/* State of a node; begins with the sparse image as sparse_submit() expects. */
struct vdi {
    struct sparse sparse;
    uint64_t map_offset, data_offset;
    uint32_t blocks;    /* Entries of the map. */
    uint32_t allocated; /* The next block to be given away. */
};

static inline struct vdi *vdi_of(struct sparse *s) { return (struct vdi *)s; }

/* driver->check, driver->create */
void vdi_check(struct node *node, unsigned fix, struct check_result *result, driver_done_fn *done,
               void *arg);
void vdi_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option vdi_create_options[];

#endif
