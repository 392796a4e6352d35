#ifndef EMU_STORAGE_DRIVERS_QCOW_QCOW_H
#define EMU_STORAGE_DRIVERS_QCOW_QCOW_H

/*
 * QCOW images of version 1, private to this folder. All fields are big-endian:
 *
 *   0 magic, 4 version, 8 backing file offset (64), 16 backing file name length, 20 mtime, 24 size of the disk (64),
 *   32 cluster bits (8), 33 L2 bits (8), 36 encryption method, 40 L1 table offset (64)
 *
 * A word of an L2 table is the offset of a cluster, or with the highest bit set that of a compressed one and, above
 * the lowest 63 - cluster_bits bits, its length in bytes. There are no counts of use: what is replaced is lost.
 */

#include <stdint.h>

#include "emu/base/err.h"
#include "emu/storage/drivers/sparse/levels.h"
#include "emu/storage/drivers/sparse/sparse.h"

enum {
    QCOW_MAGIC = 0x514649fb,
    QCOW_HEADER_BYTES = 48,
    QCOW_BACKING_NAME_MAX = 1023,
    QCOW_CLUSTER_BITS_MIN = 9,
    QCOW_CLUSTER_BITS_MAX = 16,
    QCOW_SECTOR = 512,
};

enum qcow_crypt { QCOW_CRYPT_NONE, QCOW_CRYPT_AES };

struct qcow_header {
    uint64_t backing_offset;
    uint32_t backing_len;
    uint64_t size; /* Bytes. */
    unsigned cluster_bits, l2_bits;
    enum qcow_crypt crypt;
    uint64_t l1_offset, l1_words;
};

struct qcow {
    struct sparse sparse; /* First: see sparse_submit(). */
    struct qcow_header header;
    struct levels levels;
};

static inline struct qcow *qcow_of(const struct node *node) { return node->state; }

/* buf has QCOW_HEADER_BYTES. */
MUST_USE struct err *qcow_header_parse(struct qcow_header *h, const uint8_t *buf);
void qcow_header_build(const struct qcow_header *h, uint8_t *buf);
/* Words of L1 for a disk of that size. */
uint64_t qcow_l1_words(const struct qcow_header *h);

void qcow_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option qcow_create_options[];
extern const struct sparse_ops qcow_sparse_ops;
/* For struct levels. */
bool qcow_table_valid(const struct levels *l, uint64_t offset);

#endif
