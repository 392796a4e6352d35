/*
 * The connection's life: connecting, handshake, the end; and yanking it in any of these.
 *
 * A yank works from another thread while the home thread may be stuck. It marks the client, shuts the
 * socket down, so that whatever the home thread or the kernel waits for ends, and posts; the rest
 * happens at home. The yank function is unregistered before the stream is closed, so the descriptor it
 * shuts down is never somebody else's. While connecting there is no socket to shut; the post cancels.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/nstime.h"
#include "emu/base/trace.h"
#include "emu/crypto/tls_stream.h"
#include "emu/storage/drivers/nbd/client.h"

#define RETRY_NS (1 * NS_PER_SEC) /* Between two tries to connect, with open-timeout. */
#define LEAVE_NS (1 * NS_PER_SEC) /* A server that does not take the good-bye is left without. */

static const uint32_t client_edges[NBD_CLIENT_STATE_COUNT] = {
    [NBD_CLIENT_CONNECT] = BIT(NBD_CLIENT_HANDSHAKE) | BIT(NBD_CLIENT_DEAD),
    [NBD_CLIENT_HANDSHAKE] = BIT(NBD_CLIENT_READY) | BIT(NBD_CLIENT_DEAD),
    [NBD_CLIENT_READY] = BIT(NBD_CLIENT_LEAVE) | BIT(NBD_CLIENT_DEAD),
    [NBD_CLIENT_LEAVE] = BIT(NBD_CLIENT_DEAD),
};

static void enter(struct nbd_client *c, enum nbd_client_state to)
{
    fsm_check_edge(client_edges, c->state, to);
    trace(nbd_client_enter, "%s from %d to %d", c->node->name, (int)c->state, (int)to);
    c->state = to;
}

/* ---- Yank ---- */

