#ifndef EMU_STORAGE_DRIVERS_QCOW2_CHECK_H
#define EMU_STORAGE_DRIVERS_QCOW2_CHECK_H

/*
 * The state of a running check, shared by the files check_*.c and repair.c.
 *
 * Phases: everything in memory is written first; references are counted by walking all tables in the file; then
 * counts are compared with refcounts (and mended); then COPIED flags are compared with refcounts (and
 * mended). When refcount blocks themselves are bad the whole structure is built anew (repair.c).
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/str.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/qcow2/wait.h"

struct qcow2;
struct qcow2_checking;

enum qcow2_check_phase {
    QCOW2_CHECK_SETTLE,  /* Memory is being written out. */
    QCOW2_CHECK_L1,      /* The next L1 table is to be had. */
    QCOW2_CHECK_L2,      /* Its L2 tables are being walked. */
    QCOW2_CHECK_BITMAPS, /* The bitmap directory is being read. */
    QCOW2_CHECK_BITMAP,  /* Bitmap tables are being read. */
    QCOW2_CHECK_COMPARE, /* References are counted; refcounts are being compared. */
    QCOW2_CHECK_MEND,    /* They differ: compared once more, and mended where that was asked for. */
    QCOW2_CHECK_COPIED,  /* Refcounts are right or known to be wrong; flags are being compared. */
    QCOW2_CHECK_COMMIT,  /* Repairs are being written. */
    QCOW2_CHECK_END,
};

struct qcow2_checking {
    struct qcow2 *q;
    unsigned fix;
    struct check_result *result;
    driver_done_fn *done;
    void *arg;
    enum qcow2_check_phase phase;
    bool stepping, waiting, rebuild, rebuilt;
    bool mend_flags; /* COPIED flags are being mended. */
    int error;

    uint32_t *refs;    /* owned; references found, per host cluster of the file. */
    uint64_t clusters; /* Elements of refs. */
    uint64_t highest;  /* Highest cluster in use, plus one. */
    struct str report;

    uint64_t *l1; /* owned; the L1 table being walked. */
    uint32_t l1_count, l1_next;
    uint64_t l1_offset;
    size_t table_next; /* 0: active L1, then snapshots. */
    bool l2_read;
    uint64_t expected; /* Host offset that would continue the last cluster (fragmentation). */

    uint8_t *directory; /* owned */
    uint64_t directory_len, directory_at;
    uint32_t bitmaps_left;
    uint32_t bitmap_entries;

    uint64_t flagged; /* L1 entries whose own flag was compared. */
    uint64_t at; /* Cluster or entry that COMPARE, MEND and COPIED have come to. */
    uint64_t found_leaks, found_corruptions; /* Before COMPARE. */
    struct qcow2_wait wait;
    uint8_t *buf; /* owned; what was read last. */
    uint64_t buf_len;
    struct iovec iov;
    struct req req;
};

/* Counts one reference to each cluster of [offset, offset + len). */
void qcow2_check_count(struct qcow2_checking *c, uint64_t offset, uint64_t len);
void qcow2_check_corrupt(struct qcow2_checking *c, const char *fmt, ...) PRINTF(2, 3);
void qcow2_check_line(struct qcow2_checking *c, const char *fmt, ...) PRINTF(2, 3);
/* Reads into c->buf and steps on: QCOW2_WAIT or -errno. Zeroes behind the end of the file. */
MUST_USE int qcow2_check_read(struct qcow2_checking *c, uint64_t offset, uint64_t len);

/* Writes c->buf back and steps on: QCOW2_WAIT. */
MUST_USE int qcow2_check_write(struct qcow2_checking *c, uint64_t offset);

/* The walking phases (check_walk.c): 0 stay or go on by themselves, QCOW2_WAIT, -errno. */
MUST_USE int qcow2_check_l1(struct qcow2_checking *c);
MUST_USE int qcow2_check_l2(struct qcow2_checking *c);
MUST_USE int qcow2_check_bitmaps(struct qcow2_checking *c);
MUST_USE int qcow2_check_bitmap(struct qcow2_checking *c);
/* Snapshot table, bitmap directory, refcount table and its blocks. */
void qcow2_check_fixed(struct qcow2_checking *c);

/* Makes a new refcount structure in memory from c->refs (repair.c). */
MUST_USE int qcow2_repair_rebuild(struct qcow2_checking *c);

#endif
