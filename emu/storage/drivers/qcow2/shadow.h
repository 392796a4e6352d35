#ifndef EMU_STORAGE_DRIVERS_QCOW2_SHADOW_H
#define EMU_STORAGE_DRIVERS_QCOW2_SHADOW_H

/*
 * A change of metadata as a whole, made beside what is there and published by one write of the header's first sector.
 *
 * For snapshots, amend and shrinking: they change so many counts and entries that no order of writes in place
 * would keep an image consistent at every moment. So everything that changes (refcount blocks, the refcount
 * table, L2 tables, the L1 table, the snapshot table) is written to clusters that nobody counts yet. The new
 * counts already leave out what is given up. Then, with flushes around it, the first sector of the header switches to
 * the new structures (O8). A crash before leaves the old image, a crash after it the new one; neither has a leak.
 *
 * Phases:
 *   TAKE    the image is being taken for exclusive use
 *   LOAD    the refcount blocks are being read into memory
 *   PLAN    the owner's plan() makes the changes, table by table
 *   WRITE   what was placed last is being written: refcount blocks and table, L1 tables, snapshot table
 *   FLUSH   it is being made durable
 *   HEADER  the header is being written
 *   DURABLE the header is being made durable
 *   PUNCH   memory has switched; clusters that became free are being punched out
 *   UNDO    the header may or may not have arrived: the old one is being written again
 *
 * Invariants:
 *  (1) New structures lie only in clusters whose old and new count were zero (O1, O4 hold trivially).
 *  (2) No failure before HEADER changes anything but free clusters.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/vec.h"
#include "emu/storage/driver.h"
#include "emu/storage/drivers/qcow2/counts.h"
#include "emu/storage/drivers/qcow2/header.h"
#include "emu/storage/drivers/qcow2/snapshot_list.h"
#include "emu/storage/drivers/qcow2/wait.h"
#include "emu/storage/req.h"

struct qcow2;
struct qcow2_shadow;

enum qcow2_shadow_phase {
    QCOW2_SHADOW_TAKE,
    QCOW2_SHADOW_LOAD,
    QCOW2_SHADOW_PLAN,
    QCOW2_SHADOW_WRITE,
    QCOW2_SHADOW_FLUSH,
    QCOW2_SHADOW_HEADER,
    QCOW2_SHADOW_DURABLE,
    QCOW2_SHADOW_PUNCH,
    QCOW2_SHADOW_UNDO,
    QCOW2_SHADOW_PHASE_COUNT,
};

/* Something to write in the end. */
struct qcow2_piece {
    uint64_t offset, len;
    uint8_t *data;
    bool owned; /* data is freed with it. */
};

struct qcow2_shadow_ops {
    /*
     * Makes the next step of the change: 0 all is planned, QCOW2_WAIT by the functions below, -errno (with
     * s->err set when there is a better text than that of the errno).
     */
    int (*plan)(struct qcow2_shadow *s);
    /* All is durable: memory beyond tables and header changes now. */
    void (*published)(struct qcow2_shadow *s);
    /* The end. Takes err. Frees what embeds s, if it likes. */
    void (*done)(struct qcow2_shadow *s, struct err *err);
};

struct qcow2_shadow {
    struct qcow2 *q;
    const struct qcow2_shadow_ops *ops;
    enum qcow2_shadow_phase phase;
    bool stepping, busy, sole;
    /* The owner holds the image by this before and after; NULL: it is taken and dropped by the machine. */
    const struct qcow2_wait *holder;
    struct err *err;     /* owned */
    int result, undone_for;
    struct qcow2_wait wait;
    struct req req;
    struct iovec iov;

    struct qcow2_counts old, new;
    unsigned new_order;                 /* log2 of the bits of a new count; set before start. */
    uint64_t load_next, load_bytes;     /* Blocks read, bytes of them. */
    VEC(uint64_t) vacated;              /* Places given up that are still counted. */
    uint64_t cursor;                    /* No free cluster is known below. */
    struct qcow2_header_fields fields;  /* The new header: the plan sets l1_*, size, snapshots. */
    uint64_t *l1;                       /* owned; the new active L1 table, in host byte order. */
    uint32_t l1_count;
    struct qcow2_snapshots snapshots;   /* The new list, when has_snapshots. */
    bool has_snapshots;
    VEC(struct qcow2_piece) pieces;
    size_t piece_next;
    bool punch; /* Freed clusters are punched out. */
    uint64_t punch_next, punch_end;
    uint8_t *sector; /* owned */
    uint64_t file_end; /* End of the highest cluster that was placed. */
};

/* Zeroed memory, q, ops and new_order set; begins. ops->done is called later or from within. */
void qcow2_shadow_start(struct qcow2_shadow *s);

/* ---- For plan(). 0 or -errno unless said otherwise. ---- */

/* Finds count adjacent clusters that are free now and later, and counts each of them `refs` times. */
MUST_USE int qcow2_shadow_alloc(struct qcow2_shadow *s, uint64_t count, uint64_t refs,
                                uint64_t *offset);
/* Adds (or takes away) one reference for each cluster that the range touches. -EINVAL: not possible. */
MUST_USE int qcow2_shadow_ref(struct qcow2_shadow *s, uint64_t offset, uint64_t len, int addend);
/* Reads into buf; QCOW2_WAIT, plan() is called again when it is there. Zeroes behind the end of the file. */
MUST_USE int qcow2_shadow_read(struct qcow2_shadow *s, uint64_t offset, void *buf, uint64_t len);
MUST_USE int qcow2_shadow_write(struct qcow2_shadow *s, uint64_t offset, const void *buf,
                                uint64_t len);
/* Has data written before the header changes. Takes data if owned. */
void qcow2_shadow_piece(struct qcow2_shadow *s, struct qcow2_piece piece);
/* For published(): the end of the last cluster that is in use. */
uint64_t qcow2_shadow_end(const struct qcow2_shadow *s);
/* The new active table, all zero. It is placed and written by the machine at the end of the plan. */
MUST_USE int qcow2_shadow_make_l1(struct qcow2_shadow *s, uint32_t count);

#endif
