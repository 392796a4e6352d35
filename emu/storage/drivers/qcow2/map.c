/* Lookup of guest ranges. The hot path of mapped data: one hash lookup, then a walk over entries. */

#include "emu/storage/drivers/qcow2/map.h"

#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

/* Whether the entry that follows a data cluster goes on where that ended. */
static inline bool entry_goes_on(const struct qcow2 *q, struct qcow2_entry entry,
                                 enum qcow2_sub kind, uint64_t host)
{
    if (qcow2_entry_sub(q, entry, 0) != kind)
        return false;
    return kind != QCOW2_SUB_DATA || qcow2_entry_host(entry) == host;
}

/* Bytes from sub `sub` of one cluster on that are of its kind. */
static uint64_t same_kind_subs(const struct qcow2 *q, struct qcow2_entry entry, unsigned sub,
                               enum qcow2_sub kind)
{
    unsigned n = 1;

    while (sub + n < q->geo.subs && qcow2_entry_sub(q, entry, sub + n) == kind)
        n++;
    return (uint64_t)n << q->geo.sub_bits;
}

int qcow2_map_lookup(struct qcow2 *q, uint64_t offset, uint64_t max, struct qcow2_wait *wait,
                     struct qcow2_extent *out)
{
    uint64_t in_cluster = offset & (q->geo.cluster_size - 1), len;
    unsigned sub = (unsigned)(in_cluster >> q->geo.sub_bits);
    struct qcow2_entry entry;
    struct qcow2_l2_at at;
    int ret = qcow2_l2_get(q, offset, wait, &at);

    if (ret)
        return ret;
    if (!at.block) {
        uint64_t covers = BIT64(q->geo.l2_bits + q->geo.cluster_bits);

        *out = (struct qcow2_extent){ QCOW2_SUB_NONE, MIN(max, covers - (offset & (covers - 1))), 0,
                                      0 };
        return 0;
    }
    max = MIN(max, qcow2_l2_slice_left(q, offset));
    entry = qcow2_entry_load(q, at.block, at.index);
    *out = (struct qcow2_extent){ .kind = qcow2_entry_sub(q, entry, sub) };
    if (out->kind == QCOW2_SUB_INVALID)
        return qcow2_corrupt_entry(q, at.block, at.index, entry);
    if (out->kind == QCOW2_SUB_COMPRESSED) {
        qcow2_entry_compressed(q, entry, &out->host, &out->compressed_len);
        out->len = MIN(max, q->geo.cluster_size - in_cluster);
        return 0;
    }
    out->host = qcow2_entry_host(entry) + in_cluster;
    if (UNLIKELY(q->external && qcow2_entry_placed(q, entry) && out->host != offset))
        return qcow2_corrupt(
            q,
            "External data file host cluster offset %#llx does not match guest cluster "
            "offset: %#llx, L2 index: %#x)",
            (unsigned long long)qcow2_entry_host(entry),
            (unsigned long long)qcow2_cluster_start(q, offset), at.index);
    len = same_kind_subs(q, entry, sub, out->kind) - (in_cluster & (q->geo.sub_size - 1));
    while (len < max && is_aligned(in_cluster + len, q->geo.cluster_size)) {
        entry = qcow2_entry_load(q, at.block, ++at.index);
        if (!entry_goes_on(q, entry, out->kind, out->host + len))
            break;
        len += same_kind_subs(q, entry, 0, out->kind);
    }
    out->len = MIN(len, max);
    return 0;
}

/* Neither DATA nor ZERO: unallocated; the storage core looks at the backing file then. */
static uint32_t status_flags(enum qcow2_sub kind)
{
    switch (kind) {
    case QCOW2_SUB_NONE:
    case QCOW2_SUB_NONE_KEPT: return 0;
    case QCOW2_SUB_ZERO:
    case QCOW2_SUB_ZERO_KEPT: return STATUS_ZERO | STATUS_ALLOCATED;
    case QCOW2_SUB_DATA:
        return STATUS_DATA | STATUS_ALLOCATED | STATUS_OFFSET_VALID | STATUS_RECURSE;
    case QCOW2_SUB_COMPRESSED: return STATUS_DATA | STATUS_ALLOCATED | STATUS_COMPRESSED;
    case QCOW2_SUB_INVALID: break;
    }
    unreachable();
}

int qcow2_map_status(struct qcow2 *q, uint64_t offset, uint64_t max, struct qcow2_wait *wait,
                     struct req_status *out)
{
    struct qcow2_extent first, more;
    int ret = qcow2_map_lookup(q, offset, max, wait, &first);
    uint64_t len;

    if (ret)
        return ret;
    len = first.len;
    /* Slices and tables end extents by accident: join what follows if it is of the same kind. */
    while (len < max && first.kind != QCOW2_SUB_COMPRESSED) {
        ret = qcow2_map_lookup(q, offset + len, max - len, wait, &more);
        if (ret == QCOW2_WAIT)
            return ret;
        if (ret || more.kind != first.kind ||
            (more.kind == QCOW2_SUB_DATA && more.host != first.host + len))
            break;
        len += more.len;
    }
    *out = (struct req_status){ .flags = status_flags(first.kind), .len = len };
    if (q->external)
        out->flags &=
            ~(uint32_t)
                STATUS_RECURSE; /* What the data file says is no news: it was given to us whole. */
    if (first.kind == QCOW2_SUB_ZERO_KEPT)
        out->flags |= STATUS_OFFSET_VALID;
    /* What lies there is not what the guest reads. */
    if (q->crypt.method != QCOW2_CRYPT_NONE)
        out->flags &= ~(uint32_t)(STATUS_OFFSET_VALID | STATUS_RECURSE);
    if (out->flags & STATUS_OFFSET_VALID) {
        out->host_offset = first.host;
        out->file = q->data->node;
    }
    return 0;
}

int qcow2_map_is_zero(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_wait *wait,
                      bool *out)
{
    *out = false;
    /* There is nothing behind the end. */
    len = MIN(len, sub_saturate_u64(qcow2_readable_end(q, offset), offset));
    while (len) {
        struct qcow2_extent extent;
        int ret = qcow2_map_lookup(q, offset, len, wait, &extent);

        if (ret)
            return ret;
        if (extent.kind == QCOW2_SUB_DATA || extent.kind == QCOW2_SUB_COMPRESSED)
            return 0;
        if ((extent.kind == QCOW2_SUB_NONE || extent.kind == QCOW2_SUB_NONE_KEPT) &&
            q->node->backing && offset < MIN(q->node->backing->node->size, q->header.fields.size))
            return 0;
        offset += extent.len;
        len -= extent.len;
    }
    *out = true;
    return 0;
}
