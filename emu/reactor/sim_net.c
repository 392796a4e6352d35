/*
 * Streams of simulated reactors: pairs of ends with what was delivered and not yet read.
 *
 * Bytes move from a write op to the other end in pieces, each at its own time. An end holds a limited
 * number of unread bytes, so a peer that does not read stops its writer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"
#include "emu/reactor/sim_priv.h"

enum { INBOX_MAX = 256 << 10 };

struct sim_stream {
    struct reactor_stream stream; /* First. */
    struct list link;             /* In sim_reactor->streams. */
    struct sim_stream *peer;      /* NULL: closed. */
    struct str inbox;             /* Delivered; ... */
    size_t inbox_read;            /* ... and how much of it was read. */
    char *name;                   /* Owned; of the listener, "" for pairs. */
    bool server;
    bool unix_path;               /* The name is a path. */
    bool ended;                   /* The peer sends no more. */
    bool shut_write;              /* No more is sent from here. */
    bool shut;                    /* Both directions are shut here. */
    int error;                    /* Negative errno: reset. */
    bool read_due, write_due;     /* The op's slot is scheduled. */
};

struct sim_listener {
    struct reactor_listener listener; /* First. */
    struct list link;
    char *name; /* Owned. */
    unsigned port;
    VEC(struct sim_stream *) backlog; /* Accepted ends nobody took yet. */
    bool unix_path;
};

static struct sim_stream *stream_of(struct reactor_stream *s) { return (struct sim_stream *)s; }

static size_t unread(const struct sim_stream *s) { return s->inbox.len - s->inbox_read; }

static bool stands_still(struct sim *sim, const struct sim_stream *s)
{
    return map_has(&sim->stalled, s->name);
}

static struct sim_stream *end_new(struct reactor *r, const char *name, bool server)
{
    struct sim_stream *s = NEW(struct sim_stream);

    s->stream.reactor = r;
    s->name = xstrdup(name);
    s->server = server;
    list_add_tail(&((struct sim_reactor *)r)->streams, &s->link);
    r->handles++;
    return s;
}

static void join(struct sim_stream *a, struct sim_stream *b)
{
    a->peer = b;
    b->peer = a;
}

/* ---- Reading ---- */

static bool readable(const struct sim_stream *s)
{
    return unread(s) > 0 || s->ended || s->shut || s->error;
}

static void wake_writer(struct sim *sim, struct sim_stream *s);

static void fire_read(struct sim *sim, struct sim_slot *slot)
{
    struct sim_stream *s = slot->stream;
    struct op *op = slot->op;
    size_t n = MIN((size_t)op->len, unread(s));

    s->read_due = false;
    if (!readable(s) || stands_still(sim, s))
        return; /* Woken for nothing: waits on. */
    if (s->error && n == 0) {
        sim_slot_finish(sim, slot, s->error);
        return;
    }
    if (n > 1 && sim->options.split_streams)
        n = 1 + rng_below(&sim->rng, n);
    if (n > 0)
        memcpy(op->out, s->inbox.data + s->inbox_read, n);
    s->inbox_read += n;
    if (unread(s) == 0) {
        str_truncate(&s->inbox, 0);
        s->inbox_read = 0;
    }
    sim_slot_finish(sim, slot, (int64_t)n);
    if (s->peer)
        wake_writer(sim, s->peer);
}

static void wake_reader(struct sim *sim, struct sim_stream *s)
{
    struct op *op = s->stream.read_op;

    if (!op || op->state != OP_RUNNING || s->read_due || !readable(s) || stands_still(sim, s))
        return;
    s->read_due = true;
    sim_slot_schedule(sim, op->backend);
}

/* ---- Writing ---- */

static size_t write_total(const struct op *op)
{
    return op->iov ? iov_total(op->iov, op->niov) : op->len;
}

static void deliver(struct sim_stream *to, const struct op *op, size_t from, size_t n)
{
    struct iovec flat = { op->out, op->len };
    struct iov_view view = op->iov ? iov_view(op->iov, op->niov) : iov_view(&flat, 1);

    /* What was read is dropped when it is the larger part. */
    if (to->inbox_read > unread(to)) {
        memmove(to->inbox.data, to->inbox.data + to->inbox_read, unread(to));
        str_truncate(&to->inbox, unread(to));
        to->inbox_read = 0;
    }
    iov_copy_from(iov_view_advance(view, from), n, str_reserve(&to->inbox, n));
    str_added(&to->inbox, n);
}

