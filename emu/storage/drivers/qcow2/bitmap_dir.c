/* The bitmap directory in bytes, and the limits on stored bitmaps. Texts are the reference's. */

#include "emu/storage/drivers/qcow2/bitmap_dir.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/storage/drivers/qcow2/format.h"

void qcow2_stored_bitmap_fini(struct qcow2_stored_bitmap *stored)
{
    xfree(stored->name);
    xfree(stored->extra);
    xfree(stored->table);
    *stored = (struct qcow2_stored_bitmap){ 0 };
}

void qcow2_stored_bitmaps_fini(qcow2_stored_bitmaps *list)
{
    vec_for_each(stored, list)
        qcow2_stored_bitmap_fini(stored);
    vec_fini(list);
}

struct qcow2_stored_bitmap *qcow2_stored_bitmap_find(const qcow2_stored_bitmaps *list,
                                                     const char *name)
{
    for (size_t i = 0; i < list->len; i++) {
        if (str_eq(list->items[i].name, name))
            return &list->items[i];
    }
    return NULL;
}

/* ---- Limits ---- */

uint64_t qcow2_bitmap_bytes(uint64_t disk_size, unsigned granularity_bits)
{
    return div_round_up(div_round_up(disk_size, BIT64(granularity_bits)), 8);
}

uint32_t qcow2_bitmap_table_len(const struct qcow2_bitmap_limits *limits, unsigned granularity_bits)
{
    uint64_t bytes = qcow2_bitmap_bytes(limits->disk_size, granularity_bits);

    return (uint32_t)MIN(MAX(div_round_up(bytes, BIT64(limits->cluster_bits)), UINT64_C(1)),
                         (uint64_t)UINT32_MAX);
}

struct err *qcow2_bitmap_check(const char *name, uint64_t granularity,
                               const struct qcow2_bitmap_limits *limits)
{
    uint64_t bytes;

    if (strlen(name) > QCOW2_BITMAP_NAME_MAX)
        return err_new("Name length exceeds maximum (%u characters)", QCOW2_BITMAP_NAME_MAX);
    if (granularity > BIT64(QCOW2_BITMAP_GRANULARITY_BITS_MAX))
        return err_new("Granularity exceeds maximum (%llu bytes)",
                       (unsigned long long)BIT64(QCOW2_BITMAP_GRANULARITY_BITS_MAX));
    if (granularity < BIT64(QCOW2_BITMAP_GRANULARITY_BITS_MIN))
        return err_new("Granularity is under minimum (%llu bytes)",
                       (unsigned long long)BIT64(QCOW2_BITMAP_GRANULARITY_BITS_MIN));
    bytes = qcow2_bitmap_bytes(limits->disk_size, ilog2_u64(granularity));
    if (bytes > QCOW2_BITMAP_BYTES_MAX || bytes > (uint64_t)QCOW2_BITMAP_TABLE_ENTRIES_MAX
                                                      << limits->cluster_bits)
        return err_new("Too much space will be occupied by the bitmap. Use larger granularity");
    return NULL;
}

bool qcow2_bitmap_entry_valid(uint64_t entry, const struct qcow2_bitmap_limits *limits)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_BITMAP_TABLE_RESERVED || !is_aligned(offset, BIT64(limits->cluster_bits)))
        return false;
    /* Bit 0 says "all ones" of what has no place. */
    return !offset || !(entry & QCOW2_BITMAP_TABLE_ONES);
}

/* ---- Parsing ---- */

/* What must hold of a bitmap, and of its size unless it is too old to be used anyway. */
static bool plausible(const struct qcow2_stored_bitmap *s, uint8_t type, uint32_t flags,
                      const struct qcow2_bitmap_limits *limits)
{
    uint64_t cluster = BIT64(limits->cluster_bits), bytes = (uint64_t)s->table_len * 8;

    if (!s->table_len || !s->table_offset || !is_aligned(s->table_offset, cluster) ||
        s->table_len > QCOW2_BITMAP_TABLE_ENTRIES_MAX)
        return false;
    if (type != QCOW2_BITMAP_TYPE_DIRTY || flags & ~(uint32_t)QCOW2_BITMAP_FLAGS_KNOWN ||
        s->granularity_bits < QCOW2_BITMAP_GRANULARITY_BITS_MIN ||
        s->granularity_bits > QCOW2_BITMAP_GRANULARITY_BITS_MAX)
        return false;
    if (s->table_offset >= limits->file_size ||
        !range_within(s->table_offset, bytes, align_up_u64(limits->file_size, cluster)))
        return false;
    if (flags & QCOW2_BITMAP_IN_USE)
        return true;
    return qcow2_bitmap_table_len(limits, s->granularity_bits) == s->table_len &&
           qcow2_bitmap_bytes(limits->disk_size, s->granularity_bits) <= QCOW2_BITMAP_BYTES_MAX;
}

