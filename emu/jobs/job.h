#ifndef EMU_JOBS_JOB_H
#define EMU_JOBS_JOB_H

/*
 * A job: a long operation with a life cycle that a client can follow and steer.
 *
 * The engine (this folder) owns the life cycle, a driver owns the work. The driver embeds struct
 * job as its first member, and gives a step function that looks and decides: the engine calls it
 * from the loop after every wake-up, never while the job is paused, cancelled or failed. Work in
 * flight is counted with job_begin() and job_end(); pausing is not stepping once the count is 0,
 * and so is cancelling, followed by the settlement. A wake-up with nothing new is always legal.
 *
 * All jobs of a process form one struct jobs, on one reactor. A job is freed when it reaches
 * JOB_NULL; what may outlive it (requests a dead peer holds) must not lie in it.
 *
 * Listeners of jobs.on_event get a struct job_event for everything a client may be told.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/base/map.h"
#include "emu/base/notify.h"
#include "emu/base/ratelimit.h"
#include "emu/reactor/reactor.h"

struct job;
struct job_txn;

/* The order is that of the JobStatus of QMP. */
enum job_status {
    JOB_UNDEFINED, /* Being made; nobody has seen it. */
    JOB_CREATED,   /* Known by its id, not started. */
    JOB_RUNNING,   /* Stepping, or winding down after a failure or a cancel. */
    JOB_PAUSED,    /* Nothing in flight, not stepping. */
    JOB_READY,     /* RUNNING, and able to complete when asked. */
    JOB_STANDBY,   /* PAUSED out of READY. */
    JOB_WAITING,   /* Settled with success; others of its transaction have not settled. */
    JOB_PENDING,   /* All of its transaction succeeded; waits to be finalized. */
    JOB_ABORTING,  /* Settled without success; others of its transaction may be winding down. */
    JOB_CONCLUDED, /* Over; only its id and result are left. */
    JOB_NULL,      /* Being freed. */
    JOB_STATUS_COUNT,
};

/* The order is that of the JobType of QMP. */
enum job_type {
    JOB_TYPE_COMMIT,
    JOB_TYPE_STREAM,
    JOB_TYPE_MIRROR,
    JOB_TYPE_BACKUP,
    JOB_TYPE_CREATE,
    JOB_TYPE_AMEND,
    JOB_TYPE_SNAPSHOT_LOAD,
    JOB_TYPE_SNAPSHOT_SAVE,
    JOB_TYPE_SNAPSHOT_DELETE,
    JOB_TYPE_COUNT,
};

/* What a step found. */
enum job_step {
    JOB_WAIT,  /* Nothing to do until a completion, a timer or a request wakes the job. */
    JOB_AGAIN, /* Something changed: step once more. */
    JOB_DONE,  /* The work is done; nothing is in flight. */
};

enum job_io_status { JOB_IO_OK, JOB_IO_FAILED, JOB_IO_NOSPACE };

/* What the engine needs of a kind of job. Const data. */
struct job_driver {
    enum job_type type;
    bool block_job; /* Clients see it in query-block-jobs and get the BLOCK_JOB_ events. */
    bool
        cancel_at_once; /* A cancel that finds nothing in flight settles before the verb returns. */
    enum job_step (*step)(struct job *job);
    /* ---- Optional from here. ---- */
    /* Cancel was requested with work in flight: ends early what can be. Called once. */
    void (*wind_down)(struct job *job);
    /* The grace time is over: lets go of all work in flight, so that the counts are 0 on return. A
     * late completion must not touch the job nor anything that clients see. */
    void (*abandon)(struct job *job);
    /* Successful end: prepare may still fail; then abort is called. commit cannot fail. clean comes
     * after either. None of abort and clean may wait. */
    struct err *(*prepare)(struct job *job);
    /*
     * Instead of prepare, for what takes time: ends once in job_prepared(), at once or later. A cancel meanwhile
     * calls abandon, which lets go of it: job_prepared() is not called any more then.
     */
    void (*prepare_start)(struct job *job);
    void (*commit)(struct job *job);
    void (*abort)(struct job *job);
    void (*clean)(struct job *job);
    /*
     * After clean: what is left to do and takes time. The job concludes when job_lingered() is called, or after the
     * grace time; then abandon is called first.
     */
    void (*linger)(struct job *job);
    /* Frees the object; NULL: it is a plain xcalloc block. */
    void (*free)(struct job *job);
    bool can_complete;    /* Looks at job->complete_requested when READY. */
    bool can_soft_cancel; /* Looks at job->soft_cancel_requested when READY. */
};

struct job_progress {
    uint64_t current, total; /* In units of the driver's own; bytes for block jobs. */
};

