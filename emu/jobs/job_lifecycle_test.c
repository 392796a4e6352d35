/*
 * The life cycle against a second statement of it: the tables here are strings copied from the
 * description of the protocol by hand, and know nothing of the engine's tables. Toy jobs work,
 * fail and get stuck by seed.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/base/rng.h"
#include "emu/base/str.h"
#include "emu/jobs/job.h"
#include "emu/jobs/job_error.h"
#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_query.h"
#include "emu/jobs/job_states.h"
#include "emu/jobs/job_txn.h"
#include "emu/jobs/job_verbs.h"
#include "emu/reactor/sim.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

/* U C R P Y S W D X E N in the order of enum job_status. */
static const char letters[] = "UCRPYSWDXEN";
static const char *const model_edges[] = { "C",  "RXN", "PYWX", "R", "SWX", "Y",
                                           "DX", "XE",  "XE",   "N", "" };
static const char *const model_verbs[] = {
    [JOB_VERB_CANCEL] = "CRPYSWD",  [JOB_VERB_PAUSE] = "CRPYS",  [JOB_VERB_RESUME] = "CRPYS",
    [JOB_VERB_SET_SPEED] = "CRPYS", [JOB_VERB_COMPLETE] = "YS",  [JOB_VERB_FINALIZE] = "D",
    [JOB_VERB_DISMISS] = "E",       [JOB_VERB_CHANGE] = "CRPYS",
};

/* ---- The toy ---- */

struct toy_op {
    struct timer timer;
    struct toy *toy; /* NULL: abandoned. */
};

struct toy {
    struct job job;
    unsigned todo, done; /* Pieces of work. */
    unsigned fail_at;    /* This piece fails; 0: none. */
    bool mirror;         /* Goes READY and needs complete. */
    bool stuck;          /* Pieces never end. */
    bool fail_prepare;
    unsigned window;
    unsigned *freed, *commits, *aborts;
    bool stepping;
    struct list ops;
};

static struct rng toy_rng;
static struct list orphans;

static struct toy *toy_of(struct job *job) { return container_of(job, struct toy, job); }

static void toy_piece_done(struct timer *timer)
{
    struct toy_op *op = container_of(timer, struct toy_op, timer);
    struct toy *toy = op->toy;

    xfree(op);
    if (!toy)
        return;
    toy->done++;
    if (toy->done == toy->fail_at)
        job_fail_errno(&toy->job, -EIO);
    job_set_progress(&toy->job, toy->done, toy->todo);
    job_end(&toy->job);
}

static struct toy_op *toy_live_op[64];

static enum job_step toy_step(struct job *job)
{
    struct toy *toy = toy_of(job);

    EXPECT(job->pause_count == 0 && job_is_going(job));
    EXPECT(!toy->stepping);
    while (toy->done + job->inflight < toy->todo && job->inflight < toy->window &&
           !job_pace_wait(job)) {
        struct toy_op *op = NEW(struct toy_op);

        op->toy = toy;
        op->timer.fn = toy_piece_done;
        job_begin(job);
        job_pace_account(job, 1000);
        toy_live_op[job->inflight] = op;
        if (toy->stuck)
            toy->window = job->inflight; /* Held in toy_live_op until the test lets it go. */
        else
            timer_arm(job->jobs->reactor, &op->timer,
                      reactor_now(job->jobs->reactor) +
                          (int64_t)rng_between(&toy_rng, 1, 50) * NS_PER_MS);
    }
    if (toy->done < toy->todo)
        return JOB_WAIT;
    if (!toy->mirror)
        return JOB_DONE;
    if (!job_is_ready(job)) {
        job_set_ready(job);
        return JOB_AGAIN;
    }
    return job->complete_requested || job->soft_cancel_requested ? JOB_DONE : JOB_WAIT;
}

/* Timers cannot be found from here, so the abandon of a toy only works for a stuck one. */
static void toy_abandon(struct job *job)
{
    struct toy *toy = toy_of(job);

    check(toy->stuck);
    for (unsigned i = 1; i <= job->inflight; i++)
        toy_live_op[i]->toy = NULL;
    job->inflight = 0;
}

