/*
 * See channel.h. One buffer's worth is read ahead, whether anybody wants it now or not: this is how
 * the end of a silent peer is noticed.
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

/* How far the input has come. */
enum input { INPUT_OPEN, INPUT_OVER, INPUT_OVER_TOLD };

struct channel {
    struct reactor *reactor;
    const struct channel_user *user; /* NULL: nobody. */
    void *arg;
    void (*closed)(void *arg); /* or NULL */
    void *closed_arg;
    channel_detached *detached; /* NULL: is not being detached. */
    void *detached_arg;
    struct reactor_stream *in, *out; /* owned */
    struct reactor_file *file;       /* owned */
    uint64_t offset;                 /* Where in file the next output goes. */
    channel_sink *sink;
    void *sink_arg;
    bool reading; /* Wanted by the user. */
    enum input input;
    bool broken;  /* Output has failed. */
    bool closing; /* channel_close was called; freed with the last op. */
    bool busy;    /* One of its callbacks is running; not to be freed. */
    bool delivering; /* That is received. */
    struct op read_op, write_op;
    struct iovec iov;
    struct str sending, queued; /* Output under way, and behind it. */
    struct task task;           /* Deliver what is unread, the end, or the parts. */
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

static void start_read(struct channel *ch)
{
    if (ch->in && ch->user && !ch->detached && ch->input == INPUT_OPEN && !ch->unread_len &&
        !op_pending(&ch->read_op))
        stream_read(ch->in, &ch->read_op, ch->buf, sizeof(ch->buf));
}

static void start_write(struct channel *ch)
{
    struct str swap;

    if (op_pending(&ch->write_op) || !ch->queued.len || ch->broken || ch->closing)
        return;
    swap = ch->sending;
    ch->sending = ch->queued;
    ch->queued = swap;
    ch->iov = (struct iovec){ .iov_base = ch->sending.data, .iov_len = ch->sending.len };
    if (ch->file)
        reactor_file_writev(ch->file, &ch->write_op, &ch->iov, 1, ch->offset);
    else
        stream_writev(ch->out, &ch->write_op, &ch->iov, 1);
}

static void task_fn(struct task *task);

static void later(struct channel *ch) { reactor_defer(ch->reactor, &ch->task, task_fn); }

static bool can_detach(const struct channel *ch)
{
    return ch->detached && ch->input == INPUT_OPEN && !ch->broken && !op_pending(&ch->read_op) &&
           !op_pending(&ch->write_op) && !ch->queued.len;
}

static void detach_now(struct channel *ch);

/* One thing of those that are due. */
static void settle(struct channel *ch)
{
    if (ch->closing || !ch->user)
        return;
    if (can_detach(ch)) {
        detach_now(ch);
    } else if (ch->unread_len && ch->reading && !ch->detached && !ch->broken) {
        size_t taken;

        ch->delivering = true;
        taken = ch->user->received(ch->arg, ch->buf + ch->unread_at, ch->unread_len);
        ch->delivering = false;
        check(taken <= ch->unread_len);
        ch->unread_at += taken;
        ch->unread_len -= taken;
        if (ch->unread_len && ch->reading)
            later(ch); /* Others get their turn first. */
        start_read(ch);
    } else if (ch->input == INPUT_OVER && (!ch->unread_len || ch->broken)) {
        ch->input = INPUT_OVER_TOLD;
        ch->user->ended(ch->arg);
    }
}

static void task_fn(struct task *task)
{
    struct channel *ch = container_of(task, struct channel, task);

    ch->busy = true;
    settle(ch);
    ch->busy = false;
    reap(ch);
}

static void input_over(struct channel *ch)
{
    if (ch->input == INPUT_OPEN)
        ch->input = INPUT_OVER;
}

static void read_done(struct op *op)
{
    struct channel *ch = container_of(op, struct channel, read_op);

    ch->busy = true;
    if (op->result > 0) {
        ch->unread_at = 0;
        ch->unread_len = (size_t)op->result;
    } else if (op->result != -ECANCELED || !ch->detached) {
        input_over(ch);
    }
    settle(ch);
    ch->busy = false;
    reap(ch);
}

/* Nobody is there to take the output. */
static void break_off(struct channel *ch)
{
    ch->broken = true;
    input_over(ch);
    str_fini(&ch->sending);
    str_fini(&ch->queued);
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
    if (op->result <= 0)
        break_off(ch);
    else if (continue_file_write(ch, op->result))
        goto out;
    str_clear(&ch->sending);
    start_write(ch);
    if (ch->user && ch->user->sent && !ch->closing)
        ch->user->sent(ch->arg);
    if (ch->broken || ch->detached)
        settle(ch);
out:
    ch->busy = false;
    reap(ch);
}

void channel_attach(struct channel *ch, const struct channel_user *user, void *arg)
{
    ch->user = user;
    ch->arg = arg;
    start_read(ch);
}

void channel_resume(struct channel *ch)
{
    if (ch->reading)
        return;
    ch->reading = true;
    if (!ch->delivering && ch->unread_len)
        later(ch);
}

void channel_pause(struct channel *ch) { ch->reading = false; }

unsigned channel_take_fds(struct channel *ch, int *fds, unsigned max)
{
    return ch->in ? stream_take_fds(ch->in, fds, max) : 0;
}

void channel_send(struct channel *ch, const char *bytes, size_t len)
{
    if (ch->broken || ch->closing || !len)
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

bool channel_is_broken(const struct channel *ch) { return ch->broken; }

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

bool channel_is_movable(const struct channel *ch) { return ch->in && stream_fd(ch->out) >= 0; }

void channel_detach(struct channel *ch, channel_detached *detached, void *arg)
{
    check(channel_is_movable(ch) && !ch->detached);
    ch->detached = detached;
    ch->detached_arg = arg;
    op_cancel(&ch->read_op);
    later(ch);
}

static void detach_now(struct channel *ch)
{
    channel_detached *detached = ch->detached;
    struct channel_parts parts;
    int out_fd = fcntl(stream_fd(ch->out), F_DUPFD_CLOEXEC, 3);
    int in_fd = out_fd;

    ch->detached = NULL;
    if (out_fd >= 0 && ch->in != ch->out)
        in_fd = fcntl(stream_fd(ch->in), F_DUPFD_CLOEXEC, 3);
    if (in_fd < 0) { /* Out of descriptors: the connection is lost. */
        if (out_fd >= 0)
            close(out_fd);
        break_off(ch);
        later(ch);
        return;
    }
    parts = (struct channel_parts){
        .in_fd = in_fd,
        .out_fd = out_fd,
        .unread = xmemdup(ch->buf + ch->unread_at, ch->unread_len),
        .unread_len = ch->unread_len,
    };
    channel_close(ch);
    detached(ch->detached_arg, &parts);
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
