/* The on-error policies. */

#include "emu/jobs/job_error.h"

#include <errno.h>

#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/jobs/job_run.h"

/* Between tries that are bound to fail at once (a peer that is gone), so that they do not eat the processor. */
#define JOB_RETRY_NS (10 * NS_PER_MS)

static enum job_error_action action_of(enum job_on_error policy, int result)
{
    switch (policy) {
    case JOB_ON_ERROR_ENOSPC:
    case JOB_ON_ERROR_AUTO: return result == -ENOSPC ? JOB_ERROR_STOP : JOB_ERROR_REPORT;
    case JOB_ON_ERROR_STOP: return JOB_ERROR_STOP;
    case JOB_ON_ERROR_REPORT: return JOB_ERROR_REPORT;
    case JOB_ON_ERROR_IGNORE: return JOB_ERROR_IGNORE;
    case JOB_ON_ERROR_COUNT: break;
    }
    unreachable();
}

enum job_error_action job_io_error(struct job *job, enum job_on_error policy, bool is_read,
                                   int result)
{
    const enum job_error_action action = action_of(policy, result);

    check(result < 0);
    /* What is cut short by a cancel or after a failure is no news. */
    if (!job_is_going(job))
        return JOB_ERROR_REPORT;
    job_notify(job,
               &(struct job_event){
                   .kind = JOB_EVENT_ERROR, .job = job, .is_read = is_read, .action = action });
    if (action == JOB_ERROR_IGNORE)
        job->retry_ns = nstime_add(reactor_now(job->jobs->reactor), JOB_RETRY_NS);
    if (action == JOB_ERROR_STOP) {
        if (!job->user_paused) {
            job->user_paused = true;
            job->pause_count++;
        }
        if (job->io_status == JOB_IO_OK)
            job->io_status = result == -ENOSPC ? JOB_IO_NOSPACE : JOB_IO_FAILED;
        job_kick(job);
    }
    return action;
}

const char *job_error_action_name(enum job_error_action action)
{
    switch (action) {
    case JOB_ERROR_REPORT: return "report";
    case JOB_ERROR_IGNORE: return "ignore";
    case JOB_ERROR_STOP: return "stop";
    }
    unreachable();
}
