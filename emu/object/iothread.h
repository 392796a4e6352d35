#ifndef EMU_OBJECT_IOTHREAD_H
#define EMU_OBJECT_IOTHREAD_H

/*
 * The object type `iothread`: what devices and exports name as the place of their I/O. I/O never blocks the reactor
 * that all disks share, so the object carries its settings and its identity, and disks stay where they are.
 */

#include "emu/object/object.h"

struct iothread {
    struct object base;
    int64_t poll_max_ns, poll_grow, poll_shrink; /* Nanoseconds, factors; >= 0. */
    int64_t aio_max_batch;                       /* Requests; 0: the engine's choice. */
    int64_t thread_pool_min, thread_pool_max;    /* Threads. */
};

extern const struct object_type iothread_object_type;

/* The iothread of that id; NULL when there is none. objects may be NULL. */
struct iothread *iothread_find(struct objects *objects, const char *id);

#endif
