/* The life of an op: begin, cancel, finish, complete. */
#include "emu/reactor/backend.h"

#include <errno.h>

#include "emu/base/check.h"
#include "emu/base/trace.h"

static const char *const op_kind_names[OP_KIND_COUNT] = {
    [OP_WORK] = "work",
    [OP_CALL] = "call",
    [OP_FILE_OPEN] = "open",
    [OP_PATH_UNLINK] = "unlink",
    [OP_PATH_RENAME] = "rename",
    [OP_PATH_STAT] = "path-stat",
    [OP_FILE_READV] = "readv",
    [OP_FILE_WRITEV] = "writev",
    [OP_FILE_SYNC] = "sync",
    [OP_FILE_ALLOCATE] = "allocate",
    [OP_FILE_TRUNCATE] = "truncate",
    [OP_FILE_STAT] = "stat",
    [OP_FILE_EXTENT] = "extent",
    [OP_FILE_COPY] = "copy",
    [OP_FILE_LOCK] = "lock",
    [OP_FILE_LOCK_TEST] = "lock-test",
    [OP_CONNECT] = "connect",
    [OP_ACCEPT] = "accept",
    [OP_STREAM_READ] = "stream-read",
    [OP_STREAM_WRITE] = "stream-write",
    [OP_WATCH] = "watch",
    [OP_SIGNAL] = "signal",
};

const char *op_kind_name(enum op_kind kind) { return op_kind_names[kind]; }

void op_begin(struct reactor *r, struct op *op, enum op_kind kind)
{
    check(reactor_is_home(r));
    check(op->done);
    check(op->state == OP_IDLE);
    list_init(&op->link);
    op->reactor = r;
    op->state = OP_RUNNING;
    op->kind = (uint8_t)kind;
    op->flags = 0;
    op->result = 0;
    op->handle2 = NULL;
    op->backend = NULL;
    r->ops_pending++;
}

/* The stream of an op on a layer, else NULL. */
static struct reactor_stream *op_layer(const struct op *op)
{
    struct reactor_stream *s = op->handle;

    return (op->kind == OP_STREAM_READ || op->kind == OP_STREAM_WRITE) && s && s->layer ? s : NULL;
}

void op_cancel(struct op *op)
{
    if (op->state == OP_IDLE)
        return;
    check(reactor_is_home(op->reactor));
    if (op->state == OP_DONE_QUEUED || (op->flags & OPF_CANCELLED))
        return;
    op->flags |= OPF_CANCELLED;
    if (op_layer(op))
        op_layer(op)->layer->cancel(op_layer(op)->layer_arg, op);
    else
        op->reactor->backend->cancel(op);
}

void op_finish(struct op *op, int64_t result)
{
    check(op->state == OP_RUNNING || op->state == OP_QUEUED);
    op->result = result;
    op->state = OP_DONE_QUEUED;
    list_add_tail(&op->reactor->ready, &op->link);
}

/* Tells the handle that the op has left it. */
static void op_leave_handle(struct op *op)
{
    struct reactor_file *file = op->handle;

    switch ((enum op_kind)op->kind) {
    case OP_STREAM_READ: ((struct reactor_stream *)op->handle)->read_op = NULL; break;
    case OP_STREAM_WRITE: ((struct reactor_stream *)op->handle)->write_op = NULL; break;
    case OP_ACCEPT: ((struct reactor_listener *)op->handle)->accept_op = NULL; break;
    case OP_WATCH: ((struct reactor_watch *)op->handle)->op = NULL; break;
    case OP_FILE_COPY:
        ((struct reactor_file *)op->handle2)->ops_pending--;
        file->ops_pending--;
        break;
    default:
        if (op_kind_is_file(op->kind))
            file->ops_pending--;
        break;
    }
}

void op_complete(struct op *op)
{
    check(op->state == OP_DONE_QUEUED);
    if (op->handle)
        op_leave_handle(op);
    op->handle = NULL;
    op->state = OP_IDLE;
    op->reactor->ops_pending--;
    trace(op_complete, "%s result %lld", op_kind_name(op->kind), (long long)op->result);
    op->done(op);
}

void op_detach(struct op *op)
{
    op->handle = NULL;
    if (op->state == OP_DONE_QUEUED)
        op->result = -ECANCELED;
}
