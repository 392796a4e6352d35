/*
 * The io_uring body.
 *
 * An op is one submission at a time, with the op's address as user data, so that its memory is safe
 * until the completion came. All submissions of a turn go with the one call that also waits. The ring
 * starts disabled and is enabled by the first call on the home thread, which by then is settled.
 */
#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <liburing.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/reactor/real.h"

#define SQ_ENTRIES 256
#define CQ_ENTRIES 2048
#define REAP_BATCH 64
/* Submissions have 32 bits for a length. */
#define TRANSFER_BYTES_MAX (UINT64_C(1) << 30)

/* User data that is no op. */
#define DATA_IGNORE 0
#define DATA_WAKE 1

/* What the submission of an op is; neither: file input or output. */
#define OPF_POLL OPF_BODY_1
#define OPF_TRANSFER OPF_BODY_2

struct uring {
    struct io_uring ring;
    bool enabled, wake_armed;
    uint64_t wake_value;
    unsigned in_flight; /* Ops whose completion has not come. */
};

static struct uring *uring_of(struct reactor *r) { return real_of(r)->body_state; }

/* ---- Submission ---- */

static void enable(struct uring *u)
{
    int error;

    if (u->enabled)
        return;
    /* The shared liburing 2.3 does not export its function for this. */
    error =
        (int)syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    check(error == 0);
    u->enabled = true;
}

static struct io_uring_sqe *get_sqe(struct uring *u)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&u->ring))) {
        int n;

        enable(u);
        n = io_uring_submit(&u->ring);
        check(n >= 0 || n == -EINTR || n == -EAGAIN || n == -EBUSY);
    }
    return sqe;
}

static void set_op(struct uring *u, struct io_uring_sqe *sqe, struct op *op)
{
    io_uring_sqe_set_data(sqe, op);
    u->in_flight++;
}

static void submit_cancel(struct op *op)
{
    struct io_uring_sqe *sqe = get_sqe(uring_of(op->reactor));

    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data64(sqe, DATA_IGNORE);
}

static void prep_rw(struct io_uring_sqe *sqe, const struct op *op, int fd)
{
    bool read = op->kind == OP_FILE_READV;
    unsigned niov = MIN(op->niov, (unsigned)IOV_MAX);

    if (niov == 1) {
        void *base = op->iov->iov_base;
        unsigned len = (unsigned)MIN(op->iov->iov_len, TRANSFER_BYTES_MAX);

        if (read)
            io_uring_prep_read(sqe, fd, base, len, op->offset);
        else
            io_uring_prep_write(sqe, fd, base, len, op->offset);
        return;
    }
    if (read)
        io_uring_prep_readv(sqe, fd, op->iov, niov, op->offset);
    else
        io_uring_prep_writev(sqe, fd, op->iov, niov, op->offset);
}

