/* Exclusive use of an image: see the header. */

#include "emu/storage/drivers/qcow2/exclusive.h"

#include <errno.h>

#include "emu/storage/drivers/qcow2/op.h"
#include "emu/storage/drivers/qcow2/qcow2.h"

void qcow2_exclusive_init(struct qcow2 *q)
{
    list_init(&q->exclusive.queue);
    list_init(&q->exclusive.idle);
    list_init(&q->exclusive.held);
}

int qcow2_exclusive_take(struct qcow2 *q, struct qcow2_wait *wait)
{
    struct qcow2_exclusive *x = &q->exclusive;

    if (x->holder && x->holder != wait)
        return qcow2_wait_add(&x->queue, wait);
    x->holder = wait;
    if (!list_empty(&q->active))
        return qcow2_wait_add(&x->idle, wait);
    if (q->read_only)
        return 0;
    if (q->corrupt || q->broken) {
        qcow2_exclusive_drop(q, wait);
        return -EIO;
    }
    if (qcow2_commit_needed(q))
        return qcow2_commit_wait(q, wait);
    if (!qcow2_limbo_empty(q)) {
        qcow2_wait_add(&q->limbo.idle_waiters, wait);
        qcow2_limbo_work(q);
        return QCOW2_WAIT;
    }
    return 0;
}

void qcow2_exclusive_drop(struct qcow2 *q, const struct qcow2_wait *wait)
{
    struct qcow2_exclusive *x = &q->exclusive;
    struct qcow2_wait *next;
    struct list held = LIST_INIT(held);
    struct qcow2_op *op;

    if (x->holder != wait)
        return;
    x->holder = NULL;
    next = list_pop_head(&x->queue, struct qcow2_wait, link);
    if (next) {
        x->holder = next; /* What was held goes on being held: the next one's turn first. */
        next->wake(next, 0);
        return;
    }
    list_splice_tail(&held, &x->held);
    while ((op = list_pop_head(&held, struct qcow2_op, link)))
        qcow2_op_start(op);
}

bool qcow2_exclusive_holds_back(struct qcow2 *q, struct qcow2_op *op)
{
    if (!q->exclusive.holder)
        return false;
    list_add_tail(&q->exclusive.held, &op->link);
    return true;
}

void qcow2_exclusive_idle(struct qcow2 *q) { qcow2_wait_wake_all(&q->exclusive.idle, 0); }
