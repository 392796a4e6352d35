/*
 * A pool of threads for calls that block: file operations, name resolution, CPU work. Private to the
 * real reactors.
 *
 * Threads start when a job finds none idle, up to a limit, and exit after some seconds without work.
 * A thread stuck in a job for long (a dead network file system) does not count against the limit, so
 * that it cannot starve others. Owned by one reactor and used from its home thread; finished jobs are
 * handed over by the callback, which runs on the worker.
 */
#ifndef EMU_REACTOR_WORKERS_H
#define EMU_REACTOR_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/list.h"

enum job_state { JOB_QUEUED, JOB_RUNNING };

struct job {
    struct list link;
    struct job *next_finished; /* For the owner of finished jobs. */
    enum job_state state;      /* Under the lock of the pool. */
    void (*run)(struct job *job);
    /* Frees a job that ended after workers_free(). Runs on the worker. NULL: never happens. */
    void (*drop)(struct job *job);
};

typedef void job_finished_fn(void *arg, struct job *job);

struct workers;

struct workers *workers_new(const char *name, unsigned threads_max, job_finished_fn *finished,
                            void *arg);
/* Runs what is queued and ends the threads. Waits a little for those that are still in a job, then leaves
 * them behind: they drop their job, and call finished no more. NULL is ignored. */
void workers_free(struct workers *w);

/* Queues a job; job->run is called on a thread of the pool. */
void workers_submit(struct workers *w, struct job *job);
/* Takes back a job that did not start yet: true when it will not run. */
bool workers_revoke(struct workers *w, struct job *job);
/* Whether jobs wait although every thread is busy: workers_pump() should then be called now and then,
 * as more threads may start when some turn out to be stuck. */
bool workers_backlog(const struct workers *w);
void workers_pump(struct workers *w);

/* For tests: threads alive, and the time after which a thread counts as stuck. */
unsigned workers_threads(struct workers *w);
void workers_set_stuck_ns(struct workers *w, int64_t stuck_ns);

#endif
