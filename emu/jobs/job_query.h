#ifndef EMU_JOBS_JOB_QUERY_H
#define EMU_JOBS_JOB_QUERY_H

/* Facts about jobs for query-jobs and query-block-jobs; no wire format here. */

#include "emu/jobs/job.h"

struct job_facts {
    const char *id; /* Borrowed, as all text here, until the job changes. */
    enum job_type type;
    enum job_status status;
    enum job_io_status io_status;
    uint64_t current, total, speed;
    bool busy;   /* Work is in flight. */
    bool paused; /* By anybody. */
    bool ready, auto_finalize, auto_dismiss, block_job;
    const char *error; /* NULL: none. */
};

void job_query(const struct job *job, struct job_facts *out);

/* Newest first; internal jobs left out. job NULL starts; NULL at the end. */
struct job *job_query_next(struct jobs *jobs, struct job *job);

#endif