static struct err *toy_prepare(struct job *job)
{
    return toy_of(job)->fail_prepare ? err_new("cannot prepare") : NULL;
}

static void toy_commit(struct job *job)
{
    if (toy_of(job)->commits)
        ++*toy_of(job)->commits;
}

static void toy_abort(struct job *job)
{
    if (toy_of(job)->aborts)
        ++*toy_of(job)->aborts;
}

static void toy_free(struct job *job)
{
    struct toy *toy = toy_of(job);

    if (toy->freed)
        ++*toy->freed;
    xfree(toy);
}

static const struct job_driver toy_driver = {
    .type = JOB_TYPE_MIRROR,
    .block_job = true,
    .step = toy_step,
    .abandon = toy_abandon,
    .prepare = toy_prepare,
    .commit = toy_commit,
    .abort = toy_abort,
    .free = toy_free,
    .can_complete = true,
    .can_soft_cancel = true,
    .cancel_at_once = true,
};

/* ---- The world ---- */

struct world {
    struct sim *sim;
    struct reactor *reactor;
    struct jobs jobs;
    struct notifier notifier;
    struct str log;          /* "id:status " of all events. */
    enum job_status last[8]; /* By the digit in the id. */
};

static void world_event(struct notifier *n, void *data)
{
    struct world *w = container_of(n, struct world, notifier);
    const struct job_event *event = data;
    const unsigned i = (unsigned)(event->job->id[1] - '0') % 8;
    static const char *const names[] = {
        "", "READY", "PENDING", "COMPLETED", "CANCELLED", "ERROR"
    };

    if (event->kind != JOB_EVENT_STATUS) {
        str_addf(&w->log, "%s:%s ", event->job->id, names[event->kind]);
        return;
    }
    EXPECT_MSG(strchr(model_edges[w->last[i]], letters[event->job->status]), "illegal %c to %c",
               letters[w->last[i]], letters[event->job->status]);
    w->last[i] = event->job->status == JOB_NULL ? JOB_UNDEFINED : event->job->status;
    str_addf(&w->log, "%s:%s ", event->job->id, job_status_name(event->job->status));
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){ 0 };
    w->sim = sim_new(&(struct sim_options){ .seed = seed });
    w->reactor = sim_reactor_new(w->sim);
    rng_init(&toy_rng, seed);
    list_init(&orphans);
    jobs_init(&w->jobs, w->reactor);
    w->notifier.fn = world_event;
    notifier_add(&w->jobs.on_event, &w->notifier);
}

static void world_fini(struct world *w)
{
    EXPECT(sim_run(w->sim, 1000000));
    jobs_fini(&w->jobs);
    reactor_free(w->reactor);
    sim_free(w->sim);
    str_fini(&w->log);
}

static struct toy *toy_make(struct world *w, const char *id, const struct job_options *more)
{
    struct job_options options = more ? *more : (struct job_options){ 0 };
    struct job *job;

    options.id = id;
    REQUIRE_OK(job_new(&w->jobs, &toy_driver, sizeof(struct toy), &options, &job));
    toy_of(job)->todo = 3;
    toy_of(job)->window = 2;
    return toy_of(job);
}

/* ---- Tests ---- */

static void tables_equal_the_description(void)
{
    for (unsigned from = 0; from < JOB_STATUS_COUNT; from++) {
        for (unsigned to = 0; to < JOB_STATUS_COUNT; to++)
            EXPECT_MSG(job_edge_ok(from, to) == (strchr(model_edges[from], letters[to]) != NULL),
                       "%c to %c", letters[from], letters[to]);
        for (unsigned verb = 0; verb < JOB_VERB_COUNT; verb++)
            EXPECT_MSG(job_verb_ok(from, verb) ==
                           (strchr(model_verbs[verb], letters[from]) != NULL),
                       "%s in %c", job_verb_name(verb), letters[from]);
    }
}

