/*
 * See channel.h. A read is started only when the buffer is empty and reading is on, so a paused
 * channel soon has no read under way and leaves its peer to the flow control of the kernel.
 */
#include "emu/chardev/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/str.h"

#define READ_SIZE 16384 /* Bytes read at once. */

struct channel {
    struct reactor *reactor;
    const struct channel_user *user; /* NULL: nobody. */
    void *arg;
    void (*closed)(void *arg); /* or NULL */
    void *closed_arg;
    struct reactor_stream *in, *out; /* owned */
    struct reactor_file *file;       /* owned */
    uint64_t offset;                 /* Where in file the next output goes. */
    channel_sink *sink;
    void *sink_arg;
    bool reading; /* Wanted by the user. */
    bool ended;   /* The user was told, or will be by the task. */
    bool closing; /* channel_close was called; freed with the last op. */
    bool busy;    /* One of its callbacks is running; not to be freed. */
    bool delivering;
    struct op read_op, write_op;
    struct iovec iov;
    struct str sending, queued; /* Output under way, and behind it. */
    struct task task;           /* Deliver what is unread, or the end. */
    size_t unread_at, unread_len;
    char buf[READ_SIZE];
};

static void read_done(struct op *op);
static void write_done(struct op *op);

static struct channel *new_common(struct reactor *reactor)
{
    struct channel *ch = NEW(struct channel);

    ch->reactor = reactor;
    ch->read_op.done = read_done;
    ch->write_op.done = write_done;
    return ch;
}

struct channel *channel_new(struct reactor *reactor, struct reactor_stream *in,
                            struct reactor_stream *out)
{
    struct channel *ch = new_common(reactor);

    check(out);
    ch->in = in;
    ch->out = out;
    return ch;
}

struct channel *channel_new_sink(struct reactor *reactor, channel_sink *sink, void *arg)
{
    struct channel *ch = new_common(reactor);

    ch->sink = sink;
    ch->sink_arg = arg;
    return ch;
}

struct channel *channel_new_file(struct reactor *reactor, struct reactor_file *file,
                                 uint64_t offset)
{
    struct channel *ch = new_common(reactor);

    ch->file = file;
    ch->offset = offset;
    return ch;
}

/* Frees a closing channel once nothing is under way. */
static void reap(struct channel *ch)
{
    if (!ch->closing || ch->busy || op_pending(&ch->read_op) || op_pending(&ch->write_op))
        return;
    reactor_file_close(ch->file);
    reactor_undefer(&ch->task);
    str_fini(&ch->sending);
    str_fini(&ch->queued);
    if (ch->closed)
        ch->closed(ch->closed_arg);
    xfree(ch);
}

static void end(struct channel *ch)
{
    if (ch->ended || ch->closing)
        return;
    ch->ended = true;
    if (ch->user)
        ch->user->ended(ch->arg);
}

static void start_read(struct channel *ch)
{
    if (ch->reading && ch->in && !ch->ended && !ch->closing && !ch->unread_len &&
        !op_pending(&ch->read_op))
        stream_read(ch->in, &ch->read_op, ch->buf, sizeof(ch->buf));
}

static void task_fn(struct task *task);

/* Offers what is unread and reads on. */
static void deliver(struct channel *ch)
{
    size_t taken;

    if (ch->reading && ch->unread_len && ch->user) {
        ch->delivering = true;
        taken = ch->user->received(ch->arg, ch->buf + ch->unread_at, ch->unread_len);
        ch->delivering = false;
        check(taken <= ch->unread_len);
        ch->unread_at += taken;
        ch->unread_len -= taken;
    }
    if (ch->reading && ch->unread_len && !ch->closing)
        reactor_defer(ch->reactor, &ch->task, task_fn); /* Others get their turn first. */
    start_read(ch);
}

static void task_fn(struct task *task)
{
    struct channel *ch = container_of(task, struct channel, task);

    ch->busy = true;
    if (!ch->ended && !ch->closing)
        deliver(ch);
    ch->busy = false;
    reap(ch);
}

static void read_done(struct op *op)
{
    struct channel *ch = container_of(op, struct channel, read_op);

    ch->busy = true;
    if (op->result <= 0) {
        end(ch);
    } else if (!ch->closing) {
        ch->unread_at = 0;
        ch->unread_len = (size_t)op->result;
        deliver(ch);
    }
    ch->busy = false;
    reap(ch);
}

static void start_write(struct channel *ch)
{
    struct str swap;

    if (op_pending(&ch->write_op) || !ch->queued.len || ch->ended || ch->closing)
        return;
    swap = ch->sending;
    ch->sending = ch->queued;
    ch->queued = swap;
    str_clear(&ch->queued);
    ch->iov = (struct iovec){ .iov_base = ch->sending.data, .iov_len = ch->sending.len };
    if (ch->file)
        reactor_file_writev(ch->file, &ch->write_op, &ch->iov, 1, ch->offset);
    else
        stream_writev(ch->out, &ch->write_op, &ch->iov, 1);
}

