#ifndef EMU_JOBS_JOB_VERBS_H
#define EMU_JOBS_JOB_VERBS_H

/*
 * What clients ask of jobs. Each either refuses, with the text for the client, and changes nothing,
 * or takes effect as far as that is possible at once. After cancel, finalize and dismiss the job
 * may be freed.
 */

#include "emu/jobs/job.h"

enum job_cancel_mode {
    JOB_CANCEL_FORCE, /* Ends without success. */
    JOB_CANCEL_SOFT, /* A READY job that can: ends well without its last act. Otherwise as FORCE. */
};

struct err *job_pause(struct job *job) MUST_USE;
struct err *job_resume(struct job *job) MUST_USE;
struct err *job_cancel(struct job *job, enum job_cancel_mode mode) MUST_USE;
/* block-job-cancel: a soft one refuses a job the user paused. */
struct err *job_cancel_block(struct job *job, enum job_cancel_mode mode) MUST_USE;
struct err *job_complete(struct job *job) MUST_USE;
struct err *job_finalize(struct job *job) MUST_USE;
struct err *job_dismiss(struct job *job) MUST_USE;
/* Bytes per second; 0: no limit. */
struct err *job_set_speed(struct job *job, int64_t speed) MUST_USE;

#endif
