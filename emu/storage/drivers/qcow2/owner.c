/* The owner map: a hash set of metadata clusters. Linear probing, deletion by shifting back. */

#include "emu/storage/drivers/qcow2/owner.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/hash.h"

void qcow2_owner_fini(struct qcow2_owner *owner)
{
    xfree(owner->slots);
    *owner = (struct qcow2_owner){ 0 };
}

static uint64_t home(const struct qcow2_owner *owner, uint64_t cluster)
{
    return hash_u64(cluster) & owner->mask;
}

/* The slot of cluster, or the free one where it would go. */
static uint64_t find(const struct qcow2_owner *owner, uint64_t cluster)
{
    uint64_t i = home(owner, cluster);

    while (owner->slots[i] && owner->slots[i] >> 8 != cluster)
        i = (i + 1) & owner->mask;
    return i;
}

static int grow(struct qcow2_owner *owner)
{
    struct qcow2_owner bigger = { .mask = owner->slots ? owner->mask * 2 + 1 : 63 };

    bigger.slots = try_calloc(bigger.mask + 1, sizeof(uint64_t));
    if (!bigger.slots)
        return -ENOMEM;
    for (uint64_t i = 0; owner->slots && i <= owner->mask; i++) {
        if (owner->slots[i])
            bigger.slots[find(&bigger, owner->slots[i] >> 8)] = owner->slots[i];
    }
    bigger.used = owner->used;
    xfree(owner->slots);
    *owner = bigger;
    return 0;
}

int qcow2_owner_add(struct qcow2_owner *owner, uint64_t first, uint64_t count,
                    enum qcow2_owner_kind kind, bool *clash)
{
    for (uint64_t cluster = first; cluster < first + count; cluster++) {
        if (!owner->slots || owner->used * 2 >= owner->mask) {
            int ret = grow(owner);

            if (ret)
                return ret;
        }
        uint64_t i = find(owner, cluster);

        if (owner->slots[i]) {
            if (clash)
                *clash = true;
            continue;
        }
        owner->slots[i] = cluster << 8 | (uint64_t)kind;
        owner->used++;
    }
    return 0;
}

static void remove_one(struct qcow2_owner *owner, uint64_t cluster)
{
    uint64_t hole = find(owner, cluster);

    if (!owner->slots[hole])
        return;
    owner->used--;
    owner->slots[hole] = 0;
    for (uint64_t i = (hole + 1) & owner->mask; owner->slots[i]; i = (i + 1) & owner->mask) {
        uint64_t want = home(owner, owner->slots[i] >> 8);

        /* The entry may move into the hole unless its home lies cyclically after the hole. */
        if (((i - want) & owner->mask) < ((i - hole) & owner->mask))
            continue;
        owner->slots[hole] = owner->slots[i];
        owner->slots[i] = 0;
        hole = i;
    }
}

void qcow2_owner_remove(struct qcow2_owner *owner, uint64_t first, uint64_t count)
{
    for (uint64_t cluster = first; owner->slots && cluster < first + count; cluster++)
        remove_one(owner, cluster);
}

enum qcow2_owner_kind qcow2_owner_of(const struct qcow2_owner *owner, uint64_t cluster)
{
    return owner->slots ? (enum qcow2_owner_kind)(owner->slots[find(owner, cluster)] & 0xff)
                        : QCOW2_OWNER_NONE;
}

const char *qcow2_owner_name(enum qcow2_owner_kind kind)
{
    static const char *const names[] = {
        [QCOW2_OWNER_NONE] = "guest data",          [QCOW2_OWNER_HEADER] = "qcow2_header",
        [QCOW2_OWNER_L1] = "active L1 table",       [QCOW2_OWNER_L2] = "active L2 table",
        [QCOW2_OWNER_REFTABLE] = "refcount table",  [QCOW2_OWNER_REFBLOCK] = "refcount block",
        [QCOW2_OWNER_SNAPSHOTS] = "snapshot table", [QCOW2_OWNER_INACTIVE_L1] = "inactive L1 table",
        [QCOW2_OWNER_BITMAPS] = "bitmap directory", [QCOW2_OWNER_LUKS] = "encryption header",
    };

    return names[kind];
}
