#ifndef EMU_CRYPTO_TLS_STREAM_H
#define EMU_CRYPTO_TLS_STREAM_H

/*
 * TLS above a stream. The result is a struct reactor_stream that is read, written and closed like the one below it;
 * closing it, at any time, also ends a handshake.
 *
 * GnuTLS never sees a descriptor: what it wants to send is collected and written by the reactor, what it wants to
 * receive was read before. Home: the reactor of the stream below.
 */

#include "emu/crypto/tls_creds.h"
#include "emu/reactor/reactor.h"

struct tls_options {
    struct tls_creds *creds; /* Of the end we are; the session takes a reference of its own. */
    const char *hostname;    /* Client: the name the server's certificate must have; may be NULL. */
    const char *authz;       /* Server: id of who may connect; NULL: all that are verified. */
};

/* err is taken: NULL when the session stands, else why not; the stream is still to be closed then. */
typedef void tls_done_fn(void *arg, struct err *err);

/*
 * Starts a session on below, which is taken; on an error it is not, and done is not called. done is called later,
 * when the handshake is over and the peer was verified; not after *out was closed. *out is read and written only
 * after done said it stands. Errors of the handshake are the reference's texts.
 */
struct err *tls_start(struct reactor_stream *below, const struct tls_options *options,
                      tls_done_fn *done, void *arg, struct reactor_stream **out) MUST_USE;

#endif
