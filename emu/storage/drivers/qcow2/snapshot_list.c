/* Reading and building the snapshot table; each entry is variable in length, so it is walked from the start. */

#include "emu/storage/drivers/qcow2/snapshot_list.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/header.h"

enum { ENTRY_FIXED = 40, EXTRA_KNOWN = 24, TABLE_ALIGN = 4096 };

void qcow2_snapshot_fini(struct qcow2_snapshot *snapshot)
{
    xfree(snapshot->id);
    xfree(snapshot->name);
    xfree(snapshot->unknown);
}

void qcow2_snapshots_fini(struct qcow2_snapshots *snapshots)
{
    vec_for_each(snapshot, &snapshots->list)
        qcow2_snapshot_fini(snapshot);
    vec_fini(&snapshots->list);
    snapshots->table_size = 0;
}

static void parse_entry(struct qcow2_snapshot *s, const uint8_t *p, uint64_t disk_size)
{
    uint16_t id_len = load_be16(p + 12), name_len = load_be16(p + 14);
    uint32_t extra = load_be32(p + 36);

    *s = (struct qcow2_snapshot){
        .l1_offset = load_be64(p),
        .l1_size = load_be32(p + 8),
        .date_s = load_be32(p + 16),
        .date_ns = load_be32(p + 20),
        .vm_clock_ns = load_be64(p + 24),
        .vm_state_size = load_be32(p + 32),
        .disk_size = disk_size,
        .icount = UINT64_MAX,
    };
    if (extra >= 8)
        s->vm_state_size = load_be64(p + ENTRY_FIXED);
    if (extra >= 16)
        s->disk_size = load_be64(p + ENTRY_FIXED + 8);
    if (extra >= 24)
        s->icount = load_be64(p + ENTRY_FIXED + 16);
    s->extra_size = extra;
    if (extra > EXTRA_KNOWN) {
        s->unknown_len = extra - EXTRA_KNOWN;
        s->unknown = xmemdup(p + ENTRY_FIXED + EXTRA_KNOWN, s->unknown_len);
    }
    s->id = xstrndup((const char *)p + ENTRY_FIXED + extra, id_len);
    s->name = xstrndup((const char *)p + ENTRY_FIXED + extra + id_len, name_len);
}

bool qcow2_snapshot_l1_ok(const struct qcow2_snapshot *s, unsigned cluster_bits)
{
    return s->l1_size <= QCOW2_L1_BYTES_MAX / 8 &&
           is_aligned(s->l1_offset, UINT64_C(1) << cluster_bits) &&
           range_within(s->l1_offset, (uint64_t)s->l1_size * 8, QCOW2_HOST_OFFSET_MAX);
}

static struct err *parse(struct qcow2_snapshots *snapshots, const struct qcow2_header *header,
                         const uint8_t *data, size_t len, bool *need_more)
{
    size_t at = 0;

    for (uint32_t i = 0; i < header->fields.nb_snapshots; i++) {
        struct qcow2_snapshot s;
        size_t size;

        at = align_up_u64(at, 8);
        if (at + ENTRY_FIXED > QCOW2_SNAPSHOT_TABLE_BYTES_MAX)
            return err_new("Snapshot table is too large");
        if (at + ENTRY_FIXED > len) {
            *need_more = true;
            return NULL;
        }
        if (load_be32(data + at + 36) > QCOW2_SNAPSHOT_EXTRA_MAX)
            return err_new("Too much extra metadata in snapshot table entry %u", i);
        size = ENTRY_FIXED + load_be32(data + at + 36) + load_be16(data + at + 12) +
               load_be16(data + at + 14);
        if (at + size > len) {
            *need_more = true;
            return NULL;
        }
        parse_entry(&s, data + at, header->fields.size);
        vec_push(&snapshots->list, s);
        at += size;
    }
    snapshots->table_size = at;
    return NULL;
}

struct err *qcow2_snapshots_parse(struct qcow2_snapshots *snapshots,
                                  const struct qcow2_header *header, const uint8_t *data,
                                  size_t len, bool *need_more)
{
    struct err *err;

    *need_more = false;
    err = parse(snapshots, header, data, len, need_more);
    if (err || *need_more)
        qcow2_snapshots_fini(snapshots);
    return err;
}

