/*
 * Streams of the real reactors.
 *
 * A socket under a body with transfer (io_uring) hands whole reads and writes to the kernel. Otherwise
 * a call is tried when it may succeed, and readiness is awaited when it would block. Pipes, terminals
 * and the like are always served in this second way, with O_NONBLOCK set while they are ours.
 *
 * Closing closes the descriptor at once; the memory goes when the body has let go of the last op.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdalign.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/iov.h"
#include "emu/reactor/addr.h"
#include "emu/reactor/real.h"

/* Descriptors that one message may carry, and that may wait to be taken. The kernel's limit is 253. */
#define FDS_MAX 32
/* Elements of a vector handed to the kernel at once after a partial write. */
#define SLICE_MAX 16

/* For unix sockets, which may carry descriptors. */
struct fd_box {
    int waiting[FDS_MAX]; /* owned: received, not yet taken. */
    unsigned count;
    alignas(struct cmsghdr) char in[CMSG_SPACE(FDS_MAX * sizeof(int))];
    alignas(struct cmsghdr) char out[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

struct real_stream {
    struct reactor_stream stream; /* First. */
    struct watch watch;           /* fd is -1 after a half close of a pipe. */
    bool socket;
    bool closed, shut_read, shut_write; /* shut_*: of a descriptor that is no socket. */
    unsigned held;                      /* Ops the body holds, plus one while closing. */
    int saved_flags;                    /* Of fcntl, put back when closing; -1: nothing to do. */
    struct fd_box *box;                 /* owned; NULL: cannot carry descriptors. */
    struct msghdr in, out;
    struct iovec in_iov, out_iov; /* out_iov: of a write of one buffer. */
    struct iovec slice[SLICE_MAX];
    struct iov_view rest;  /* What the pending write has still to send. */
    uint64_t rest_len;     /* Bytes of rest. */
    uint64_t write_total;  /* Bytes of the pending write. */
    unsigned send_fds;     /* Descriptors in box->out to go with the next bytes. */
};

static struct real_stream *stream_of(struct op *op) { return op->handle; }

static struct real *real_of_stream(struct real_stream *s) { return real_of(s->stream.reactor); }

static const struct body *body_of(struct real_stream *s) { return real_of_stream(s)->body; }

/* ---- Life ---- */

static struct real_stream *stream_new(struct real *real, int fd)
{
    struct real_stream *s = NEW(struct real_stream);

    s->stream.reactor = &real->reactor;
    watch_init(&s->watch, fd);
    s->saved_flags = -1;
    real->reactor.handles++;
    return s;
}

struct reactor_stream *real_stream_from_fd(struct reactor *r, int fd)
{
    struct real_stream *s = stream_new(real_of(r), fd);
    int domain = 0, flags;
    socklen_t len = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0) {
        s->socket = true;
        if (domain == AF_UNIX)
            s->box = NEW(struct fd_box);
        return &s->stream;
    }
    flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        s->saved_flags = flags;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
    s->shut_read = flags >= 0 && (flags & O_ACCMODE) == O_WRONLY;
    s->shut_write = flags >= 0 && (flags & O_ACCMODE) == O_RDONLY;
    return &s->stream;
}

struct err *real_stream_pair(struct reactor *r, struct reactor_stream *out[2])
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return err_new_errno(errno, "cannot create a socket pair");
    out[0] = real_stream_from_fd(r, fds[0]);
    out[1] = real_stream_from_fd(r, fds[1]);
    return NULL;
}

static void close_fd(struct real_stream *s)
{
    if (s->watch.fd < 0)
        return;
    body_of(s)->watch_close(real_of_stream(s), &s->watch);
    if (s->saved_flags >= 0)
        fcntl(s->watch.fd, F_SETFL, s->saved_flags);
    close(s->watch.fd);
    s->watch.fd = -1;
}

static void stream_unhold(struct real_stream *s)
{
    check(s->held > 0);
    if (--s->held > 0 || !s->closed)
        return;
    for (unsigned i = 0; s->box && i < s->box->count; i++)
        close(s->box->waiting[i]);
    xfree(s->box);
    xfree(s);
}

static void finish(struct real_stream *s, struct op *op, int64_t result)
{
    if (s->closed) {
        op->handle = NULL;
        result = -ECANCELED;
    }
    op_finish(op, result);
}

/* Asks the body for an op that it holds. */
static void cancel_held(struct real_stream *s, struct op *op)
{
    if (op && op->state == OP_RUNNING)
        body_of(s)->watch_cancel(&s->watch, op);
}

