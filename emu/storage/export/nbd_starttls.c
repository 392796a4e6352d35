/*
 * TLS on a connection (specs: section 2, STARTTLS).
 *
 * What a client sent before its session stands is worth nothing: nothing but STARTTLS and ABORT is answered, what was
 * negotiated is forgotten, and bytes that came in one piece with STARTTLS end the connection, for somebody between
 * could have put them there.
 */
#include "emu/crypto/tls_stream.h"
#include "emu/storage/export/nbd_conn.h"

bool nbd_starttls_allows(struct nbd_conn *conn, uint32_t option)
{
    if (!conn->server->tls_creds || conn->tls_started || option == NBD_OPT_STARTTLS ||
        option == NBD_OPT_ABORT)
        return true;
    if (option == NBD_OPT_EXPORT_NAME) /* It has no answer but the export. */
        nbd_conn_fail(conn, err_new("Option 0x%x not permitted before TLS", option));
    else
        nbd_option_error(conn, option, NBD_REP_ERR_TLS_REQD, "Option 0x%x not permitted before TLS",
                         option);
    return false;
}

void nbd_starttls_option(struct nbd_conn *conn, size_t len)
{
    if (len) {
        nbd_option_error(conn, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
                         "option '%s' has unexpected length", nbd_option_name(NBD_OPT_STARTTLS));
        nbd_conn_enter(conn, NBD_CONN_FINISH);
    } else if (!conn->server->tls_creds) {
        nbd_option_error(conn, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY, "TLS not configured");
    } else if (conn->tls_started) {
        nbd_option_error(conn, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, "TLS already enabled");
    } else if (nbd_rx_avail(conn)) {
        nbd_conn_fail(conn, err_new("The client sent more behind option '%s' before TLS stood",
                                    nbd_option_name(NBD_OPT_STARTTLS)));
    } else {
        nbd_option_reply(conn, NBD_OPT_STARTTLS, NBD_REP_ACK, NULL, 0);
        nbd_conn_enter(conn, NBD_CONN_STARTTLS);
    }
}

static void tls_done(void *arg, struct err *err)
{
    struct nbd_conn *conn = arg;

    if (err) {
        nbd_conn_fail(conn, err);
        return;
    }
    conn->structured = conn->extended = false;
    conn->meta_export = NULL;
    conn->contexts = 0;
    nbd_conn_enter(conn, NBD_CONN_OPTIONS);
    nbd_conn_pump(conn);
}

enum nbd_step nbd_starttls_step(struct nbd_conn *conn)
{
    const struct tls_options options = {
        .creds = conn->server->tls_creds,
        .authz = conn->server->tls_authz,
    };
    struct err *err;

    if (conn->tls_started || conn->hs_out.len || op_pending(&conn->tx_op))
        return NBD_STEP_WAIT;
    conn->tls_started = true;
    err = tls_start(conn->stream, &options, tls_done, conn, &conn->stream);
    if (err)
        nbd_conn_fail(conn, err);
    return NBD_STEP_WAIT;
}