void qcow2_snapshots_copy(struct qcow2_snapshots *out, const struct qcow2_snapshots *snapshots)
{
    *out = (struct qcow2_snapshots){ 0 };
    for (size_t i = 0; i < snapshots->list.len; i++) {
        struct qcow2_snapshot s = snapshots->list.items[i];

        s.id = xstrdup(s.id);
        s.name = xstrdup(s.name);
        if (s.unknown)
            s.unknown = xmemdup(s.unknown, s.unknown_len);
        vec_push(&out->list, s);
    }
}

static size_t entry_size(const struct qcow2_snapshot *s)
{
    return align_up_u64(
        (uint64_t)ENTRY_FIXED + EXTRA_KNOWN + s->unknown_len + strlen(s->id) + strlen(s->name), 8);
}

static void build_entry(const struct qcow2_snapshot *s, uint8_t *p)
{
    uint8_t *extra = p + ENTRY_FIXED, *text = extra + EXTRA_KNOWN + s->unknown_len;

    store_be64(p, s->l1_offset);
    store_be32(p + 8, s->l1_size);
    store_be16(p + 12, (uint16_t)strlen(s->id));
    store_be16(p + 14, (uint16_t)strlen(s->name));
    store_be32(p + 16, s->date_s);
    store_be32(p + 20, s->date_ns);
    store_be64(p + 24, s->vm_clock_ns);
    store_be32(p + 32, s->vm_state_size > UINT32_MAX ? 0 : (uint32_t)s->vm_state_size);
    store_be32(p + 36, EXTRA_KNOWN + s->unknown_len);
    store_be64(extra, s->vm_state_size);
    store_be64(extra + 8, s->disk_size);
    store_be64(extra + 16, s->icount);
    if (s->unknown)
        memcpy(extra + EXTRA_KNOWN, s->unknown, s->unknown_len);
    memcpy(text, s->id, strlen(s->id));
    memcpy(text + strlen(s->id), s->name, strlen(s->name));
}

uint8_t *qcow2_snapshots_build(struct qcow2_snapshots *snapshots, uint64_t unit)
{
    uint64_t size = 0, at = 0;
    uint8_t *table;

    vec_for_each(s, &snapshots->list)
        size += entry_size(s);
    table = try_alloc_aligned(TABLE_ALIGN, align_up_u64(MAX(size, UINT64_C(1)), unit));
    if (!table)
        return NULL;
    memset(table, 0, align_up_u64(MAX(size, UINT64_C(1)), unit));
    vec_for_each(s, &snapshots->list) {
        build_entry(s, table + at);
        s->extra_size = EXTRA_KNOWN + s->unknown_len;
        at += entry_size(s);
    }
    snapshots->table_size = size;
    return table;
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);

    memcpy(out, text, len);
    out[len] = 0;
}

void qcow2_snapshot_info(const struct qcow2_snapshot *snapshot, struct snapshot_info *out)
{
    *out = (struct snapshot_info){
        .vm_state_size = snapshot->vm_state_size,
        .date_sec = snapshot->date_s,
        .date_nsec = snapshot->date_ns,
        .vm_clock_nsec = snapshot->vm_clock_ns,
        .icount = snapshot->icount,
        .disk_size = snapshot->disk_size,
    };
    copy_text(out->id, sizeof(out->id), snapshot->id);
    copy_text(out->name, sizeof(out->name), snapshot->name);
}

struct json *qcow2_snapshots_json(const struct qcow2_snapshots *snapshots)
{
    struct json *array = json_array();

    for (size_t i = 0; i < snapshots->list.len; i++) {
        const struct qcow2_snapshot *s = &snapshots->list.items[i];
        struct json *info = json_object();

        json_object_set_str(info, "id", s->id);
        json_object_set_str(info, "name", s->name);
        json_object_set_uint(info, "vm-state-size", s->vm_state_size);
        json_object_set_uint(info, "date-sec", s->date_s);
        json_object_set_uint(info, "date-nsec", s->date_ns);
        json_object_set_uint(info, "vm-clock-sec", s->vm_clock_ns / 1000000000);
        json_object_set_uint(info, "vm-clock-nsec", s->vm_clock_ns % 1000000000);
        if (s->icount != UINT64_MAX)
            json_object_set_uint(info, "icount", s->icount);
        json_array_add(array, info);
    }
    return array;
}