void nbd_client_unref(struct nbd_client *c)
{
    if (atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    nbd_handshake_fini(&c->hs);
    tls_creds_unref(c->tls_creds);
    xfree(c->tls_hostname);
    nbd_address_fini(&c->address);
    err_free(c->error);
    xfree(c->export);
    xfree(c->context);
    xfree(c->rx);
    xfree(c);
}

static void yanked_at_home(void *arg)
{
    struct nbd_client *c = arg;

    if (c->node) /* Not closed meanwhile. */
        nbd_link_die(c, err_new("The connection was yanked"));
    nbd_client_unref(c);
}

/* Any thread; the yank lock is held, so the client and its descriptor exist. */
static void yank(void *arg)
{
    struct nbd_client *c = arg;
    int fd = atomic_load(&c->fd);

    if (atomic_exchange(&c->yanked, true))
        return;
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
    atomic_fetch_add(&c->refs, 1);
    reactor_post(c->reactor, yanked_at_home, c);
}

static struct err *register_yank(struct nbd_client *c)
{
    struct yank *registry = graph_yank(c->node->graph);

    if (!registry)
        return NULL;
    TRY(yank_register_instance(registry, QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE, c->node->name,
                               &c->yank_instance));
    yank_register_function(c->yank_instance, &c->yank_function, yank, c);
    return NULL;
}

/* ---- Death ---- */

static void fail_requests(struct nbd_client *c)
{
    struct nbd_req *r;

    while ((r = list_pop_head(&c->waiting, struct nbd_req, link)) != NULL) {
        r->result = -EIO;
        nbd_req_end(c, r);
    }
    for (unsigned i = 0; i < NBD_CLIENT_SLOTS; i++) {
        r = c->slots[i];
        c->slots[i] = NULL;
        if (!r)
            continue;
        r->result = -EIO;
        nbd_req_end(c, r);
    }
}

/* Runs from the loop when the last op of a dead client has ended. */
static void settled(struct task *task)
{
    struct nbd_client *c = container_of(task, struct nbd_client, settle_task);
    driver_done_fn *done;

    if (op_pending(&c->connect_op) || op_pending(&c->rx_op) || op_pending(&c->tx_op))
        return;
    c->slots_free = UINT64_MAX;
    fail_requests(c);
    check(c->in_flight == 0);
    done = c->open_done ? c->open_done : c->close_done;
    if (!done)
        return;
    /* An open that failed, or the end of a close: nothing of the client is left for the node. */
    if (c->yank_instance)
        yank_unregister_instance(c->yank_instance);
    c->yank_instance = NULL;
    c->node = NULL;
    if (c->open_done) {
        struct err *err = c->error;

        c->error = NULL;
        c->open_done = NULL;
        done(c->open_arg, err ? err : err_new("The connection ended"));
    } else {
        c->close_done = NULL;
        done(c->close_arg, NULL);
    }
    nbd_client_unref(c);
}

void nbd_link_settle(struct nbd_client *c) { reactor_defer(c->reactor, &c->settle_task, settled); }

void nbd_link_die(struct nbd_client *c, struct err *error)
{
    if (c->state == NBD_CLIENT_DEAD) {
        err_free(error);
        return;
    }
    enter(c, NBD_CLIENT_DEAD);
    c->error = error;
    timer_disarm(&c->timer);
    reactor_undefer(&c->tx_task);
    yank_unregister_function(&c->yank_function);
    atomic_store(&c->fd, -1);
    if (op_pending(&c->connect_op))
        op_cancel(&c->connect_op);
    stream_close(c->stream); /* Ends what is pending on it. */
    c->stream = NULL;
    nbd_link_settle(c);
}

/* ---- Handshake ---- */

static void handshake_next(struct nbd_client *c);

static void handshake_received(struct op *op)
{
    struct nbd_client *c = container_of(op, struct nbd_client, rx_op);

    if (c->state == NBD_CLIENT_DEAD) {
        nbd_link_settle(c);
        return;
    }
    if (op->result <= 0) {
        nbd_handshake_broken(&c->hs, (int)op->result, stream_error(c->stream));
    } else {
        c->rx_len += (size_t)op->result;
        if (c->rx_len == nbd_handshake_need(&c->hs)) {
            c->rx_len = 0;
            nbd_handshake_input(&c->hs, c->rx);
        }
    }
    handshake_next(c);
}

static void handshake_sent(struct op *op)
{
    struct nbd_client *c = container_of(op, struct nbd_client, tx_op);

    if (c->state == NBD_CLIENT_DEAD) {
        nbd_link_settle(c);
        return;
    }
    str_clear(&c->hs.out);
    if (op->result < 0)
        nbd_handshake_broken(&c->hs, (int)op->result, stream_error(c->stream));
    handshake_next(c);
}

static void handshake_over(struct nbd_client *c)
{
    if (c->hs.state == NBD_HS_FAILED) {
        struct err *err = c->hs.err;

        c->hs.err = NULL;
        nbd_link_die(c, err);
        return;
    }
    c->info = c->hs.info;
    enter(c, NBD_CLIENT_READY);
    nbd_client_opened(c);
}

static void tls_done(void *arg, struct err *err)
{
    struct nbd_client *c = arg;

    nbd_handshake_tls_done(&c->hs, err);
    handshake_next(c);
}

static void start_tls(struct nbd_client *c)
{
    const struct tls_options options = {
        .creds = c->tls_creds,
        .hostname = c->tls_hostname ? c->tls_hostname : c->address.host,
    };
    struct err *err = tls_start(c->stream, &options, tls_done, c, &c->stream);

    if (err)
        nbd_link_die(c, err);
}

/* What is to be sent goes first; then the next bytes are awaited. */
static void handshake_next(struct nbd_client *c)
{
    if (nbd_handshake_over(&c->hs) && !c->hs.out.len) {
        handshake_over(c);
        return;
    }
    if (c->hs.state == NBD_HS_STARTTLS) {
        start_tls(c);
        return;
    }
    if (c->hs.out.len) {
        c->tx_iov[0] = (struct iovec){ c->hs.out.data, c->hs.out.len };
        c->tx_op.done = handshake_sent;
        stream_writev(c->stream, &c->tx_op, c->tx_iov, 1);
        return;
    }
    c->rx_op.done = handshake_received;
    stream_read(c->stream, &c->rx_op, c->rx + c->rx_len, nbd_handshake_need(&c->hs) - c->rx_len);
}

/* ---- Connecting ---- */

static void try_connect(struct nbd_client *c);

static void retry(struct timer *timer)
{
    try_connect(container_of(timer, struct nbd_client, timer));
}

static struct err *connect_error(struct nbd_client *c, int result)
{
    char *text = nbd_address_text(&c->address);
    struct err *err;

    if (result == -ENXIO && c->address.addr.kind == ADDR_INET)
        err = err_new("address resolution failed for %s: Name or service not known", text);
    else
        err = err_new_errno(result, "Failed to connect to '%s'", text);
    xfree(text);
    return err;
}

static void connected(struct op *op)
{
    struct nbd_client *c = container_of(op, struct nbd_client, connect_op);
    int result = (int)op->result;

    if (c->state == NBD_CLIENT_DEAD) {
        if (result == 0)
            stream_close(c->stream);
        c->stream = NULL;
        nbd_link_settle(c);
        return;
    }
    if (result < 0) {
        c->stream = NULL;
        if (reactor_now(c->reactor) + RETRY_NS <= c->open_deadline_ns) {
            c->timer.fn = retry;
            timer_arm(c->reactor, &c->timer, reactor_now(c->reactor) + RETRY_NS);
        } else {
            nbd_link_die(c, connect_error(c, result));
        }
        return;
    }
    enter(c, NBD_CLIENT_HANDSHAKE);
    atomic_store(&c->fd, stream_fd(c->stream));
    if (atomic_load(&c->yanked)) /* It came when there was no descriptor to shut. */
        stream_shutdown(c->stream);
    stream_set_nodelay(c->stream, true);
    nbd_handshake_init(&c->hs, c->export, c->context, c->tls_creds != NULL);
    handshake_next(c);
}

static void try_connect(struct nbd_client *c)
{
    c->connect_op.done = connected;
    reactor_connect(c->reactor, &c->connect_op, &c->address.addr, &c->stream);
}

void nbd_link_open(struct nbd_client *c)
{
    struct err *err = register_yank(c);

    if (err)
        nbd_link_die(c, err);
    else
        try_connect(c);
}

/* ---- Closing ---- */

static void left(struct op *op)
{
    struct nbd_client *c = container_of(op, struct nbd_client, tx_op);

    if (c->state == NBD_CLIENT_DEAD)
        nbd_link_settle(c);
    else
        nbd_link_die(c, NULL);
}

static void leave_timeout(struct timer *timer)
{
    nbd_link_die(container_of(timer, struct nbd_client, timer), NULL);
}

void nbd_link_close(struct nbd_client *c)
{
    struct nbd_request wire = { .type = NBD_CMD_DISC };

    if (c->state == NBD_CLIENT_DEAD) {
        nbd_link_settle(c);
        return;
    }
    check(c->in_flight == 0 && !op_pending(&c->tx_op));
    enter(c, NBD_CLIENT_LEAVE);
    nbd_request_store(c->disc, &wire);
    c->tx_iov[0] = (struct iovec){ c->disc, sizeof(c->disc) };
    c->tx_op.done = left;
    stream_writev(c->stream, &c->tx_op, c->tx_iov, 1);
    c->timer.fn = leave_timeout;
    timer_arm(c->reactor, &c->timer, nstime_add(reactor_now(c->reactor), LEAVE_NS));
}