static void fire_write(struct sim *sim, struct sim_slot *slot)
{
    struct sim_stream *s = slot->stream;
    size_t total = write_total(slot->op), n;

    s->write_due = false;
    if (s->error || s->shut || s->shut_write || !s->peer || s->peer->shut) {
        sim_slot_finish(sim, slot, s->error ? s->error : -EPIPE);
        return;
    }
    if (stands_still(sim, s) || (unread(s->peer) >= INBOX_MAX && total > slot->moved))
        return;
    n = MIN(total - slot->moved, INBOX_MAX - unread(s->peer));
    if (n > 1 && sim->options.split_streams)
        n = 1 + rng_below(&sim->rng, n);
    deliver(s->peer, slot->op, slot->moved, n);
    slot->moved += n;
    wake_reader(sim, s->peer);
    if (slot->moved == total)
        sim_slot_finish(sim, slot, (int64_t)total);
    else
        wake_writer(sim, s);
}

static void wake_writer(struct sim *sim, struct sim_stream *s)
{
    struct op *op = s->stream.write_op;

    if (!op || op->state != OP_RUNNING || s->write_due)
        return;
    s->write_due = true;
    sim_slot_schedule(sim, op->backend);
}

/* ---- Connecting ---- */

static char *address_name(const struct addr *addr)
{
    if (addr->kind == ADDR_UNIX)
        return xstrdup(addr->path);
    return xasprintf("%s:%s", addr->host && *addr->host ? addr->host : "localhost",
                     addr->port ? addr->port : "0");
}

static void hand_over(struct sim *sim, struct sim_listener *l);

static void fire_connect(struct sim *sim, struct sim_slot *slot)
{
    struct sim_listener *l = map_get(&sim->listeners, slot->path);
    struct sim_stream *client, *server;

    if (l && map_has(&sim->stalled, slot->path)) {
        slot->stalled = true;
        return;
    }
    if (!l) {
        sim_slot_finish(sim, slot, strchr(slot->path, ':') ? -ECONNREFUSED : -ENOENT);
        return;
    }
    client = end_new(slot->op->reactor, l->name, false);
    server = end_new(l->listener.reactor, l->name, true);
    client->unix_path = server->unix_path = l->unix_path;
    join(client, server);
    vec_push(&l->backlog, server);
    *(struct reactor_stream **)slot->op->out = &client->stream;
    sim_slot_finish(sim, slot, 0);
    hand_over(sim, l);
}

void sim_net_connect(struct op *op, const struct addr *addr)
{
    struct sim *sim = sim_of(op->reactor);
    struct sim_slot *slot = sim_slot_new(sim, op, fire_connect);

    slot->path = address_name(addr);
    sim_slot_schedule(sim, slot);
}

/* Gives the oldest waiting connection to a pending accept. */
static void fire_accept(struct sim *sim, struct sim_slot *slot)
{
    struct sim_listener *l = slot->op->handle;

    if (vec_len(&l->backlog) == 0)
        return;
    *(struct reactor_stream **)slot->op->out = &vec_at(&l->backlog, 0)->stream;
    vec_remove(&l->backlog, 0);
    sim_slot_finish(sim, slot, 0);
}

static void hand_over(struct sim *sim, struct sim_listener *l)
{
    struct op *op = l->listener.accept_op;

    if (op && op->state == OP_RUNNING && vec_len(&l->backlog) > 0)
        sim_slot_schedule(sim, op->backend);
}

void sim_net_start(struct op *op)
{
    struct sim *sim = sim_of(op->reactor);
    struct sim_slot *slot;

    if (op->kind == OP_ACCEPT) {
        sim_slot_new(sim, op, fire_accept);
        hand_over(sim, op->handle);
        return;
    }
    slot = sim_slot_new(sim, op, op->kind == OP_STREAM_READ ? fire_read : fire_write);
    slot->stream = stream_of(op->handle);
    if (op->kind == OP_STREAM_READ)
        wake_reader(sim, slot->stream);
    else
        wake_writer(sim, slot->stream);
}

