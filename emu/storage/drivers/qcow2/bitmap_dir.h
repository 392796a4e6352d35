#ifndef EMU_STORAGE_DRIVERS_QCOW2_BITMAP_DIR_H
#define EMU_STORAGE_DRIVERS_QCOW2_BITMAP_DIR_H

/*
 * The bitmap directory: parsing, checking and writing ("Bitmap directory" in the format specification). No I/O.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/vec.h"

enum qcow2_bitmap_flags {
    QCOW2_BITMAP_IN_USE = 1 << 0,           /* Was not written back: what is stored is too old. */
    QCOW2_BITMAP_AUTO = 1 << 1,             /* Records all writes. */
    QCOW2_BITMAP_EXTRA_COMPATIBLE = 1 << 2, /* Unknown extra data does no harm. */
    QCOW2_BITMAP_FLAGS_KNOWN = (1 << 3) - 1,
};

/* A bitmap as the image has it. */
struct qcow2_stored_bitmap {
    char *name;          /* owned */
    uint8_t *extra;      /* owned; extra data, kept as it is. */
    uint32_t extra_len;  /* Bytes. */
    uint64_t *table;     /* owned; host byte order, NULL until it was read. */
    uint32_t table_len;  /* Entries. */
    uint64_t table_offset;
    uint32_t flags; /* enum qcow2_bitmap_flags */
    uint8_t granularity_bits;
};
typedef VEC(struct qcow2_stored_bitmap) qcow2_stored_bitmaps;

/* Sizes that bound what a directory may say. */
struct qcow2_bitmap_limits {
    unsigned cluster_bits;
    uint64_t disk_size; /* Bytes. */
    uint64_t file_size; /* Bytes; tables lie within it. */
};

void qcow2_stored_bitmap_fini(struct qcow2_stored_bitmap *stored);
void qcow2_stored_bitmaps_fini(qcow2_stored_bitmaps *list);
struct qcow2_stored_bitmap *qcow2_stored_bitmap_find(const qcow2_stored_bitmaps *list,
                                                     const char *name);

/* Bytes of the data of a bitmap of a disk of that size. */
uint64_t qcow2_bitmap_bytes(uint64_t disk_size, unsigned granularity_bits);
/* Entries of its table. */
uint32_t qcow2_bitmap_table_len(const struct qcow2_bitmap_limits *limits,
                                unsigned granularity_bits);
/* Whether an image can keep such a bitmap, with the reference's texts. */
MUST_USE struct err *qcow2_bitmap_check(const char *name, uint64_t granularity,
                                        const struct qcow2_bitmap_limits *limits);

/* Parses exactly count entries from len bytes. On error list is empty. */
MUST_USE struct err *qcow2_bitmap_dir_parse(qcow2_stored_bitmaps *list, const uint8_t *data,
                                            uint64_t len, uint32_t count,
                                            const struct qcow2_bitmap_limits *limits);
/* Bytes of the directory of these bitmaps. */
uint64_t qcow2_bitmap_dir_size(const qcow2_stored_bitmaps *list);
/* Writes the directory: qcow2_bitmap_dir_size() bytes. */
void qcow2_bitmap_dir_build(const qcow2_stored_bitmaps *list, uint8_t *out);
/* Whether an entry of a bitmap table is valid; reserved bits are not. */
bool qcow2_bitmap_entry_valid(uint64_t entry, const struct qcow2_bitmap_limits *limits);
/* Array of Qcow2BitmapInfo; new. */
MUST_USE struct json *qcow2_stored_bitmaps_json(const qcow2_stored_bitmaps *list);

#endif
