/*
 * The other end of an NBD connection, played by a test: sends the bytes it is given and collects what
 * comes. A peer is made by connecting to our server, or by accepting our client.
 */
#ifndef EMU_TESTS_NBD_PEER_H
#define EMU_TESTS_NBD_PEER_H

#include "emu/base/str.h"
#include "tests/nbd/nbd_env.h"

struct peer {
    struct nbd_env *env;
    struct reactor_listener *listener; /* Of a peer that is a server. */
    struct reactor_stream *stream;
    struct op open_op, rx_op, tx_op;
    bool open, closed, sent; /* closed: the end of the stream was seen. */
    uint8_t buf[4096];
    struct str in; /* What came and was not taken yet. */
};

void peer_connect(struct peer *p, struct nbd_env *env, const char *path);
void peer_listen(struct peer *p, struct nbd_env *env, const char *path);
/* Sends, waiting until it has left. */
void peer_send(struct peer *p, const void *bytes, size_t len);
void peer_send_text(struct peer *p,
                    const char *hex); /* Hexadecimal with spaces; 'text' in quotes. */
/* Waits for as many bytes (or the end) and takes them; the result lives until the next call. */
const uint8_t *peer_take(struct peer *p, size_t len);
/* Expects exactly these bytes next. */
void peer_expect(struct peer *p, const char *hex);
bool peer_at_end(struct peer *p); /* Waits a while for the end of the stream. */
void peer_close(struct peer *p);

#endif