static void forget_due(struct sim_slot *slot)
{
    if (!slot->stream)
        return;
    if (slot->op->kind == OP_STREAM_READ)
        slot->stream->read_due = false;
    else
        slot->stream->write_due = false;
}

void sim_net_cancel(struct op *op)
{
    struct sim_slot *slot = op->backend;

    forget_due(slot);
    sim_slot_finish(sim_of(op->reactor), slot, -ECANCELED);
}

struct err *sim_net_pair(struct reactor *r, struct reactor_stream *out[2])
{
    struct sim_stream *a = end_new(r, "", false), *b = end_new(r, "", true);

    a->unix_path = b->unix_path = true;
    join(a, b);
    out[0] = &a->stream;
    out[1] = &b->stream;
    return NULL;
}

/* ---- Listening ---- */

/* The port asked for, or the next that nobody uses. */
static unsigned choose_port(struct sim *sim, const struct addr *addr)
{
    uint64_t port = 0;

    if (addr->kind != ADDR_INET)
        return 0;
    if (addr->port && parse_u64(addr->port, &port) && port > 0)
        return (unsigned)port;
    return sim->next_port++;
}

/* With a range of ports, the first that is free. */
static char *free_name(struct sim *sim, const struct addr *addr, unsigned *port)
{
    char *name;

    if (addr->kind != ADDR_INET)
        return address_name(addr);
    for (;; ++*port) {
        char text[16];
        struct addr with_port = *addr;

        snprintf(text, sizeof(text), "%u", *port);
        with_port.port = text;
        name = address_name(&with_port);
        if (!map_has(&sim->listeners, name) || *port >= addr->port_to)
            return name;
        xfree(name);
    }
}

struct err *sim_net_listen(struct reactor *r, const struct addr *addr, int backlog,
                           struct reactor_listener **out)
{
    struct sim *sim = sim_of(r);
    struct sim_listener *l;
    unsigned port = choose_port(sim, addr);
    char *name = free_name(sim, addr, &port);

    if (map_has(&sim->listeners, name)) {
        struct err *err = err_new_errno(EADDRINUSE, "Failed to bind socket to %s", name);

        xfree(name);
        return err;
    }
    l = NEW(struct sim_listener);
    l->listener.reactor = r;
    l->name = name;
    l->port = port;
    l->unix_path = addr->kind == ADDR_UNIX;
    list_add_tail(&((struct sim_reactor *)r)->listeners, &l->link);
    map_put(&sim->listeners, name, l);
    r->handles++;
    *out = &l->listener;
    return NULL;
}

static void listener_drop(struct sim_listener *l)
{
    list_del(&l->link);
    vec_fini(&l->backlog);
    xfree(l->name);
    xfree(l);
}

void sim_net_listener_close(struct reactor_listener *listener)
{
    struct sim_listener *l = (struct sim_listener *)listener;
    struct sim *sim = sim_of(listener->reactor);
    struct op *op = listener->accept_op;

    if (op) {
        sim_slot_finish(sim, op->backend, -ECANCELED);
        op_detach(op);
    }
    for (size_t i = 0; i < vec_len(&l->backlog); i++)
        stream_close(&vec_at(&l->backlog, i)->stream);
    map_remove(&sim->listeners, l->name);
    listener_drop(l);
}

unsigned sim_net_listener_port(const struct reactor_listener *l)
{
    return ((const struct sim_listener *)l)->port;
}

/* ---- Ends ---- */

static void end_peer(struct sim *sim, struct sim_stream *s)
{
    if (!s->peer)
        return;
    s->peer->ended = true;
    wake_reader(sim, s->peer);
}

