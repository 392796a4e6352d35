/*
 * How jobs end, alone or together.
 *
 * Order is that of the list, newest job first, and it is part of the interface: clients match event
 * sequences. While a group aborts, the job that failed is ABORTING at once; siblings are cancelled
 * and become ABORTING as each winds down; nothing concludes before the last of them has settled.
 * Siblings that had already settled well become ABORTING only right before they conclude.
 */

#include "emu/jobs/job_txn.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/jobs/job_run.h"
#include "emu/jobs/job_states.h"

struct job_txn {
    struct list jobs; /* By txn_link, newest first. */
    unsigned refs;
    unsigned unsettled;
    bool aborting;
    bool concluding;       /* The walk over the members is under way. */
    bool walking;          /* It is on the stack. */
    struct job *preparing; /* Its preparation takes time. */
    struct job *lingering; /* Its end takes time. */
};

struct job_txn *job_txn_new(void)
{
    struct job_txn *txn = NEW(struct job_txn);

    list_init(&txn->jobs);
    txn->refs = 1;
    return txn;
}

void job_txn_unref(struct job_txn *txn)
{
    if (!txn || --txn->refs > 0)
        return;
    check(list_empty(&txn->jobs));
    xfree(txn);
}

void job_txn_add(struct job_txn *txn, struct job *job)
{
    check(!txn->aborting);
    list_add_head(&txn->jobs, &job->txn_link);
    job->txn = txn;
    txn->refs++;
    txn->unsettled++;
}

void job_txn_remove(struct job *job)
{
    struct job_txn *txn = job->txn;

    list_del(&job->txn_link);
    if (!job->settled)
        txn->unsettled--;
    job->txn = NULL;
    job_txn_unref(txn);
}

/* Gives job its final event and state. It may be freed on return. */
static void txn_end(struct job *job)
{
    if (job->started) {
        const bool cancelled = job->cancel_requested;

        job_notify(
            job, &(struct job_event){ .kind = cancelled ? JOB_EVENT_CANCELLED : JOB_EVENT_COMPLETED,
                                      .job = job });
    }
    job_txn_remove(job);
    job_conclude(job);
}

static void linger_over(struct timer *timer)
{
    struct job *job = container_of(timer, struct job, grace_timer);

    job->driver->abandon(job);
    job_lingered(job);
}

static void txn_conclude(struct job *job)
{
    const bool success = !job->error;

    if (!success)
        job_enter(job, JOB_ABORTING);
    if (success && job->driver->commit)
        job->driver->commit(job);
    if (!success && job->driver->abort)
        job->driver->abort(job);
    if (job->driver->clean)
        job->driver->clean(job);
    if (!job->driver->linger) {
        txn_end(job);
        return;
    }
    job->txn->lingering = job;
    job->grace_timer.fn = linger_over;
    timer_arm(job->jobs->reactor, &job->grace_timer,
              nstime_add(reactor_now(job->jobs->reactor), JOB_GRACE_MS * NS_PER_MS));
    job->driver->linger(job);
}

static void txn_conclude_all(struct job_txn *txn)
{
    struct job *job;

    check(txn->unsettled == 0);
    if (txn->walking)
        return;
    txn->concluding = txn->walking = true;
    txn->refs++;
    while (!txn->lingering && (job = list_first(&txn->jobs, struct job, txn_link)))
        txn_conclude(job);
    txn->walking = false;
    job_txn_unref(txn);
}

void job_lingered(struct job *job)
{
    struct job_txn *txn = job->txn;

    check(txn && txn->lingering == job);
    txn->lingering = NULL;
    timer_disarm(&job->grace_timer);
    txn->refs++;
    txn_end(job);
    txn_conclude_all(txn);
    job_txn_unref(txn);
}

/* Cancels a member because another one failed. Those at work settle later, from the loop. */
static void txn_cancel_member(struct job_txn *txn, struct job *job)
{
    if (job->settled)
        return;
    if (job->started) {
        job_start_cancel(job);
        return;
    }
    /* Never started: it must not be any more. */
    job->settled = true;
    txn->unsettled--;
    job_set_cancelled(job);
    job_enter(job, JOB_ABORTING);
}

/* Something failed: members that still work are cancelled; the last to settle ends the walk. */
static void txn_abort(struct job_txn *txn)
{
    txn->refs++;
    if (!txn->aborting) {
        txn->aborting = true;
        list_for_each(job, &txn->jobs, struct job, txn_link)
            txn_cancel_member(txn, job);
    }
    if (txn->unsettled == 0 && !txn->concluding) {
        list_for_each(job, &txn->jobs, struct job, txn_link)
            job_set_cancelled(job);
        txn_conclude_all(txn);
    }
    job_txn_unref(txn);
}

/* All have settled with success. */
static void txn_all_succeeded(struct job_txn *txn)
{
    bool automatic = true;

    list_for_each(job, &txn->jobs, struct job, txn_link) {
        job_enter(job, JOB_PENDING);
        if (job->auto_finalize)
            continue;
        automatic = false;
        job_notify(job, &(struct job_event){ .kind = JOB_EVENT_PENDING, .job = job });
    }
    if (automatic)
        job_txn_finalize(txn);
}

void job_txn_settled(struct job *job)
{
    struct job_txn *txn = job->txn;

    check(job->settled && txn->unsettled > 0);
    txn->unsettled--;
    if (!job->error && txn->aborting)
        job_set_cancelled(job);
    if (job->error) {
        job_enter(job, JOB_ABORTING);
        txn_abort(txn);
        return;
    }
    job_enter(job, JOB_WAITING);
    if (txn->unsettled == 0)
        txn_all_succeeded(txn);
}

static void txn_prepare_failed(struct job *job, struct err *err)
{
    struct job_txn *txn = job->txn;

    job->error = err;
    job_enter(job, JOB_ABORTING);
    txn_abort(txn);
}

static struct job *txn_next_unprepared(struct job_txn *txn)
{
    list_for_each(job, &txn->jobs, struct job, txn_link) {
        if (!job->prepared)
            return job;
    }
    return NULL;
}

static void txn_prepare(struct job_txn *txn)
{
    struct job *job;

    while ((job = txn_next_unprepared(txn))) {
        struct err *err;

        job->prepared = true;
        if (job->driver->prepare_start) {
            txn->preparing = job;
            job->driver->prepare_start(job);
            return;
        }
        err = job->driver->prepare ? job->driver->prepare(job) : NULL;
        if (err) {
            txn_prepare_failed(job, err);
            return;
        }
    }
    txn_conclude_all(txn);
}

void job_prepared(struct job *job, struct err *err)
{
    struct job_txn *txn = job->txn;

    check(txn && txn->preparing == job);
    txn->preparing = NULL;
    if (err)
        txn_prepare_failed(job, err);
    else
        txn_prepare(txn);
}

void job_txn_cancel(struct job *job)
{
    struct job *preparing = job->txn->preparing;

    check(!job->started || job->settled);
    if (job->txn->concluding)
        return; /* Too late: the end is under way. */
    if (preparing) {
        job->txn->preparing = NULL;
        preparing->driver->abandon(preparing);
    }
    if (!job->settled) {
        job->settled = true;
        job->txn->unsettled--;
    }
    job_set_cancelled(job);
    job_enter(job, JOB_ABORTING);
    txn_abort(job->txn);
}

bool job_txn_is_concluding(const struct job_txn *txn) { return txn->concluding; }

void job_txn_finalize(struct job_txn *txn)
{
    if (!txn->preparing && !txn->concluding)
        txn_prepare(txn);
}
