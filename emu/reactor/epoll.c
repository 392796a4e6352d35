/*
 * The epoll body: for kernels, or sandboxes, without io_uring.
 *
 * A descriptor is registered once, edge-triggered for both directions, when a call on it would block
 * for the first time. Events set the flags of its watch and wake who waits. File input and output is
 * left to the threads, but for reads that the page cache can serve at once.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/iov.h"
#include "emu/base/nstime.h"
#include "emu/reactor/real.h"

#define EVENTS_MAX 64
/* Cached reads up to this size are copied on the home thread. */
#define CACHED_READ_MAX (1024 * 1024)

struct epoll {
    int fd;
    struct list refused; /* Ops on descriptors that epoll refuses: files, which are always ready. */
};

static struct epoll *epoll_of(struct real *real) { return real->body_state; }

/* ---- Watches ---- */

static struct op **waiter_of(struct watch *watch, enum watch_dir dir)
{
    return dir == WATCH_READ ? &watch->reader : &watch->writer;
}

static void epoll_watch(struct watch *watch, struct op *op, enum watch_dir dir)
{
    struct epoll *e = epoll_of(real_of(op->reactor));
    struct op **waiter = waiter_of(watch, dir);
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.ptr = watch,
    };

    check(!*waiter);
    *waiter = op;
    if (watch->added)
        return;
    if (epoll_ctl(e->fd, EPOLL_CTL_ADD, watch->fd, &event) == 0)
        watch->added = true;
    else
        list_add_tail(&e->refused, &op->link);
}

static void wake_waiter(struct op **waiter)
{
    struct op *op = *waiter;

    *waiter = NULL;
    if (op)
        real_ready(op);
}

static void epoll_watch_cancel(struct watch *watch, struct op *op)
{
    list_del(&op->link);
    if (watch->reader == op)
        wake_waiter(&watch->reader);
    else if (watch->writer == op)
        wake_waiter(&watch->writer);
}

static void epoll_watch_close(struct real *real, struct watch *watch)
{
    check(!watch->reader && !watch->writer);
    if (watch->added)
        epoll_ctl(epoll_of(real)->fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->added = false;
}

/* ---- Files ---- */

static bool epoll_file_io(struct op *op, int fd)
{
    size_t len;
    ssize_t n;

    if (op->kind != OP_FILE_READV || op->niov > IOV_MAX ||
        (real_file_of(op)->file.flags & FILE_DIRECT) || !real_file_of(op)->regular)
        return false;
    len = iov_total(op->iov, op->niov);
    if (len > CACHED_READ_MAX)
        return false;
    n = preadv2(fd, op->iov, (int)op->niov, (off_t)op->offset, RWF_NOWAIT);
    /* Short: the rest is not cached, or it is the end of the file. A thread finds out. */
    if (n != (ssize_t)len)
        return false;
    op_finish(op, n);
    return true;
}

static void epoll_file_io_cancel(struct op *op) { unreachable(); }

/* ---- The wait ---- */

static void handle_event(struct real *real, const struct epoll_event *event)
{
    struct watch *watch = event->data.ptr;
    uint32_t ends = event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    struct op *reader = NULL, *writer = NULL;

    if (!watch) {
        uint64_t count;
        ssize_t n = read(real->wake_fd, &count, sizeof(count));

        check(n == sizeof(count) || errno == EINTR);
        real_woken(real);
        return;
    }
    if (ends)
        watch->ended = true;
    if (ends || (event->events & EPOLLIN)) {
        watch->can_read = true;
        reader = watch->reader;
        watch->reader = NULL;
    }
    if (ends || (event->events & EPOLLOUT)) {
        watch->can_write = true;
        writer = watch->writer;
        watch->writer = NULL;
    }
    /* These may end the life of the watch. */
    if (reader)
        real_ready(reader);
    if (writer)
        real_ready(writer);
}

/* Tells the waiters of descriptors without events that they are ready. */
static void wake_refused(struct epoll *e)
{
    struct list batch = LIST_INIT(batch);
    struct op *op;

    list_splice_tail(&batch, &e->refused);
    while ((op = list_pop_head(&batch, struct op, link)))
        real_ready(op);
}

static void epoll_body_wait(struct real *real, int64_t timeout_ns)
{
    struct epoll *e = epoll_of(real);
    struct epoll_event events[EVENTS_MAX];
    struct timespec ts;
    int n;

    if (!list_empty(&e->refused)) {
        wake_refused(e);
        timeout_ns = 0;
    }
    if (timeout_ns >= 0)
        ts = (struct timespec){ timeout_ns / NS_PER_SEC, timeout_ns % NS_PER_SEC };
    n = epoll_pwait2(e->fd, events, EVENTS_MAX, timeout_ns < 0 ? NULL : &ts, NULL);
    if (n < 0 && errno == ENOSYS) {
        int64_t ms = nstime_to_ms_up(timeout_ns);

        n = epoll_wait(e->fd, events, EVENTS_MAX, timeout_ns < 0 ? -1 : (int)MIN(ms, INT_MAX));
    }
    check(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++)
        handle_event(real, &events[i]);
}

/* ---- Life ---- */

static void epoll_free(struct real *real)
{
    struct epoll *e = epoll_of(real);

    close(e->fd);
    xfree(e);
}

const struct body epoll_body = {
    .name = "epoll",
    .wait = epoll_body_wait,
    .free = epoll_free,
    .file_io = epoll_file_io,
    .file_io_cancel = epoll_file_io_cancel,
    .watch = epoll_watch,
    .watch_cancel = epoll_watch_cancel,
    .watch_close = epoll_watch_close,
};

struct err *epoll_new(struct reactor **out)
{
    struct epoll_event wake = { .events = EPOLLIN };
    struct epoll *e;
    struct real *real;
    int fd = epoll_create1(EPOLL_CLOEXEC);

    *out = NULL;
    if (fd < 0)
        return err_new_errno(errno, "epoll is not available");
    struct err *err = real_new(&epoll_body, &real);
    if (!err && epoll_ctl(fd, EPOLL_CTL_ADD, real->wake_fd, &wake) < 0) {
        err = err_new_errno(errno, "cannot watch an event descriptor");
        real_discard(real);
    }
    if (err) {
        close(fd);
        return err;
    }
    e = NEW(struct epoll);
    e->fd = fd;
    list_init(&e->refused);
    real->body_state = e;
    *out = &real->reactor;
    return NULL;
}
