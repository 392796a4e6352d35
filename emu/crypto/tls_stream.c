/*
 * Sessions of TLS.
 *
 * Invariants:
 *  (1) At most one read and one write are pending on the stream below.
 *  (2) What GnuTLS has pushed and is not yet written is in out (waiting) and sending (in the pending write).
 *  (3) A closed session calls nobody and is freed when its ops below have ended.
 *  (4) No more than TLS_BATCH bytes of a user's write are encrypted ahead of what the stream below takes.
 */
#include "emu/crypto/tls_stream.h"

#include <errno.h>
#include <string.h>

#include <arpa/inet.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/base/trace.h"
#include "emu/crypto/tls_verify.h"
#include "emu/reactor/stream_layer.h"

enum {
    TLS_RX_BYTES = 64 << 10,
    TLS_BATCH = 256 << 10,
    TLS_RECORD = 16 << 10, /* RFC 8446, 5.1 */
    TLS_HOST_MAX = 255,
};

enum tls_state {
    TLS_HANDSHAKE, /* GnuTLS shakes hands. */
    TLS_LAST,      /* It is done; our last bytes are leaving. */
    TLS_OPEN,      /* The session stands. */
    TLS_BROKEN,    /* It failed; reads and writes fail. */
    TLS_CLOSED,    /* Keeps (3). Terminal. */
    TLS_STATE_COUNT,
};

static const uint32_t tls_edges[TLS_STATE_COUNT] = {
    [TLS_HANDSHAKE] = BIT(TLS_LAST) | BIT(TLS_BROKEN) | BIT(TLS_CLOSED),
    [TLS_LAST] = BIT(TLS_OPEN) | BIT(TLS_BROKEN) | BIT(TLS_CLOSED),
    [TLS_OPEN] = BIT(TLS_BROKEN) | BIT(TLS_CLOSED),
    [TLS_BROKEN] = BIT(TLS_CLOSED),
};

struct tls {
    struct reactor *reactor;
    struct reactor_stream *below; /* owned; NULL in CLOSED. */
    struct tls_creds *creds;      /* owned reference */
    char *hostname, *authz;       /* owned; may be NULL. */
    gnutls_session_t session;     /* owned */
    enum tls_state state;
    tls_done_fn *done; /* NULL once called. */
    void *done_arg;
    struct task start_task;
    char *error; /* owned; of the last failed read or write. */
    /* From below. */
    struct op rx_op;
    uint8_t *rx; /* owned */
    size_t rx_pos, rx_len;
    bool rx_end;  /* The peer's end of stream was read. */
    int rx_error; /* -errno of the stream below, or 0. */
    /* To below. */
    struct op tx_op;
    struct iovec tx_iov;
    struct str out, sending;
    int tx_error;
    /* The user's ops. */
    struct op *read_op, *write_op;
    void *read_buf;
    size_t read_len;
    const struct iovec *iov;
    unsigned niov, iov_index;
    size_t iov_off;
    int64_t taken; /* Bytes of the user's write that were encrypted. */
};

static void enter(struct tls *tls, enum tls_state to)
{
    fsm_check_edge(tls_edges, tls->state, to);
    trace(tls_enter, "tls %p from %d to %d", (void *)tls, (int)tls->state, (int)to);
    tls->state = to;
}

static void tls_free(struct tls *tls)
{
    if (tls->session)
        gnutls_deinit(tls->session);
    tls_creds_unref(tls->creds);
    xfree(tls->hostname);
    xfree(tls->authz);
    xfree(tls->error);
    xfree(tls->rx);
    str_fini(&tls->out);
    str_fini(&tls->sending);
    xfree(tls);
}

/* Frees a closed session when nothing below is pending. Returns whether it is closed. */
static bool closed(struct tls *tls)
{
    if (tls->state != TLS_CLOSED)
        return false;
    if (!op_pending(&tls->rx_op) && !op_pending(&tls->tx_op))
        tls_free(tls);
    return true;
}

static void set_error(struct tls *tls, const char *what, int result)
{
    xfree(tls->error);
    tls->error = xasprintf("%s: %s", what, gnutls_strerror(result));
}

