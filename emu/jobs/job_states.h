#ifndef EMU_JOBS_JOB_STATES_H
#define EMU_JOBS_JOB_STATES_H

/*
 * The life cycle of jobs as data: which state may follow which, and which verbs a state accepts.
 * Private to the engine; tests look at the tables too.
 */

#include "emu/jobs/job.h"

enum job_verb {
    JOB_VERB_CANCEL,
    JOB_VERB_PAUSE,
    JOB_VERB_RESUME,
    JOB_VERB_SET_SPEED,
    JOB_VERB_COMPLETE,
    JOB_VERB_FINALIZE,
    JOB_VERB_DISMISS,
    JOB_VERB_CHANGE,
    JOB_VERB_COUNT,
};

bool job_edge_ok(enum job_status from, enum job_status to);
bool job_verb_ok(enum job_status status, enum job_verb verb);
const char *job_verb_name(enum job_verb verb);

/* "Job 'ID' in state 'STATE' cannot accept command verb 'VERB'", or NULL. */
struct err *job_check_verb(const struct job *job, enum job_verb verb) MUST_USE;

/* The only writer of job->status. Tells listeners. */
void job_enter(struct job *job, enum job_status to);

/* Asserts what holds in every state. */
void job_check(const struct job *job);

#endif
