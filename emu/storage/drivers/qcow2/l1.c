/* Growing the active L1 table. */

#include "emu/storage/drivers/qcow2/l1.h"

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/qcow2.h"
#include "emu/storage/drivers/qcow2/refcount.h"

uint64_t qcow2_l1_entries_for(const struct qcow2 *q, uint64_t size)
{
    return div_round_up(size, BIT64(q->geo.l2_bits + q->geo.cluster_bits));
}

int qcow2_l1_grow(struct qcow2 *q, uint64_t need, struct qcow2_wait *wait)
{
    uint64_t bytes = align_up_u64(need * 8, q->geo.cluster_size), offset;
    uint64_t old_bytes =
        align_up_u64(MAX((uint64_t)q->l1.count * 8, UINT64_C(1)), q->geo.cluster_size);
    struct qcow2_table grown;
    bool had = q->l1.offset != 0;
    int ret;

    if (need <= q->l1.count)
        return 0;
    if (need > QCOW2_L1_BYTES_MAX / 8)
        return -EFBIG;
    ret = qcow2_alloc_region(q, bytes >> q->geo.cluster_bits, wait, &offset);
    if (ret)
        return ret;
    if (!qcow2_table_grown(&q->l1, (uint32_t)need, offset, &grown)) {
        qcow2_limbo_add_unused(q, offset, bytes);
        return -ENOMEM;
    }
    ret = qcow2_owner_add(&q->owner, offset >> q->geo.cluster_bits, bytes >> q->geo.cluster_bits,
                          QCOW2_OWNER_L1, NULL);
    if (had) {
        qcow2_owner_remove(&q->owner, q->l1.offset >> q->geo.cluster_bits,
                           old_bytes >> q->geo.cluster_bits);
        qcow2_limbo_add(q, q->l1.offset, old_bytes, false);
    }
    qcow2_table_fini(&q->l1);
    q->l1 = grown;
    q->header.fields.l1_offset = offset;
    q->header.fields.l1_size = (uint32_t)need;
    return ret;
}
