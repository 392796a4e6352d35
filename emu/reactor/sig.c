/* Signals: blocked for the process, read from a descriptor, delivered from the loop. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/reactor/real.h"

struct real_signals {
    struct real *real;
    struct watch watch;
    struct op op;     /* Internal: never on the reactor's books. */
    struct task task; /* Delivers what arrived. */
    void (*fn)(void *arg, int signo);
    void *arg;
    bool closed;
};

static void signals_free(struct real_signals *s)
{
    s->real->body->watch_close(s->real, &s->watch);
    close(s->watch.fd);
    xfree(s);
}

static void watch_signals(struct real_signals *s)
{
    s->op.state = OP_RUNNING;
    s->real->body->watch(&s->watch, &s->op, WATCH_READ);
}

/* One at a time, as fn may end the registration. */
static void deliver(struct task *task)
{
    struct real_signals *s = container_of(task, struct real_signals, task);
    struct signalfd_siginfo info;
    ssize_t n = read(s->watch.fd, &info, sizeof(info));

    if (n != sizeof(info)) {
        check(n < 0 && (errno == EAGAIN || errno == EINTR));
        watch_signals(s);
        return;
    }
    reactor_defer(&s->real->reactor, &s->task, deliver);
    s->fn(s->arg, (int)info.ssi_signo);
}

void real_signals_ready(struct op *op)
{
    struct real_signals *s = container_of(op, struct real_signals, op);

    op->state = OP_IDLE;
    if (s->closed)
        signals_free(s);
    else
        reactor_defer(&s->real->reactor, &s->task, deliver);
}

struct err *real_on_signals(struct reactor *r, const int *signals, void (*fn)(void *arg, int signo),
                            void *arg)
{
    struct real *real = real_of(r);
    struct real_signals *s;
    sigset_t set;
    int fd;

    check(!real->signals);
    sigemptyset(&set);
    for (; *signals; signals++)
        sigaddset(&set, *signals);
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return err_new_errno(errno, "cannot create a signal descriptor");
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s = NEW(struct real_signals);
    s->real = real;
    s->fn = fn;
    s->arg = arg;
    watch_init(&s->watch, fd);
    list_init(&s->op.link);
    s->op.reactor = r;
    s->op.kind = OP_SIGNAL;
    real->signals = s;
    watch_signals(s);
    return NULL;
}

void real_off_signals(struct reactor *r)
{
    struct real *real = real_of(r);
    struct real_signals *s = real->signals;

    if (!s)
        return;
    real->signals = NULL;
    reactor_undefer(&s->task);
    s->closed = true;
    if (s->op.state == OP_IDLE)
        signals_free(s);
    else
        real->body->watch_cancel(&s->watch, &s->op); /* Leads to real_signals_ready(). */
}
