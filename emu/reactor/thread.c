/* A thread with a reactor of its own. */
#include <pthread.h>
#include <signal.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/reactor/real.h"

/* Drivers and codecs run on it; memory is used only as far as the stack gets deep. */
#define STACK_BYTES (1024 * 1024)
#define NAME_MAX_LEN 15

struct real_thread {
    struct reactor_thread thread; /* First. */
    pthread_t pthread;
    char name[NAME_MAX_LEN + 1];
};

static void *thread_main(void *arg)
{
    struct real_thread *t = arg;

    pthread_setname_np(pthread_self(), t->name);
    reactor_adopt(t->thread.reactor);
    reactor_run(t->thread.reactor);
    return NULL;
}

/* All signals are for the thread that registered for them. */
static int start_thread(struct real_thread *t)
{
    sigset_t all, old;
    pthread_attr_t attr;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&t->pthread, &attr, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return error;
}

struct err *real_thread_new(struct reactor *parent, const char *name, struct reactor_thread **out)
{
    struct real_thread *t = NEW(struct real_thread);
    struct err *err;
    int error;

    *out = NULL;
    for (size_t i = 0; i < NAME_MAX_LEN && name[i]; i++)
        t->name[i] = name[i];
    err = real_of(parent)->body == &uring_body ? uring_new(&t->thread.reactor)
                                               : epoll_new(&t->thread.reactor);
    if (err) {
        xfree(t);
        return err;
    }
    error = start_thread(t);
    if (error) {
        reactor_free(t->thread.reactor);
        xfree(t);
        return err_new_errno(error, "cannot start thread '%s'", name);
    }
    *out = &t->thread;
    return NULL;
}

void real_thread_stop(struct reactor_thread *base)
{
    struct real_thread *t = (struct real_thread *)base;

    reactor_stop(t->thread.reactor);
    pthread_join(t->pthread, NULL);
    reactor_adopt(t->thread.reactor);
    reactor_free(t->thread.reactor);
    xfree(t);
}
