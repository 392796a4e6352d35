/*
 * The thread pool.
 *
 * Everything is under one lock. The pool is counted: the owner and each thread hold a reference, so
 * that a thread that never comes back from the kernel does not keep the owner from going away.
 */
#include "emu/reactor/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"

#define STACK_BYTES (256 * 1024)
#define IDLE_EXIT_NS (5 * NS_PER_SEC)
#define STUCK_NS (1 * NS_PER_SEC)
#define FREE_WAIT_NS (2 * NS_PER_SEC)
/* Threads in all, the stuck ones included. */
#define THREADS_HARD_MAX 256

struct worker {
    struct list link;
    struct workers *pool;
    int64_t started_ns; /* When its job began; 0 while idle. */
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* The queue is not empty, or quit. */
    pthread_cond_t ended; /* A thread has exited. */
    struct list queue;
    struct list threads;
    unsigned thread_count, idle, refs;
    unsigned queued;         /* Jobs in the queue. */
    atomic_uint backlog;     /* Jobs in the queue that no idle thread was woken for. */
    unsigned threads_max;
    int64_t stuck_ns;
    bool quit;
    char name[16];
    job_finished_fn *finished;
    void *arg;
};

static int64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static struct timespec clock_after(int64_t ns)
{
    int64_t when = clock_ns() + ns;

    return (struct timespec){ .tv_sec = when / NS_PER_SEC, .tv_nsec = when % NS_PER_SEC };
}

struct workers *workers_new(const char *name, unsigned threads_max, job_finished_fn *finished,
                            void *arg)
{
    struct workers *w = NEW(struct workers);
    pthread_condattr_t attr;

    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->work, &attr);
    pthread_cond_init(&w->ended, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&w->queue);
    list_init(&w->threads);
    w->refs = 1;
    w->threads_max = threads_max;
    w->stuck_ns = STUCK_NS;
    snprintf(w->name, sizeof(w->name), "%s", name);
    w->finished = finished;
    w->arg = arg;
    return w;
}

/* Drops a reference; the lock is held and is let go. */
static void workers_unref_unlock(struct workers *w)
{
    bool last = --w->refs == 0;

    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->ended);
    pthread_mutex_destroy(&w->lock);
    xfree(w);
}

void workers_free(struct workers *w)
{
    struct timespec until;

    if (!w)
        return;
    until = clock_after(FREE_WAIT_NS);
    pthread_mutex_lock(&w->lock);
    w->quit = true;
    pthread_cond_broadcast(&w->work);
    while (w->thread_count > 0 && pthread_cond_timedwait(&w->ended, &w->lock, &until) != ETIMEDOUT)
        ;
    workers_unref_unlock(w);
}

/* ---- A thread ---- */

/* How many queued jobs have no idle thread to take them. */
static void update_backlog(struct workers *w)
{
    unsigned backlog = w->queued > w->idle ? w->queued - w->idle : 0;

    atomic_store_explicit(&w->backlog, backlog, memory_order_relaxed);
}

static void run_job(struct workers *w, struct worker *self)
{
    struct job *job = list_pop_head(&w->queue, struct job, link);

    w->queued--;
    job->state = JOB_RUNNING;
    self->started_ns = clock_ns();
    update_backlog(w);
    pthread_mutex_unlock(&w->lock);
    job->run(job);
    pthread_mutex_lock(&w->lock);
    self->started_ns = 0;
    /* Under the lock, so that workers_free() cannot pass between the look at quit and the call. */
    if (!w->quit) {
        w->finished(w->arg, job);
    } else {
        check(job->drop);
        job->drop(job);
    }
}

static void *worker_main(void *arg)
{
    struct worker *self = arg;
    struct workers *w = self->pool;

    pthread_setname_np(pthread_self(), w->name);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct timespec until;
        int wait = 0;

        while (!list_empty(&w->queue))
            run_job(w, self);
        if (w->quit)
            break;
        until = clock_after(IDLE_EXIT_NS);
        w->idle++;
        update_backlog(w);
        while (list_empty(&w->queue) && !w->quit && wait != ETIMEDOUT)
            wait = pthread_cond_timedwait(&w->work, &w->lock, &until);
        w->idle--;
        update_backlog(w);
        if (list_empty(&w->queue))
            break;
    }
    list_del(&self->link);
    w->thread_count--;
    pthread_cond_signal(&w->ended);
    workers_unref_unlock(w);
    xfree(self);
    return NULL;
}

/* Starts a thread; the lock is held. When that fails the queue waits for the next pump. */
static void spawn(struct workers *w)
{
    struct worker *worker = NEW(struct worker);
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    worker->pool = w;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&thread, &attr, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (error) {
        xfree(worker);
        return;
    }
    list_add_tail(&w->threads, &worker->link);
    w->thread_count++;
    w->refs++;
}

static unsigned count_stuck(struct workers *w)
{
    int64_t before = clock_ns() - w->stuck_ns;
    unsigned stuck = 0;

    list_for_each(worker, &w->threads, struct worker, link) {
        if (worker->started_ns && worker->started_ns < before)
            stuck++;
    }
    return stuck;
}

/* Starts a thread when there are more jobs than idle threads and the limit allows; lock held. */
static void grow(struct workers *w)
{
    unsigned starting = w->thread_count;

    if (w->queued <= w->idle || w->thread_count >= THREADS_HARD_MAX)
        return;
    if (starting >= w->threads_max && starting >= w->threads_max + count_stuck(w))
        return;
    spawn(w);
}

/* ---- The owner's side ---- */

void workers_submit(struct workers *w, struct job *job)
{
    pthread_mutex_lock(&w->lock);
    job->state = JOB_QUEUED;
    list_add_tail(&w->queue, &job->link);
    w->queued++;
    grow(w);
    update_backlog(w);
    if (w->idle)
        pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

bool workers_revoke(struct workers *w, struct job *job)
{
    bool revoked;

    pthread_mutex_lock(&w->lock);
    revoked = job->state == JOB_QUEUED;
    if (revoked) {
        list_del(&job->link);
        w->queued--;
        update_backlog(w);
    }
    pthread_mutex_unlock(&w->lock);
    return revoked;
}

bool workers_backlog(const struct workers *w)
{
    return atomic_load_explicit(&w->backlog, memory_order_relaxed) > 0;
}

void workers_pump(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    grow(w);
    pthread_mutex_unlock(&w->lock);
}

unsigned workers_threads(struct workers *w)
{
    unsigned threads;

    pthread_mutex_lock(&w->lock);
    threads = w->thread_count;
    pthread_mutex_unlock(&w->lock);
    return threads;
}

void workers_set_stuck_ns(struct workers *w, int64_t stuck_ns)
{
    pthread_mutex_lock(&w->lock);
    w->stuck_ns = stuck_ns;
    pthread_mutex_unlock(&w->lock);
}