static void success_tells_its_states_in_order(void)
{
    struct world w;

    world_init(&w, 1);
    job_start(&toy_make(&w, "j0", NULL)->job);
    sim_run(w.sim, 1000);
    EXPECT_STR(str_cstr(&w.log),
               "j0:created j0:running j0:waiting j0:pending j0:COMPLETED j0:concluded j0:null ");
    world_fini(&w);
}

static void failure_tells_its_states_in_order(void)
{
    struct world w;
    struct toy *toy;
    unsigned aborts = 0, commits = 0;

    world_init(&w, 1);
    toy = toy_make(&w, "j0", NULL);
    toy->fail_at = 2;
    toy->aborts = &aborts;
    toy->commits = &commits;
    job_start(&toy->job);
    sim_run(w.sim, 1000);
    EXPECT_STR(str_cstr(&w.log),
               "j0:created j0:running j0:aborting j0:COMPLETED j0:concluded j0:null ");
    EXPECT_EQ(aborts, 1);
    EXPECT_EQ(commits, 0);
    world_fini(&w);
}

static void manual_end_waits_for_each_verb(void)
{
    struct world w;
    struct toy *toy;
    struct job *job;

    world_init(&w, 1);
    toy = toy_make(&w, "j0",
                   &(struct job_options){ .manual_finalize = true, .manual_dismiss = true });
    job_start(&toy->job);
    sim_run(w.sim, 1000);
    EXPECT_CONTAINS(str_cstr(&w.log), "j0:waiting j0:pending j0:PENDING ");
    REQUIRE_OK(job_find(&w.jobs, "j0", &job));
    EXPECT_ERR(job_pause(job), "Job 'j0' in state 'pending' cannot accept command verb 'pause'");
    EXPECT_OK(job_finalize(job));
    EXPECT_ERR(job_new(&w.jobs, &toy_driver, sizeof(struct toy),
                       &(struct job_options){ .id = "j0" }, &job),
               "Job ID 'j0' already in use");
    REQUIRE_OK(job_find(&w.jobs, "j0", &job));
    EXPECT_OK(job_dismiss(job));
    EXPECT_CONTAINS(str_cstr(&w.log), "j0:PENDING j0:COMPLETED j0:concluded j0:null ");
    EXPECT_ERR(job_find(&w.jobs, "j0", &job), "Job not found");
    world_fini(&w);
}

static void failing_prepare_aborts(void)
{
    struct world w;
    struct toy *toy;

    world_init(&w, 1);
    toy = toy_make(&w, "j0", NULL);
    toy->fail_prepare = true;
    job_start(&toy->job);
    sim_run(w.sim, 1000);
    EXPECT_CONTAINS(str_cstr(&w.log), "j0:pending j0:aborting j0:COMPLETED j0:concluded j0:null ");
    world_fini(&w);
}

static void pause_takes_effect_when_nothing_is_in_flight(void)
{
    struct world w;
    struct toy *toy;

    world_init(&w, 3);
    toy = toy_make(&w, "j0", NULL);
    job_start(&toy->job);
    sim_step(w.sim);
    EXPECT_EQ(toy->job.inflight, 2);
    EXPECT_OK(job_pause(&toy->job));
    EXPECT_EQ(toy->job.status, JOB_RUNNING);
    EXPECT_ERR(job_pause(&toy->job), "Job is already paused");
    sim_run(w.sim, 1000);
    EXPECT_EQ(toy->job.status, JOB_PAUSED);
    EXPECT_EQ(toy->done, 2);
    EXPECT_OK(job_resume(&toy->job));
    EXPECT_EQ(toy->job.status, JOB_RUNNING);
    EXPECT_ERR(job_resume(&toy->job), "Can't resume a job that was not paused");
    world_fini(&w);
    EXPECT_EQ(list_count(&orphans), 0);
}

