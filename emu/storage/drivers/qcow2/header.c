/*
 * The fixed part of the header: parsing, checking, patching ("Header" in the format specification).
 *
 * Error texts are those of the reference, because tools and tests look for them.
 */

#include "emu/storage/drivers/qcow2/header.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"

void qcow2_header_fini(struct qcow2_header *header)
{
    vec_for_each(ext, &header->extensions)
        xfree(ext->data);
    vec_fini(&header->extensions);
    xfree(header->backing_name);
    xfree(header->backing_format);
    xfree(header->data_name);
    memset(header, 0, sizeof(*header));
}

/* Fields that version 2 does not have. */
static struct err *parse_version3(struct qcow2_header *header, const uint8_t *data, size_t len)
{
    header->fields.incompatible = load_be64(data + QCOW2_HDR_INCOMPATIBLE);
    header->fields.compatible = load_be64(data + QCOW2_HDR_COMPATIBLE);
    header->fields.autoclear = load_be64(data + QCOW2_HDR_AUTOCLEAR);
    header->fields.refcount_order = load_be32(data + QCOW2_HDR_REFCOUNT_ORDER);
    header->header_len = load_be32(data + QCOW2_HDR_LEN);
    if (header->header_len < QCOW2_HDR_V3_MIN_LEN)
        return err_new("qcow2 header too short");
    if (header->header_len > UINT32_C(1) << header->cluster_bits)
        return err_new("qcow2 header exceeds cluster size");
    if (header->header_len > QCOW2_HDR_COMPRESSION && len > QCOW2_HDR_COMPRESSION)
        header->compression = data[QCOW2_HDR_COMPRESSION];
    if (header->fields.refcount_order > 6)
        return err_new("Reference count entry width too large; may not exceed 64 bits");
    return NULL;
}

static struct err *check_compression(const struct qcow2_header *header)
{
    bool flagged = header->fields.incompatible & QCOW2_INCOMPAT_COMPRESSION;

    if (header->compression != QCOW2_ZLIB && !flagged)
        return err_new("qcow2: Compression type incompatible feature bit must be set");
    if (header->compression == QCOW2_ZLIB && flagged)
        return err_new("qcow2: Compression type incompatible feature bit must not be set");
    if (header->compression > QCOW2_ZSTD)
        return err_new("qcow2: unknown compression type: %u", header->compression);
    return NULL;
}

/* A table must start at a cluster and lie below the largest host offset. */
static bool place_ok(const struct qcow2_header *header, uint64_t offset, uint64_t len)
{
    return is_aligned(offset, UINT64_C(1) << header->cluster_bits) &&
           range_within(offset, len, QCOW2_HOST_OFFSET_MAX);
}

static struct err *check_tables(const struct qcow2_header *header)
{
    const struct qcow2_header_fields *f = &header->fields;
    uint64_t cluster = UINT64_C(1) << header->cluster_bits;
    unsigned entry_bits = f->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 4 : 3;
    uint64_t l2_covers = cluster << (header->cluster_bits - entry_bits);

    if (f->reftable_clusters > QCOW2_REFTABLE_BYTES_MAX / cluster)
        return err_new("Reference count table too large");
    if (f->reftable_clusters && (!f->reftable_offset || !place_ok(header, f->reftable_offset,
                                                                  f->reftable_clusters * cluster)))
        return err_new("Reference count table offset invalid");
    if (f->nb_snapshots > QCOW2_SNAPSHOTS_MAX)
        return err_new("Snapshot table too large");
    if (f->nb_snapshots && (!f->snapshots_offset || !place_ok(header, f->snapshots_offset, 0)))
        return err_new("Snapshot table offset invalid");
    if (f->l1_size > QCOW2_L1_BYTES_MAX / 8)
        return err_new("Active L1 table too large");
    if (f->size > INT64_MAX || div_round_up(f->size, l2_covers) > QCOW2_L1_BYTES_MAX / 8)
        return err_new("Image is too big");
    if (f->l1_size < div_round_up(f->size, l2_covers))
        return err_new("L1 table is too small");
    if (f->l1_size && (!f->l1_offset || !place_ok(header, f->l1_offset, (uint64_t)f->l1_size * 8)))
        return err_new("Active L1 table offset invalid");
    return NULL;
}