/* ---- The transport GnuTLS sees ---- */

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t len)
{
    struct tls *tls = arg;
    size_t n = MIN(len, tls->rx_len - tls->rx_pos);

    if (n) {
        memcpy(data, tls->rx + tls->rx_pos, n);
        tls->rx_pos += n;
        return (ssize_t)n;
    }
    if (tls->rx_end)
        return 0;
    gnutls_transport_set_errno(tls->session, tls->rx_error ? -tls->rx_error : EAGAIN);
    return -1;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *data, size_t len)
{
    struct tls *tls = arg;

    if (tls->tx_error) {
        gnutls_transport_set_errno(tls->session, -tls->tx_error);
        return -1;
    }
    str_addn(&tls->out, data, len);
    return (ssize_t)len;
}

static void advance(struct tls *tls);

static void received(struct op *op)
{
    struct tls *tls = container_of(op, struct tls, rx_op);

    if (closed(tls))
        return;
    if (op->result > 0)
        tls->rx_len = (size_t)op->result;
    else if (op->result == 0)
        tls->rx_end = true;
    else
        tls->rx_error = (int)op->result;
    advance(tls);
}

/* More input is wanted: what was read is used up. */
static void want_input(struct tls *tls)
{
    if (op_pending(&tls->rx_op) || tls->rx_end || tls->rx_error)
        return;
    check(tls->rx_pos == tls->rx_len);
    tls->rx_pos = tls->rx_len = 0;
    tls->rx_op.done = received;
    stream_read(tls->below, &tls->rx_op, tls->rx, TLS_RX_BYTES);
}

static void sent(struct op *op)
{
    struct tls *tls = container_of(op, struct tls, tx_op);

    if (closed(tls))
        return;
    str_clear(&tls->sending);
    if (op->result < 0)
        tls->tx_error = (int)op->result;
    advance(tls);
}

/* Writes what was pushed. */
static void flush(struct tls *tls)
{
    struct str empty = tls->sending;

    if (!tls->out.len || op_pending(&tls->tx_op) || tls->tx_error)
        return;
    tls->sending = tls->out;
    tls->out = empty;
    tls->tx_iov = (struct iovec){ tls->sending.data, tls->sending.len };
    tls->tx_op.done = sent;
    stream_writev(tls->below, &tls->tx_op, &tls->tx_iov, 1);
}

static bool flushed(const struct tls *tls)
{
    return tls->tx_error || (!tls->out.len && !op_pending(&tls->tx_op));
}

/* ---- Handshake ---- */

/* err is taken. The session may be gone afterwards. */
static void handshake_over(struct tls *tls, struct err *err)
{
    tls_done_fn *done = tls->done;

    tls->done = NULL;
    enter(tls, err ? TLS_BROKEN : TLS_OPEN);
    done(tls->done_arg, err);
}

static void handshake(struct tls *tls)
{
    int result;

    do {
        result = gnutls_handshake(tls->session);
    } while (result == GNUTLS_E_INTERRUPTED ||
             (result < 0 && result != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(result)));
    flush(tls);
    if (result == GNUTLS_E_AGAIN) {
        want_input(tls);
        return;
    }
    if (result < 0) {
        handshake_over(tls, err_new("TLS handshake failed: %s", gnutls_strerror(result)));
        return;
    }
    enter(tls, TLS_LAST);
    advance(tls);
}

static void verify(struct tls *tls)
{
    if (!flushed(tls))
        return;
    handshake_over(tls, tls_verify(tls->session, tls->creds, tls->hostname, tls->authz,
                                   (time_t)(reactor_wall_now(tls->reactor) / NS_PER_SEC)));
}

/* ---- Data ---- */

static void end_read(struct tls *tls, int64_t result)
{
    struct op *op = tls->read_op;

    tls->read_op = NULL;
    stream_layer_finish(op, result);
}

static void end_write(struct tls *tls, int64_t result)
{
    struct op *op = tls->write_op;

    tls->write_op = NULL;
    stream_layer_finish(op, result);
}

