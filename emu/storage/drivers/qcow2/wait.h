#ifndef EMU_STORAGE_DRIVERS_QCOW2_WAIT_H
#define EMU_STORAGE_DRIVERS_QCOW2_WAIT_H

/*
 * A place in a queue of things that try again later (see qcow2.h on QCOW2_WAIT).
 *
 * The owner embeds one, zeroed with wake set, and may stand in one queue at a time. It is taken out
 * before wake is called. result is 0 (try again) or the -errno that makes trying pointless.
 */

#include "emu/base/list.h"

/* What functions return that have arranged for wake to be called; no errno has this value. */
#define QCOW2_WAIT 1

struct qcow2_wait {
    struct list link;
    void (*wake)(struct qcow2_wait *wait, int result);
};

static inline void qcow2_wait_init(struct qcow2_wait *wait,
                                   void (*wake)(struct qcow2_wait *wait, int result))
{
    list_init(&wait->link);
    wait->wake = wake;
}

/* Puts wait at the end of the queue. Returns QCOW2_WAIT. */
static inline int qcow2_wait_add(struct list *queue, struct qcow2_wait *wait)
{
    list_add_tail(queue, &wait->link);
    return QCOW2_WAIT;
}

/* Wakes those that stand in the queue now; those who queue again meanwhile are left for the next time. */
static inline void qcow2_wait_wake_all(struct list *queue, int result)
{
    struct list now = LIST_INIT(now);
    struct qcow2_wait *wait;

    list_splice_tail(&now, queue);
    while ((wait = list_pop_head(&now, struct qcow2_wait, link)))
        wait->wake(wait, result);
}

#endif
