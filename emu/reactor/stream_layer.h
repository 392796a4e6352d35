#ifndef EMU_REACTOR_STREAM_LAYER_H
#define EMU_REACTOR_STREAM_LAYER_H

/*
 * Streams made of other streams: TLS above a socket. A layer is a struct reactor_stream like any other, so whoever
 * reads and writes it does not know. Its maker gives the functions below; the front keeps the books of the ops.
 *
 * All functions run on the home thread. A layer never calls done: it ends an op with stream_layer_finish().
 */

#include "emu/reactor/reactor.h"

struct stream_layer_ops {
    /* Starts a read of at least one byte, or a write of all; op ends by stream_layer_finish(), at once or later. */
    void (*read)(void *arg, struct op *op, void *buf, size_t len);
    void (*write)(void *arg, struct op *op, const struct iovec *iov, unsigned niov);
    /* The op was started and is not finished. It need not end before it is finished otherwise. */
    void (*cancel)(void *arg, struct op *op);
    /* The stream was closed: no op is left on it, and arg is the layer's own from here on. */
    void (*close)(void *arg);
    /* Where descriptors, names, and shutdown come from. */
    struct reactor_stream *(*below)(void *arg);
    /* Text for the last failed read or write, borrowed; NULL: the error number says it all. */
    const char *(*error)(void *arg);
};

/* A stream that is served by ops; closed by stream_close(). ops is borrowed. */
struct reactor_stream *stream_layer_new(struct reactor *r, const struct stream_layer_ops *ops,
                                        void *arg);
/* Ends an op that was started on a layer: result >= 0 or -errno. */
void stream_layer_finish(struct op *op, int64_t result);

#endif