static void do_read(struct tls *tls)
{
    size_t got = 0;
    ssize_t n = 0;

    if (!tls->read_op)
        return;
    while (got < tls->read_len) {
        n = gnutls_record_recv(tls->session, (uint8_t *)tls->read_buf + got, tls->read_len - got);
        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || n == GNUTLS_E_AGAIN ||
                 (n != GNUTLS_E_INTERRUPTED && gnutls_error_is_fatal((int)n)))
            break;
    }
    if (got) {
        end_read(tls, (int64_t)got); /* What stopped it, the next read will meet again. */
    } else if (n == 0) {
        end_read(tls, 0);
    } else if (n == GNUTLS_E_AGAIN) {
        want_input(tls);
    } else {
        set_error(tls, "Cannot read from TLS channel", (int)n);
        end_read(tls, tls->rx_error ? tls->rx_error : -EIO);
    }
}

/* The next piece of the user's write, at most a record; 0 when there is none. */
static size_t next_piece(struct tls *tls, const uint8_t **out)
{
    while (tls->iov_index < tls->niov && tls->iov_off == tls->iov[tls->iov_index].iov_len) {
        tls->iov_index++;
        tls->iov_off = 0;
    }
    if (tls->iov_index == tls->niov)
        return 0;
    *out = (const uint8_t *)tls->iov[tls->iov_index].iov_base + tls->iov_off;
    return MIN(tls->iov[tls->iov_index].iov_len - tls->iov_off, (size_t)TLS_RECORD);
}

static void do_write(struct tls *tls)
{
    const uint8_t *data;
    ssize_t n = 0;
    size_t len;

    if (!tls->write_op || op_pending(&tls->tx_op))
        return;
    /* Corked, small pieces share a record: a header of the protocol above goes with its data. */
    gnutls_record_cork(tls->session);
    while (tls->out.len < TLS_BATCH && (len = next_piece(tls, &data)) > 0) {
        n = gnutls_record_send(tls->session, data, len);
        if (n < 0)
            break;
        tls->iov_off += (size_t)n;
        tls->taken += n;
        if (gnutls_record_check_corked(tls->session) >= TLS_RECORD) {
            n = gnutls_record_uncork(tls->session, GNUTLS_RECORD_WAIT);
            if (n < 0)
                break;
            gnutls_record_cork(tls->session);
        }
    }
    if (n >= 0)
        n = gnutls_record_uncork(tls->session, GNUTLS_RECORD_WAIT);
    if (n < 0 || tls->tx_error) {
        set_error(tls, "Cannot write to TLS channel", n < 0 ? (int)n : GNUTLS_E_PUSH_ERROR);
        end_write(tls, tls->tx_error ? tls->tx_error : -EIO);
        return;
    }
    flush(tls);
    if (flushed(tls))
        end_write(tls, tls->taken);
}

/* Goes on wherever the session is; may free it. */
static void advance(struct tls *tls)
{
    switch (tls->state) {
    case TLS_HANDSHAKE: handshake(tls); return;
    case TLS_LAST: verify(tls); return;
    case TLS_OPEN:
        do_read(tls);
        flush(tls); /* Reading may have something to say: an answer to a key update. */
        do_write(tls);
        return;
    case TLS_BROKEN:
    case TLS_CLOSED: return;
    case TLS_STATE_COUNT: break;
    }
    unreachable();
}

/* ---- The stream ---- */

static void layer_read(void *arg, struct op *op, void *buf, size_t len)
{
    struct tls *tls = arg;

    if (tls->state != TLS_OPEN) {
        stream_layer_finish(op, -EIO);
        return;
    }
    tls->read_op = op;
    tls->read_buf = buf;
    tls->read_len = len;
    do_read(tls);
    flush(tls);
}

static void layer_write(void *arg, struct op *op, const struct iovec *iov, unsigned niov)
{
    struct tls *tls = arg;

    if (tls->state != TLS_OPEN) {
        stream_layer_finish(op, -EIO);
        return;
    }
    tls->write_op = op;
    tls->iov = iov;
    tls->niov = niov;
    tls->iov_index = 0;
    tls->iov_off = 0;
    tls->taken = 0;
    do_write(tls);
}