static bool uring_file_io(struct op *op, int fd)
{
    static const int modes[] = {
        [FILE_ALLOC] = 0,
        [FILE_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        [FILE_ZERO] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
    };
    struct uring *u = uring_of(op->reactor);
    struct io_uring_sqe *sqe = get_sqe(u);

    switch ((enum op_kind)op->kind) {
    case OP_FILE_READV:
    case OP_FILE_WRITEV: prep_rw(sqe, op, fd); break;
    case OP_FILE_SYNC: io_uring_prep_fsync(sqe, fd, op->mode ? IORING_FSYNC_DATASYNC : 0); break;
    case OP_FILE_ALLOCATE:
        io_uring_prep_fallocate(sqe, fd, modes[op->mode], (off_t)op->offset, (off_t)op->len);
        break;
    default: unreachable();
    }
    set_op(u, sqe, op);
    return true;
}

static void uring_watch(struct watch *watch, struct op *op, enum watch_dir dir)
{
    struct uring *u = uring_of(op->reactor);
    struct io_uring_sqe *sqe = get_sqe(u);

    io_uring_prep_poll_add(sqe, watch->fd, dir == WATCH_READ ? POLLIN | POLLRDHUP : POLLOUT);
    op->flags |= OPF_POLL;
    set_op(u, sqe, op);
}

static void uring_watch_cancel(struct watch *watch, struct op *op) { submit_cancel(op); }

/* Submissions name the descriptor by its number, which may be another file's soon. */
static void uring_watch_close(struct real *real, struct watch *watch)
{
    struct uring *u = real->body_state;

    if (io_uring_sq_ready(&u->ring) == 0)
        return;
    enable(u);
    io_uring_submit(&u->ring);
}

static void uring_transfer(struct watch *watch, struct op *op, struct msghdr *msg)
{
    struct uring *u = uring_of(op->reactor);
    struct io_uring_sqe *sqe = get_sqe(u);
    bool plain = msg->msg_iovlen == 1 && !msg->msg_control;
    void *base = msg->msg_iov->iov_base;
    size_t len = MIN(msg->msg_iov->iov_len, TRANSFER_BYTES_MAX);

    if (op->kind == OP_STREAM_READ) {
        if (plain)
            io_uring_prep_recv(sqe, watch->fd, base, len, 0);
        else
            io_uring_prep_recvmsg(sqe, watch->fd, msg, MSG_CMSG_CLOEXEC);
    } else if (plain) {
        io_uring_prep_send(sqe, watch->fd, base, len, MSG_NOSIGNAL | MSG_WAITALL);
    } else {
        io_uring_prep_sendmsg(sqe, watch->fd, msg, MSG_NOSIGNAL | MSG_WAITALL);
    }
    op->flags |= OPF_TRANSFER;
    set_op(u, sqe, op);
}

/* ---- Completion ---- */

static void complete(struct real *real, struct uring *u, uint64_t data, int result)
{
    struct op *op;

    if (data == DATA_IGNORE)
        return;
    if (data == DATA_WAKE) {
        u->wake_armed = false;
        real_woken(real);
        return;
    }
    op = (struct op *)(uintptr_t)data;
    u->in_flight--;
    if (op->flags & OPF_POLL) {
        op->flags &= (uint8_t)~OPF_POLL;
        real_ready(op);
    } else if (op->flags & OPF_TRANSFER) {
        op->flags &= (uint8_t)~OPF_TRANSFER;
        real_stream_moved(op, result);
    } else {
        if (result == -EINTR && (op->flags & OPF_CANCELLED))
            result = -ECANCELED;
        op_finish(op, result);
    }
}

static void reap(struct real *real, struct uring *u)
{
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned n;

    while ((n = io_uring_peek_batch_cqe(&u->ring, cqes, REAP_BATCH)) > 0) {
        struct {
            uint64_t data;
            int result;
        } done[REAP_BATCH];

        for (unsigned i = 0; i < n; i++) {
            done[i].data = io_uring_cqe_get_data64(cqes[i]);
            done[i].result = cqes[i]->res;
        }
        io_uring_cq_advance(&u->ring, n);
        for (unsigned i = 0; i < n; i++)
            complete(real, u, done[i].data, done[i].result);
    }
}

static void arm_wake(struct real *real, struct uring *u)
{
    struct io_uring_sqe *sqe;

    if (u->wake_armed)
        return;
    sqe = get_sqe(u);
    io_uring_prep_read(sqe, real->wake_fd, &u->wake_value, sizeof(u->wake_value), 0);
    io_uring_sqe_set_data64(sqe, DATA_WAKE);
    u->wake_armed = true;
}

static void uring_wait(struct real *real, int64_t timeout_ns)
{
    struct uring *u = real->body_state;
    int error = 0;

    enable(u);
    arm_wake(real, u);
    if (timeout_ns == 0 || io_uring_cq_ready(&u->ring)) {
        if (io_uring_sq_ready(&u->ring))
            error = io_uring_submit_and_get_events(&u->ring);
        /* Otherwise reap() asks the kernel when it has something to tell. */
    } else if (timeout_ns < 0) {
        error = io_uring_submit_and_wait(&u->ring, 1);
    } else {
        struct __kernel_timespec ts = { timeout_ns / NS_PER_SEC, timeout_ns % NS_PER_SEC };
        struct io_uring_cqe *cqe;

        error = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
    }
    check(error >= 0 || error == -EINTR || error == -ETIME || error == -EAGAIN || error == -EBUSY);
    reap(real, u);
}

/* ---- Life ---- */

static void uring_free(struct real *real)
{
    struct uring *u = real->body_state;

    /* Cancelled internal ops still have to come back: their owners wait for that. */
    while (u->in_flight && io_uring_submit_and_wait(&u->ring, 1) >= 0)
        reap(real, u);
    io_uring_queue_exit(&u->ring);
    xfree(u);
}

const struct body uring_body = {
    .name = "io_uring",
    .wait = uring_wait,
    .free = uring_free,
    .file_io = uring_file_io,
    .file_io_cancel = submit_cancel,
    .watch = uring_watch,
    .watch_cancel = uring_watch_cancel,
    .watch_close = uring_watch_close,
    .transfer = uring_transfer,
};

static int set_up(struct io_uring *ring, struct io_uring_params *params)
{
    /* The best first; older kernels refuse what they do not know. */
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
            IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int error = 0;

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        memset(params, 0, sizeof(*params));
        params->flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
        params->cq_entries = CQ_ENTRIES;
        error = io_uring_queue_init_params(SQ_ENTRIES, ring, params);
        if (error != -EINVAL)
            return error;
    }
    return error;
}

