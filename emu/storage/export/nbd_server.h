/*
 * The NBD server: a listening socket and its connections (specs: section 2).
 *
 * Made and stopped through exports_nbd_start() and exports_nbd_stop(). A connection belongs to the
 * server until it is cut; what is still in flight below a cut connection ends on its own.
 */
#ifndef EMU_STORAGE_EXPORT_NBD_SERVER_H
#define EMU_STORAGE_EXPORT_NBD_SERVER_H

#include "emu/storage/export/export.h"
#include "emu/storage/export/nbd_buffers.h"

struct nbd_conn;
struct tls_creds;

struct nbd_server {
    struct exports *exports;           /* borrowed */
    struct reactor_listener *listener; /* owned; NULL for a server of tests. */
    struct nbd_accept *accept;         /* The pending accept; ends on its own. */
    struct list conns;                 /* struct nbd_conn */
    unsigned conn_count;
    uint32_t max_connections, handshake_max_seconds;
    struct tls_creds *tls_creds; /* owned reference; clients must start TLS. NULL: there is none. */
    char *tls_authz;             /* owned; may be NULL. */
    uint64_t memory; /* Bytes of payload buffers that connections hold. */
    struct nbd_buffers buffers;
};

struct err *nbd_server_new(struct exports *exports, const struct nbd_server_options *options,
                           struct nbd_server **out) MUST_USE;
/* Cuts all connections. NULL is fine. */
void nbd_server_free(struct nbd_server *server);
/* Cuts the connections to an export. */
void nbd_server_drop(struct nbd_server *server, struct export *export);
/* Serves a client on a connected stream, which is taken. */
void nbd_server_serve(struct nbd_server *server, struct reactor_stream *stream);
unsigned nbd_server_port(const struct nbd_server *server);
/* A connection was cut: there may be room for a new one. */
void nbd_server_conn_gone(struct nbd_server *server);

#endif
