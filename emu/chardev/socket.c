/*
 * The socket chardev: a server that serves one client after the other, or a client that may try
 * again when it cannot connect or has lost its server.
 *
 * A connection may be moved to another thread by its user. What cuts it for yank is therefore a
 * descriptor of the chardev's own, closed when the connection is over.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/log.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/chardev/backend.h"
#include "emu/chardev/sockaddr.h"

#define ACCEPT_RETRY_NS (100 * NS_PER_MS)

enum socket_state {
    SOCKET_IDLE,       /* Nothing is there and nothing will come by itself. */
    SOCKET_ACCEPTING,  /* A server without a client (or, with the timer armed, unable to accept). */
    SOCKET_CONNECTING, /* A client on its way. */
    SOCKET_WAITING,    /* A client before its next try. */
    SOCKET_CONNECTED,
};

struct socket_chardev {
    struct chardev chr;
    enum socket_state state;
    struct qapi_socket_address_legacy *address; /* owned; addr borrows from it */
    struct addr addr;
    bool server, nodelay, stopped;
    bool failure_told; /* The operator knows that connecting fails. */
    int64_t retry_ns;  /* Until the next try; 0: none. */
    struct reactor_listener *listener; /* owned; server only */
    struct reactor_stream *stream;     /* Out of connect and accept; its channel owns it. */
    struct op op;                      /* Connect or accept. */
    struct timer timer;                /* Next try. */
    struct yank_function yank;
    int yank_fd;     /* owned; of the connection, or -1 */
    char *connected; /* owned; name of the connection */
};

static struct socket_chardev *socket_of(struct chardev *chr)
{
    return container_of(chr, struct socket_chardev, chr);
}

static void accept_next(struct socket_chardev *s);
static void connect_now(struct socket_chardev *s);

static void free_it(struct socket_chardev *s)
{
    qapi_free_socket_address_legacy(s->address);
    xfree(s->connected);
    chardev_gone(&s->chr);
}

/* ---- A connection ---- */

static void cut(void *arg)
{
    struct socket_chardev *s = arg;

    if (s->yank_fd >= 0)
        shutdown(s->yank_fd, SHUT_RDWR);
}

static char *connection_name(const struct socket_chardev *s)
{
    CLEANUP(xfree) char *here = stream_name(s->stream, false);
    CLEANUP(xfree) char *there = stream_name(s->stream, true);
    const char *suffix = s->server ? ",server=on" : "";

    if (s->addr.kind == ADDR_INET)
        return xasprintf("tcp:%s%s <-> %s", here, suffix, there);
    if (s->addr.kind == ADDR_UNIX && s->server) {
        CLEANUP(xfree) char *name = sockaddr_name(&s->addr);

        return xasprintf("%s%s", name, suffix);
    }
    return xasprintf("%s%s", here, suffix);
}

static void connected(struct socket_chardev *s)
{
    s->state = SOCKET_CONNECTED;
    s->failure_told = false;
    s->connected = connection_name(s);
    if (s->nodelay)
        stream_set_nodelay(s->stream, true);
    if (s->chr.yank && stream_fd(s->stream) >= 0) {
        s->yank_fd = fcntl(stream_fd(s->stream), F_DUPFD_CLOEXEC, 3);
        yank_register_function(s->chr.yank, &s->yank, cut, s);
    }
    if (!s->chr.settled)
        chardev_ready(&s->chr, NULL);
    chardev_opened(&s->chr, channel_new(s->chr.reactor, s->stream, s->stream));
    s->stream = NULL;
}

static void connection_over(struct socket_chardev *s)
{
    yank_unregister_function(&s->yank);
    if (s->yank_fd >= 0)
        close(s->yank_fd);
    s->yank_fd = -1;
    xfree(s->connected);
    s->connected = NULL;
    s->state = SOCKET_IDLE;
}

/* ---- The server ---- */

static void accept_again(struct timer *timer)
{
    accept_next(container_of(timer, struct socket_chardev, timer));
}

static void accept_done(struct op *op)
{
    struct socket_chardev *s = container_of(op, struct socket_chardev, op);

    if (s->stopped) {
        if (op->result >= 0)
            stream_close(s->stream);
        free_it(s);
    } else if (op->result < 0) {
        s->timer.fn = accept_again; /* Out of descriptors, maybe; others may come. */
        timer_arm(s->chr.reactor, &s->timer, reactor_now(s->chr.reactor) + ACCEPT_RETRY_NS);
    } else {
        connected(s);
    }
}

static void accept_next(struct socket_chardev *s)
{
    s->state = SOCKET_ACCEPTING;
    s->op.done = accept_done;
    listener_accept(s->listener, &s->op, &s->stream);
}

static struct err *start_server(struct socket_chardev *s, bool wait)
{
    CLEANUP(xfree) char *name = sockaddr_name(&s->addr);

    TRY(reactor_listen(s->chr.reactor, &s->addr, 1, &s->listener));
    if (wait)
        log_info("waiting for connection on: %s", name);
    else
        chardev_ready(&s->chr, NULL);
    accept_next(s);
    return NULL;
}

