#ifndef EMU_STORAGE_DRIVERS_QCOW2_SNAPSHOT_LIST_H
#define EMU_STORAGE_DRIVERS_QCOW2_SNAPSHOT_LIST_H

/*
 * The table of internal snapshots ("Snapshots" in the format specification): parsing only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/vec.h"

struct qcow2_header;

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint32_t l1_size; /* Entries. */
    char *id, *name;  /* owned */
    uint32_t date_s, date_ns;
    uint64_t vm_clock_ns, vm_state_size, disk_size, icount;
};

struct qcow2_snapshots {
    VEC(struct qcow2_snapshot) list;
    uint64_t table_size; /* Bytes of the table on disk. */
};

void qcow2_snapshots_fini(struct qcow2_snapshots *snapshots);
/*
 * Parses header->nb_snapshots entries. *need_more: the table goes on after len, read more of it and
 * try again (snapshots is empty then).
 */
MUST_USE struct err *qcow2_snapshots_parse(struct qcow2_snapshots *snapshots,
                                           const struct qcow2_header *header, const uint8_t *data,
                                           size_t len, bool *need_more);
/* Array of SnapshotInfo; new. */
MUST_USE struct json *qcow2_snapshots_json(const struct qcow2_snapshots *snapshots);

#endif