static void layer_cancel(void *arg, struct op *op)
{
    struct tls *tls = arg;

    /* A read leaves nothing behind. A write has begun: half of it would end the session for the peer. */
    if (op == tls->read_op)
        end_read(tls, -ECANCELED);
}

static void layer_close(void *arg)
{
    struct tls *tls = arg;

    enter(tls, TLS_CLOSED);
    tls->read_op = tls->write_op = NULL;
    tls->done = NULL;
    reactor_undefer(&tls->start_task);
    stream_close(tls->below);
    tls->below = NULL;
    closed(tls);
}

static struct reactor_stream *layer_below(void *arg)
{
    struct tls *tls = arg;

    return tls->below;
}

static const char *layer_error(void *arg)
{
    struct tls *tls = arg;

    return tls->error;
}

static const struct stream_layer_ops tls_layer = {
    .read = layer_read,
    .write = layer_write,
    .cancel = layer_cancel,
    .close = layer_close,
    .below = layer_below,
    .error = layer_error,
};

/* ---- Begin ---- */

static struct err *set_priority(struct tls *tls)
{
    static const char *const extra[] = {
        [TLS_X509] = "",
        [TLS_PSK] = ":+ECDHE-PSK:+DHE-PSK:+PSK",
        [TLS_ANON] = ":+ANON-DH",
    };
    const char *base = tls->creds->priority ? tls->creds->priority : "NORMAL";
    CLEANUP(xfree) char *priority = xasprintf("%s%s", base, extra[tls->creds->kind]);
    int result = gnutls_priority_set_direct(tls->session, priority, NULL);

    return result < 0 ? err_new("Unable to set TLS session priority %s: %s", priority,
                                gnutls_strerror(result))
                      : NULL;
}

static bool is_number(const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static struct err *set_up(struct tls *tls)
{
    bool server = tls->creds->endpoint == TLS_SERVER;
    int result = gnutls_init(&tls->session, server ? GNUTLS_SERVER : GNUTLS_CLIENT);

    if (result < 0) {
        tls->session = NULL;
        return err_new("Cannot initialize TLS session: %s", gnutls_strerror(result));
    }
    TRY(set_priority(tls));
    result = gnutls_credentials_set(tls->session, tls->creds->type, tls->creds->credentials);
    if (result < 0)
        return err_new("Cannot set session credentials: %s", gnutls_strerror(result));
    if (server && tls->creds->kind == TLS_X509 && tls->creds->verify_peer)
        gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUEST);
    if (!server && tls->hostname && !is_number(tls->hostname) &&
        strlen(tls->hostname) <= TLS_HOST_MAX)
        (void)gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, tls->hostname,
                                     strlen(tls->hostname));
    gnutls_handshake_set_timeout(tls->session, 0); /* Limits of time are the callers'. */
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_push_function(tls->session, push);
    return NULL;
}

static void begin(struct task *task) { advance(container_of(task, struct tls, start_task)); }

struct err *tls_start(struct reactor_stream *below, const struct tls_options *options,
                      tls_done_fn *done, void *arg, struct reactor_stream **out)
{
    struct tls *tls = NEW(struct tls);
    struct err *err;

    tls->creds = tls_creds_ref(options->creds);
    tls->hostname = options->hostname ? xstrdup(options->hostname) : NULL;
    tls->authz = options->authz ? xstrdup(options->authz) : NULL;
    tls->reactor = objects_reactor(options->creds->object.registry);
    tls->done = done;
    tls->done_arg = arg;
    tls->rx = xmalloc(TLS_RX_BYTES);
    str_init(&tls->out);
    str_init(&tls->sending);
    err = set_up(tls);
    if (err) {
        tls_free(tls);
        return err;
    }
    tls->below = below;
    *out = stream_layer_new(tls->reactor, &tls_layer, tls);
    reactor_defer(tls->reactor, &tls->start_task, begin);
    return NULL;
}
