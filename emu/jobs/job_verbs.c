/* The verbs: refuse by the table, note the request, look. */

#include "emu/jobs/job_verbs.h"

#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_run.h"
#include "emu/jobs/job_states.h"
#include "emu/jobs/job_txn.h"

struct err *job_pause(struct job *job)
{
    TRY(job_check_verb(job, JOB_VERB_PAUSE));
    if (job->user_paused)
        return err_new("Job is already paused");
    job->pause_count++;
    job->user_paused = true;
    job_look(job);
    return NULL;
}

struct err *job_resume(struct job *job)
{
    if (!job->user_paused)
        return err_new("Can't resume a job that was not paused");
    TRY(job_check_verb(job, JOB_VERB_RESUME));
    job->io_status = JOB_IO_OK;
    job->user_paused = false;
    job_release(job);
    return NULL;
}

struct err *job_cancel(struct job *job, enum job_cancel_mode mode)
{
    TRY(job_check_verb(job, JOB_VERB_CANCEL));
    if (!job->started || job->settled) {
        job_txn_cancel(job);
        return NULL;
    }
    if (mode == JOB_CANCEL_SOFT && job_is_ready(job) && job->driver->can_soft_cancel &&
        !job->cancel_requested) {
        job->soft_cancel_requested = true;
        job_kick(job);
        return NULL;
    }
    job_start_cancel(job);
    if (job->driver->cancel_at_once)
        job_look(job);
    return NULL;
}

struct err *job_cancel_block(struct job *job, enum job_cancel_mode mode)
{
    if (job->user_paused && mode != JOB_CANCEL_FORCE)
        return err_new("The block job for device '%s' is currently paused", job->id);
    return job_cancel(job, mode);
}

struct err *job_complete(struct job *job)
{
    TRY(job_check_verb(job, JOB_VERB_COMPLETE));
    if (job->cancel_requested || job->soft_cancel_requested || !job->driver->can_complete)
        return err_new("The active block job '%s' cannot be completed", job->id);
    job->complete_requested = true;
    job_kick(job);
    return NULL;
}

struct err *job_finalize(struct job *job)
{
    TRY(job_check_verb(job, JOB_VERB_FINALIZE));
    job_txn_finalize(job->txn);
    return NULL;
}

struct err *job_dismiss(struct job *job)
{
    TRY(job_check_verb(job, JOB_VERB_DISMISS));
    job_vanish(job);
    return NULL;
}

struct err *job_set_speed(struct job *job, int64_t speed)
{
    TRY(job_check_verb(job, JOB_VERB_SET_SPEED));
    if (speed < 0)
        return err_new("Parameter 'speed' expects a non-negative value");
    job_pace_set(job, (uint64_t)speed);
    return NULL;
}