static void cancel_of_a_paused_job_shows_it_running(void)
{
    struct world w;
    struct toy *toy;

    world_init(&w, 3);
    toy = toy_make(&w, "j0", NULL);
    job_start(&toy->job);
    EXPECT_OK(job_pause(&toy->job));
    EXPECT_EQ(toy->job.status, JOB_PAUSED);
    EXPECT_ERR(job_cancel_block(&toy->job, JOB_CANCEL_SOFT),
               "The block job for device 'j0' is currently paused");
    EXPECT_OK(job_cancel(&toy->job, JOB_CANCEL_FORCE));
    sim_run(w.sim, 1000);
    EXPECT_STR(str_cstr(&w.log),
               "j0:created j0:running j0:paused j0:running j0:aborting j0:CANCELLED "
               "j0:concluded j0:null ");
    world_fini(&w);
}

static void ready_job_completes_or_ends_softly(void)
{
    struct world w;
    struct toy *toy;

    for (int soft = 0; soft < 2; soft++) {
        world_init(&w, 3);
        toy = toy_make(&w, "j0", NULL);
        toy->mirror = true;
        job_start(&toy->job);
        EXPECT_ERR(job_complete(&toy->job),
                   "Job 'j0' in state 'running' cannot accept command verb 'complete'");
        sim_run(w.sim, 1000);
        EXPECT_EQ(toy->job.status, JOB_READY);
        EXPECT_OK(job_pause(&toy->job));
        EXPECT_EQ(toy->job.status, JOB_STANDBY);
        EXPECT_OK(job_complete(&toy->job));
        EXPECT_OK(job_resume(&toy->job));
        if (soft) {
            EXPECT_OK(job_cancel_block(&toy->job, JOB_CANCEL_SOFT));
            EXPECT_ERR(job_complete(&toy->job), "The active block job 'j0' cannot be completed");
        }
        sim_run(w.sim, 1000);
        EXPECT_STR(str_cstr(&w.log),
                   "j0:created j0:running j0:ready j0:READY j0:standby j0:ready j0:waiting "
                   "j0:pending j0:COMPLETED j0:concluded j0:null ");
        world_fini(&w);
    }
}

static void cancel_of_a_stuck_job_ends_within_a_second(void)
{
    struct world w;
    struct toy *toy;
    struct toy_op *held[3];
    int64_t start;

    world_init(&w, 3);
    toy = toy_make(&w, "j0", NULL);
    toy->stuck = true;
    toy->window = 1;
    job_start(&toy->job);
    sim_run(w.sim, 1000);
    EXPECT_EQ(toy->job.inflight, 1);
    held[0] = toy_live_op[1];
    start = sim_now(w.sim);
    EXPECT_OK(job_cancel(&toy->job, JOB_CANCEL_FORCE));
    EXPECT_EQ(w.jobs.live, 1);
    sim_run(w.sim, 1000);
    EXPECT_LE(sim_now(w.sim) - start, NS_PER_SEC);
    EXPECT_EQ(w.jobs.live, 0);
    EXPECT_CONTAINS(str_cstr(&w.log), "j0:aborting j0:CANCELLED j0:concluded j0:null ");
    toy_piece_done(&held[0]->timer); /* The late completion. */
    world_fini(&w);
}

static void group_ends_together(void)
{
    struct world w;
    struct job_txn *txn;
    struct toy *a, *b;

    world_init(&w, 5);
    txn = job_txn_new();
    a = toy_make(&w, "j1", &(struct job_options){ .txn = txn });
    b = toy_make(&w, "j2", &(struct job_options){ .txn = txn, .manual_finalize = true });
    job_txn_unref(txn);
    job_start(&b->job);
    job_start(&a->job);
    a->todo = 9;
    sim_run(w.sim, 1000);
    EXPECT_CONTAINS(str_cstr(&w.log), "j2:waiting j1:waiting j2:pending j2:PENDING j1:pending ");
    EXPECT_OK(job_finalize(&a->job));
    EXPECT_CONTAINS(str_cstr(&w.log),
                    "j2:COMPLETED j2:concluded j2:null j1:COMPLETED j1:concluded j1:null ");
    world_fini(&w);
}

