/*
 * The real reactors: creation, clock, jobs on threads, and the table that ties the parts together.
 * post.c has what other threads may call.
 */
#include "emu/reactor/real.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/base/str.h"
#include "emu/reactor/post.h"

#define FILE_THREADS_MAX 16
#define CPU_THREADS_MAX 8
#define OP_JOBS_MAX (1024 * 1024)
/* How often to look for stuck threads while jobs wait. */
#define BACKLOG_POLL_NS (500 * NS_PER_MS)

static int64_t read_clock(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static int64_t real_now(struct reactor *r) { return read_clock(CLOCK_MONOTONIC); }

static int64_t real_wall_now(struct reactor *r) { return read_clock(CLOCK_REALTIME); }

static bool real_is_home(const struct reactor *r)
{
    return pthread_equal(pthread_self(), ((const struct real *)r)->home);
}

static void real_adopt(struct reactor *r)
{
    check(!r->running);
    real_of(r)->home = pthread_self();
}

/* ---- The wait ---- */

static bool has_backlog(const struct real *real)
{
    return (real->file_workers && workers_backlog(real->file_workers)) ||
           (real->cpu_workers && workers_backlog(real->cpu_workers));
}

static void pump_workers(struct real *real)
{
    if (real->file_workers)
        workers_pump(real->file_workers);
    if (real->cpu_workers)
        workers_pump(real->cpu_workers);
}

static void finish_jobs(struct real *real)
{
    struct job *oldest = NULL;
    struct job *job;

    if (!atomic_load_explicit(&real->finished, memory_order_relaxed))
        return;
    job = atomic_exchange(&real->finished, NULL);
    while (job) {
        struct job *next = job->next_finished;

        job->next_finished = oldest;
        oldest = job;
        job = next;
    }
    while (oldest) {
        struct real_job *done = (struct real_job *)oldest;

        oldest = oldest->next_finished;
        done->finish(done);
    }
}

static void real_poll(struct reactor *r, int64_t timeout_ns)
{
    struct real *real = real_of(r);
    bool backlog = has_backlog(real);

    if (backlog && (timeout_ns < 0 || timeout_ns > BACKLOG_POLL_NS))
        timeout_ns = BACKLOG_POLL_NS;
    if (timeout_ns != 0) {
        atomic_store(&real->sleeping, true);
        /* From here on others wake us; what came before is seen here. */
        if (atomic_load(&real->posts) || atomic_load(&real->finished) || atomic_load(&r->stop))
            timeout_ns = 0;
    }
    real->body->wait(real, timeout_ns);
    atomic_store_explicit(&real->sleeping, false, memory_order_relaxed);
    post_collect(real);
    finish_jobs(real);
    if (backlog)
        pump_workers(real);
}

/* ---- Jobs on threads ---- */

/* Runs on the worker. */
static void job_finished(void *arg, struct job *job)
{
    struct real *real = arg;

    job->next_finished = atomic_load_explicit(&real->finished, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&real->finished, &job->next_finished, job))
        ;
    post_wake(real);
}

static struct workers *workers_of(struct real *real, bool cpu)
{
    struct workers **workers = cpu ? &real->cpu_workers : &real->file_workers;

    if (!*workers) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        *workers = cpu ? workers_new("emu-cpu", (unsigned)MIN(MAX(cpus, 1), CPU_THREADS_MAX),
                                     job_finished, real)
                       : workers_new("emu-file", FILE_THREADS_MAX, job_finished, real);
    }
    return *workers;
}

void real_submit(struct real *real, struct real_job *job)
{
    job->real = real;
    workers_submit(workers_of(real, false), &job->job);
}

bool real_revoke(struct real_job *job)
{
    return workers_revoke(job->real->file_workers, &job->job);
}

/* A job that serves an op, which outlives it. */
struct op_job {
    struct real_job base; /* First. */
    struct op *op;
    int64_t result;
};

static void op_job_run(struct job *job)
{
    struct op_job *op_job = (struct op_job *)job;
    struct op *op = op_job->op;

    if (op->kind == OP_WORK || op->kind == OP_CALL)
        op_job->result = op->work(op->handle2);
    else
        op_job->result = real_file_call(op);
}

static void op_job_end(struct op_job *job, int64_t result)
{
    struct op *op = job->op;

    pool_put(&job->base.real->op_jobs, job);
    op->backend = NULL;
    op_finish(op, result);
}

static void op_job_finish(struct real_job *base)
{
    struct op_job *job = (struct op_job *)base;

    op_job_end(job, job->result);
}

void real_submit_op(struct op *op)
{
    struct real *real = real_of(op->reactor);
    struct op_job *job = pool_get(&real->op_jobs);

    if (!job) {
        op_finish(op, -ENOMEM);
        return;
    }
    job->base.job.run = op_job_run;
    job->base.job.drop = NULL;
    job->base.finish = op_job_finish;
    job->base.real = real;
    job->op = op;
    op->backend = job;
    workers_submit(workers_of(real, op->kind == OP_WORK), &job->base.job);
}

void real_cancel_op(struct op *op)
{
    struct op_job *job = op->backend;

    if (workers_revoke(workers_of(job->base.real, op->kind == OP_WORK), &job->base.job))
        op_job_end(job, -ECANCELED);
}

/* ---- Dispatch by kind ---- */

