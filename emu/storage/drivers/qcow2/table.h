#ifndef EMU_STORAGE_DRIVERS_QCOW2_TABLE_H
#define EMU_STORAGE_DRIVERS_QCOW2_TABLE_H

/*
 * A table of 64-bit entries held whole in memory: the active L1 table, or the refcount table.
 *
 * Changes are noted per sector of 64 entries. A table that was given a new place is written whole before
 * the header points to it. A capture is what a commit writes: copies, so that the table may change on.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/bitset.h"

struct qcow2_table {
    uint64_t *entries; /* owned; in host byte order. */
    uint32_t count;
    uint64_t offset;     /* Host offset. */
    struct bitset dirty; /* One bit per sector. */
    bool any_dirty;
    bool moved; /* offset and count are not yet in the header on disk. */
};

struct qcow2_table_capture {
    uint8_t *data;     /* owned; sectors as on disk. */
    uint32_t *sectors; /* owned; index of each sector of data. */
    uint32_t count;    /* Sectors. */
    uint32_t next;     /* Those before it were handed out for writing. */
    uint64_t offset;
    uint32_t entries;
    bool moved;
};

/* All entries 0. False when out of memory. */
MUST_USE bool qcow2_table_init(struct qcow2_table *table, uint32_t count, uint64_t offset);
void qcow2_table_fini(struct qcow2_table *table);
/* Entries as on disk; at most count of them. */
void qcow2_table_decode(struct qcow2_table *table, const uint8_t *data, uint32_t count);
void qcow2_table_set(struct qcow2_table *table, uint32_t index, uint64_t value);
/* A copy with more entries at another place, moved. False (nothing done) when out of memory. */
MUST_USE bool qcow2_table_grown(const struct qcow2_table *table, uint32_t count, uint64_t offset,
                                struct qcow2_table *out);

/* Takes the changes into capture; the table is then clean. False (nothing done) when out of memory. */
MUST_USE bool qcow2_table_capture(struct qcow2_table *table, struct qcow2_table_capture *capture);
/* The captured changes did not reach the disk: they are changes again. */
void qcow2_table_uncapture(struct qcow2_table *table, const struct qcow2_table_capture *capture);
/*
 * The next piece to write: adjacent sectors, at most max_bytes. False when there is none left.
 */
bool qcow2_table_capture_next(struct qcow2_table_capture *capture, uint32_t max_bytes,
                              uint64_t *offset, uint8_t **data, uint32_t *len);
void qcow2_table_capture_fini(struct qcow2_table_capture *capture);

#endif
