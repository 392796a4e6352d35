#ifndef EMU_STORAGE_DRIVERS_QCOW2_LIMBO_H
#define EMU_STORAGE_DRIVERS_QCOW2_LIMBO_H

/*
 * Limbo: clusters that lost a reference in memory and still count as used.
 *
 * A freed range passes through three stages:
 *   fresh      waiting for a commit to capture the change that dropped the reference
 *   committing captured; the commit is running
 *   durable    the reference is gone on disk (O4)
 * From durable the worker takes it, once all requests that were in flight when it was freed have ended (they
 * may still read or write that place), punches it out if wanted (O5: it is still counted), and
 * only then lowers the refcount in memory. The next commit writes that, at leisure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/vec.h"
#include "emu/storage/drivers/qcow2/wait.h"
#include "emu/storage/req.h"

struct qcow2;

struct qcow2_limbo_range {
    uint64_t offset, len; /* Whole clusters. */
    uint64_t seq;         /* Requests below this number may still use it. */
    bool punch;
};

struct qcow2_limbo {
    VEC(struct qcow2_limbo_range) fresh, committing, durable;
    size_t next;  /* durable[next] is worked on. */
    bool working; /* Waiting for a block or a punch. */
    bool punched; /* The run at the start of durable[next] was punched. */
    uint64_t run; /* Bytes of that run. */
    struct qcow2_wait wait;
    struct req req;
    struct list idle_waiters; /* struct qcow2_wait: woken when nothing is durable and not done. */
    uint64_t leaked;          /* Bytes given up for lack of memory or for errors (O10). */
};

void qcow2_limbo_init(struct qcow2 *q);
void qcow2_limbo_fini(struct qcow2 *q);

/* One reference to each cluster of the range is gone from the tables in memory. */
void qcow2_limbo_add(struct qcow2 *q, uint64_t offset, uint64_t len, bool punch);
/* The range was allocated but no table ever referred to it: no commit needs to come first. */
void qcow2_limbo_add_unused(struct qcow2 *q, uint64_t offset, uint64_t len);

/* The commit captured / succeeded / failed. */
void qcow2_limbo_captured(struct qcow2 *q);
void qcow2_limbo_committed(struct qcow2 *q, bool ok);
/* Goes on if it can: called when a request has ended. */
void qcow2_limbo_work(struct qcow2 *q);
bool qcow2_limbo_empty(const struct qcow2 *q);

#endif
