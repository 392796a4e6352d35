/* Listening, and the list of connections. */
#include "emu/storage/export/nbd_server.h"

#include "emu/base/alloc.h"
#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/crypto/tls_creds.h"
#include "emu/storage/export/nbd_conn.h"

enum { BACKLOG = 128 };

/* An accept outlives its server until the reactor lets go of it. */
struct nbd_accept {
    struct op op;
    struct nbd_server *server; /* borrowed; NULL once the server is gone. */
    struct reactor_stream *stream;
};

static void accept_next(struct nbd_server *server);

static void accepted(struct op *op)
{
    struct nbd_accept *accept = container_of(op, struct nbd_accept, op);
    struct nbd_server *server = accept->server;

    if (!server) {
        if (op->result == 0)
            stream_close(accept->stream);
        xfree(accept);
        return;
    }
    server->accept = NULL;
    if (op->result == 0) {
        nbd_server_serve(server, accept->stream);
        accept_next(server);
    } else {
        log_err("NBD server stopped listening", err_new_errno((int)op->result, "accept failed"));
    }
    xfree(accept);
}

/* No accept is pending while the limit is reached: clients wait in the kernel's queue. */
static void accept_next(struct nbd_server *server)
{
    if (!server->listener || server->accept)
        return;
    if (server->max_connections && server->conn_count >= server->max_connections)
        return;
    server->accept = NEW(struct nbd_accept);
    server->accept->server = server;
    server->accept->op.done = accepted;
    listener_accept(server->listener, &server->accept->op, &server->accept->stream);
}

struct err *nbd_server_new(struct exports *exports, const struct nbd_server_options *options,
                           struct nbd_server **out)
{
    struct nbd_server *server;
    struct reactor_listener *listener;

    struct tls_creds *creds = NULL;
    struct err *err;

    if (options->tls_creds)
        TRY(tls_creds_get(graph_objects(exports->graph), options->tls_creds, TLS_SERVER, &creds));
    err = reactor_listen(exports->reactor, &options->addr, BACKLOG, &listener);
    if (err) {
        tls_creds_unref(creds);
        return err;
    }
    server = NEW(struct nbd_server);
    server->tls_creds = creds;
    server->tls_authz = options->tls_authz ? xstrdup(options->tls_authz) : NULL;
    server->exports = exports;
    server->listener = listener;
    server->max_connections = options->max_connections;
    server->handshake_max_seconds = options->handshake_max_seconds;
    list_init(&server->conns);
    nbd_buffers_init(&server->buffers);
    accept_next(server);
    *out = server;
    return NULL;
}

void nbd_server_free(struct nbd_server *server)
{
    if (!server)
        return;
    if (server->accept)
        server->accept->server = NULL;
    listener_close(server->listener);
    server->listener = NULL;
    list_for_each_safe(conn, &server->conns, struct nbd_conn, link) {
        nbd_conn_cut(conn);
    }
    nbd_buffers_fini(&server->buffers);
    tls_creds_unref(server->tls_creds);
    xfree(server->tls_authz);
    xfree(server);
}

void nbd_server_drop(struct nbd_server *server, struct export *export)
{
    list_for_each_safe(conn, &server->conns, struct nbd_conn, link) {
        if (conn->meta_export == export)
            conn->meta_export = NULL;
        if (conn->export == export)
            nbd_conn_cut(conn);
    }
}

void nbd_server_serve(struct nbd_server *server, struct reactor_stream *stream)
{
    server->conn_count++;
    nbd_conn_start(server, stream);
}

void nbd_server_conn_gone(struct nbd_server *server)
{
    server->conn_count--;
    accept_next(server);
}

unsigned nbd_server_port(const struct nbd_server *server)
{
    return listener_port(server->listener);
}