struct err *qcow2_header_parse(struct qcow2_header *header, const uint8_t *data, size_t len)
{
    struct qcow2_header_fields *f = &header->fields;

    memset(header, 0, sizeof(*header));
    if (load_be32(data) != QCOW2_MAGIC)
        return err_new("Image is not in qcow2 format");
    header->version = load_be32(data + QCOW2_HDR_VERSION);
    if (header->version < 2 || header->version > 3)
        return err_new("Unsupported qcow2 version %u", header->version);
    header->cluster_bits = load_be32(data + QCOW2_HDR_CLUSTER_BITS);
    if (header->cluster_bits < QCOW2_CLUSTER_BITS_MIN ||
        header->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return err_new("Unsupported cluster size: 2^%u", header->cluster_bits);
    f->size = load_be64(data + QCOW2_HDR_SIZE);
    f->l1_size = load_be32(data + QCOW2_HDR_L1_SIZE);
    f->l1_offset = load_be64(data + QCOW2_HDR_L1_OFFSET);
    f->reftable_offset = load_be64(data + QCOW2_HDR_REFTABLE_OFFSET);
    f->reftable_clusters = load_be32(data + QCOW2_HDR_REFTABLE_CLUSTERS);
    f->nb_snapshots = load_be32(data + QCOW2_HDR_SNAPSHOTS);
    f->snapshots_offset = load_be64(data + QCOW2_HDR_SNAPSHOTS_OFFSET);
    f->refcount_order = 4;
    header->header_len = QCOW2_HDR_V2_LEN;
    if (header->version == 3)
        TRY(parse_version3(header, data, len));
    memcpy(header->sector, data, MIN(len, sizeof(header->sector)));
    /* Unknown features change what the rest means, so the extensions (with their names) come next. */
    if (f->incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN)
        return NULL;
    TRY(check_compression(header));
    if (f->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 && header->cluster_bits < 14)
        return err_new("Unsupported cluster size for extended L2 entries: 2^%u",
                       header->cluster_bits);
    if (load_be32(data + QCOW2_HDR_CRYPT) > 2)
        return err_new("Unsupported encryption method %u", load_be32(data + QCOW2_HDR_CRYPT));
    header->crypt_method = load_be32(data + QCOW2_HDR_CRYPT);
    return check_tables(header);
}

void qcow2_header_patch(uint8_t *sector, uint32_t version, const struct qcow2_header_fields *fields)
{
    store_be64(sector + QCOW2_HDR_SIZE, fields->size);
    store_be32(sector + QCOW2_HDR_L1_SIZE, fields->l1_size);
    store_be64(sector + QCOW2_HDR_L1_OFFSET, fields->l1_offset);
    store_be64(sector + QCOW2_HDR_REFTABLE_OFFSET, fields->reftable_offset);
    store_be32(sector + QCOW2_HDR_REFTABLE_CLUSTERS, fields->reftable_clusters);
    store_be32(sector + QCOW2_HDR_SNAPSHOTS, fields->nb_snapshots);
    store_be64(sector + QCOW2_HDR_SNAPSHOTS_OFFSET, fields->snapshots_offset);
    if (version < 3)
        return;
    store_be32(sector + QCOW2_HDR_REFCOUNT_ORDER, fields->refcount_order);
    store_be64(sector + QCOW2_HDR_INCOMPATIBLE, fields->incompatible);
    store_be64(sector + QCOW2_HDR_COMPATIBLE, fields->compatible);
    store_be64(sector + QCOW2_HDR_AUTOCLEAR, fields->autoclear);
}