static void group_fails_together(void)
{
    struct world w;
    struct job_txn *txn;
    struct toy *a, *b;

    world_init(&w, 5);
    txn = job_txn_new();
    a = toy_make(&w, "j1", &(struct job_options){ .txn = txn });
    b = toy_make(&w, "j2", &(struct job_options){ .txn = txn });
    job_txn_unref(txn);
    a->fail_at = 9;
    a->todo = 20;
    job_start(&b->job);
    job_start(&a->job);
    sim_run(w.sim, 1000);
    EXPECT_CONTAINS(str_cstr(&w.log),
                    "j2:waiting j1:aborting j2:aborting j2:CANCELLED j2:concluded j2:null "
                    "j1:COMPLETED j1:concluded j1:null ");
    world_fini(&w);
}

static void rollback_of_an_unstarted_job_is_silent_about_cancel(void)
{
    struct world w;
    struct toy *toy;

    world_init(&w, 5);
    toy = toy_make(&w, "j1", &(struct job_options){ .manual_dismiss = true });
    EXPECT_OK(job_cancel(&toy->job, JOB_CANCEL_FORCE));
    toy = toy_make(&w, "j2", NULL);
    job_drop(&toy->job);
    EXPECT_STR(str_cstr(&w.log), "j1:created j1:aborting j1:concluded j1:null j2:created j2:null ");
    world_fini(&w);
}

static void speed_limit_paces_and_set_speed_wakes(void)
{
    struct world w;
    struct toy *toy;

    world_init(&w, 5);
    toy = toy_make(&w, "j1", NULL);
    toy->todo = 4;
    EXPECT_ERR(job_set_speed(&toy->job, -1), "Parameter 'speed' expects a non-negative value");
    EXPECT_OK(job_set_speed(&toy->job, 100)); /* A piece of 1000 takes 10 s. */
    job_start(&toy->job);
    sim_run_for(w.sim, 5 * NS_PER_SEC);
    EXPECT_LE(toy->done, 2);
    EXPECT_OK(job_set_speed(&toy->job, 0));
    sim_run_for(w.sim, NS_PER_SEC);
    EXPECT_EQ(w.jobs.live, 0);
    world_fini(&w);
}

static void error_policies(void)
{
    static const struct {
        enum job_on_error policy;
        int result;
        enum job_error_action action;
    } rows[] = {
        { JOB_ON_ERROR_REPORT, -EIO, JOB_ERROR_REPORT },
        { JOB_ON_ERROR_IGNORE, -EIO, JOB_ERROR_IGNORE },
        { JOB_ON_ERROR_STOP, -EIO, JOB_ERROR_STOP },
        { JOB_ON_ERROR_ENOSPC, -EIO, JOB_ERROR_REPORT },
        { JOB_ON_ERROR_ENOSPC, -ENOSPC, JOB_ERROR_STOP },
        { JOB_ON_ERROR_AUTO, -ENOSPC, JOB_ERROR_STOP },
        { JOB_ON_ERROR_AUTO, -EIO, JOB_ERROR_REPORT },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        struct toy *toy;

        world_init(&w, i);
        toy = toy_make(&w, "j1", NULL);
        job_start(&toy->job);
        EXPECT_EQ(job_io_error(&toy->job, rows[i].policy, false, rows[i].result), rows[i].action);
        sim_run(w.sim, 1000);
        if (rows[i].action == JOB_ERROR_STOP) {
            EXPECT_EQ(toy->job.status, JOB_PAUSED);
            EXPECT_EQ(toy->job.io_status, rows[i].result == -EIO ? JOB_IO_FAILED : JOB_IO_NOSPACE);
            EXPECT_OK(job_resume(&toy->job));
            EXPECT_EQ(toy->job.io_status, JOB_IO_OK);
        }
        world_fini(&w);
    }
}

