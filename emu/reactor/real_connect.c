/*
 * Connecting: look up the name on a thread, then try one address after the other until one answers.
 *
 * States: RESOLVE (a job is out), TRY (a connect is in progress, its descriptor watched), RETRY (a unix
 * listener's backlog is full, which cannot be waited for: the kernel only says EAGAIN; a timer tries
 * again).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/reactor/addr.h"
#include "emu/reactor/real.h"

#define BACKLOG_RETRY_NS (10 * NS_PER_MS)

struct resolve_job;

enum connect_state { CONNECT_RESOLVE, CONNECT_TRY, CONNECT_RETRY };

struct connecting {
    struct real *real;
    struct op *op;
    enum connect_state state;
    struct resolve_job *job;       /* RESOLVE: the job, which frees itself. */
    struct watch watch;            /* TRY: the socket. */
    struct timer timer;            /* RETRY. */
    struct addrinfo *list, *next;  /* list is owned. */
    struct addr_sock sock;         /* The address when there is no list. */
    bool keep_alive;
    int error;                     /* Of the last address that failed. */
};

struct resolve_job {
    struct real_job base;     /* First. */
    struct connecting *owner; /* NULL once cancelled. Home thread only. */
    struct addr_query query;  /* Its strings are owned. */
    struct addrinfo *list;    /* owned */
    int error;
};

static void try_next(struct connecting *c);

/* Ends the op; the state's resources are gone already. */
static void connect_end(struct connecting *c, int result)
{
    struct op *op = c->op;

    if (c->list)
        freeaddrinfo(c->list);
    xfree(c);
    op->backend = NULL;
    op_finish(op, result);
}

static void drop_socket(struct connecting *c)
{
    c->real->body->watch_close(c->real, &c->watch);
    close(c->watch.fd);
    c->watch.fd = -1;
}

static void connected(struct connecting *c)
{
    struct reactor_stream **out = c->op->out;
    int fd = c->watch.fd;
    int on = 1;

    c->real->body->watch_close(c->real, &c->watch);
    if (c->keep_alive)
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    *out = real_stream_from_fd(&c->real->reactor, fd);
    connect_end(c, 0);
}

/* ---- Trying an address ---- */

static void retry(struct timer *timer)
{
    struct connecting *c = container_of(timer, struct connecting, timer);

    try_next(c);
}

static void try_address(struct connecting *c, const struct sockaddr *sa, socklen_t len)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result;

    if (fd < 0) {
        c->error = -errno;
        return;
    }
    watch_init(&c->watch, fd);
    do
        result = connect(fd, sa, len) < 0 ? -errno : 0;
    while (result == -EINTR);
    if (result == 0) {
        connected(c);
    } else if (result == -EINPROGRESS) {
        c->state = CONNECT_TRY;
        c->real->body->watch(&c->watch, c->op, WATCH_WRITE);
    } else if (result == -EAGAIN && sa->sa_family == AF_UNIX) {
        drop_socket(c);
        c->state = CONNECT_RETRY;
        c->timer.fn = retry;
        timer_arm(&c->real->reactor, &c->timer,
                  nstime_add(reactor_now(&c->real->reactor), BACKLOG_RETRY_NS));
    } else {
        c->error = result;
        drop_socket(c);
    }
}

/* Tries addresses until one is in progress, connected or none is left. */
static void try_next(struct connecting *c)
{
    struct op *op = c->op;

    if (!c->list) {
        c->error = 0;
        try_address(c, (struct sockaddr *)&c->sock.storage, c->sock.len);
        if (op->state == OP_RUNNING && c->error)
            connect_end(c, c->error);
        return;
    }
    while (c->next) {
        struct addrinfo *ai = c->next;

        c->next = ai->ai_next;
        c->error = 0;
        try_address(c, ai->ai_addr, ai->ai_addrlen);
        if (op->state != OP_RUNNING || !c->error)
            return;
    }
    connect_end(c, c->error);
}

void real_connect_ready(struct op *op)
{
    struct connecting *c = op->backend;
    int error = 0;
    socklen_t len = sizeof(error);

    if (op->flags & OPF_CANCELLED) {
        drop_socket(c);
        connect_end(c, -ECANCELED);
        return;
    }
    if (getsockopt(c->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0) {
        connected(c);
        return;
    }
    drop_socket(c);
    c->error = -error;
    if (c->list && c->next)
        try_next(c);
    else
        connect_end(c, -error);
}

/* ---- Looking up ---- */

static void resolve_free(struct resolve_job *job)
{
    if (job->list)
        freeaddrinfo(job->list);
    xfree((void *)(uintptr_t)job->query.host);
    xfree((void *)(uintptr_t)job->query.port);
    xfree(job);
}

static void resolve_drop(struct job *job) { resolve_free((struct resolve_job *)job); }

static void resolve_run(struct job *base)
{
    struct resolve_job *job = (struct resolve_job *)base;
    int eai = addr_resolve(&job->query, ADDR_LOOKUP_NAMES, &job->list);

    job->error = eai ? addr_eai_errno(eai) : 0;
}

static void resolve_finish(struct real_job *base)
{
    struct resolve_job *job = (struct resolve_job *)base;
    struct connecting *c = job->owner;

    if (c) {
        c->job = NULL;
        c->list = c->next = job->list;
        job->list = NULL;
        if (job->error)
            connect_end(c, job->error);
        else
            try_next(c);
    }
    resolve_free(job);
}

static void resolve(struct connecting *c, const struct addr *addr)
{
    struct addr_query query;
    struct resolve_job *job;
    int error = addr_query_of(addr, false, &query);

    if (error) {
        connect_end(c, error);
        return;
    }
    if (addr_resolve(&query, ADDR_LOOKUP_NUMERIC, &c->list) == 0) {
        c->next = c->list;
        try_next(c);
        return;
    }
    job = NEW(struct resolve_job);
    job->base.job.run = resolve_run;
    job->base.job.drop = resolve_drop;
    job->base.finish = resolve_finish;
    job->owner = c;
    job->query = query;
    job->query.host = xstrdup(query.host);
    job->query.port = xstrdup(query.port);
    c->state = CONNECT_RESOLVE;
    c->job = job;
    real_submit(c->real, &job->base);
}

/* ---- Start and cancel ---- */

void real_connect(struct op *op, const struct addr *addr)
{
    struct real *real = real_of(op->reactor);
    struct connecting *c;
    int error;

    if (addr->kind == ADDR_FD) {
        *(struct reactor_stream **)op->out = real_stream_from_fd(&real->reactor, addr->fd);
        op_finish(op, 0);
        return;
    }
    c = NEW(struct connecting);
    c->real = real;
    c->op = op;
    c->keep_alive = addr->keep_alive;
    c->watch.fd = -1;
    op->backend = c;
    if (addr->kind == ADDR_INET) {
        resolve(c, addr);
        return;
    }
    error = addr_to_sock(addr, &c->sock);
    if (error)
        connect_end(c, error);
    else
        try_next(c);
}

void real_connect_cancel(struct op *op)
{
    struct connecting *c = op->backend;

    switch (c->state) {
    case CONNECT_RESOLVE:
        c->job->owner = NULL;
        if (real_revoke(&c->job->base))
            resolve_free(c->job);
        connect_end(c, -ECANCELED);
        break;
    case CONNECT_TRY: c->real->body->watch_cancel(&c->watch, op); break;
    case CONNECT_RETRY:
        timer_disarm(&c->timer);
        connect_end(c, -ECANCELED);
        break;
    }
}
