#ifndef EMU_STORAGE_DRIVERS_QCOW2_COMMIT_H
#define EMU_STORAGE_DRIVERS_QCOW2_COMMIT_H

/*
 * Commit: writes all changed metadata in an order that is safe at every point (O1-O4, O8).
 *
 * A commit begins by capturing everything that is dirty at one moment: refcount blocks, L2 slices, sectors
 * of L1 and refcount table, header fields, and the list of freed clusters. As all changes of metadata in
 * memory are atomic, the capture is consistent in itself; what changes later belongs to the next one. Then:
 *
 *   SESSION    first of all: the header's note that the image is being written; flush
 *   REF        refcount blocks, and a refcount table at a new place
 *   BARRIER    flush: also makes the driver's fill bytes durable (O1, O2)
 *   REFTABLE   entries of the refcount table, or the header's pointer to a new one; flush
 *   L2         L2 slices, and an L1 table at a new place
 *   L2_FLUSH   only when L1 entries follow (O3)
 *   L1         L1 entries; the header, when changed (O8)
 *   FLUSH      now nothing durable refers to what was freed (O4)
 *
 * and the freed clusters go to the limbo worker (limbo.h). Refcounts that went down were changed in memory
 * only after such a commit, so they can be written in any REF phase. When a step fails everything
 * captured becomes dirty again, and whoever waited gets the error.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/list.h"
#include "emu/base/vec.h"
#include "emu/reactor/reactor.h"
#include "emu/storage/drivers/qcow2/header.h"
#include "emu/storage/drivers/qcow2/table.h"
#include "emu/storage/drivers/qcow2/wait.h"
#include "emu/storage/req.h"

struct qcow2;

enum qcow2_commit_phase {
    QCOW2_COMMIT_IDLE,
    QCOW2_COMMIT_SESSION,
    QCOW2_COMMIT_SESSION_FLUSH,
    QCOW2_COMMIT_REF,
    QCOW2_COMMIT_BARRIER,
    QCOW2_COMMIT_REFTABLE,
    QCOW2_COMMIT_REFTABLE_FLUSH,
    QCOW2_COMMIT_L2,
    QCOW2_COMMIT_L2_FLUSH,
    QCOW2_COMMIT_L1,
    QCOW2_COMMIT_FLUSH,
    QCOW2_COMMIT_PHASE_COUNT,
};

enum { QCOW2_COMMIT_WINDOW = 8, QCOW2_COMMIT_RUN = 64 };

struct qcow2_commit_io {
    struct req req;
    struct iovec iov[QCOW2_COMMIT_RUN];
    struct qcow2 *q;
    bool busy;
};

struct qcow2_commit {
    enum qcow2_commit_phase phase;
    struct list refs, l2; /* struct qcow2_block, captured and not yet handed out. */
    struct list written;  /* Captured and handed out for writing. */
    struct qcow2_table_capture reftable, l1;
    struct qcow2_header_fields fields;  /* Captured header. */
    struct qcow2_header_fields on_disk; /* What the header in the file has. */
    bool header_dirty;                  /* Captured. */
    bool cluster_captured;              /* header_cluster belongs to this commit. */
    bool need_barrier;
    bool need_session;
    bool end_session; /* The next commit takes the note of being written out of the header. */
    bool kicked; /* Another commit is to follow. */
    int result;
    unsigned in_flight;
    struct qcow2_commit_io io[QCOW2_COMMIT_WINDOW];
    uint8_t *sector;           /* owned; buffer of header writes. */
    uint8_t *header_cluster;   /* owned, NULL: none; the new whole header cluster to write;
                                        the header is dirty then. */
    bool header_tail;          /* More of it than the first sector has to be written. */
    struct list current, next; /* struct qcow2_wait: for this commit, for the one after it. */
    struct task task;
};

/* False when out of memory. */
MUST_USE bool qcow2_commit_init(struct qcow2 *q);
void qcow2_commit_fini(struct qcow2 *q);

/* Whether memory differs from the file. */
bool qcow2_commit_needed(struct qcow2 *q);
/*
 * Has the next commit write the header with its extensions and the backing file's name. Not while
 * q->commit.header_cluster is set: wait for a commit then. What lies behind the first sector is written
 * before it and nothing there that the old first sector refers to changes, so that O8 holds.
 */
MUST_USE struct err *qcow2_commit_header(struct qcow2 *q);
/*
 * Nothing is dirty or in limbo: has the next commit note that the image is not being written any more. False: there is
 * no such note, or clusters were given up that only a later opening can free.
 */
bool qcow2_commit_end_session(struct qcow2 *q);
/* Starts one soon, if needed. */
void qcow2_commit_kick(struct qcow2 *q);
/*
 * Wakes wait when a commit that captured everything changed so far has ended, even when there is nothing to
 * write but a flush is due. Returns QCOW2_WAIT.
 */
int qcow2_commit_wait(struct qcow2 *q, struct qcow2_wait *wait);

#endif
