/* job-pause and the like, query-jobs. */

#include "emu/qmp/handlers/jobs.h"

#include "emu/base/alloc.h"
#include "emu/jobs/job_query.h"
#include "emu/jobs/job_verbs.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/qmp_job.h" // Generated.

/* Does a verb on the job of that id and replies. */
static void job_verb(struct qmp_call *call, const char *id, struct err *(*verb)(struct job *job))
{
    struct job *job;
    struct err *err = job_find(call->world->jobs, id, &job);

    if (!err)
        err = verb(job);
    qmp_reply(call, err);
}

static struct err *cancel_by_force(struct job *job) { return job_cancel(job, JOB_CANCEL_FORCE); }

static void job_pause_handler(struct qmp_call *call, const struct qapi_job_pause_args *args)
{
    job_verb(call, args->id, job_pause);
}

static void job_resume_handler(struct qmp_call *call, const struct qapi_job_resume_args *args)
{
    job_verb(call, args->id, job_resume);
}

static void job_cancel_handler(struct qmp_call *call, const struct qapi_job_cancel_args *args)
{
    job_verb(call, args->id, cancel_by_force);
}

static void job_complete_handler(struct qmp_call *call, const struct qapi_job_complete_args *args)
{
    job_verb(call, args->id, job_complete);
}

static void job_dismiss_handler(struct qmp_call *call, const struct qapi_job_dismiss_args *args)
{
    job_verb(call, args->id, job_dismiss);
}

static void job_finalize_handler(struct qmp_call *call, const struct qapi_job_finalize_args *args)
{
    job_verb(call, args->id, job_finalize);
}

static void query_jobs_handler(struct qmp_call *call)
{
    struct jobs *jobs = call->world->jobs;
    struct qapi_job_info_list list = { 0 };

    for (struct job *job = job_query_next(jobs, NULL); job; job = job_query_next(jobs, job)) {
        struct qapi_job_info *info = qapi_job_info_list_add(&list);
        struct job_facts facts;

        job_query(job, &facts);
        *info = (struct qapi_job_info){
            .id = xstrdup(facts.id),
            .type = (enum qapi_job_type)facts.type,
            .status = (enum qapi_job_status)facts.status,
            .current_progress = (int64_t)facts.current,
            .total_progress = (int64_t)facts.total,
            .error = xstrdup(facts.error),
        };
    }
    qmp_reply_query_jobs(call, &list);
    qapi_job_info_list_fini(&list);
}

const struct qmp_command_set job_commands = {
    .commands = { QMP_COMMAND(job_pause, job_pause_handler),
                  QMP_COMMAND(job_resume, job_resume_handler),
                  QMP_COMMAND(job_cancel, job_cancel_handler),
                  QMP_COMMAND(job_complete, job_complete_handler),
                  QMP_COMMAND(job_dismiss, job_dismiss_handler),
                  QMP_COMMAND(job_finalize, job_finalize_handler),
                  QMP_COMMAND(query_jobs, query_jobs_handler), QMP_COMMAND_END },
    .events = { &qmp_event_job_status_change, NULL },
};
