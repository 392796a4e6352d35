/* Counting references: every table of the image is walked, active and of snapshots, and the stored bitmaps. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/check.h"
#include "emu/storage/drivers/qcow2/l2.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

enum { BITMAP_FIXED = 24, BITMAP_NAME_MAX = 1023 };

#define ULL(x) ((unsigned long long)(x))

void qcow2_check_fixed(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    const struct qcow2_header_fields *f = &q->header.fields;

    qcow2_check_count(c, 0, q->geo.cluster_size, "header");
    qcow2_check_count(c, f->reftable_offset, (uint64_t)f->reftable_clusters << q->geo.cluster_bits,
                      "refcount table");
    qcow2_check_count(c, q->header.fields.snapshots_offset, q->snapshots.table_size,
                      "snapshot table");
    qcow2_check_count(c, q->header.bitmap_dir_offset, q->header.bitmap_dir_size,
                      "bitmap directory");
    qcow2_check_count(c, q->header.luks_offset, q->header.luks_len, "encryption header");
    for (uint32_t i = 0; i < q->reftable.count; i++) {
        uint64_t entry = q->reftable.entries[i], cluster = entry >> q->geo.cluster_bits;

        if (!entry)
            continue;
        if (entry & (q->geo.cluster_size - 1) || cluster >= c->clusters) {
            qcow2_check_corrupt(c, "ERROR refcount block %u is %s", i,
                                cluster >= c->clusters
                                    ? "outside image"
                                    : "not cluster aligned; refcount table entry corrupted");
            c->rebuild = true;
            continue;
        }
        qcow2_check_count(c, entry, q->geo.cluster_size, "refcount block");
        if (c->refs[cluster] != 1) {
            qcow2_check_corrupt(c, "ERROR refcount block %u refcount=%u", i, c->refs[cluster]);
            c->rebuild = true;
        }
    }
}

/* ---- L1 and L2 ---- */

static int take_active(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;

    c->l1 = try_calloc(MAX(q->l1.count, 1U), sizeof(uint64_t));
    if (!c->l1)
        return -ENOMEM;
    memcpy(c->l1, q->l1.entries, sizeof(uint64_t) * q->l1.count);
    c->l1_count = q->l1.count;
    c->l1_offset = q->l1.offset;
    return 0;
}

static int take_snapshot(struct qcow2_checking *c, const struct qcow2_snapshot *s)
{
    uint64_t bytes = (uint64_t)s->l1_size * 8;

    if (!c->buf) {
        int ret = qcow2_check_read(c, s->l1_offset,
                                   MIN(bytes, sub_saturate_u64(c->q->file_size, s->l1_offset)));

        if (ret)
            return ret;
    }
    c->l1_count = (uint32_t)(c->buf_len / 8);
    c->l1_offset = s->l1_offset;
    c->l1 = try_calloc(MAX(c->l1_count, 1U), sizeof(uint64_t));
    if (!c->l1)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->l1_count; i++)
        c->l1[i] = load_be64(c->buf + (size_t)i * 8);
    qcow2_check_count(c, s->l1_offset, bytes, "snapshot L1 table");
    xfree(c->buf);
    c->buf = NULL;
    return 0;
}

int qcow2_check_l1(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    int ret;

    xfree(c->l1);
    c->l1 = NULL;
    c->l1_next = 0;
    c->l2_read = false;
    if (c->table_next == 0) {
        ret = take_active(c);
        if (!ret)
            qcow2_check_count(c, q->l1.offset, (uint64_t)q->l1.count * 8, "L1 table");
    } else if (c->table_next - 1 < q->snapshots.list.len) {
        ret = take_snapshot(c, &q->snapshots.list.items[c->table_next - 1]);
    } else {
        c->phase = QCOW2_CHECK_BITMAPS;
        return 0;
    }
    if (!ret) {
        c->table_next++;
        c->phase = QCOW2_CHECK_L2;
    }
    return ret;
}

static void count_entry(struct qcow2_checking *c, struct qcow2_entry entry, bool active,
                        uint64_t l2, uint32_t i)
{
    struct qcow2 *q = c->q;
    uint64_t host = qcow2_entry_host(entry);
    uint32_t len;

    for (unsigned sub = 0; sub < q->geo.subs; sub++) {
        if (qcow2_entry_sub(q, entry, sub) == QCOW2_SUB_INVALID) {
            qcow2_check_corrupt(c, "ERROR invalid L2 entry %#llx (table at %#llx, index %u)",
                                ULL(entry.word), ULL(l2), i);
            return;
        }
    }
    if (entry.word & QCOW2_COMPRESSED) {
        uint64_t start;

        qcow2_entry_compressed(q, entry, &host, &len);
        start = qcow2_cluster_start(q, host);
        qcow2_check_count(c, start, qcow2_cluster_end(q, host + len) - start, "compressed cluster");
        c->result->allocated_clusters += active;
        c->result->compressed_clusters += active;
        c->result->fragmented_clusters += active; /* Never in line with the guest's order. */
        return;
    }
    if (!qcow2_entry_placed(q, entry))
        return;
    if (!q->external)
        qcow2_check_count(c, host, q->geo.cluster_size, "data cluster");
    if (active) {
        c->result->allocated_clusters++;
        if (c->expected && host != c->expected)
            c->result->fragmented_clusters++;
        c->expected = host + q->geo.cluster_size;
    }
}

