/*
 * The amend job: one call into the driver of a node, through an edge that allows what it does.
 *
 * An amend that hangs cannot be called back; after a cancel it is left alone and its result dropped.
 */

#include "emu/jobs/block/amend.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/str.h"
#include "emu/storage/driver.h"

enum amend_phase {
    AMEND_START, /* Nothing was done. */
    AMEND_WORK,  /* The driver is at it. */
    AMEND_OVER,  /* It is done, with success. */
    AMEND_PHASE_COUNT,
};

static const uint32_t amend_edges[AMEND_PHASE_COUNT] = {
    [AMEND_START] = BIT(AMEND_WORK),
    [AMEND_WORK] = BIT(AMEND_OVER),
};

struct amend;

/* What the driver holds on to; outlives the job when that is cancelled. */
struct amend_call {
    struct amend *amend;  /* NULL: nobody waits. */
    struct json *options; /* Owned. */
    struct edge *edge;    /* Keeps the node. */
};

struct amend {
    struct job job;
    enum amend_phase phase;
    unsigned flags;          /* enum amend_flags */
    struct json *options;    /* Owned until the work starts. */
    struct edge *edge;       /* The same. */
    struct amend_call *call; /* Pending, owned by itself. */
};

static struct amend *amend_of(struct job *job) { return container_of(job, struct amend, job); }

static void amend_enter(struct amend *c, enum amend_phase to);

static void amend_done(void *arg, struct err *err)
{
    struct amend_call *call = arg;
    struct amend *c = call->amend;

    edge_detach(call->edge);
    json_free(call->options);
    xfree(call);
    if (!c) {
        err_free(err);
        return;
    }
    c->call = NULL;
    job_set_progress(&c->job, 1, 1);
    if (err)
        job_fail(&c->job, err);
    else
        amend_enter(c, AMEND_OVER);
    job_end(&c->job);
}

/* The answer may come, and drop the call's reference to the options, before this returns. */
static void amend_start(struct amend *c)
{
    CLEANUP(json_free) struct json *options = json_ref(c->call->options);
    struct node *node = c->call->edge->node;

    node->driver->amend(node, options, c->flags, NULL, amend_done, c->call);
}

static void amend_enter(struct amend *c, enum amend_phase to)
{
    fsm_check_edge(amend_edges, c->phase, to);
    c->phase = to;
    switch (to) {
    case AMEND_START:
    case AMEND_OVER: break;
    case AMEND_WORK:
        c->call = NEW(struct amend_call);
        c->call->amend = c;
        c->call->options = c->options;
        c->call->edge = c->edge;
        c->options = NULL;
        c->edge = NULL;
        job_begin(&c->job);
        amend_start(c);
        break;
    case AMEND_PHASE_COUNT: unreachable();
    }
}

static enum job_step amend_step(struct job *job)
{
    struct amend *c = amend_of(job);

    switch (c->phase) {
    case AMEND_START: amend_enter(c, AMEND_WORK); return JOB_AGAIN;
    case AMEND_WORK: return JOB_WAIT;
    case AMEND_OVER: return JOB_DONE;
    case AMEND_PHASE_COUNT: break;
    }
    unreachable();
}

static void amend_abandon(struct job *job)
{
    struct amend *c = amend_of(job);

    c->call->amend = NULL;
    c->call = NULL;
    job->inflight = 0;
}

static void amend_free(struct job *job)
{
    struct amend *c = amend_of(job);

    if (c->edge)
        edge_detach(c->edge);
    json_free(c->options);
    xfree(c);
}

static const struct job_driver amend_driver = {
    .type = JOB_TYPE_AMEND,
    .step = amend_step,
    .abandon = amend_abandon,
    .free = amend_free,
};

static const struct edge_parent_ops amend_parent = { .what = "amend job" };

struct err *amend_job_new(struct jobs *jobs, struct node *node, const char *id,
                          const struct json *options, unsigned flags, struct job **out)
{
    struct edge *edge;
    struct err *err;
    struct amend *c;

    if (!str_eq(json_object_get_str(options, "driver"), node->driver->name))
        return err_new("x-blockdev-amend doesn't support changing the block driver");
    if (!node->driver->amend)
        return err_new("Driver does not support x-blockdev-amend");
    TRY(edge_attach(node, "amend", &amend_parent, NULL, PERM_WRITE_UNCHANGED, PERM_ALL, &edge));
    err = job_new(jobs, &amend_driver, sizeof(struct amend),
                  &(struct job_options){ .id = id, .manual_dismiss = true }, out);
    if (err) {
        edge_detach(edge);
        return err;
    }
    c = amend_of(*out);
    c->edge = edge;
    c->flags = flags;
    c->options = json_copy(options);
    job_set_progress(&c->job, 0, 1);
    return NULL;
}