void real_stream_close(struct reactor_stream *base)
{
    struct real_stream *s = (struct real_stream *)base;

    s->closed = true;
    s->held++;
    cancel_held(s, s->stream.read_op);
    cancel_held(s, s->stream.write_op);
    close_fd(s);
    stream_unhold(s);
}

void real_stream_cancel(struct op *op) { cancel_held(stream_of(op), op); }

/* ---- Descriptors in messages ---- */

/* Keeps what came; what does not fit is closed. */
static void keep_fds(struct fd_box *box, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        unsigned count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (box->count < FDS_MAX)
                box->waiting[box->count++] = fd;
            else
                close(fd);
        }
    }
}

unsigned real_stream_take_fds(struct reactor_stream *base, int *fds, unsigned max)
{
    struct fd_box *box = ((struct real_stream *)base)->box;
    unsigned count = box ? MIN(box->count, max) : 0;

    if (!count)
        return 0;
    memcpy(fds, box->waiting, count * sizeof(int));
    box->count -= count;
    memmove(box->waiting, box->waiting + count, box->count * sizeof(int));
    return count;
}

/* ---- Reading ---- */

static struct msghdr *prepare_in(struct real_stream *s, struct op *op)
{
    s->in_iov = (struct iovec){ op->out, op->len };
    s->in = (struct msghdr){ .msg_iov = &s->in_iov, .msg_iovlen = 1 };
    if (s->box) {
        s->in.msg_control = s->box->in;
        s->in.msg_controllen = sizeof(s->box->in);
    }
    return &s->in;
}