/* ---- The client ---- */

static void try_again(struct timer *timer)
{
    connect_now(container_of(timer, struct socket_chardev, timer));
}

static void wait_for_next_try(struct socket_chardev *s)
{
    s->state = SOCKET_WAITING;
    s->timer.fn = try_again;
    timer_arm(s->chr.reactor, &s->timer, reactor_now(s->chr.reactor) + s->retry_ns);
}

static void connect_failed(struct socket_chardev *s, int error)
{
    struct err *err = sockaddr_connect_err(&s->addr, error);

    s->state = SOCKET_IDLE;
    if (!s->chr.settled) {
        chardev_ready(&s->chr, err);
        return;
    }
    if (!s->failure_told)
        log_warn("unable to connect character device '%s': %s", s->chr.id, err_text(err));
    s->failure_told = true;
    err_free(err);
    wait_for_next_try(s);
}

static void connect_done(struct op *op)
{
    struct socket_chardev *s = container_of(op, struct socket_chardev, op);

    if (s->stopped) {
        if (op->result >= 0)
            stream_close(s->stream);
        free_it(s);
    } else if (op->result < 0) {
        connect_failed(s, (int)-op->result);
    } else {
        connected(s);
    }
}

static void connect_now(struct socket_chardev *s)
{
    s->state = SOCKET_CONNECTING;
    s->op.done = connect_done;
    reactor_connect(s->chr.reactor, &s->op, &s->addr, &s->stream);
}

/* ---- Backend ---- */

static struct err *check_options(const struct qapi_chardev_socket *opts, bool server)
{
    bool reconnect = (opts->reconnect.set && opts->reconnect.value) ||
                     (opts->reconnect_ms.set && opts->reconnect_ms.value);

    if (opts->reconnect.set && opts->reconnect_ms.set)
        return err_new("'reconnect' and 'reconnect-ms' are mutually exclusive");
    if (server && reconnect)
        return err_new("'reconnect' option is incompatible with socket in server listen mode");
    if (!server && opts->wait.set)
        return err_new("'wait' option is incompatible with socket in client connect mode");
    if ((opts->reconnect.set && opts->reconnect.value < 0) ||
        (opts->reconnect_ms.set && opts->reconnect_ms.value < 0))
        return err_new("the time to reconnect must not be negative");
    return NULL;
}

static struct err *start(struct chardev *chr, const struct qapi_chardev_backend *backend)
{
    struct socket_chardev *s = socket_of(chr);
    const struct qapi_chardev_socket *opts = backend->u.socket.data;
    bool server = !opts->server.set || opts->server.value;
    struct err *err = check_options(opts, server);

    s->yank_fd = -1;
    s->server = server;
    s->nodelay = opts->nodelay.set && opts->nodelay.value;
    if (opts->reconnect.set)
        s->retry_ns = nstime_from_sec(opts->reconnect.value);
    if (opts->reconnect_ms.set)
        s->retry_ns = nstime_from_ms(opts->reconnect_ms.value);
    s->address = qapi_clone(&qapi_type_socket_address_legacy, opts->addr);
    if (!err)
        err = sockaddr_legacy_to_addr(s->address, &s->addr);
    if (!err && chr->yank_root)
        err = yank_register_instance(chr->yank_root, QAPI_YANK_INSTANCE_TYPE_CHARDEV, chr->id,
                                     &chr->yank);
    if (!err && server)
        err = start_server(s, opts->wait.set && opts->wait.value);
    if (err) {
        qapi_free_socket_address_legacy(s->address);
        return err;
    }
    if (!server) {
        if (s->retry_ns)
            chardev_ready(chr, NULL);
        connect_now(s);
    }
    return NULL;
}

static void hangup(struct chardev *chr)
{
    struct socket_chardev *s = socket_of(chr);

    check(s->state == SOCKET_CONNECTED);
    connection_over(s);
    if (s->server)
        accept_next(s);
    else if (s->retry_ns)
        wait_for_next_try(s);
}

static void stop(struct chardev *chr)
{
    struct socket_chardev *s = socket_of(chr);

    s->stopped = true;
    connection_over(s);
    timer_disarm(&s->timer);
    listener_close(s->listener); /* Ends an accept as well. */
    if (!op_pending(&s->op))
        free_it(s);
    else if (!s->server)
        op_cancel(&s->op);
}

static char *filename(const struct chardev *chr)
{
    const struct socket_chardev *s = container_of(chr, struct socket_chardev, chr);
    CLEANUP(xfree) char *name = NULL;

    if (s->connected)
        return xstrdup(s->connected);
    if (s->addr.kind == ADDR_INET && s->listener) /* The port may have been chosen by the kernel. */
        name = xasprintf("tcp:%s:%u", s->addr.host, listener_port(s->listener));
    else
        name = sockaddr_name(&s->addr);
    return xasprintf("disconnected:%s%s", name, s->server ? ",server=on" : "");
}

const struct chardev_ops chardev_socket_ops = {
    .size = sizeof(struct socket_chardev),
    .start = start,
    .hangup = hangup,
    .stop = stop,
    .filename = filename,
};
