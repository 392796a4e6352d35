/*
 * The create job: one call into the storage core.
 *
 * A create that hangs cannot be called back; after a cancel it is left alone and its result dropped.
 */

#include "emu/jobs/block/create.h"

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/storage/create.h"
#include "emu/storage/driver.h"

enum create_phase {
    CREATE_START, /* Nothing was done. */
    CREATE_WORK,  /* The storage core is at it. */
    CREATE_OVER,  /* It is done, with success. */
    CREATE_PHASE_COUNT,
};

static const uint32_t create_edges[CREATE_PHASE_COUNT] = {
    [CREATE_START] = BIT(CREATE_WORK),
    [CREATE_WORK] = BIT(CREATE_OVER),
};

struct create;

/* What the storage core holds on to; outlives the job when that is cancelled. */
struct create_call {
    struct create *create; /* NULL: nobody waits. */
    struct json *options;  /* Owned. */
};

struct create {
    struct job job;
    enum create_phase phase;
    struct graph *graph;      /* Borrowed. */
    struct json *options;     /* Owned until the work starts. */
    struct create_call *call; /* Pending, owned by itself. */
};

static struct create *create_of(struct job *job) { return container_of(job, struct create, job); }

static void create_enter(struct create *c, enum create_phase to);

static void create_done(void *arg, struct err *err)
{
    struct create_call *call = arg;
    struct create *c = call->create;

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
        create_enter(c, CREATE_OVER);
    job_end(&c->job);
}

/* The answer may come, and drop the call's reference to the options, before this returns. */
static void create_start(struct create *c)
{
    CLEANUP(json_free) struct json *options = json_ref(c->call->options);

    blockdev_create(c->graph, options, create_done, c->call);
}

static void create_enter(struct create *c, enum create_phase to)
{
    fsm_check_edge(create_edges, c->phase, to);
    c->phase = to;
    switch (to) {
    case CREATE_START:
    case CREATE_OVER: break;
    case CREATE_WORK:
        c->call = NEW(struct create_call);
        c->call->create = c;
        c->call->options = c->options;
        c->options = NULL;
        job_begin(&c->job);
        create_start(c);
        break;
    case CREATE_PHASE_COUNT: unreachable();
    }
}

static enum job_step create_step(struct job *job)
{
    struct create *c = create_of(job);

    switch (c->phase) {
    case CREATE_START: create_enter(c, CREATE_WORK); return JOB_AGAIN;
    case CREATE_WORK: return JOB_WAIT;
    case CREATE_OVER: return JOB_DONE;
    case CREATE_PHASE_COUNT: break;
    }
    unreachable();
}

static void create_abandon(struct job *job)
{
    struct create *c = create_of(job);

    c->call->create = NULL;
    c->call = NULL;
    job->inflight = 0;
}

static void create_free(struct job *job)
{
    struct create *c = create_of(job);

    json_free(c->options);
    xfree(c);
}

static const struct job_driver create_driver = {
    .type = JOB_TYPE_CREATE,
    .step = create_step,
    .abandon = create_abandon,
    .free = create_free,
};

struct err *create_job_new(struct jobs *jobs, struct graph *graph, const char *id,
                           const struct json *options, struct job **out)
{
    const char *name = json_object_get_str(options, "driver");
    const struct driver *driver = name ? driver_find(graph, name) : NULL;
    struct create *c;

    if (!driver || !driver->create)
        return err_new("Driver does not support blockdev-create");
    TRY(job_new(jobs, &create_driver, sizeof(struct create),
                &(struct job_options){ .id = id, .manual_dismiss = true }, out));
    c = create_of(*out);
    c->graph = graph;
    c->options = json_copy(options);
    job_set_progress(&c->job, 0, 1);
    return NULL;
}