void sim_net_shutdown(struct reactor_stream *stream, bool both)
{
    struct sim_stream *s = stream_of(stream);
    struct sim *sim = sim_of(stream->reactor);

    end_peer(sim, s);
    s->shut_write = true;
    wake_writer(sim, s);
    if (!both)
        return;
    s->shut = true;
    /* Ops end although the connection may stand still: the local end is ours. */
    if (stream->read_op && stream->read_op->state == OP_RUNNING) {
        forget_due(stream->read_op->backend);
        sim_slot_finish(sim, stream->read_op->backend, 0);
    }
    if (stream->write_op && stream->write_op->state == OP_RUNNING) {
        forget_due(stream->write_op->backend);
        sim_slot_finish(sim, stream->write_op->backend, -EPIPE);
    }
    if (s->peer)
        wake_writer(sim, s->peer);
}

static void stream_drop(struct sim_stream *s)
{
    list_del(&s->link);
    str_fini(&s->inbox);
    xfree(s->name);
    xfree(s);
}

static void cancel_running(struct sim *sim, struct op *op)
{
    if (!op || op->state != OP_RUNNING)
        return;
    sim_slot_finish(sim, op->backend, -ECANCELED);
    op_detach(op);
}

void sim_net_close(struct reactor_stream *stream)
{
    struct sim_stream *s = stream_of(stream);
    struct sim *sim = sim_of(stream->reactor);

    cancel_running(sim, stream->read_op);
    cancel_running(sim, stream->write_op);
    end_peer(sim, s);
    if (s->peer) {
        struct sim_stream *peer = s->peer;

        s->peer = NULL;
        peer->peer = NULL;
        wake_writer(sim, peer);
    }
    stream_drop(s);
}

char *sim_net_name(const struct reactor_stream *stream, bool peer)
{
    const struct sim_stream *s = (const struct sim_stream *)stream;

    /* A connecting unix socket has no name of its own. */
    if (s->server != peer)
        return s->unix_path ? xasprintf("unix:%s", s->name) : xstrdup(s->name);
    return xstrdup(s->unix_path ? "unix:" : "localhost:1");
}

static struct sim_stream *next_stream(struct sim *sim, struct sim_reactor **r, struct sim_stream *s)
{
    struct list *next = s ? s->link.next : NULL;

    if (!s) {
        *r = list_entry(sim->reactors.next, struct sim_reactor, link);
        if (&(*r)->link == &sim->reactors)
            return NULL;
        next = (*r)->streams.next;
    }
    while (next == &(*r)->streams) {
        *r = list_entry((*r)->link.next, struct sim_reactor, link);
        if (&(*r)->link == &sim->reactors)
            return NULL;
        next = (*r)->streams.next;
    }
    return container_of(next, struct sim_stream, link);
}

void sim_stream_stall(struct sim *sim, const char *listener_name, bool on)
{
    if (on)
        map_put(&sim->stalled, listener_name, sim);
    else
        sim_net_resume(sim, listener_name);
}

void sim_net_resume(struct sim *sim, const char *name)
{
    struct sim_reactor *r;

    if (name) {
        map_remove(&sim->stalled, name);
    } else {
        map_fini(&sim->stalled);
        map_init(&sim->stalled);
    }
    for (struct sim_stream *s = next_stream(sim, &r, NULL); s; s = next_stream(sim, &r, s)) {
        wake_reader(sim, s);
        wake_writer(sim, s);
    }
    list_for_each(slot, &sim->slots, struct sim_slot, link) {
        if (slot->stalled && slot->op && slot->op->kind == OP_CONNECT) {
            slot->stalled = false;
            sim_slot_schedule(sim, slot);
        }
    }
}

void sim_stream_reset(struct sim *sim, const char *listener_name)
{
    struct sim_reactor *r;

    for (struct sim_stream *s = next_stream(sim, &r, NULL); s; s = next_stream(sim, &r, s)) {
        if (!str_eq(s->name, listener_name))
            continue;
        s->error = -ECONNRESET;
        str_clear(&s->inbox);
        s->inbox_read = 0;
        wake_reader(sim, s);
        wake_writer(sim, s);
    }
}

void sim_net_drop(struct sim_reactor *r)
{
    list_for_each_safe(s, &r->streams, struct sim_stream, link) {
        if (s->peer) {
            s->peer->ended = true;
            s->peer->peer = NULL;
        }
        stream_drop(s);
    }
    list_for_each_safe(l, &r->listeners, struct sim_listener, link)
        listener_drop(l);
}
