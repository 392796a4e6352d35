#ifndef EMU_STORAGE_DRIVERS_VHDX_VHDX_H
#define EMU_STORAGE_DRIVERS_VHDX_VHDX_H

/*
 * VHDX images ([MS-VHDX]), without parents. All integers are little-endian. Private to this folder.
 *
 * The journal of the format is replayed when an image has one; this driver does not write it: its only changes of
 * metadata are single entries of the block allocation table (BAT), eight bytes within a sector, which disks write as a
 * whole, and the header, which is there twice.
 */

#include <stdint.h>

#include "emu/base/vec.h"
#include "emu/storage/drivers/sparse/sparse.h"

enum {
    VHDX_HEADER1 = 64 << 10,
    VHDX_HEADER2 = 128 << 10,
    VHDX_HEADER_LEN = 4096,
    VHDX_REGION1 = 192 << 10,
    VHDX_REGION2 = 256 << 10,
    VHDX_REGION_LEN = 64 << 10,
    VHDX_METADATA_TABLE_LEN = 64 << 10,
    VHDX_GUID_LEN = 16,
    VHDX_MIB = 1 << 20,
    VHDX_LOG_SECTOR = 4096,
    VHDX_BLOCK_MAX = 256 << 20,
};
#define VHDX_SIZE_MAX (UINT64_C(64) << 40)
#define VHDX_SIGNATURE "vhdxfile"

/* Offsets of header fields. */
enum {
    VHDX_HDR_CHECKSUM = 4,
    VHDX_HDR_SEQUENCE = 8,
    VHDX_HDR_FILE_GUID = 16,
    VHDX_HDR_DATA_GUID = 32,
    VHDX_HDR_LOG_GUID = 48,
    VHDX_HDR_LOG_VERSION = 64,
    VHDX_HDR_VERSION = 66,
    VHDX_HDR_LOG_LEN = 68,
    VHDX_HDR_LOG_OFFSET = 72,
};

/* States of a BAT entry (its lowest three bits); the offset is its upper 44 bits. */
enum {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_PRESENT = 6,
    VHDX_PARTIAL = 7,
};
#define VHDX_OFFSET_MASK (~UINT64_C(0xfffff))

extern const uint8_t vhdx_guid_bat[VHDX_GUID_LEN], vhdx_guid_metadata[VHDX_GUID_LEN],
    vhdx_guid_file_parameters[VHDX_GUID_LEN], vhdx_guid_disk_size[VHDX_GUID_LEN],
    vhdx_guid_page83[VHDX_GUID_LEN], vhdx_guid_logical_sector[VHDX_GUID_LEN],
    vhdx_guid_physical_sector[VHDX_GUID_LEN];

/* CRC-32C with the four bytes at skip taken as zero. */
uint32_t vhdx_checksum(const uint8_t *bytes, uint64_t len, uint64_t skip);
/* Payload blocks between two bitmap entries of the BAT. */
static inline uint64_t vhdx_chunk_ratio(uint32_t logical_sector, uint32_t block_size)
{
    return ((uint64_t)logical_sector << 23) / block_size;
}

/* ---- Header (header.c) ---- */

struct vhdx {
    struct sparse sparse; /* First, as sparse_submit() expects. */
    uint8_t header[VHDX_HEADER_LEN];
    unsigned current; /* 0, 1: which header in the file that is. */
    uint64_t bat_offset, bat_len, chunk_ratio, next_free;
    bool marked;          /* The header says that this session writes. */
    bool marking;         /* It is being written. */
    bool replayed;        /* There was a journal. */
    struct list held;     /* struct vhdx_req, waiting for that. */
    struct req req;       /* Of header writes. */
    struct iovec iov;
    driver_done_fn *header_done;
    void *header_arg;
};
/*
 * Writes v->header with a new sequence number over the older one in the file, flushed before and after; one at a
 * time. done may be called from within.
 */
void vhdx_header_write(struct vhdx *v, driver_done_fn *done, void *arg);

/* ---- Journal (log.c) ---- */

struct vhdx_log_write {
    uint64_t offset, len;
    uint8_t *bytes; /* owned; NULL: zeroes. */
};
struct vhdx_log {
    VEC(struct vhdx_log_write) writes; /* In order. */
    uint64_t file_size;                /* That the file must have afterwards. */
};
/* Finds the active sequence in the log's bytes (len a multiple of the log sector). An error names what is wrong. */
MUST_USE struct err *vhdx_log_parse(const uint8_t *log, uint64_t len, const uint8_t *guid,
                                    uint64_t file_size, struct vhdx_log *out);
void vhdx_log_fini(struct vhdx_log *log);

/* ---- Driver ---- */

extern const struct sparse_ops vhdx_sparse_ops;
void vhdx_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
               void *arg);
void vhdx_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option vhdx_create_options[];

#endif