static void bad_ids_are_refused(void)
{
    struct world w;
    struct job *job;

    world_init(&w, 1);
    EXPECT_ERR(job_new(&w.jobs, &toy_driver, sizeof(struct toy),
                       &(struct job_options){ .id = "1x" }, &job),
               "Invalid job ID '1x'");
    EXPECT_ERR(
        job_new(&w.jobs, &toy_driver, sizeof(struct toy), &(struct job_options){ .id = "" }, &job),
        "Invalid job ID ''");
    EXPECT_ERR(job_new(&w.jobs, &toy_driver, sizeof(struct toy), &(struct job_options){ 0 }, &job),
               "An explicit job ID is required");
    EXPECT_ERR(job_find_block(&w.jobs, "q", &job), "Block job 'q' not found");
    world_fini(&w);
}

/* One verb on one job; what the model says about it must hold. */
static void random_verb(struct rng *rng, struct job *job)
{
    const enum job_verb verb = (enum job_verb)rng_below(rng, JOB_VERB_CHANGE);
    const bool allowed = strchr(model_verbs[verb], letters[job->status]) != NULL;
    const bool cancelled = job->cancel_requested || job->soft_cancel_requested;
    const bool paused = job->user_paused;
    bool expected = allowed;
    struct err *err = NULL;

    switch (verb) {
    case JOB_VERB_CANCEL:
        err = job_cancel(job, rng_chance(rng, 1, 2) ? JOB_CANCEL_FORCE : JOB_CANCEL_SOFT);
        break;
    case JOB_VERB_PAUSE:
        err = job_pause(job);
        expected = allowed && !paused;
        break;
    case JOB_VERB_RESUME:
        err = job_resume(job);
        expected = allowed && paused;
        break;
    case JOB_VERB_SET_SPEED: err = job_set_speed(job, (int64_t)rng_below(rng, 3) * 20000); break;
    case JOB_VERB_COMPLETE:
        err = job_complete(job);
        expected = allowed && !cancelled;
        break;
    case JOB_VERB_FINALIZE: err = job_finalize(job); break;
    case JOB_VERB_DISMISS: err = job_dismiss(job); break;
    case JOB_VERB_CHANGE:
    case JOB_VERB_COUNT: unreachable();
    }
    EXPECT_MSG((err == NULL) == expected, "verb %s", job_verb_name(verb));
    err_free(err);
}

/* Everybody still alive is driven to an end. */
static void finish_all(struct world *w)
{
    bool idle = false;

    for (int round = 0; round < 200 && !idle; round++) {
        struct job *next;

        EXPECT(sim_run(w->sim, 100000));
        idle = true;
        for (struct job *job = job_query_next(&w->jobs, NULL); job; job = next) {
            next = job_query_next(&w->jobs, job);
            idle = false;
            if (job->user_paused && !job->settled) {
                EXPECT_OK(job_resume(job));
            } else if (job->status == JOB_READY && !job->complete_requested) {
                EXPECT_OK(job_complete(job));
            } else if (job->status == JOB_PENDING) {
                EXPECT_OK(job_finalize(job));
                break;
            } else if (job->status == JOB_CONCLUDED) {
                EXPECT_OK(job_dismiss(job));
                break;
            } else if (job->status == JOB_CREATED) {
                job_start(job);
            }
        }
    }
    EXPECT(idle);
}