/* One entry at p, of which at most left bytes are there; *size is what it takes. */
static struct err *parse_entry(qcow2_stored_bitmaps *list, const uint8_t *p, uint64_t left,
                               uint64_t *size, const struct qcow2_bitmap_limits *limits)
{
    struct qcow2_stored_bitmap s = { 0 };
    uint32_t extra, name_len;

    if (left < QCOW2_BITMAP_ENTRY_FIXED)
        return err_new("Broken bitmap directory");
    s.table_offset = load_be64(p);
    s.table_len = load_be32(p + 8);
    s.flags = load_be32(p + 12);
    s.granularity_bits = p[17];
    name_len = load_be16(p + 18);
    extra = load_be32(p + 20);
    *size = align_up_u64((uint64_t)QCOW2_BITMAP_ENTRY_FIXED + name_len + extra, 8);
    if (*size > left)
        return err_new("Broken bitmap directory");
    p += QCOW2_BITMAP_ENTRY_FIXED;
    if (extra && !(s.flags & QCOW2_BITMAP_EXTRA_COMPATIBLE))
        return err_new("Bitmap extra data is not supported");
    if (!name_len || name_len > QCOW2_BITMAP_NAME_MAX || memchr(p + extra, 0, name_len) ||
        !plausible(&s, p[16 - QCOW2_BITMAP_ENTRY_FIXED], s.flags, limits))
        return err_new("Bitmap '%.*s' doesn't satisfy the constraints", (int)name_len,
                       (const char *)p + extra);
    s.name = xstrndup((const char *)p + extra, name_len);
    if (qcow2_stored_bitmap_find(list, s.name)) {
        struct err *err = err_new("Bitmap '%s' is in the bitmap directory twice", s.name);

        xfree(s.name);
        return err;
    }
    s.extra = extra ? xmemdup(p, extra) : NULL;
    s.extra_len = extra;
    vec_push(list, s);
    return NULL;
}

struct err *qcow2_bitmap_dir_parse(qcow2_stored_bitmaps *list, const uint8_t *data, uint64_t len,
                                   uint32_t count, const struct qcow2_bitmap_limits *limits)
{
    struct err *err = NULL;
    uint64_t at = 0, size = 0;

    *list = (qcow2_stored_bitmaps){ 0 };
    while (!err && at < len) {
        if (list->len == count)
            err = err_new("More bitmaps found than specified in header extension");
        else
            err = parse_entry(list, data + at, len - at, &size, limits);
        at += size;
    }
    if (!err && list->len != count)
        err = err_new("Less bitmaps found than specified in header extension");
    if (err)
        qcow2_stored_bitmaps_fini(list);
    return err;
}

/* ---- Writing ---- */

static uint64_t entry_size(const struct qcow2_stored_bitmap *s)
{
    return align_up_u64((uint64_t)QCOW2_BITMAP_ENTRY_FIXED + s->extra_len + strlen(s->name), 8);
}

uint64_t qcow2_bitmap_dir_size(const qcow2_stored_bitmaps *list)
{
    uint64_t size = 0;

    for (size_t i = 0; i < list->len; i++)
        size += entry_size(&list->items[i]);
    return size;
}

void qcow2_bitmap_dir_build(const qcow2_stored_bitmaps *list, uint8_t *out)
{
    for (size_t i = 0; i < list->len; i++) {
        const struct qcow2_stored_bitmap *s = &list->items[i];

        memset(out, 0, entry_size(s));
        store_be64(out, s->table_offset);
        store_be32(out + 8, s->table_len);
        store_be32(out + 12, s->flags);
        out[16] = QCOW2_BITMAP_TYPE_DIRTY;
        out[17] = s->granularity_bits;
        store_be16(out + 18, (uint16_t)strlen(s->name));
        store_be32(out + 20, s->extra_len);
        if (s->extra_len)
            memcpy(out + QCOW2_BITMAP_ENTRY_FIXED, s->extra, s->extra_len);
        memcpy(out + QCOW2_BITMAP_ENTRY_FIXED + s->extra_len, s->name, strlen(s->name));
        out += entry_size(s);
    }
}

struct json *qcow2_stored_bitmaps_json(const qcow2_stored_bitmaps *list)
{
    struct json *array = json_array();

    for (size_t i = 0; i < list->len; i++) {
        const struct qcow2_stored_bitmap *s = &list->items[i];
        struct json *one = json_object(), *flags = json_array();

        if (s->flags & QCOW2_BITMAP_IN_USE)
            json_array_add_str(flags, "in-use");
        if (s->flags & QCOW2_BITMAP_AUTO)
            json_array_add_str(flags, "auto");
        json_object_set(one, "flags", flags);
        json_object_set_str(one, "name", s->name);
        json_object_set_uint(one, "granularity", BIT64(s->granularity_bits));
        json_array_add(array, one);
    }
    return array;
}
