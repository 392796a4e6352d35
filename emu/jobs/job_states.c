/* The life cycle of jobs: tables, the one writer of the state, and what must hold in each state. */

#include "emu/jobs/job_states.h"

#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/trace.h"

#define S(name) BIT(JOB_##name)

/* Row: from; value: states that may follow. */
static const uint32_t job_edges[JOB_STATUS_COUNT] = {
    [JOB_UNDEFINED] = S(CREATED),
    [JOB_CREATED] = S(RUNNING) | S(ABORTING) | S(NULL),
    [JOB_RUNNING] = S(PAUSED) | S(READY) | S(WAITING) | S(ABORTING),
    [JOB_PAUSED] = S(RUNNING),
    [JOB_READY] = S(STANDBY) | S(WAITING) | S(ABORTING),
    [JOB_STANDBY] = S(READY),
    [JOB_WAITING] = S(PENDING) | S(ABORTING),
    [JOB_PENDING] = S(ABORTING) | S(CONCLUDED),
    [JOB_ABORTING] = S(ABORTING) | S(CONCLUDED),
    [JOB_CONCLUDED] = S(NULL),
    [JOB_NULL] = 0,
};

#define ACTIVE (S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) | S(STANDBY))

/* Row: verb; value: states that accept it. */
static const uint32_t job_verb_states[JOB_VERB_COUNT] = {
    [JOB_VERB_CANCEL] = ACTIVE | S(WAITING) | S(PENDING),
    [JOB_VERB_PAUSE] = ACTIVE,
    [JOB_VERB_RESUME] = ACTIVE,
    [JOB_VERB_SET_SPEED] = ACTIVE,
    [JOB_VERB_COMPLETE] = S(READY) | S(STANDBY),
    [JOB_VERB_FINALIZE] = S(PENDING),
    [JOB_VERB_DISMISS] = S(CONCLUDED),
    [JOB_VERB_CHANGE] = ACTIVE,
};

static const char *const job_verb_names[JOB_VERB_COUNT] = {
    [JOB_VERB_CANCEL] = "cancel",     [JOB_VERB_PAUSE] = "pause",
    [JOB_VERB_RESUME] = "resume",     [JOB_VERB_SET_SPEED] = "set-speed",
    [JOB_VERB_COMPLETE] = "complete", [JOB_VERB_FINALIZE] = "finalize",
    [JOB_VERB_DISMISS] = "dismiss",   [JOB_VERB_CHANGE] = "change",
};

static const char *const job_status_names[JOB_STATUS_COUNT] = {
    [JOB_UNDEFINED] = "undefined", [JOB_CREATED] = "created", [JOB_RUNNING] = "running",
    [JOB_PAUSED] = "paused",       [JOB_READY] = "ready",     [JOB_STANDBY] = "standby",
    [JOB_WAITING] = "waiting",     [JOB_PENDING] = "pending", [JOB_ABORTING] = "aborting",
    [JOB_CONCLUDED] = "concluded", [JOB_NULL] = "null",
};

static const char *const job_type_names[JOB_TYPE_COUNT] = {
    [JOB_TYPE_COMMIT] = "commit",
    [JOB_TYPE_STREAM] = "stream",
    [JOB_TYPE_MIRROR] = "mirror",
    [JOB_TYPE_BACKUP] = "backup",
    [JOB_TYPE_CREATE] = "create",
    [JOB_TYPE_AMEND] = "amend",
    [JOB_TYPE_SNAPSHOT_LOAD] = "snapshot-load",
    [JOB_TYPE_SNAPSHOT_SAVE] = "snapshot-save",
    [JOB_TYPE_SNAPSHOT_DELETE] = "snapshot-delete",
};

const char *job_status_name(enum job_status status) { return job_status_names[status]; }

const char *job_type_name(enum job_type type) { return job_type_names[type]; }

const char *job_verb_name(enum job_verb verb) { return job_verb_names[verb]; }

bool job_edge_ok(enum job_status from, enum job_status to)
{
    return fsm_edge_ok(job_edges, from, to);
}

bool job_verb_ok(enum job_status status, enum job_verb verb)
{
    return job_verb_states[verb] & BIT(status);
}

struct err *job_check_verb(const struct job *job, enum job_verb verb)
{
    if (job_verb_ok(job->status, verb))
        return NULL;
    return err_new("Job '%s' in state '%s' cannot accept command verb '%s'",
                   job->id ? job->id : "(internal)", job_status_names[job->status],
                   job_verb_names[verb]);
}

void job_enter(struct job *job, enum job_status to)
{
    enum job_status from = job->status;

    fsm_check_edge(job_edges, from, to);
    if (from == to)
        return;
    trace(job_enter, "%s: %s to %s", job->id ? job->id : "-", job_status_names[from],
          job_status_names[to]);
    job->status = to;
    job_check(job);
    job_notify(job, &(struct job_event){ .kind = JOB_EVENT_STATUS, .job = job });
}

void job_check(const struct job *job)
{
    const uint32_t now = BIT(job->status);
    const uint32_t over = S(WAITING) | S(PENDING) | S(ABORTING) | S(CONCLUDED) | S(NULL);

    check(job->status < JOB_STATUS_COUNT);
    check(!job->user_paused || job->pause_count > 0);
    if (now & (S(PAUSED) | S(STANDBY) | over))
        check(job->inflight == 0);
    if (now & over)
        check(job->aside == 0);
    if (now & (S(RUNNING) | S(PAUSED) | S(READY) | S(STANDBY)))
        check(job->started && !job->settled && job->txn);
    if (now & (S(WAITING) | S(PENDING)))
        check(job->settled && !job->error);
    if (now & (S(WAITING) | S(PENDING) | S(ABORTING)))
        check(job->txn);
    if (now & (S(ABORTING)))
        check(job->error);
    if (now & (S(CONCLUDED) | S(NULL)))
        check(!job->txn);
}
