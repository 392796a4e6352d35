/* The life of a connection, and its reading side. */
#include "emu/storage/export/nbd_conn.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/log.h"
#include "emu/base/nstime.h"
#include "emu/base/trace.h"

static const uint32_t conn_edges[NBD_CONN_STATE_COUNT] = {
    [NBD_CONN_HELLO] = BIT(NBD_CONN_OPTIONS) | BIT(NBD_CONN_CLOSED),
    [NBD_CONN_OPTIONS] = BIT(NBD_CONN_STARTTLS) | BIT(NBD_CONN_TRANSMIT) | BIT(NBD_CONN_FINISH) |
                         BIT(NBD_CONN_CLOSED),
    [NBD_CONN_STARTTLS] = BIT(NBD_CONN_OPTIONS) | BIT(NBD_CONN_CLOSED),
    [NBD_CONN_TRANSMIT] = BIT(NBD_CONN_FINISH) | BIT(NBD_CONN_CLOSED),
    [NBD_CONN_FINISH] = BIT(NBD_CONN_CLOSED),
};

/* ---- End ---- */

static void conn_free(struct nbd_conn *conn)
{
    if (conn->export)
        export_unuse(conn->export);
    str_fini(&conn->hs_out);
    str_fini(&conn->hs_sending);
    xfree(conn->slots);
    xfree(conn->rx);
    xfree(conn);
}

static void reap(struct task *task)
{
    struct nbd_conn *conn = container_of(task, struct nbd_conn, reap_task);

    if (op_pending(&conn->rx_op) || op_pending(&conn->tx_op) || conn->in_flight)
        return;
    conn_free(conn);
}

/* Gives back what the connection holds for a payload that will not come. */
static void drop_receiving(struct nbd_conn *conn)
{
    struct nbd_slot *slot = conn->rx_slot;

    if (!slot || (conn->rx_direct && op_pending(&conn->rx_op)))
        return; /* The read still writes into the buffer; its end comes here again. */
    conn->rx_slot = NULL;
    nbd_slot_free(slot);
}

static void conn_closed(struct nbd_conn *conn)
{
    struct nbd_server *server = conn->server;
    struct export_client_note note = { .negotiated = conn->export };

    timer_disarm(&conn->handshake_timer);
    reactor_undefer(&conn->tx_task);
    stream_close(conn->stream);
    conn->stream = NULL;
    if (conn->export) {
        check(conn->export->clients > 0);
        conn->export->clients--;
    }
    server->memory -= conn->memory;
    conn->server = NULL;
    list_del(&conn->link);
    drop_receiving(conn);
    nbd_tx_drop(conn);
    nbd_conn_finish_check(conn);
    nbd_server_conn_gone(server);
    note.clients = server->conn_count;
    notify_all(&server->exports->on_client_gone, &note);
}

void nbd_conn_enter(struct nbd_conn *conn, enum nbd_conn_state to)
{
    fsm_check_edge(conn_edges, conn->state, to);
    trace(nbd_conn_enter, "conn %p from %d to %d", (void *)conn, (int)conn->state, (int)to);
    conn->state = to;
    switch (to) {
    case NBD_CONN_HELLO:
    case NBD_CONN_OPTIONS:
    case NBD_CONN_STARTTLS: break;
    case NBD_CONN_TRANSMIT:
        timer_disarm(&conn->handshake_timer);
        export_use(conn->export);
        conn->export->clients++;
        conn->edge = conn->export->edge;
        stream_set_nodelay(conn->stream, true);
        break;
    case NBD_CONN_FINISH:
        timer_disarm(&conn->handshake_timer);
        nbd_conn_finish_check(conn);
        break;
    case NBD_CONN_CLOSED: conn_closed(conn); break;
    case NBD_CONN_STATE_COUNT: unreachable();
    }
}

void nbd_conn_cut(struct nbd_conn *conn)
{
    if (conn->state != NBD_CONN_CLOSED)
        nbd_conn_enter(conn, NBD_CONN_CLOSED);
}

void nbd_conn_fail(struct nbd_conn *conn, struct err *err)
{
    log_err("option negotiation failed", err);
    nbd_conn_cut(conn);
}

void nbd_conn_finish_check(struct nbd_conn *conn)
{
    if (conn->state == NBD_CONN_FINISH && conn->in_flight == 0 && !op_pending(&conn->tx_op) &&
        conn->hs_out.len == 0)
        nbd_conn_enter(conn, NBD_CONN_CLOSED);
    else if (conn->state == NBD_CONN_CLOSED)
        reactor_defer(conn->reactor, &conn->reap_task, reap);
}

/* ---- Receiving ---- */

/* A client that leaves without a word while options are haggled over is worth a line. */
static void lost_in_options(struct nbd_conn *conn, int result)
{
    const char *why = stream_error(conn->stream);

    if (!why || result == 0)
        why = result ? strerror(-result) : "Unexpected end-of-file before all data were read";
    nbd_conn_fail(conn, err_new("Failed to read opts magic: %s", why));
}

