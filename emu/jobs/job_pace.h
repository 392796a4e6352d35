#ifndef EMU_JOBS_JOB_PACE_H
#define EMU_JOBS_JOB_PACE_H

/*
 * The speed limit of a job. A driver asks job_pace_wait() before it starts work, and counts what it
 * started with job_pace_account().
 */

#include "emu/jobs/job.h"

void job_pace_init(struct job *job);
/* Bytes per second, 0 for no limit. A sleeping job wakes when it may go faster now. */
void job_pace_set(struct job *job, uint64_t speed);
uint64_t job_pace_speed(const struct job *job);
/* True: no new work now; the job is woken when there may be. */
bool job_pace_wait(struct job *job);
void job_pace_account(struct job *job, uint64_t bytes);

#endif
