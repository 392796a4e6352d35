/* The header. */

#include <limits.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow/qcow.h"

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_LEN = 16,
    AT_SIZE = 24,
    AT_CLUSTER_BITS = 32,
    AT_L2_BITS = 33,
    AT_CRYPT = 36,
    AT_L1_OFFSET = 40,
};

uint64_t qcow_l1_words(const struct qcow_header *h)
{
    return div_round_up(h->size, UINT64_C(1) << (h->cluster_bits + h->l2_bits));
}

static struct err *check_version(const uint8_t *buf)
{
    uint32_t version = load_be32(buf + AT_VERSION);
    struct err *err;

    if (load_be32(buf + AT_MAGIC) != QCOW_MAGIC)
        return err_new("Image not in qcow format");
    if (version == 1)
        return NULL;
    err = err_new("qcow (v1) does not support qcow version %u", version);
    if (version == 2 || version == 3)
        err_hint_append(err, "Try the 'qcow2' driver instead.\n");
    return err;
}

struct err *qcow_header_parse(struct qcow_header *h, const uint8_t *buf)
{
    uint32_t crypt = load_be32(buf + AT_CRYPT);

    TRY(check_version(buf));
    *h = (struct qcow_header){
        .backing_offset = load_be64(buf + AT_BACKING_OFFSET),
        .backing_len = load_be32(buf + AT_BACKING_LEN),
        .size = load_be64(buf + AT_SIZE),
        .cluster_bits = buf[AT_CLUSTER_BITS],
        .l2_bits = buf[AT_L2_BITS],
        .l1_offset = load_be64(buf + AT_L1_OFFSET),
    };
    if (h->size <= 1)
        return err_new("Image size is too small (must be at least 2 bytes)");
    if (h->cluster_bits < QCOW_CLUSTER_BITS_MIN || h->cluster_bits > QCOW_CLUSTER_BITS_MAX)
        return err_new("Cluster size must be between 512 and 64k");
    if (h->l2_bits < QCOW_CLUSTER_BITS_MIN - 3 || h->l2_bits > QCOW_CLUSTER_BITS_MAX - 3)
        return err_new("L2 table size must be between 512 and 64k");
    if (crypt > QCOW_CRYPT_AES)
        return err_new("invalid encryption method in qcow header");
    h->crypt = (enum qcow_crypt)crypt;
    h->l1_words = qcow_l1_words(h);
    if (h->size > INT64_MAX || h->l1_words > INT_MAX / sizeof(uint64_t))
        return err_new("Image too large");
    if (!range_within(h->l1_offset, h->l1_words * sizeof(uint64_t), INT64_MAX))
        return err_new("L1 table offset is too large");
    if (h->backing_offset && h->backing_len > QCOW_BACKING_NAME_MAX)
        return err_new("Backing file name too long");
    return NULL;
}

void qcow_header_build(const struct qcow_header *h, uint8_t *buf)
{
    memset(buf, 0, QCOW_HEADER_BYTES);
    store_be32(buf + AT_MAGIC, QCOW_MAGIC);
    store_be32(buf + AT_VERSION, 1);
    store_be64(buf + AT_BACKING_OFFSET, h->backing_offset);
    store_be32(buf + AT_BACKING_LEN, h->backing_len);
    store_be64(buf + AT_SIZE, h->size);
    buf[AT_CLUSTER_BITS] = (uint8_t)h->cluster_bits;
    buf[AT_L2_BITS] = (uint8_t)h->l2_bits;
    store_be32(buf + AT_CRYPT, h->crypt);
    store_be64(buf + AT_L1_OFFSET, h->l1_offset);
}
