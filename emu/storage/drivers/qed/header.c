#include "emu/storage/drivers/qed/header.h"

#include <inttypes.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"

/* Offsets of the fields. */
enum {
    AT_MAGIC = 0,
    AT_CLUSTER_SIZE = 4,
    AT_TABLE_SIZE = 8,
    AT_HEADER_SIZE = 12,
    AT_FEATURES = 16,
    AT_COMPAT = 24,
    AT_AUTOCLEAR = 32,
    AT_L1_OFFSET = 40,
    AT_IMAGE_SIZE = 48,
    AT_BACKING_OFFSET = 56,
    AT_BACKING_LEN = 60,
    SECTOR = 512,
};

uint64_t qed_size_max(uint32_t cluster_size, uint32_t table_clusters)
{
    uint64_t words = (uint64_t)cluster_size * table_clusters / 8;
    uint64_t max = mul_saturate_u64(mul_saturate_u64(words, words), cluster_size);

    return MIN(max, (uint64_t)INT64_MAX);
}

static struct err *check_places(const struct qed_header *h, uint64_t file_size)
{
    uint64_t header_bytes = (uint64_t)h->header_clusters * h->cluster_size;
    uint64_t table_bytes = (uint64_t)h->table_clusters * h->cluster_size;

    if (h->l1_offset % h->cluster_size || h->l1_offset < header_bytes ||
        !range_within(h->l1_offset, table_bytes, align_up_u64(file_size, h->cluster_size)))
        return err_new("QED table offset is invalid");
    if (h->features & QED_BACKING_FILE &&
        !range_within(h->backing_offset, h->backing_len, header_bytes))
        return err_new("QED backing filename offset is invalid");
    return NULL;
}

struct err *qed_header_parse(struct qed_header *h, const uint8_t *buf, uint64_t file_size)
{
    if (load_le32(buf + AT_MAGIC) != QED_MAGIC)
        return err_new("Image not in QED format");
    *h = (struct qed_header){
        .cluster_size = load_le32(buf + AT_CLUSTER_SIZE),
        .table_clusters = load_le32(buf + AT_TABLE_SIZE),
        .header_clusters = load_le32(buf + AT_HEADER_SIZE),
        .features = load_le64(buf + AT_FEATURES),
        .compat_features = load_le64(buf + AT_COMPAT),
        .autoclear_features = load_le64(buf + AT_AUTOCLEAR),
        .l1_offset = load_le64(buf + AT_L1_OFFSET),
        .image_size = load_le64(buf + AT_IMAGE_SIZE),
        .backing_offset = load_le32(buf + AT_BACKING_OFFSET),
        .backing_len = load_le32(buf + AT_BACKING_LEN),
    };
    if (h->features & ~(uint64_t)QED_FEATURES_KNOWN)
        return err_new("Unsupported QED features: %" PRIx64,
                       h->features & ~(uint64_t)QED_FEATURES_KNOWN);
    if (!is_pow2(h->cluster_size) || h->cluster_size < QED_CLUSTER_MIN ||
        h->cluster_size > QED_CLUSTER_MAX)
        return err_new("QED cluster size is invalid");
    if (!is_pow2(h->table_clusters) || h->table_clusters > QED_TABLE_MAX)
        return err_new("QED table size is invalid");
    if (h->image_size % SECTOR || h->image_size > qed_size_max(h->cluster_size, h->table_clusters))
        return err_new("QED image size is invalid");
    return check_places(h, file_size);
}

void qed_header_build(const struct qed_header *h, uint8_t *buf)
{
    store_le32(buf + AT_MAGIC, QED_MAGIC);
    store_le32(buf + AT_CLUSTER_SIZE, h->cluster_size);
    store_le32(buf + AT_TABLE_SIZE, h->table_clusters);
    store_le32(buf + AT_HEADER_SIZE, h->header_clusters);
    store_le64(buf + AT_FEATURES, h->features);
    store_le64(buf + AT_COMPAT, h->compat_features);
    store_le64(buf + AT_AUTOCLEAR, h->autoclear_features);
    store_le64(buf + AT_L1_OFFSET, h->l1_offset);
    store_le64(buf + AT_IMAGE_SIZE, h->image_size);
    store_le32(buf + AT_BACKING_OFFSET, h->backing_offset);
    store_le32(buf + AT_BACKING_LEN, h->backing_len);
}
