#ifndef EMU_STORAGE_DRIVERS_QED_HEADER_H
#define EMU_STORAGE_DRIVERS_QED_HEADER_H

/*
 * The header of a QED image (QED specification, "Header"): 64 bytes, little-endian, then the name of the backing
 * file somewhere in the header clusters.
 */

#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"

enum {
    QED_MAGIC = 0x00444551, /* "QED\0" */
    QED_HEADER_BYTES = 64,
    QED_BACKING_NAME_MAX = 1023,
    QED_CLUSTER_MIN = 4096,
    QED_CLUSTER_MAX = 64 << 20,
    QED_CLUSTER_DEFAULT = 65536,
    QED_TABLE_MIN = 1, /* Clusters. */
    QED_TABLE_MAX = 16,
    QED_TABLE_DEFAULT = 4,
};

enum qed_features {
    QED_BACKING_FILE = 1,
    QED_NEED_CHECK = 2,        /* The tables may be inconsistent. */
    QED_BACKING_NO_PROBE = 4,  /* The backing file is raw. */
    QED_FEATURES_KNOWN = 7,
};

struct qed_header {
    uint32_t cluster_size;     /* Bytes. */
    uint32_t table_clusters;   /* Of L1 and of each L2 table. */
    uint32_t header_clusters;
    uint64_t features, compat_features, autoclear_features;
    uint64_t l1_offset;        /* Bytes. */
    uint64_t image_size;       /* Bytes of the disk. */
    uint32_t backing_offset, backing_len; /* Bytes from the start of the file. */
};

/* Words of a table. */
static inline uint64_t qed_table_words(const struct qed_header *h)
{
    return (uint64_t)h->cluster_size * h->table_clusters / 8;
}

/* The largest disk these tables can map; at most INT64_MAX. */
uint64_t qed_size_max(uint32_t cluster_size, uint32_t table_clusters);

/* Reads and checks everything; file_size is the length of the image file. buf has QED_HEADER_BYTES. */
MUST_USE struct err *qed_header_parse(struct qed_header *h, const uint8_t *buf, uint64_t file_size);
/* Fills QED_HEADER_BYTES. */
void qed_header_build(const struct qed_header *h, uint8_t *buf);

#endif
