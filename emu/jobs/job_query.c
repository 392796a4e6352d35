/* Facts about jobs. */

#include "emu/jobs/job_query.h"

#include "emu/jobs/job_pace.h"

void job_query(const struct job *job, struct job_facts *out)
{
    *out = (struct job_facts){
        .id = job->id,
        .type = job->driver->type,
        .status = job->status,
        .io_status = job->io_status,
        .current = job->progress.current,
        .total = job->progress.total,
        .speed = job_pace_speed(job),
        .busy = job->inflight > 0,
        .paused = job->pause_count > 0,
        .ready = job_is_ready(job),
        .auto_finalize = job->auto_finalize,
        .auto_dismiss = job->auto_dismiss,
        .block_job = job->driver->block_job,
        /* An error that is not settled may still be hidden by a cancel. */
        .error = job->settled && job->error ? err_text(job->error) : NULL,
    };
}

struct job *job_query_next(struct jobs *jobs, struct job *job)
{
    do {
        job = job ? list_next(&jobs->list, job, struct job, link)
                  : list_first(&jobs->list, struct job, link);
    } while (job && !job->id);
    return job;
}
