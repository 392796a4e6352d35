/* Reading the snapshot table; each entry is variable in length, so it is walked from the start. */

#include "emu/storage/drivers/qcow2/snapshot_list.h"

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/header.h"

enum { ENTRY_FIXED = 40 };

void qcow2_snapshots_fini(struct qcow2_snapshots *snapshots)
{
    vec_for_each(snapshot, &snapshots->list) {
        xfree(snapshot->id);
        xfree(snapshot->name);
    }
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
    s->id = xstrndup((const char *)p + ENTRY_FIXED + extra, id_len);
    s->name = xstrndup((const char *)p + ENTRY_FIXED + extra + id_len, name_len);
}

static struct err *check_entry(const struct qcow2_snapshot *s, const struct qcow2_header *header)
{
    if (s->l1_size > QCOW2_L1_BYTES_MAX / 8)
        return err_new("Snapshot '%s' (%s): L1 table is too large", s->id, s->name);
    if (!is_aligned(s->l1_offset, UINT64_C(1) << header->cluster_bits) ||
        !range_within(s->l1_offset, (uint64_t)s->l1_size * 8, QCOW2_HOST_OFFSET_MAX))
        return err_new("Snapshot '%s' (%s): L1 table offset invalid", s->id, s->name);
    return NULL;
}

static struct err *parse(struct qcow2_snapshots *snapshots, const struct qcow2_header *header,
                         const uint8_t *data, size_t len, bool *need_more)
{
    size_t at = 0;

    for (uint32_t i = 0; i < header->nb_snapshots; i++) {
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
        TRY(check_entry(&s, header));
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