struct job {
    const struct job_driver *driver;
    struct jobs *jobs;
    char *id;               /* Owned; NULL: internal, no client sees it. */
    enum job_status status; /* Written by job_enter() only. */
    bool auto_finalize, auto_dismiss;
    /* Requests and facts; never the state itself. */
    bool started;
    bool settled;               /* The work ended, well or not. */
    bool cancel_requested;      /* Forced: ends without success. */
    bool soft_cancel_requested; /* Ends with success, but without the last act of a completion. */
    bool complete_requested;
    bool user_paused; /* One of pause_count is the user's (or an error policy's). */
    bool winding_down;
    bool abandoned;
    bool prepared; /* The end was prepared, or is being prepared. */
    unsigned pause_count;
    unsigned inflight;
    unsigned aside; /* Work that goes on while paused, but not beyond the settlement. */
    enum job_io_status io_status;
    struct job_progress progress;
    struct err *error;   /* Owned; the first failure. */
    struct job_txn *txn; /* Owned reference until the job concludes. */
    struct list txn_link;
    struct list link; /* In jobs->list, newest first. */
    struct task step_task;
    struct timer grace_timer;
    struct ratelimit pace;
    struct timer pace_timer;
    int64_t retry_ns; /* After an ignored error: no new work before. */
};

enum job_event_kind {
    JOB_EVENT_STATUS, /* job->status is new. */
    JOB_EVENT_READY,
    JOB_EVENT_PENDING,   /* It waits for job-finalize. */
    JOB_EVENT_COMPLETED, /* job->error tells how. */
    JOB_EVENT_CANCELLED,
    JOB_EVENT_ERROR, /* An I/O error, and what the policy made of it. */
};

enum job_error_action { JOB_ERROR_REPORT, JOB_ERROR_IGNORE, JOB_ERROR_STOP };

struct job_event {
    enum job_event_kind kind;
    struct job *job;              /* Valid during the call only. */
    bool is_read;                 /* ERROR */
    enum job_error_action action; /* ERROR */
};

/* All jobs of a process. */
struct jobs {
    struct reactor *reactor; /* Borrowed; the home of all jobs. */
    struct map by_id;
    struct list list;              /* struct job, newest first. */
    struct notifier_list on_event; /* struct job_event */
    unsigned live;                 /* Jobs that have not concluded. */
    void (*idle)(void *arg);       /* jobs_cancel_all() waits. */
    void *idle_arg;
    struct task idle_task;
};

void jobs_init(struct jobs *jobs, struct reactor *reactor);
/* All jobs must be gone or concluded; concluded ones are freed without an event. */
void jobs_fini(struct jobs *jobs);

/*
 * Force-cancels every job, with events, and calls done from the loop when all have concluded. That
 * takes at most the grace time, whatever peers do. One caller at a time.
 */
void jobs_cancel_all(struct jobs *jobs, void (*done)(void *arg), void *arg);

/* Milliseconds that requests in flight get after a cancel before they are abandoned. */
#define JOB_GRACE_MS 300

struct job_options {
    const char *id; /* NULL with internal set: no id. */
    bool internal;
    bool manual_finalize, manual_dismiss;
    struct job_txn *txn; /* Borrowed; NULL: a transaction of its own. */
};

/*
 * Returns a new job of size bytes (zeroed; struct job comes first) in state CREATED in *out. Fails
 * on a bad or used id.
 */
struct err *job_new(struct jobs *jobs, const struct job_driver *driver, size_t size,
                    const struct job_options *options, struct job **out) MUST_USE;
/* Takes a job back that could not be set up: CREATED to NULL, and frees it. */
void job_drop(struct job *job);
/* The same for a job that was set up wholly: undoes that first (abort, clean). */
void job_discard(struct job *job);
/* Starts it; the first step comes from the loop. */
void job_start(struct job *job);

/* The job of that id: "Job not found". */
struct err *job_find(struct jobs *jobs, const char *id, struct job **out) MUST_USE;
/* The same for the block-job- commands: DeviceNotActive "Block job 'X' not found". */
struct err *job_find_block(struct jobs *jobs, const char *id, struct job **out) MUST_USE;
/* Letter, then letters, digits, '-', '.', '_'. */
bool job_id_ok(const char *id);

const char *job_status_name(enum job_status status);
const char *job_type_name(enum job_type type);

/* ---- For drivers ---- */

/* Something may have changed: steps the job from the loop. */
void job_kick(struct job *job);
/* Work was started / has ended. job_end wakes the job. */
void job_begin(struct job *job);
void job_end(struct job *job);
/* The same for work done on behalf of others (guest writes), which a pause does not stop. */
void job_begin_aside(struct job *job);
void job_end_aside(struct job *job);
/* The job cannot succeed any more. Keeps the first error; takes it. */
void job_fail(struct job *job, struct err *err);
/* The same for a data-path result; the text is that of the errno. */
void job_fail_errno(struct job *job, int result);
/* RUNNING to READY, from within step. */
void job_set_ready(struct job *job);
bool job_is_ready(const struct job *job);
/* Ends prepare_start. Takes err. The job may be freed on return. */
void job_prepared(struct job *job, struct err *err);
/* Ends linger. The job may be freed on return. */
void job_lingered(struct job *job);
/* Neither failed nor cancelled: new work makes sense. */
bool job_is_going(const struct job *job);
void job_set_progress(struct job *job, uint64_t current, uint64_t total);

/* Nested pauses by others than the user. The job is quiet once its status says so. */
void job_hold(struct job *job);
void job_release(struct job *job);

/* Tells the listeners; nothing for internal jobs. */
void job_notify(struct job *job, const struct job_event *event);

#endif
