/* The front of streams, listeners, signals and threads: checks, fills in the op, calls the body. */
#include "emu/reactor/backend.h"

#include <errno.h>

#include "emu/base/check.h"

void reactor_connect(struct reactor *r, struct op *op, const struct addr *addr,
                     struct reactor_stream **out)
{
    op_begin(r, op, OP_CONNECT);
    op->out = out;
    *out = NULL;
    r->backend->connect(op, addr);
}

struct reactor_stream *reactor_stream_from_fd(struct reactor *r, int fd)
{
    check(reactor_is_home(r));
    return r->backend->stream_from_fd(r, fd);
}

struct err *reactor_stream_pair(struct reactor *r, struct reactor_stream *out[2])
{
    check(reactor_is_home(r));
    return r->backend->stream_pair(r, out);
}

void stream_read(struct reactor_stream *s, struct op *op, void *buf, size_t len)
{
    check(!s->read_op);
    check(len > 0);
    op_begin(s->reactor, op, OP_STREAM_READ);
    op->handle = s;
    op->out = buf;
    op->len = len;
    s->read_op = op;
    if (s->layer)
        s->layer->read(s->layer_arg, op, buf, len);
    else
        s->reactor->backend->start(op);
}

static void begin_write(struct reactor_stream *s, struct op *op)
{
    check(!s->write_op);
    op_begin(s->reactor, op, OP_STREAM_WRITE);
    op->handle = s;
    s->write_op = op;
}

void stream_writev(struct reactor_stream *s, struct op *op, const struct iovec *iov, unsigned niov)
{
    begin_write(s, op);
    op->iov = iov;
    op->niov = niov;
    if (s->layer)
        s->layer->write(s->layer_arg, op, iov, niov);
    else
        s->reactor->backend->start(op);
}

void stream_write_fds(struct reactor_stream *s, struct op *op, const void *buf, size_t len,
                      const int *fds, unsigned nfds)
{
    check(len > 0);
    begin_write(s, op);
    op->iov = NULL;
    op->out = (void *)(uintptr_t)buf;
    op->len = len;
    if (s->layer)
        op_finish(
            op, -EOPNOTSUPP); /* Descriptors pass beside the bytes only where there is no layer. */
    else
        s->reactor->backend->stream_write_fds(op, fds, nfds);
}

unsigned stream_take_fds(struct reactor_stream *s, int *fds, unsigned max)
{
    check(reactor_is_home(s->reactor));
    return s->layer ? 0 : s->reactor->backend->stream_take_fds(s, fds, max);
}

/* The stream of the body at the bottom. */
static struct reactor_stream *bottom(const struct reactor_stream *s)
{
    while (s->layer)
        s = s->layer->below(s->layer_arg);
    return (struct reactor_stream *)(uintptr_t)s;
}

void stream_shutdown(struct reactor_stream *s)
{
    check(reactor_is_home(s->reactor));
    s = bottom(s);
    s->reactor->backend->stream_shutdown(s, true);
}

void stream_shutdown_write(struct reactor_stream *s)
{
    check(reactor_is_home(s->reactor));
    s = bottom(s);
    s->reactor->backend->stream_shutdown(s, false);
}

/* A finished op leaves the handle that goes away; a running one is left for the body to cancel. */
static void detach_finished(struct op **slot)
{
    if (*slot && (*slot)->state == OP_DONE_QUEUED) {
        op_detach(*slot);
        *slot = NULL;
    }
}

void stream_close(struct reactor_stream *s)
{
    if (!s)
        return;
    check(reactor_is_home(s->reactor));
    detach_finished(&s->read_op);
    detach_finished(&s->write_op);
    s->reactor->handles--;
    if (s->layer)
        stream_layer_close(s);
    else
        s->reactor->backend->stream_close(s);
}

int stream_fd(const struct reactor_stream *s) { return s->reactor->backend->stream_fd(bottom(s)); }

const char *stream_error(const struct reactor_stream *s)
{
    return s->layer ? s->layer->error(s->layer_arg) : NULL;
}

char *stream_name(const struct reactor_stream *s, bool peer)
{
    return s->reactor->backend->stream_name(bottom(s), peer);
}

void stream_set_nodelay(struct reactor_stream *s, bool on)
{
    s->reactor->backend->stream_set_nodelay(bottom(s), on);
}

/* ---- Listeners ---- */

struct err *reactor_listen(struct reactor *r, const struct addr *addr, int backlog,
                           struct reactor_listener **out)
{
    check(reactor_is_home(r));
    return r->backend->listen(r, addr, backlog, out);
}

void listener_accept(struct reactor_listener *l, struct op *op, struct reactor_stream **out)
{
    check(!l->accept_op);
    op_begin(l->reactor, op, OP_ACCEPT);
    op->handle = l;
    op->out = out;
    *out = NULL;
    l->accept_op = op;
    l->reactor->backend->start(op);
}

/* A connection accepted but not yet handed over is closed. */
static void drop_accepted(struct op *op)
{
    struct reactor_stream **out = op->out;

    if (op->result >= 0) {
        stream_close(*out);
        *out = NULL;
    }
}

void listener_close(struct reactor_listener *l)
{
    if (!l)
        return;
    check(reactor_is_home(l->reactor));
    if (l->accept_op && l->accept_op->state == OP_DONE_QUEUED)
        drop_accepted(l->accept_op);
    detach_finished(&l->accept_op);
    l->reactor->handles--;
    l->reactor->backend->listener_close(l);
}

unsigned listener_port(const struct reactor_listener *l)
{
    return l->reactor->backend->listener_port(l);
}

/* ---- Watches ---- */

struct err *reactor_watch_new(struct reactor *r, int fd, struct reactor_watch **out)
{
    check(reactor_is_home(r));
    *out = NULL;
    return r->backend->watch_new(r, fd, out);
}

void reactor_watch_read(struct reactor_watch *w, struct op *op)
{
    check(!w->op);
    op_begin(w->reactor, op, OP_WATCH);
    op->handle = w;
    w->op = op;
    w->reactor->backend->start(op);
}

void reactor_watch_free(struct reactor_watch *w)
{
    if (!w)
        return;
    check(!w->op);
    w->reactor->backend->watch_free(w);
}

/* ---- Signals and threads ---- */

struct err *reactor_on_signals(struct reactor *r, const int *signals,
                               void (*fn)(void *arg, int signo), void *arg)
{
    check(reactor_is_home(r));
    return r->backend->on_signals(r, signals, fn, arg);
}

void reactor_off_signals(struct reactor *r) { r->backend->off_signals(r); }

struct err *reactor_thread_new(struct reactor *parent, const char *name,
                               struct reactor_thread **out)
{
    return parent->backend->thread_new(parent, name, out);
}

struct reactor *reactor_thread_reactor(struct reactor_thread *t) { return t->reactor; }

void reactor_thread_stop(struct reactor_thread *t)
{
    if (t)
        t->reactor->backend->thread_stop(t);
}