/* A file write may be short; true when there is more of it. */
static bool continue_file_write(struct channel *ch, int64_t written)
{
    if (!ch->file)
        return false;
    ch->offset += (uint64_t)written;
    ch->iov.iov_base = (char *)ch->iov.iov_base + written;
    ch->iov.iov_len -= (size_t)written;
    if (!ch->iov.iov_len)
        return false;
    reactor_file_writev(ch->file, &ch->write_op, &ch->iov, 1, ch->offset);
    return true;
}

static void write_done(struct op *op)
{
    struct channel *ch = container_of(op, struct channel, write_op);

    ch->busy = true;
    if (op->result < 0 || (ch->file && op->result == 0)) {
        end(ch);
    } else if (!ch->closing && !continue_file_write(ch, op->result)) {
        str_clear(&ch->sending);
        start_write(ch);
        if (ch->user && ch->user->sent && !ch->ended)
            ch->user->sent(ch->arg);
    }
    ch->busy = false;
    reap(ch);
}

void channel_attach(struct channel *ch, const struct channel_user *user, void *arg)
{
    ch->user = user;
    ch->arg = arg;
}

void channel_resume(struct channel *ch)
{
    ch->reading = true;
    if (ch->ended || ch->closing || ch->delivering)
        return;
    if (ch->unread_len)
        reactor_defer(ch->reactor, &ch->task, task_fn);
    else
        start_read(ch);
}

void channel_pause(struct channel *ch) { ch->reading = false; }

void channel_send(struct channel *ch, const char *bytes, size_t len)
{
    if (ch->ended || ch->closing || !len)
        return;
    if (!ch->out && !ch->file) {
        if (ch->sink)
            ch->sink(ch->sink_arg, bytes, len);
        return;
    }
    str_addn(&ch->queued, bytes, len);
    start_write(ch);
}

size_t channel_pending(const struct channel *ch) { return ch->sending.len + ch->queued.len; }

void channel_shutdown(struct channel *ch)
{
    if (ch->in)
        stream_shutdown(ch->in);
    if (ch->out && ch->out != ch->in)
        stream_shutdown(ch->out);
}

void channel_on_closed(struct channel *ch, void (*closed)(void *arg), void *arg)
{
    ch->closed = closed;
    ch->closed_arg = arg;
}

void channel_close(struct channel *ch)
{
    if (!ch)
        return;
    ch->closing = true;
    ch->user = NULL;
    if (ch->in && ch->in != ch->out)
        stream_close(ch->in);
    stream_close(ch->out);
    ch->in = ch->out = NULL;
    reap(ch);
}

struct reactor_stream *channel_stream(const struct channel *ch) { return ch->out; }

bool channel_is_movable(const struct channel *ch) { return ch->out && stream_fd(ch->out) >= 0; }

bool channel_detach(struct channel *ch, struct channel_parts *out)
{
    int in_fd, out_fd;

    if (!channel_is_movable(ch) || ch->reading || ch->ended || ch->closing ||
        op_pending(&ch->read_op) || op_pending(&ch->write_op) || ch->queued.len)
        return false;
    out_fd = fcntl(stream_fd(ch->out), F_DUPFD_CLOEXEC, 0);
    in_fd = out_fd;
    if (out_fd >= 0 && ch->in != ch->out && ch->in)
        in_fd = fcntl(stream_fd(ch->in), F_DUPFD_CLOEXEC, 0);
    if (out_fd < 0 || in_fd < 0) {
        if (out_fd >= 0)
            close(out_fd);
        return false;
    }
    *out = (struct channel_parts){
        .in_fd = in_fd,
        .out_fd = out_fd,
        .unread = xmemdup(ch->buf + ch->unread_at, ch->unread_len),
        .unread_len = ch->unread_len,
    };
    channel_close(ch);
    return true;
}

struct channel *channel_adopt(struct reactor *reactor, struct channel_parts *parts)
{
    struct reactor_stream *in = reactor_stream_from_fd(reactor, parts->in_fd);
    struct reactor_stream *out =
        parts->out_fd == parts->in_fd ? in : reactor_stream_from_fd(reactor, parts->out_fd);
    struct channel *ch = channel_new(reactor, in, out);

    check(parts->unread_len <= sizeof(ch->buf));
    memcpy(ch->buf, parts->unread, parts->unread_len);
    ch->unread_len = parts->unread_len;
    xfree(parts->unread);
    *parts = (struct channel_parts){ .in_fd = -1, .out_fd = -1 };
    return ch;
}

void channel_parts_drop(struct channel_parts *parts)
{
    if (parts->in_fd >= 0 && parts->in_fd != parts->out_fd)
        close(parts->in_fd);
    if (parts->out_fd >= 0)
        close(parts->out_fd);
    xfree(parts->unread);
    *parts = (struct channel_parts){ .in_fd = -1, .out_fd = -1 };
}
