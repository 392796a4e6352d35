#ifndef EMU_JOBS_JOB_TXN_H
#define EMU_JOBS_JOB_TXN_H

/*
 * Groups of jobs that end together: all with success, or none.
 *
 * Every job is in one; most are alone in theirs. No job becomes PENDING before all have settled
 * well, none is finalized before all are PENDING, and the first that fails cancels the others. The
 * transaction lives while its maker or a job that has not concluded refers to it.
 */

#include "emu/jobs/job.h"

struct job_txn *job_txn_new(void);
/* Drops the maker's reference. NULL is fine. */
void job_txn_unref(struct job_txn *txn);

/* ---- Private to the engine ---- */
void job_txn_add(struct job_txn *txn, struct job *job);
void job_txn_remove(struct job *job);
/* job has settled: goes on as far as the others allow. The job may be freed on return. */
void job_txn_settled(struct job *job);
/* Cancels a job that has settled or was never started. It may be freed on return. */
void job_txn_cancel(struct job *job);
/* The members are being given their end; it cannot be changed any more. */
bool job_txn_is_concluding(const struct job_txn *txn);
/* job-finalize on any member, all being PENDING. Members may be freed on return. */
void job_txn_finalize(struct job_txn *txn);

#endif
