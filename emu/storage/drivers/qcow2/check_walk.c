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

static void check_block(struct qcow2_checking *c, uint32_t i)
{
    struct qcow2 *q = c->q;
    uint64_t entry = q->reftable.entries[i], cluster = entry >> q->geo.cluster_bits;

    if (!entry)
        return;
    if (entry & QCOW2_REFTABLE_RESERVED) {
        qcow2_check_corrupt(c, "ERROR refcount table entry %u has reserved bits set", i);
        c->rebuild = true;
    } else if (entry & (q->geo.cluster_size - 1)) {
        qcow2_check_corrupt(
            c, "ERROR refcount block %u is not cluster aligned; refcount table entry corrupted", i);
        c->rebuild = true;
    } else if (entry >= q->file_size) {
        qcow2_check_corrupt(c, "%s refcount block %u is outside image",
                            c->fix & CHECK_FIX_ERRORS ? "Repairing" : "ERROR", i);
        c->rebuild = true;
    } else {
        qcow2_check_count(c, entry, q->geo.cluster_size);
        if (c->refs[cluster] != 1) {
            qcow2_check_corrupt(c, "ERROR refcount block %u refcount=%u", i, c->refs[cluster]);
            c->rebuild = true;
        }
    }
}

void qcow2_check_fixed(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    const struct qcow2_header_fields *f = &q->header.fields;

    qcow2_check_count(c, f->snapshots_offset, q->snapshots.table_size);
    qcow2_check_count(c, q->header.luks_offset, q->header.luks_len);
    qcow2_check_count(c, q->header.bitmap_dir_offset, q->header.bitmap_dir_size);
    qcow2_check_count(c, f->reftable_offset, (uint64_t)f->reftable_clusters << q->geo.cluster_bits);
    for (uint32_t i = 0; i < q->reftable.count; i++)
        check_block(c, i);
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

static int take_none(struct qcow2_checking *c)
{
    c->l1 = try_calloc(1, sizeof(uint64_t));
    c->l1_count = 0;
    return c->l1 ? 0 : -ENOMEM;
}

static int take_snapshot(struct qcow2_checking *c, const struct qcow2_snapshot *s)
{
    uint64_t bytes = (uint64_t)s->l1_size * 8;

    if (!is_aligned(s->l1_offset, c->q->geo.cluster_size)) {
        qcow2_check_corrupt(c,
                            "ERROR snapshot %s (%s) l1_offset=%#llx: L1 table is not cluster "
                            "aligned; snapshot table entry corrupted",
                            s->id, s->name, ULL(s->l1_offset));
        return take_none(c);
    }
    if (!qcow2_snapshot_l1_ok(s, c->q->geo.cluster_bits)) {
        qcow2_check_corrupt(c,
                            "ERROR snapshot %s (%s) l1_size=%#x: L1 table is too large; snapshot "
                            "table entry corrupted",
                            s->id, s->name, s->l1_size);
        return take_none(c);
    }
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
    qcow2_check_count(c, s->l1_offset, bytes);
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
            qcow2_check_count(c, q->l1.offset, (uint64_t)q->l1.count * 8);
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

/* A place kept for a zero cluster can be given up without harm. */
static bool mend_kept_place(struct qcow2_checking *c, struct qcow2_entry *entry)
{
    bool mend = c->fix & CHECK_FIX_ERRORS;

    qcow2_check_corrupt(
        c, "%s offset=%llx: Preallocated cluster is not properly aligned; L2 entry corrupted.",
        mend ? "Repairing" : "ERROR", ULL(qcow2_entry_host(*entry)));
    if (!mend)
        return false;
    c->result->corruptions_fixed++;
    entry->word &= ~(QCOW2_OFFSET_MASK | QCOW2_COPIED);
    return true;
}

static void count_compressed(struct qcow2_checking *c, struct qcow2_entry entry, bool active)
{
    uint64_t host;
    uint32_t len;

    qcow2_entry_compressed(c->q, entry, &host, &len);
    if (entry.word & QCOW2_COPIED)
        qcow2_check_corrupt(
            c, "ERROR: coffset=%#llx: copied flag must never be set for compressed clusters",
            ULL(host));
    if (entry.bitmap && c->q->geo.subs > 1)
        qcow2_check_corrupt(c,
                            "ERROR compressed cluster with non-zero subcluster allocation bitmap, "
                            "entry=%#llx",
                            ULL(entry.word));
    qcow2_check_count(c, host, len);
    c->result->allocated_clusters += active;
    c->result->compressed_clusters += active;
    c->result->fragmented_clusters += active; /* Never in line with the guest's order. */
}

/* Whether the subclusters' bits make sense. */
static void check_subclusters(struct qcow2_checking *c, struct qcow2_entry entry)
{
    if (c->q->geo.subs == 1)
        return;
    if ((uint32_t)entry.bitmap & entry.bitmap >> 32 ||
        (!qcow2_entry_host(entry) && (uint32_t)entry.bitmap))
        qcow2_check_corrupt(c, "ERROR invalid subcluster allocation bitmap %#llx in L2 entry %llx",
                            ULL(entry.bitmap), ULL(entry.word));
}

/* Returns whether *entry was mended. */
static bool count_entry(struct qcow2_checking *c, struct qcow2_entry *entry, bool active)
{
    struct qcow2 *q = c->q;
    uint64_t host = qcow2_entry_host(*entry);
    bool zero = q->geo.subs > 1 ? !(uint32_t)entry->bitmap : entry->word & QCOW2_ZERO;
    uint64_t reserved =
        QCOW2_L2_RESERVED | (q->geo.subs > 1 || q->header.version < 3 ? QCOW2_ZERO : 0);

    if (entry->word & QCOW2_COMPRESSED) {
        count_compressed(c, *entry, active);
        return false;
    }
    if (entry->word & reserved)
        qcow2_check_corrupt(c, "ERROR found l2 entry with reserved bits set: %llx",
                            ULL(entry->word));
    check_subclusters(c, *entry);
    if (!host)
        return false;
    if (!is_aligned(host, q->geo.cluster_size)) {
        if (zero && mend_kept_place(c, entry))
            return true;
        if (!zero)
            qcow2_check_corrupt(
                c, "ERROR offset=%llx: Data cluster is not properly aligned; L2 entry corrupted.",
                ULL(host));
    }
    if (active) {
        c->result->allocated_clusters++;
        if (c->expected && host != c->expected)
            c->result->fragmented_clusters++;
        c->expected = host + q->geo.cluster_size;
    }
    if (!(q->header.fields.incompatible & QCOW2_INCOMPAT_DATA_FILE))
        qcow2_check_count(c, host, q->geo.cluster_size);
    return false;
}

/* A whole L2 table in c->buf. Returns whether it was mended. */
static bool walk_l2(struct qcow2_checking *c)
{
    struct qcow2 *q = c->q;
    struct qcow2_block block = { .data = c->buf };
    bool active = c->table_next == 1, mended = false;

    c->expected = 0; /* What lies between the clusters of two tables is no fragmentation. */
    for (uint32_t i = 0; i < UINT32_C(1) << q->geo.l2_bits; i++) {
        struct qcow2_entry entry = qcow2_entry_load(q, &block, i);

        if ((entry.word || entry.bitmap) && count_entry(c, &entry, active)) {
            qcow2_entry_store(q, &block, i, entry);
            mended = true;
        }
    }
    return mended;
}

/* The table that was read: counted, and written again when something in it was mended. */
static int table_was_read(struct qcow2_checking *c, uint64_t table)
{
    bool mended = walk_l2(c);

    c->l2_read = false;
    if (mended) {
        qcow2_cache_forget(&c->q->l2_cache, table, c->q->geo.cluster_size);
        return qcow2_check_write(c, table);
    }
    return 0;
}

/* The L1 entry itself; *table is 0 when there is no table to read. */
static void count_l1_entry(struct qcow2_checking *c, uint64_t entry, uint64_t *table)
{
    struct qcow2 *q = c->q;

    *table = entry & QCOW2_OFFSET_MASK;
    if (entry & QCOW2_L1_RESERVED)
        qcow2_check_corrupt(c, "ERROR found L1 entry with reserved bits set: %llx", ULL(entry));
    if (!*table)
        return;
    qcow2_check_count(c, *table, q->geo.cluster_size);
    if (!is_aligned(*table, q->geo.cluster_size)) {
        qcow2_check_corrupt(
            c, "ERROR l2_offset=%llx: Table is not cluster aligned; L1 entry corrupted",
            ULL(*table));
        *table = 0; /* What lies there is no table. */
    } else if (*table >= q->file_size) {
        *table = 0;
    }
}

int qcow2_check_l2(struct qcow2_checking *c)
{
    while (c->l1_next < c->l1_count) {
        uint64_t entry = c->l1[c->l1_next], table = entry & QCOW2_OFFSET_MASK;

        if (c->l2_read) {
            int ret = table_was_read(c, table);

            if (ret)
                return ret;
        } else if (!c->buf) {
            count_l1_entry(c, entry, &table);
            if (table) {
                c->l2_read = true;
                return qcow2_check_read(c, table, c->q->geo.cluster_size);
            }
        }
        xfree(c->buf); /* Read, or written again. */
        c->buf = NULL;
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
        qcow2_check_fixed(c);
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
            qcow2_check_count(c, entry & QCOW2_OFFSET_MASK, c->q->geo.cluster_size);
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
        qcow2_check_count(c, offset, bytes);
        return qcow2_check_read(c, offset, MIN(bytes, sub_saturate_u64(c->q->file_size, offset)));
    }
    qcow2_check_fixed(c);
    c->phase = QCOW2_CHECK_COMPARE;
    return 0;
}
