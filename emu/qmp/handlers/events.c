/* From what jobs tell their listeners to events. */

#include "emu/qmp/handlers/events.h"

#include "emu/base/check.h"
#include "emu/jobs/job_error.h"
#include "emu/jobs/job_query.h"
#include "emu/qmp/qmp_block_core.h" // Generated.
#include "emu/qmp/qmp_job.h"        // Generated.

/* Both enums are in the order of the protocol. */
_Static_assert((int)QAPI_JOB_STATUS_NULL == (int)JOB_NULL, "job states");
_Static_assert((int)QAPI_JOB_TYPE_SNAPSHOT_DELETE == (int)JOB_TYPE_SNAPSHOT_DELETE, "job types");

static void raise_status(struct job_events *je, const struct job *job)
{
    qapi_event_job_status_change(je->events,
                                 &(struct qapi_job_status_change_event){
                                     .id = job->id, .status = (enum qapi_job_status)job->status });
}

static void raise_error(struct job_events *je, const struct job_event *event)
{
    static const enum qapi_block_error_action actions[] = {
        [JOB_ERROR_REPORT] = QAPI_BLOCK_ERROR_ACTION_REPORT,
        [JOB_ERROR_IGNORE] = QAPI_BLOCK_ERROR_ACTION_IGNORE,
        [JOB_ERROR_STOP] = QAPI_BLOCK_ERROR_ACTION_STOP,
    };

    qapi_event_block_job_error(je->events,
                               &(struct qapi_block_job_error_event){
                                   .device = event->job->id,
                                   .operation = event->is_read ? QAPI_IO_OPERATION_TYPE_READ
                                                               : QAPI_IO_OPERATION_TYPE_WRITE,
                                   .action = actions[event->action] });
}

/* READY, COMPLETED and CANCELLED say the same of a job, but for the error. */
#define FACTS(facts)                                                                               \
    .type = (enum qapi_job_type)(facts).type, .device = (char *)(uintptr_t)(facts).id,             \
    .len = (int64_t)(facts).total, .offset = (int64_t)(facts).current,                             \
    .speed = (int64_t)(facts).speed

static void job_told(struct notifier *notifier, void *data)
{
    struct job_events *je = container_of(notifier, struct job_events, notifier);
    const struct job_event *event = data;
    struct job_facts facts;

    if (event->kind == JOB_EVENT_STATUS) {
        raise_status(je, event->job);
        return;
    }
    job_query(event->job, &facts);
    if (!facts.block_job)
        return;
    switch (event->kind) {
    case JOB_EVENT_STATUS: break;
    case JOB_EVENT_READY:
        qapi_event_block_job_ready(je->events,
                                   &(struct qapi_block_job_ready_event){ FACTS(facts) });
        break;
    case JOB_EVENT_PENDING:
        qapi_event_block_job_pending(
            je->events, &(struct qapi_block_job_pending_event){
                            .type = (enum qapi_job_type)facts.type, .id = event->job->id });
        break;
    case JOB_EVENT_COMPLETED:
        qapi_event_block_job_completed(je->events,
                                       &(struct qapi_block_job_completed_event){
                                           FACTS(facts), .error = (char *)(uintptr_t)facts.error });
        break;
    case JOB_EVENT_CANCELLED:
        qapi_event_block_job_cancelled(je->events,
                                       &(struct qapi_block_job_cancelled_event){ FACTS(facts) });
        break;
    case JOB_EVENT_ERROR: raise_error(je, event); break;
    }
}

#undef FACTS

void job_events_init(struct job_events *je, struct jobs *jobs, struct qmp_events *events)
{
    *je = (struct job_events){ .notifier = { .fn = job_told }, .events = events };
    notifier_add(&jobs->on_event, &je->notifier);
}

void job_events_fini(struct job_events *je) { notifier_remove(&je->notifier); }