static void random_verbs_follow_the_model(void)
{
    for (uint64_t seed = 1; seed <= 1500 && !test_has_failed(); seed++) {
        unsigned freed = 0, commits = 0, aborts = 0;
        struct job_txn *txn = NULL;
        struct world w;
        struct rng rng;
        unsigned count;

        world_init(&w, seed);
        rng_init(&rng, seed * 77);
        count = (unsigned)rng_between(&rng, 1, 4);
        if (rng_chance(&rng, 1, 2))
            txn = job_txn_new();
        for (unsigned i = 0; i < count; i++) {
            char id[8] = { 'j', (char)('0' + i) };
            struct toy *toy =
                toy_make(&w, id,
                         &(struct job_options){ .txn = txn,
                                                .manual_finalize = rng_chance(&rng, 1, 3),
                                                .manual_dismiss = rng_chance(&rng, 1, 3) });

            toy->todo = (unsigned)rng_below(&rng, 12);
            toy->window = (unsigned)rng_between(&rng, 1, 4);
            toy->mirror = rng_chance(&rng, 1, 3);
            toy->fail_at = rng_chance(&rng, 1, 4) ? (unsigned)rng_below(&rng, 12) : 0;
            toy->fail_prepare = rng_chance(&rng, 1, 10);
            toy->freed = &freed;
            toy->commits = &commits;
            toy->aborts = &aborts;
        }
        test_note("seed %llu", (unsigned long long)seed);
        for (int event = 0; event < 60; event++) {
            struct job *job = job_query_next(&w.jobs, NULL);

            for (uint64_t skip = rng_below(&rng, count); job && skip > 0; skip--)
                job = job_query_next(&w.jobs, job);
            if (job && job->status == JOB_CREATED && rng_chance(&rng, 1, 2))
                job_start(job);
            else if (job && rng_chance(&rng, 1, 8))
                random_verb(&rng, job);
            else if (job && rng_chance(&rng, 1, 8))
                job_kick(job); /* A wake-up with nothing new. */
            else
                sim_step(w.sim);
        }
        finish_all(&w);
        EXPECT_EQ(freed, count);
        EXPECT_EQ(commits + aborts, count);
        if (txn)
            EXPECT_MSG(commits == 0 || aborts == 0, "a group ended differently: %u and %u", commits,
                       aborts);
        job_txn_unref(txn);
        world_fini(&w);
    }
}

static void set_flag(void *arg) { *(bool *)arg = true; }

static void end_of_process_cancels_all(void)
{
    struct world w;
    bool idle = false;
    int64_t start;

    world_init(&w, 2);
    for (int i = 0; i < 8; i++) {
        char id[8] = { 'j', (char)('0' + i) };
        struct toy *toy = toy_make(&w, id, NULL);

        toy->mirror = i & 1;
        if (i & 2)
            job_start(&toy->job);
    }
    sim_run_for(w.sim, 10 * NS_PER_MS);
    start = sim_now(w.sim);
    jobs_cancel_all(&w.jobs, set_flag, &idle);
    EXPECT(sim_run_until(w.sim, &idle, 10000));
    EXPECT_LE(sim_now(w.sim) - start, NS_PER_SEC);
    EXPECT_EQ(w.jobs.live, 0);
    world_fini(&w);
}

static void ten_thousand_jobs_cost_ten_times_a_thousand(void)
{
    uint64_t events[2] = { 0 };

    for (int big = 0; big < 2; big++) {
        const int count = big ? 10000 : 1000;
        struct world w;

        world_init(&w, 2);
        notifier_remove(&w.notifier);
        for (int i = 0; i < count; i++) {
            char *id = xasprintf("job%d", i);

            job_start(&toy_make(&w, id, NULL)->job);
            xfree(id);
        }
        sim_run(w.sim, 1000000);
        events[big] = sim_events(w.sim);
        EXPECT_EQ(w.jobs.live, 0);
        world_fini(&w);
    }
    EXPECT_LE(events[1], events[0] * 11);
}

TEST_LIST(TEST(tables_equal_the_description), TEST(success_tells_its_states_in_order),
          TEST(failure_tells_its_states_in_order), TEST(manual_end_waits_for_each_verb),
          TEST(failing_prepare_aborts), TEST(pause_takes_effect_when_nothing_is_in_flight),
          TEST(cancel_of_a_paused_job_shows_it_running), TEST(ready_job_completes_or_ends_softly),
          TEST(cancel_of_a_stuck_job_ends_within_a_second), TEST(group_ends_together),
          TEST(group_fails_together), TEST(rollback_of_an_unstarted_job_is_silent_about_cancel),
          TEST(speed_limit_paces_and_set_speed_wakes), TEST(error_policies),
          TEST(bad_ids_are_refused), TEST(random_verbs_follow_the_model),
          TEST(end_of_process_cancels_all), TEST(ten_thousand_jobs_cost_ten_times_a_thousand));
