#ifndef EMU_STORAGE_DRIVERS_QCOW2_OWNER_H
#define EMU_STORAGE_DRIVERS_QCOW2_OWNER_H

/*
 * Which host clusters hold metadata, and of which kind: the overlap check in memory.
 *
 * Asked before every write to the file: metadata is written only to clusters owned by that kind, guest
 * data only to clusters owned by nobody. Data clusters are not recorded. Memory follows the number of
 * metadata clusters, which the limits on L1 and refcount table bound.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"

enum qcow2_owner_kind {
    QCOW2_OWNER_NONE,
    QCOW2_OWNER_HEADER,
    QCOW2_OWNER_L1,
    QCOW2_OWNER_L2,
    QCOW2_OWNER_REFTABLE,
    QCOW2_OWNER_REFBLOCK,
    QCOW2_OWNER_SNAPSHOTS,
    QCOW2_OWNER_INACTIVE_L1,
    QCOW2_OWNER_BITMAPS,
    QCOW2_OWNER_LUKS,
};

/* Zeroed memory is an empty map. */
struct qcow2_owner {
    uint64_t *slots; /* owned; open addressing: cluster index << 8 | kind, 0: free. */
    uint64_t mask, used;
};

void qcow2_owner_fini(struct qcow2_owner *owner);
/*
 * Records clusters [first, first + count). One that is owned already keeps its owner: *clash tells (NULL:
 * not of interest). -ENOMEM leaves some unrecorded.
 */
MUST_USE int qcow2_owner_add(struct qcow2_owner *owner, uint64_t first, uint64_t count,
                             enum qcow2_owner_kind kind, bool *clash);
void qcow2_owner_remove(struct qcow2_owner *owner, uint64_t first, uint64_t count);
enum qcow2_owner_kind qcow2_owner_of(const struct qcow2_owner *owner, uint64_t cluster);
/* Kind as people know it: "active L2 table". */
const char *qcow2_owner_name(enum qcow2_owner_kind kind);

#endif