static void real_start(struct op *op)
{
    switch ((enum op_kind)op->kind) {
    case OP_WORK:
    case OP_CALL: real_submit_op(op); break;
    case OP_FILE_OPEN:
    case OP_PATH_UNLINK:
    case OP_PATH_RENAME:
    case OP_PATH_STAT: real_path_start(op); break;
    case OP_ACCEPT: real_accept_start(op); break;
    case OP_STREAM_READ:
    case OP_STREAM_WRITE: real_stream_start(op); break;
    case OP_WATCH: real_watch_start(op); break;
    default:
        check(op_kind_is_file(op->kind));
        real_file_start(op);
        break;
    }
}

static void real_cancel(struct op *op)
{
    switch ((enum op_kind)op->kind) {
    case OP_WORK:
    case OP_CALL: real_cancel_op(op); break;
    case OP_FILE_OPEN:
    case OP_PATH_UNLINK:
    case OP_PATH_RENAME:
    case OP_PATH_STAT: real_path_cancel(op); break;
    case OP_CONNECT: real_connect_cancel(op); break;
    case OP_ACCEPT: real_accept_cancel(op); break;
    case OP_STREAM_READ:
    case OP_STREAM_WRITE: real_stream_cancel(op); break;
    case OP_WATCH: real_watch_cancel(op); break;
    default:
        check(op_kind_is_file(op->kind));
        real_file_cancel(op);
        break;
    }
}

void real_ready(struct op *op)
{
    switch ((enum op_kind)op->kind) {
    case OP_CONNECT: real_connect_ready(op); break;
    case OP_ACCEPT: real_accept_ready(op); break;
    case OP_STREAM_READ:
    case OP_STREAM_WRITE: real_stream_ready(op); break;
    case OP_WATCH: real_watch_ready(op); break;
    case OP_SIGNAL: real_signals_ready(op); break;
    default: unreachable();
    }
}

/* ---- Life ---- */

static void real_free(struct reactor *r)
{
    struct real *real = real_of(r);

    real_off_signals(r);
    post_drop(real);
    reactor_fini(r);
    real->body->free(real);
    real_discard(real);
}

void real_discard(struct real *real)
{
    workers_free(real->file_workers);
    workers_free(real->cpu_workers);
    pool_fini(&real->op_jobs);
    if (real->wake_fd >= 0)
        close(real->wake_fd);
    xfree(real);
}

static const char *real_name(const struct reactor *r)
{
    return ((const struct real *)r)->body->name;
}

static const struct backend real_backend = {
    .name = real_name,
    .poll = real_poll,
    .now = real_now,
    .wall_now = real_wall_now,
    .wake = post_wake_reactor,
    .is_home = real_is_home,
    .adopt = real_adopt,
    .post = post_add,
    .free = real_free,
    .start = real_start,
    .cancel = real_cancel,
    .file_from_fd = real_file_from_fd,
    .file_close = real_file_close,
    .file_fd = real_file_fd,
    .connect = real_connect,
    .stream_from_fd = real_stream_from_fd,
    .stream_pair = real_stream_pair,
    .stream_write_fds = real_stream_write_fds,
    .stream_take_fds = real_stream_take_fds,
    .stream_shutdown = real_stream_shutdown,
    .stream_close = real_stream_close,
    .stream_fd = real_stream_fd,
    .stream_name = real_stream_name,
    .stream_set_nodelay = real_stream_set_nodelay,
    .listen = real_listen,
    .listener_close = real_listener_close,
    .listener_port = real_listener_port,
    .watch_new = real_watch_new,
    .watch_free = real_watch_free,
    .on_signals = real_on_signals,
    .off_signals = real_off_signals,
    .thread_new = real_thread_new,
    .thread_stop = real_thread_stop,
};

struct err *real_new(const struct body *body, struct real **out)
{
    struct real *real;
    int wake_fd = eventfd(0, EFD_CLOEXEC);

    if (wake_fd < 0)
        return err_new_errno(errno, "cannot create an event descriptor");
    real = NEW(struct real);
    reactor_init(&real->reactor, &real_backend);
    real->body = body;
    real->home = pthread_self();
    real->wake_fd = wake_fd;
    pool_init(&real->op_jobs, sizeof(struct op_job), OP_JOBS_MAX);
    *out = real;
    return NULL;
}

/* The kind that EMU_REACTOR names, if it is set. */
static struct err *kind_of_environment(enum reactor_kind *kind)
{
    const char *name = getenv("EMU_REACTOR");

    if (!name || str_eq(name, "") || str_eq(name, "auto"))
        return NULL;
    if (str_eq(name, "uring") || str_eq(name, "io_uring"))
        *kind = REACTOR_URING;
    else if (str_eq(name, "epoll"))
        *kind = REACTOR_EPOLL;
    else
        return err_new("EMU_REACTOR is '%s', expected 'uring' or 'epoll'", name);
    return NULL;
}

struct err *reactor_new(enum reactor_kind kind, struct reactor **out)
{
    *out = NULL;
    if (kind == REACTOR_AUTO)
        TRY(kind_of_environment(&kind));
    if (kind == REACTOR_URING)
        return uring_new(out);
    if (kind == REACTOR_AUTO) {
        struct err *err = uring_new(out);

        if (!err)
            return NULL;
        err_ignore(err);
    }
    return epoll_new(out);
}