static void walk_l2(struct qcow2_checking *c, uint64_t table)
{
    struct qcow2 *q = c->q;
    struct qcow2_block block = { .data = c->buf };
    bool active = c->table_next == 1;

    c->expected = 0; /* What lies between the clusters of two tables is no fragmentation. */
    for (uint32_t i = 0; i < UINT32_C(1) << q->geo.l2_bits; i++)
        count_entry(c, qcow2_entry_load(q, &block, i), active, table, i);
}

int qcow2_check_l2(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;

    while (c->l1_next < c->l1_count) {
        uint64_t entry = c->l1[c->l1_next], table = entry & QCOW2_OFFSET_MASK;

        if (c->l2_read) {
            c->l2_read = false;
            walk_l2(c, table);
            xfree(c->buf);
            c->buf = NULL;
            c->l1_next++;
            continue;
        }
        if (entry & QCOW2_L1_RESERVED || table & (q->geo.cluster_size - 1)) {
            qcow2_check_corrupt(
                c, "ERROR L2 offset=%#llx: Table is not cluster aligned; L1 entry corrupted",
                ULL(table));
        } else if (table) {
            qcow2_check_count(c, table, q->geo.cluster_size, "L2 table");
            if (table < q->file_size) {
                c->l2_read = true;
                return qcow2_check_read(c, table, q->geo.cluster_size);
            }
        }
        c->l1_next++;
    }
    c->phase = QCOW2_CHECK_L1;
    return 0;
}

/* ---- Bitmaps ("Bitmaps extension"): counted whether they can be trusted or not ---- */

int qcow2_check_bitmaps(struct qcow2_checking *c)
{
    const struct qcow2_header *h = &c->q->header;

    if (!h->bitmap_count) {
        c->phase = QCOW2_CHECK_COMPARE;
        return 0;
    }
    if (!c->buf)
        return qcow2_check_read(
            c, h->bitmap_dir_offset,
            MIN(h->bitmap_dir_size, sub_saturate_u64(c->q->file_size, h->bitmap_dir_offset)));
    c->directory = c->buf;
    c->directory_len = c->buf_len;
    c->buf = NULL;
    c->bitmaps_left = h->bitmap_count;
    c->phase = QCOW2_CHECK_BITMAP;
    return 0;
}

static void count_bitmap_data(struct qcow2_checking *c)
{
    for (uint32_t i = 0; i < c->buf_len / 8; i++) {
        uint64_t entry = load_be64(c->buf + (size_t)i * 8);

        if (entry & ~(QCOW2_OFFSET_MASK | 1) ||
            entry & (QCOW2_OFFSET_MASK & (c->q->geo.cluster_size - 1)))
            qcow2_check_corrupt(c, "ERROR bitmap table entry %#llx is invalid", ULL(entry));
        else if (entry & QCOW2_OFFSET_MASK)
            qcow2_check_count(c, entry & QCOW2_OFFSET_MASK, c->q->geo.cluster_size, "bitmap data");
    }
    xfree(c->buf);
    c->buf = NULL;
}

int qcow2_check_bitmap(struct qcow2_checking *c)
{
    if (c->buf)
        count_bitmap_data(c);
    while (c->bitmaps_left) {
        const uint8_t *p = c->directory + c->directory_at;
        uint64_t offset, bytes, size;

        if (c->directory_len - c->directory_at < BITMAP_FIXED) {
            qcow2_check_corrupt(c, "ERROR bitmap directory is cut off");
            break;
        }
        offset = load_be64(p);
        bytes = (uint64_t)load_be32(p + 8) * 8;
        size = align_up_u64((uint64_t)BITMAP_FIXED + load_be16(p + 18) + load_be32(p + 20), 8);
        if (size > c->directory_len - c->directory_at || load_be16(p + 18) > BITMAP_NAME_MAX ||
            bytes / 8 > QCOW2_BITMAP_TABLE_ENTRIES_MAX) {
            qcow2_check_corrupt(c, "ERROR bitmap directory entry is invalid");
            break;
        }
        c->directory_at += size;
        c->bitmaps_left--;
        if (!bytes)
            continue;
        qcow2_check_count(c, offset, bytes, "bitmap table");
        return qcow2_check_read(c, offset, MIN(bytes, sub_saturate_u64(c->q->file_size, offset)));
    }
    c->phase = QCOW2_CHECK_COMPARE;
    return 0;
}
