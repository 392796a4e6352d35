/* The job object and the list of all jobs. */

#include "emu/jobs/job.h"

#include <ctype.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_run.h"
#include "emu/jobs/job_states.h"
#include "emu/jobs/job_txn.h"
#include "emu/jobs/job_verbs.h"

void jobs_init(struct jobs *jobs, struct reactor *reactor)
{
    *jobs = (struct jobs){ .reactor = reactor };
    map_init(&jobs->by_id);
    list_init(&jobs->list);
    notifier_list_init(&jobs->on_event);
}

static void job_free(struct job *job)
{
    list_del(&job->link);
    if (job->id)
        map_remove(&job->jobs->by_id, job->id);
    check(!job->step_task.queued && !job->grace_timer.armed && !job->pace_timer.armed);
    xfree(job->id);
    err_free(job->error);
    if (job->driver->free)
        job->driver->free(job);
    else
        xfree(job);
}

void jobs_fini(struct jobs *jobs)
{
    struct job *job;

    check(jobs->live == 0);
    while ((job = list_first(&jobs->list, struct job, link)))
        job_free(job);
    reactor_undefer(&jobs->idle_task);
    map_fini(&jobs->by_id);
    notifier_list_fini(&jobs->on_event);
}

static void jobs_idle(struct task *task)
{
    struct jobs *jobs = container_of(task, struct jobs, idle_task);
    void (*idle)(void *arg) = jobs->idle;

    jobs->idle = NULL;
    if (idle)
        idle(jobs->idle_arg);
}

/* Somebody waits for the end of all jobs and this was the last. */
static void jobs_check_idle(struct jobs *jobs)
{
    if (jobs->live == 0 && jobs->idle)
        reactor_defer(jobs->reactor, &jobs->idle_task, jobs_idle);
}

void jobs_cancel_all(struct jobs *jobs, void (*done)(void *arg), void *arg)
{
    check(!jobs->idle);
    jobs->idle = done;
    jobs->idle_arg = arg;
    /* A cancel may conclude and free any number of jobs, so the walk starts anew after each. */
    for (bool again = true; again;) {
        again = false;
        list_for_each(job, &jobs->list, struct job, link) {
            if (job->cancel_requested || !job_verb_ok(job->status, JOB_VERB_CANCEL) ||
                job_txn_is_concluding(job->txn))
                continue;
            err_ignore(job_cancel(job, JOB_CANCEL_FORCE));
            again = true;
            break;
        }
    }
    jobs_check_idle(jobs);
}

bool job_id_ok(const char *id)
{
    if (!isalpha((unsigned char)id[0]))
        return false;
    for (const char *c = id + 1; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.' && *c != '_')
            return false;
    }
    return true;
}

static struct err *job_check_id(struct jobs *jobs, const struct job_options *options)
{
    if (options->internal)
        return NULL;
    if (!options->id)
        return err_new("An explicit job ID is required");
    if (!job_id_ok(options->id))
        return err_new("Invalid job ID '%s'", options->id);
    if (map_has(&jobs->by_id, options->id))
        return err_new("Job ID '%s' already in use", options->id);
    return NULL;
}

struct err *job_new(struct jobs *jobs, const struct job_driver *driver, size_t size,
                    const struct job_options *options, struct job **out)
{
    struct job_txn *txn = options->txn;
    struct job *job;

    TRY(job_check_id(jobs, options));
    check(size >= sizeof(struct job));
    job = xcalloc(1, size);
    job->driver = driver;
    job->jobs = jobs;
    job->auto_finalize = !options->manual_finalize;
    job->auto_dismiss = !options->manual_dismiss;
    list_init(&job->txn_link);
    if (!options->internal) {
        job->id = xstrdup(options->id);
        map_put(&jobs->by_id, job->id, job);
    }
    list_add_head(&jobs->list, &job->link);
    jobs->live++;
    job_pace_init(job);
    if (txn) {
        job_txn_add(txn, job);
    } else {
        txn = job_txn_new();
        job_txn_add(txn, job);
        job_txn_unref(txn);
    }
    job_enter(job, JOB_CREATED);
    *out = job;
    return NULL;
}

void job_vanish(struct job *job)
{
    job_enter(job, JOB_NULL);
    job_free(job);
}

void job_drop(struct job *job)
{
    struct jobs *jobs = job->jobs;

    check(job->status == JOB_CREATED && !job->started);
    job_txn_remove(job);
    jobs->live--;
    job_vanish(job);
    jobs_check_idle(jobs);
}

void job_discard(struct job *job)
{
    check(job->status == JOB_CREATED && !job->error);
    job->error = err_new("Job was not started");
    if (job->driver->abort)
        job->driver->abort(job);
    if (job->driver->clean)
        job->driver->clean(job);
    job_drop(job);
}

void job_conclude(struct job *job)
{
    struct jobs *jobs = job->jobs;

    job_enter(job, JOB_CONCLUDED);
    jobs->live--;
    if (job->auto_dismiss || !job->started)
        job_vanish(job);
    jobs_check_idle(jobs);
}

struct err *job_find(struct jobs *jobs, const char *id, struct job **out)
{
    *out = map_get(&jobs->by_id, id);
    return *out ? NULL : err_new("Job not found");
}

struct err *job_find_block(struct jobs *jobs, const char *id, struct job **out)
{
    *out = map_get(&jobs->by_id, id);
    if (*out && (*out)->driver->block_job)
        return NULL;
    *out = NULL;
    return err_new_class(ERR_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
}

void job_set_progress(struct job *job, uint64_t current, uint64_t total)
{
    job->progress = (struct job_progress){ .current = current, .total = total };
}

void job_notify(struct job *job, const struct job_event *event)
{
    if (job->id && !notifier_list_empty(&job->jobs->on_event))
        notify_all(&job->jobs->on_event, (void *)(uintptr_t)event);
}
