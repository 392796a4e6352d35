#ifndef EMU_JOBS_JOB_ERROR_H
#define EMU_JOBS_JOB_ERROR_H

/* What a job does about an I/O error: the on-error policies of QMP. */

#include "emu/jobs/job.h"

/* The order is that of the BlockdevOnError of QMP. */
enum job_on_error {
    JOB_ON_ERROR_REPORT, /* Fail. */
    JOB_ON_ERROR_IGNORE, /* Try again. */
    JOB_ON_ERROR_ENOSPC, /* STOP for ENOSPC, else REPORT. */
    JOB_ON_ERROR_STOP,   /* Pause until the user resumes, then try again. */
    JOB_ON_ERROR_AUTO,   /* As ENOSPC. */
    JOB_ON_ERROR_COUNT,
};

/*
 * An I/O of the job failed with result (-errno). Tells listeners, pauses the job for STOP and
 * returns what the driver has to do: REPORT: job_fail(); IGNORE and STOP: see to it that the work
 * is done again.
 */
enum job_error_action job_io_error(struct job *job, enum job_on_error policy, bool is_read,
                                   int result);

const char *job_error_action_name(enum job_error_action action);

#endif