static void received(struct op *op)
{
    struct nbd_conn *conn = container_of(op, struct nbd_conn, rx_op);

    if (conn->state == NBD_CONN_CLOSED) {
        drop_receiving(conn);
        nbd_conn_finish_check(conn);
        return;
    }
    if (op->result <= 0) {
        if (conn->state == NBD_CONN_OPTIONS)
            lost_in_options(conn, (int)op->result);
        /* The peer is gone; with replies under way too, as nobody would read them. In FINISH the
         * peer may close at once after its DISC, and what was asked before still counts. */
        if (conn->state != NBD_CONN_FINISH)
            nbd_conn_cut(conn);
        return;
    }
    if (conn->rx_direct)
        conn->rx_slot->got += (size_t)op->result;
    else
        conn->rx_len += (size_t)op->result;
    conn->rx_direct = false;
    nbd_conn_pump(conn);
}

static void start_read(struct nbd_conn *conn)
{
    struct nbd_slot *slot = conn->rx_slot;

    if (conn->rx_pos) {
        memmove(conn->rx, conn->rx + conn->rx_pos, nbd_rx_avail(conn));
        conn->rx_len -= conn->rx_pos;
        conn->rx_pos = 0;
    }
    conn->rx_op.done = received;
    if (slot && !conn->rx_skip && slot->wire.len - slot->got >= NBD_DIRECT_BYTES) {
        conn->rx_direct = true;
        stream_read(conn->stream, &conn->rx_op, slot->data->data + slot->got,
                    (size_t)slot->wire.len - slot->got);
    } else {
        stream_read(conn->stream, &conn->rx_op, conn->rx + conn->rx_len,
                    NBD_RX_BYTES - conn->rx_len);
    }
}

static enum nbd_step skip_step(struct nbd_conn *conn)
{
    size_t n = (size_t)MIN(conn->rx_skip, (uint64_t)nbd_rx_avail(conn));

    conn->rx_pos += n;
    conn->rx_skip -= n;
    if (conn->rx_skip)
        return NBD_STEP_MORE;
    if (conn->skip_option)
        nbd_option_error(conn, conn->skip_option, NBD_REP_ERR_TOO_BIG, "option payload too big");
    conn->skip_option = 0;
    return NBD_STEP_AGAIN;
}

static enum nbd_step conn_step(struct nbd_conn *conn)
{
    if (conn->rx_skip && conn->state != NBD_CONN_CLOSED)
        return skip_step(conn);
    switch (conn->state) {
    case NBD_CONN_HELLO: return nbd_hello_step(conn);
    case NBD_CONN_OPTIONS: return nbd_option_step(conn);
    case NBD_CONN_STARTTLS: return nbd_starttls_step(conn);
    case NBD_CONN_TRANSMIT: return nbd_request_step(conn);
    case NBD_CONN_FINISH:
    case NBD_CONN_CLOSED: return NBD_STEP_WAIT;
    case NBD_CONN_STATE_COUNT: break;
    }
    unreachable();
}

void nbd_conn_pump(struct nbd_conn *conn)
{
    enum nbd_step step;

    if (conn->state != NBD_CONN_CLOSED && op_pending(&conn->rx_op))
        return;
    do {
        step = conn_step(conn);
    } while (step == NBD_STEP_AGAIN);
    if (step == NBD_STEP_MORE && conn->state != NBD_CONN_CLOSED)
        start_read(conn);
}

/* ---- Begin ---- */

static void handshake_timeout(struct timer *timer)
{
    nbd_conn_cut(container_of(timer, struct nbd_conn, handshake_timer));
}

void nbd_conn_start(struct nbd_server *server, struct reactor_stream *stream)
{
    struct nbd_conn *conn = NEW(struct nbd_conn);
    uint8_t greeting[NBD_GREETING_BYTES];

    conn->server = server;
    conn->reactor = server->exports->reactor;
    conn->stream = stream;
    conn->state = NBD_CONN_HELLO;
    conn->rx = xmalloc(NBD_RX_BYTES);
    list_add_tail(&server->conns, &conn->link);
    conn->handshake_timer.fn = handshake_timeout;
    if (server->handshake_max_seconds)
        timer_arm(
            conn->reactor, &conn->handshake_timer,
            nstime_add(reactor_now(conn->reactor), nstime_from_sec(server->handshake_max_seconds)));
    store_be64(greeting, NBD_MAGIC_INIT);
    store_be64(greeting + 8, NBD_MAGIC_OPTION);
    store_be16(greeting + 16, NBD_HS_FIXED_NEWSTYLE | NBD_HS_NO_ZEROES);
    str_addn(&conn->hs_out, greeting, sizeof(greeting));
    nbd_tx_kick(conn);
    nbd_conn_pump(conn);
}
