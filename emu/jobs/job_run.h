#ifndef EMU_JOBS_JOB_RUN_H
#define EMU_JOBS_JOB_RUN_H

/* The stepper: what wakes a job, and how it pauses, winds down and settles. Private to the engine.
 */

#include "emu/jobs/job.h"

/*
 * Looks at what was requested and goes as far as that is possible now without stepping: pauses,
 * resumes or settles. The job may be freed on return.
 */
void job_look(struct job *job);

/* Notes the error of a forced cancel unless there is one. */
void job_set_cancelled(struct job *job);

/* Starts the wind-down of a forced cancel; settles later, from the loop. */
void job_start_cancel(struct job *job);

/* Enters CONCLUDED, and NULL when nobody has to dismiss it; then it is freed. */
void job_conclude(struct job *job);
/* CREATED or CONCLUDED to NULL; frees. */
void job_vanish(struct job *job);

#endif
