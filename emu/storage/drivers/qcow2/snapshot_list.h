#ifndef EMU_STORAGE_DRIVERS_QCOW2_SNAPSHOT_LIST_H
#define EMU_STORAGE_DRIVERS_QCOW2_SNAPSHOT_LIST_H

/*
 * The table of internal snapshots ("Snapshots" in the format specification): parsing and building it, and the list
 * in memory.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/vec.h"
#include "emu/storage/snapshot.h"

struct qcow2_header;

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint32_t l1_size; /* Entries. */
    char *id, *name;  /* owned */
    uint32_t date_s, date_ns;
    uint64_t vm_clock_ns, vm_state_size, disk_size, icount;
    uint32_t extra_size; /* Of the extra data found on disk. */
    uint8_t *unknown;    /* owned; extra data beyond what is known, kept as it is. NULL: none. */
    uint32_t unknown_len;
};

struct qcow2_snapshots {
    VEC(struct qcow2_snapshot) list;
    uint64_t table_size; /* Bytes of the table on disk. */
};

void qcow2_snapshots_fini(struct qcow2_snapshots *snapshots);
void qcow2_snapshot_fini(struct qcow2_snapshot *snapshot);
/* Whether the entry's L1 table has a possible place and size. An image with others can be opened, but not use them. */
bool qcow2_snapshot_l1_ok(const struct qcow2_snapshot *snapshot, unsigned cluster_bits);
/* All entries again; table_size is 0 until the table is built. */
void qcow2_snapshots_copy(struct qcow2_snapshots *out, const struct qcow2_snapshots *snapshots);
/*
 * Parses header->nb_snapshots entries. *need_more: the table goes on after len, read more of it and
 * try again (snapshots is empty then).
 */
MUST_USE struct err *qcow2_snapshots_parse(struct qcow2_snapshots *snapshots,
                                           const struct qcow2_header *header, const uint8_t *data,
                                           size_t len, bool *need_more);
/*
 * The table as on disk, in memory of its own rounded up to `unit` bytes; sets table_size. NULL: out of memory.
 * With more than QCOW2_SNAPSHOT_TABLE_BYTES_MAX bytes it cannot be stored: the caller looks.
 */
MUST_USE uint8_t *qcow2_snapshots_build(struct qcow2_snapshots *snapshots, uint64_t unit);
/* Array of SnapshotInfo; new. */
MUST_USE struct json *qcow2_snapshots_json(const struct qcow2_snapshots *snapshots);
/* What others know of a snapshot; long ids and names are cut. */
void qcow2_snapshot_info(const struct qcow2_snapshot *snapshot, struct snapshot_info *out);

#endif