/* What the body cannot do without, by name, or NULL when all is there. */
static const char *missing_feature(struct io_uring *ring, const struct io_uring_params *params)
{
    static const struct {
        int op;
        const char *name;
    } needed[] = {
        { IORING_OP_READ, "READ" },         { IORING_OP_WRITE, "WRITE" },
        { IORING_OP_READV, "READV" },       { IORING_OP_WRITEV, "WRITEV" },
        { IORING_OP_FSYNC, "FSYNC" },       { IORING_OP_FALLOCATE, "FALLOCATE" },
        { IORING_OP_POLL_ADD, "POLL_ADD" }, { IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL" },
        { IORING_OP_RECV, "RECV" },         { IORING_OP_SEND, "SEND" },
        { IORING_OP_RECVMSG, "RECVMSG" },   { IORING_OP_SENDMSG, "SENDMSG" },
    };
    struct io_uring_probe *probe;
    const char *missing = NULL;

    if (!(params->features & IORING_FEAT_NODROP))
        return "kept completions";
    if (!(params->features & IORING_FEAT_FAST_POLL))
        return "internal polling";
    if (!(params->features & IORING_FEAT_EXT_ARG))
        return "waiting with a time limit";
    probe = io_uring_get_probe_ring(ring);
    if (!probe)
        return "the list of operations";
    for (size_t i = 0; i < ARRAY_LEN(needed) && !missing; i++) {
        if (!io_uring_opcode_supported(probe, needed[i].op))
            missing = needed[i].name;
    }
    io_uring_free_probe(probe);
    return missing;
}

struct err *uring_new(struct reactor **out)
{
    struct io_uring_params params;
    struct uring *u = NEW(struct uring);
    struct real *real = NULL;
    struct err *err;
    const char *missing;
    int error = set_up(&u->ring, &params);

    *out = NULL;
    if (error) {
        xfree(u);
        return err_new_errno(error, "io_uring is not available");
    }
    missing = missing_feature(&u->ring, &params);
    err = missing ? err_new("io_uring of this kernel lacks %s", missing)
                  : real_new(&uring_body, &real);
    if (err) {
        io_uring_queue_exit(&u->ring);
        xfree(u);
        return err;
    }
    real->body_state = u;
    *out = &real->reactor;
    return NULL;
}
