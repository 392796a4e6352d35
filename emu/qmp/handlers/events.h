#ifndef EMU_QMP_HANDLERS_EVENTS_H
#define EMU_QMP_HANDLERS_EVENTS_H

/* Listens to jobs and raises JOB_STATUS_CHANGE and the BLOCK_JOB_ events. */

#include "emu/base/notify.h"
#include "emu/jobs/job.h"
#include "emu/qmp/events.h"

struct job_events {
    struct notifier notifier;
    struct qmp_events *events; /* Borrowed. */
};

void job_events_init(struct job_events *je, struct jobs *jobs, struct qmp_events *events);
void job_events_fini(struct job_events *je);

#endif