static int64_t try_read(struct real_stream *s, struct op *op)
{
    ssize_t n;

    do {
        if (!s->socket)
            n = read(s->watch.fd, op->out, op->len);
        else
            n = recvmsg(s->watch.fd, prepare_in(s, op), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (s->box)
        keep_fds(s->box, &s->in);
    /* An inet socket that gave less than asked for is empty; the next bytes or the end will be
     * reported. A unix socket may stop short for other reasons. */
    if (s->socket && !s->box && (size_t)n < op->len && !s->watch.ended)
        s->watch.can_read = false;
    return n;
}

/* ---- Writing ---- */

static struct msghdr *prepare_out(struct real_stream *s)
{
    s->out = (struct msghdr){ 0 };
    if (s->rest.skip == 0 && s->rest.niov <= IOV_MAX) {
        s->out.msg_iov = (struct iovec *)(uintptr_t)s->rest.iov;
        s->out.msg_iovlen = s->rest.niov;
    } else {
        s->out.msg_iov = s->slice;
        s->out.msg_iovlen =
            MIN(iov_slice(s->rest, s->rest_len, s->slice, SLICE_MAX), (unsigned)SLICE_MAX);
    }
    if (s->send_fds) {
        s->out.msg_control = s->box->out;
        s->out.msg_controllen = CMSG_SPACE(s->send_fds * sizeof(int));
    }
    return &s->out;
}

/* A write to a pipe without SIGPIPE: the signal is kept off this thread and taken back. */
static ssize_t write_no_signal(int fd, const struct msghdr *msg)
{
    struct timespec now = { 0 };
    sigset_t pipe_set, old;
    ssize_t n;
    int error;

    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    n = writev(fd, msg->msg_iov, (int)msg->msg_iovlen);
    error = errno;
    if (n < 0 && error == EPIPE)
        sigtimedwait(&pipe_set, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = error;
    return n;
}

static int64_t try_write(struct real_stream *s)
{
    struct msghdr *msg = prepare_out(s);
    ssize_t n;

    do {
        if (s->socket)
            n = sendmsg(s->watch.fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        else
            n = write_no_signal(s->watch.fd, msg);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Books n sent bytes; true when the write is complete. */
static bool advance_out(struct real_stream *s, uint64_t n)
{
    check(n <= s->rest_len);
    s->rest_len -= n;
    if (s->rest_len == 0)
        return true;
    s->rest = iov_view_advance(s->rest, n);
    s->send_fds = 0;
    return false;
}

/* ---- Progress ---- */

/* One try; -EAGAIN: not complete, and more may or may not be possible. */
static int64_t step(struct real_stream *s, struct op *op)
{
    int64_t n;

    if (op->kind == OP_STREAM_READ) {
        if (s->shut_read)
            return 0;
        n = try_read(s, op);
        if (n == -EAGAIN)
            s->watch.can_read = false;
        return n;
    }
    if (s->shut_write)
        return -EPIPE;
    n = try_write(s);
    if (n == -EAGAIN)
        s->watch.can_write = false;
    if (n < 0)
        return n;
    return advance_out(s, (uint64_t)n) ? (int64_t)s->write_total : -EAGAIN;
}

static bool can_step(const struct real_stream *s, const struct op *op)
{
    if (op->kind == OP_STREAM_READ)
        return s->watch.can_read || s->shut_read;
    return s->watch.can_write || s->shut_write;
}

/* Carries the op on until it is complete or has to wait. */
static void proceed(struct real_stream *s, struct op *op)
{
    const struct body *body = body_of(s);
    bool read = op->kind == OP_STREAM_READ;

    if (s->socket && body->transfer) {
        s->held++;
        body->transfer(&s->watch, op, read ? prepare_in(s, op) : prepare_out(s));
        return;
    }
    while (can_step(s, op)) {
        int64_t result = step(s, op);

        if (result != -EAGAIN) {
            finish(s, op, result);
            return;
        }
    }
    s->held++;
    body->watch(&s->watch, op, read ? WATCH_READ : WATCH_WRITE);
}

void real_stream_ready(struct op *op)
{
    struct real_stream *s = stream_of(op);

    if (s->closed || (op->flags & OPF_CANCELLED)) {
        finish(s, op, -ECANCELED);
    } else {
        if (op->kind == OP_STREAM_READ)
            s->watch.can_read = true;
        else
            s->watch.can_write = true;
        proceed(s, op);
    }
    stream_unhold(s);
}

void real_stream_moved(struct op *op, int result)
{
    struct real_stream *s = stream_of(op);
    bool ended = s->closed || (op->flags & OPF_CANCELLED);

    if (result >= 0 && op->kind == OP_STREAM_READ && s->box)
        keep_fds(s->box, &s->in);
    if (result >= 0 && op->kind == OP_STREAM_READ)
        finish(s, op, result);
    else if (result >= 0 && advance_out(s, (uint64_t)result))
        finish(s, op, (int64_t)s->write_total);
    else if (ended)
        finish(s, op, -ECANCELED);
    else if (result < 0 && result != -EINTR && result != -EAGAIN)
        finish(s, op, result);
    else
        proceed(s, op);
    stream_unhold(s);
}

void real_stream_start(struct op *op)
{
    struct real_stream *s = stream_of(op);

    if (op->kind == OP_STREAM_WRITE) {
        s->rest = iov_view(op->iov, op->niov);
        s->write_total = s->rest_len = iov_total(op->iov, op->niov);
        s->send_fds = 0;
        if (s->rest_len == 0) {
            finish(s, op, 0);
            return;
        }
    }
    proceed(s, op);
}

void real_stream_write_fds(struct op *op, const int *fds, unsigned nfds)
{
    struct real_stream *s = stream_of(op);

    s->out_iov = (struct iovec){ op->out, op->len };
    op->iov = &s->out_iov;
    op->niov = 1;
    s->rest = iov_view(op->iov, 1);
    s->write_total = s->rest_len = op->len;
    s->send_fds = nfds;
    if (nfds) {
        struct cmsghdr *c;

        if (!s->box || nfds > FDS_MAX) {
            finish(s, op, -EINVAL);
            return;
        }
        c = (struct cmsghdr *)(void *)s->box->out;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    proceed(s, op);
}

/* ---- The rest ---- */

void real_stream_shutdown(struct reactor_stream *base, bool both)
{
    struct real_stream *s = (struct real_stream *)base;

    if (s->socket) {
        shutdown(s->watch.fd, both ? SHUT_RDWR : SHUT_WR);
        return;
    }
    /* Pending ops look again and find the end. */
    s->shut_write = true;
    cancel_held(s, s->stream.write_op);
    if (both) {
        s->shut_read = true;
        cancel_held(s, s->stream.read_op);
    }
    /* The reader of a pipe sees the end when no writer is left. */
    if (s->shut_read)
        close_fd(s);
}

int real_stream_fd(const struct reactor_stream *s)
{
    return ((const struct real_stream *)s)->watch.fd;
}

char *real_stream_name(const struct reactor_stream *base, bool peer)
{
    const struct real_stream *s = (const struct real_stream *)base;
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof(sa);

    if (s->socket && (peer ? getpeername(s->watch.fd, (struct sockaddr *)&sa, &len)
                           : getsockname(s->watch.fd, (struct sockaddr *)&sa, &len)) == 0)
        return addr_text((const struct sockaddr *)&sa, len);
    return xasprintf("fd:%d", s->watch.fd);
}

void real_stream_set_nodelay(struct reactor_stream *s, bool on)
{
    int value = on;

    setsockopt(real_stream_fd(s), IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value));
}
