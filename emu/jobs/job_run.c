/*
 * The stepper.
 *
 * One task per job, queued by every wake-up. What it does depends only on what is requested and in
 * flight:
 *
 *   failed or cancelled   wait for nothing in flight (a cancel: at most the grace time), then
 * settle held                  wait for nothing in flight, then PAUSED or STANDBY otherwise back to
 * RUNNING or READY, and step until there is nothing to do
 */

#include "emu/jobs/job_run.h"

#include <errno.h>
#include <string.h>

#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/jobs/job_states.h"
#include "emu/jobs/job_txn.h"

static bool job_is_paused(const struct job *job)
{
    return job->status == JOB_PAUSED || job->status == JOB_STANDBY;
}

static bool job_is_busy(const struct job *job) { return job->inflight > 0 || job->aside > 0; }

static void job_unpause(struct job *job)
{
    if (job_is_paused(job))
        job_enter(job, job->status == JOB_PAUSED ? JOB_RUNNING : JOB_READY);
}

/* The work has ended. The job may be freed on return. */
static void job_settle(struct job *job)
{
    check(!job_is_busy(job) && !job->settled);
    job_unpause(job);
    job->settled = true;
    timer_disarm(&job->grace_timer);
    timer_disarm(&job->pace_timer);
    reactor_undefer(&job->step_task);
    if (job->cancel_requested)
        job_set_cancelled(job);
    job_txn_settled(job);
}

static void job_grace_over(struct timer *timer)
{
    struct job *job = container_of(timer, struct job, grace_timer);

    if (job_is_busy(job) && job->driver->abandon) {
        job->abandoned = true;
        job->driver->abandon(job);
        check(!job_is_busy(job));
    }
    job_look(job);
}

static void job_wind_down(struct job *job)
{
    if (job->winding_down)
        return;
    job->winding_down = true;
    timer_arm(job->jobs->reactor, &job->grace_timer,
              nstime_add(reactor_now(job->jobs->reactor), JOB_GRACE_MS * NS_PER_MS));
    if (job->driver->wind_down)
        job->driver->wind_down(job);
}

void job_look(struct job *job)
{
    if (!job->started || job->settled)
        return;
    if (!job_is_going(job)) {
        if (!job_is_busy(job))
            job_settle(job);
        else if (job->cancel_requested)
            job_wind_down(job);
        return;
    }
    if (job->pause_count == 0)
        job_unpause(job);
    else if (job->inflight == 0 && !job_is_paused(job))
        job_enter(job, job->status == JOB_RUNNING ? JOB_PAUSED : JOB_STANDBY);
}

static void job_step_task(struct task *task)
{
    struct job *job = container_of(task, struct job, step_task);

    if (!job->started || job->settled)
        return;
    while (job_is_going(job) && job->pause_count == 0) {
        enum job_step found;

        job_unpause(job);
        found = job->driver->step(job);
        job_check(job);
        if (found == JOB_AGAIN)
            continue;
        if (found == JOB_DONE && job_is_going(job)) {
            job_settle(job);
            return;
        }
        break;
    }
    job_look(job);
}

void job_kick(struct job *job)
{
    if (job->started && !job->settled)
        reactor_defer(job->jobs->reactor, &job->step_task, job_step_task);
}

void job_begin(struct job *job)
{
    check(!job->settled);
    check(!job_is_paused(job));
    job->inflight++;
}

void job_end(struct job *job)
{
    check(job->inflight > 0);
    job->inflight--;
    job_kick(job);
}

void job_begin_aside(struct job *job)
{
    check(!job->settled);
    job->aside++;
}

void job_end_aside(struct job *job)
{
    check(job->aside > 0);
    job->aside--;
    job_kick(job);
}

void job_start(struct job *job)
{
    check(job->status == JOB_CREATED);
    job->started = true;
    job->grace_timer.fn = job_grace_over;
    job_enter(job, JOB_RUNNING);
    job_look(job);
    job_kick(job);
}

bool job_is_going(const struct job *job) { return !job->error && !job->cancel_requested; }

void job_fail(struct job *job, struct err *err)
{
    check(err && !job->settled);
    err_keep_first(&job->error, err);
    job_kick(job);
}

void job_fail_errno(struct job *job, int result)
{
    job_fail(job, err_set_errnum(err_new("%s", strerror(-result)), -result));
}

void job_set_cancelled(struct job *job)
{
    if (job->error)
        return;
    job->cancel_requested = true;
    job->error = err_set_errnum(err_new("Operation canceled"), ECANCELED);
}

void job_start_cancel(struct job *job)
{
    job->cancel_requested = true;
    if (job->user_paused) {
        job->user_paused = false;
        job->pause_count--;
    }
    job->soft_cancel_requested = false;
    if (job_is_paused(job))
        job_unpause(job);
    if (job_is_busy(job))
        job_wind_down(job);
    job_kick(job);
}

void job_hold(struct job *job)
{
    job->pause_count++;
    job_look(job);
}

void job_release(struct job *job)
{
    check(job->pause_count > 0);
    job->pause_count--;
    job_kick(job);
    job_look(job); /* Last: one that failed meanwhile settles, and may be freed. */
}

void job_set_ready(struct job *job)
{
    job_enter(job, JOB_READY);
    job_notify(job, &(struct job_event){ .kind = JOB_EVENT_READY, .job = job });
}

bool job_is_ready(const struct job *job)
{
    return job->status == JOB_READY || job->status == JOB_STANDBY;
}
