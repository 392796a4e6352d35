/*
 * Watches of foreign descriptors: readiness only, the calls are somebody else's.
 *
 * The epoll body reports edges. One that came while nobody waited is kept in can_read, and ends the
 * next wait at once.
 */
#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/reactor/real.h"

struct real_watch {
    struct reactor_watch base; /* First. */
    struct watch watch;
};

struct err *real_watch_new(struct reactor *r, int fd, struct reactor_watch **out)
{
    struct real_watch *w = NEW(struct real_watch);

    w->base.reactor = r;
    watch_init(&w->watch, fd);
    w->watch.can_read = false;
    r->handles++;
    *out = &w->base;
    return NULL;
}

void real_watch_free(struct reactor_watch *base)
{
    struct real_watch *w = (struct real_watch *)base;
    struct real *real = real_of(base->reactor);

    real->body->watch_close(real, &w->watch);
    base->reactor->handles--;
    xfree(w);
}

void real_watch_start(struct op *op)
{
    struct real_watch *w = op->handle;

    if (w->watch.can_read) {
        w->watch.can_read = false;
        op_finish(op, 0);
    } else {
        real_of(op->reactor)->body->watch(&w->watch, op, WATCH_READ);
    }
}

void real_watch_ready(struct op *op)
{
    struct real_watch *w = op->handle;

    w->watch.can_read = false;
    op_finish(op, op->flags & OPF_CANCELLED ? -ECANCELED : 0);
}

void real_watch_cancel(struct op *op)
{
    struct real_watch *w = op->handle;

    real_of(op->reactor)->body->watch_cancel(&w->watch, op);
}
