#ifndef EMU_STORAGE_DRIVERS_PARALLELS_PARALLELS_H
#define EMU_STORAGE_DRIVERS_PARALLELS_PARALLELS_H

/*
 * Parallels images, private to this folder. All fields are little-endian (Parallels expandable image file format):
 *
 *   0 magic, 16 version, 20 heads, 24 cylinders, 28 sectors per cluster, 32 entries of the table (BAT), 36 sectors of
 *   the disk (64), 44 in use, 48 first sector of data, 52 flags, 56 sector of the format extension (64), 64 the table
 *
 * A table entry is where a cluster lies: in sectors with the magic "WithoutFreeSpace", in clusters with
 * "WithouFreSpacExt"; 0: nowhere. Data is durable before an entry refers to it, so that the mark "in use", which asks
 * for
 * a check after a crash, is honoured but never set.
 */

#include <stdint.h>

#include "emu/base/err.h"
#include "emu/storage/drivers/sparse/sparse.h"

enum {
    PARALLELS_HEADER_BYTES = 64,
    PARALLELS_MAGIC_LEN = 16,
    PARALLELS_SECTOR = 512,
    PARALLELS_ENTRY = 4,
};
#define PARALLELS_IN_USE UINT32_C(0x746f6e59)

struct parallels_header {
    bool extended;         /* Entries count clusters. */
    uint32_t tracks;       /* Sectors per cluster. */
    uint32_t entries;
    uint64_t sectors;      /* Of the disk. */
    uint32_t in_use, data_off;
    uint64_t ext_off;      /* Sector. */
};

struct parallels {
    struct sparse sparse; /* First: see sparse_submit(). */
    struct parallels_header header;
    uint64_t end; /* All clusters in use lie before; bytes of the file. */
};

static inline struct parallels *parallels_of(const struct node *node) { return node->state; }

MUST_USE struct err *parallels_header_parse(struct parallels_header *h, const uint8_t *buf);
/* Fills PARALLELS_HEADER_BYTES. */
void parallels_header_build(const struct parallels_header *h, uint8_t *buf);
/* The first sector that data may lie in, behind the table. */
uint32_t parallels_data_start(const struct parallels_header *h);
/* Bytes of the file an entry stands for. */
uint64_t parallels_entry_unit(const struct parallels_header *h);
static inline uint64_t parallels_entry_at(uint64_t cluster)
{
    return PARALLELS_HEADER_BYTES + cluster * PARALLELS_ENTRY;
}
bool parallels_magic(const uint8_t *buf, bool *extended);

/* driver->check */
void parallels_check(struct node *node, unsigned fix, struct check_result *result,
                     driver_done_fn *done, void *arg);
void parallels_create(struct graph *graph, const struct json *options, driver_done_fn *done,
                      void *arg);
extern const struct create_option parallels_create_options[];
extern const struct sparse_ops parallels_sparse_ops;

#endif
