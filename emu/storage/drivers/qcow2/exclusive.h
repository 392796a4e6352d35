#ifndef EMU_STORAGE_DRIVERS_QCOW2_EXCLUSIVE_H
#define EMU_STORAGE_DRIVERS_QCOW2_EXCLUSIVE_H

/*
 * Exclusive use of an image by an operation that changes its metadata as a whole: snapshots, resize, amend.
 *
 * One holder at a time; others queue. While it is held no request of the guest runs (they are kept and start
 * afterwards), nothing in memory differs from the file, and no cluster is in limbo.
 */

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/list.h"
#include "emu/storage/drivers/qcow2/wait.h"

struct qcow2;
struct qcow2_op;

struct qcow2_exclusive {
    const struct qcow2_wait *holder; /* NULL: free. */
    struct list queue;               /* struct qcow2_wait: want to be holder. */
    struct list idle; /* struct qcow2_wait: the holder, until the last request has ended. */
    struct list held;                /* struct qcow2_op (link): requests that came meanwhile. */
};

void qcow2_exclusive_init(struct qcow2 *q);
/*
 * 0: wait's owner holds the image and all is settled. QCOW2_WAIT: to be called again when woken. -errno: what is
 * in memory could not be written; nothing is held then. A holder may call it again to settle what it changed.
 */
MUST_USE int qcow2_exclusive_take(struct qcow2 *q, struct qcow2_wait *wait);
/* Ends the use, if wait is the holder: starts what was held, wakes the next in the queue. */
void qcow2_exclusive_drop(struct qcow2 *q, const struct qcow2_wait *wait);
/* Keeps the request for later, if it must wait. */
bool qcow2_exclusive_holds_back(struct qcow2 *q, struct qcow2_op *op);
/* The last request in flight has ended. */
void qcow2_exclusive_idle(struct qcow2 *q);

#endif
