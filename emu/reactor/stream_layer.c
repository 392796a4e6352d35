/* Layers above streams; see the header. */
#include "emu/reactor/stream_layer.h"

#include <errno.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/reactor/backend.h"

struct reactor_stream *stream_layer_new(struct reactor *r, const struct stream_layer_ops *ops,
                                        void *arg)
{
    struct reactor_stream *s = NEW(struct reactor_stream);

    s->reactor = r;
    s->layer = ops;
    s->layer_arg = arg;
    r->handles++;
    return s;
}

void stream_layer_finish(struct op *op, int64_t result) { op_finish(op, result); }

void stream_layer_close(struct reactor_stream *s)
{
    struct op *ops[] = { s->read_op, s->write_op };

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (!ops[i])
            continue;
        op_detach(ops[i]);
        op_finish(ops[i], -ECANCELED);
    }
    s->layer->close(s->layer_arg);
    xfree(s);
}
