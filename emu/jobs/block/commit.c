/*
 * The commit job for layers that nobody writes to.
 *
 * Chunks go through a copy window that looks at the layers from the top down to the base and passes over what only the
 * base holds. When all is copied and stable, the images above the top are told of the base as their backing file, and
 * their links are moved.
 */

#include "emu/jobs/block/commit_priv.h"

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/trace.h"
#include "emu/jobs/block/chain.h"
#include "emu/jobs/block/commit_top.h"
#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_verbs.h"
#include "emu/storage/copy.h"
#include "emu/storage/reopen.h"

#define COMMIT_CHUNK  (UINT64_C(512) << 10)
#define COMMIT_WINDOW 16u

enum commit_phase {
    COMMIT_START, /* Nothing was done. */
    COMMIT_GROW,  /* The base gets the size of the top. */
    COMMIT_COPY,  /* Chunks are to do or in flight. */
    COMMIT_FLUSH, /* All is copied; waiting for stable storage. */
    COMMIT_PHASE_COUNT,
};

static const uint32_t commit_edges[COMMIT_PHASE_COUNT] = {
    [COMMIT_START] = BIT(COMMIT_GROW) | BIT(COMMIT_COPY),
    [COMMIT_GROW] = BIT(COMMIT_COPY),
    [COMMIT_COPY] = BIT(COMMIT_FLUSH),
    [COMMIT_FLUSH] = 0,
};

struct commit;

/* Something under way that may outlive the job. */
struct commit_call {
    struct commit *commit; /* NULL: abandoned. */
    struct req req;
    struct chain_change change;
};

struct commit_chunk {
    uint64_t offset, len;
    bool busy, todo;
};

struct commit {
    struct block_job bj;
    enum commit_phase phase;
    struct copy *copy;        /* Owned. */
    struct node *top, *base;  /* References. */
    struct commit_call *call; /* Pending, owned by itself. */
    struct commit_chunk chunks[COMMIT_WINDOW];
    uint64_t cursor, done, size;
    bool grown, flushed;
    bool base_was_read_only;
    bool mask_protocol;
    char *backing_file; /* Owned. */
    struct node *above; /* While preparing: reference to the image told last. */
};

static struct commit *commit_of(struct job *job)
{
    return container_of(job, struct commit, bj.job);
}

static struct commit_call *call_new(struct commit *c)
{
    check(!c->call);
    c->call = NEW(struct commit_call);
    c->call->commit = c;
    return c->call;
}

/* NULL: the job is gone. */
static struct commit *call_end(struct commit_call *call)
{
    struct commit *c = call->commit;

    if (c)
        c->call = NULL;
    xfree(call);
    return c;
}

/* ---- Phases ---- */

static void grown(void *arg, struct err *err)
{
    struct commit *c = call_end(arg);

    if (!c) {
        err_free(err);
        return;
    }
    c->grown = !err;
    if (err)
        job_fail(&c->bj.job, err);
    job_end(&c->bj.job);
}

static void flushed(struct req *req)
{
    int result = req->result;
    struct commit *c = call_end(container_of(req, struct commit_call, req));

    if (!c)
        return;
    c->flushed = result == 0;
    if (result < 0)
        job_fail_errno(&c->bj.job, result);
    job_end(&c->bj.job);
}

/* The only writer of c->phase. */
static void commit_enter(struct commit *c, enum commit_phase to)
{
    struct commit_call *call;

    fsm_check_edge(commit_edges, c->phase, to);
    trace(commit_phase, "%s: %d to %d", c->bj.job.id ? c->bj.job.id : "-", c->phase, to);
    c->phase = to;
    switch (to) {
    case COMMIT_START: unreachable();
    case COMMIT_GROW:
        job_begin(&c->bj.job);
        edge_truncate(c->bj.target, c->size, false, PREALLOC_OFF, grown, call_new(c));
        return;
    case COMMIT_COPY: return;
    case COMMIT_FLUSH:
        job_begin(&c->bj.job);
        call = call_new(c);
        req_submit_part(&call->req, c->bj.target, REQ_FLUSH, 0, 0, 0, (struct iov_view){ 0 },
                        flushed);
        return;
    case COMMIT_PHASE_COUNT: break;
    }
    unreachable();
}

static void chunk_copied(struct copy *copy, const struct copy_range *range)
{
    struct commit *c = copy_owner(copy);
    struct commit_chunk *chunk = &c->chunks[range->cookie];

    chunk->busy = false;
    chunk->todo = range->result < 0;
    if (range->result == 0) {
        c->done += range->len;
        if (!range->zeroed)
            job_pace_account(&c->bj.job, range->len);
        job_set_progress(&c->bj.job, c->done, c->size);
    } else {
        block_job_copy_failed(&c->bj, range->read_failed, range->result);
    }
    job_end(&c->bj.job);
}

/* Fills the window. True: all is done. */
static bool commit_fill(struct commit *c)
{
    struct job *job = &c->bj.job;
    const unsigned window = job_pace_speed(job) ? 1 : COMMIT_WINDOW;
    bool idle = true;

    for (unsigned i = 0; i < COMMIT_WINDOW; i++) {
        struct commit_chunk *chunk = &c->chunks[i];

        if (!chunk->busy && !chunk->todo && c->cursor < c->size && i < window) {
            *chunk = (struct commit_chunk){ .offset = c->cursor,
                                            .len = MIN(COMMIT_CHUNK, c->size - c->cursor),
                                            .todo = true };
            c->cursor += chunk->len;
        }
        if (chunk->todo && !job_pace_wait(job)) {
            chunk->todo = false;
            chunk->busy = true;
            job_begin(job);
            copy_start(c->copy, chunk->offset, chunk->len, i);
        }
        idle &= !chunk->busy && !chunk->todo;
    }
    return idle && c->cursor == c->size;
}

static enum job_step commit_step(struct job *job)
{
    struct commit *c = commit_of(job);

    switch (c->phase) {
    case COMMIT_START:
        commit_enter(c, c->base->size < c->size ? COMMIT_GROW : COMMIT_COPY);
        return JOB_AGAIN;
    case COMMIT_GROW:
        if (!c->grown)
            return JOB_WAIT;
        commit_enter(c, COMMIT_COPY);
        return JOB_AGAIN;
    case COMMIT_COPY:
        if (!commit_fill(c))
            return JOB_WAIT;
        commit_enter(c, COMMIT_FLUSH);
        return JOB_AGAIN;
    case COMMIT_FLUSH: return c->flushed ? JOB_DONE : JOB_WAIT;
    case COMMIT_PHASE_COUNT: break;
    }
    unreachable();
}

static void commit_abandon(struct job *job)
{
    struct commit *c = commit_of(job);

    if (c->copy)
        copy_abandon(c->copy);
    c->copy = NULL;
    if (c->call)
        c->call->commit = NULL;
    c->call = NULL;
    /* The base is not fenced: it stays below the guest's disk, which hides what arrives there late. */
    job->inflight = 0;
}

/* ---- The end ---- */

static void tell_next(struct commit *c);

static void told(void *arg, struct err *err)
{
    struct commit *c = call_end(arg);

    if (!c) {
        err_free(err);
        return;
    }
    if (err)
        job_prepared(&c->bj.job, err);
    else
        tell_next(c);
}

/* The next image whose backing file the filter is, after `after`. */
static struct node *next_above(struct commit *c, const struct node *after)
{
    bool passed = after == NULL;

    list_for_each(edge, &c->bj.filter->parents, struct edge, parent_link) {
        if (passed && edge->parent && (edge->role & ROLE_COW))
            return edge->parent;
        passed |= edge->parent && edge->parent == after;
    }
    return NULL;
}

/* One image above after the other learns of its new backing file; then all links move at once. */
static void tell_next(struct commit *c)
{
    struct node *next = next_above(c, c->above);
    struct err *err;

    if (c->above)
        node_unref(c->above);
    c->above = next ? node_ref(next) : NULL;
    if (next) {
        struct commit_call *call = call_new(c);

        chain_change_start(&call->change,
                           &(struct chain_change_options){ .node = next,
                                                           .base = c->base,
                                                           .name = c->backing_file,
                                                           .mask_protocol = c->mask_protocol },
                           told, call);
        return;
    }
    err = graph_replace_node(c->bj.filter, c->base);
    job_prepared(&c->bj.job, err);
}

static void commit_prepare(struct job *job)
{
    struct commit *c = commit_of(job);

    copy_free(c->copy);
    c->copy = NULL;
    block_job_thaw(&c->bj);
    block_job_detach(&c->bj);
    tell_next(c);
}

static void commit_clean(struct job *job)
{
    struct commit *c = commit_of(job);

    copy_free(c->copy);
    c->copy = NULL;
    block_job_release(&c->bj);
    if (c->above)
        node_unref(c->above);
    c->above = NULL;
}

static void read_only_again(void *arg, struct err *err)
{
    struct commit *c = call_end(arg);

    err_ignore(err);
    if (c)
        job_lingered(&c->bj.job);
}

static void commit_linger(struct job *job)
{
    struct commit *c = commit_of(job);

    if (c->base_was_read_only)
        reopen_read_only(c->base, true, read_only_again, call_new(c));
    else
        job_lingered(job);
}

static void commit_free(struct job *job)
{
    struct commit *c = commit_of(job);

    node_unref(c->top);
    node_unref(c->base);
    xfree(c->backing_file);
    xfree(c);
}

static const struct job_driver commit_driver = {
    .type = JOB_TYPE_COMMIT,
    .block_job = true,
    .step = commit_step,
    .abandon = commit_abandon,
    .prepare_start = commit_prepare,
    .clean = commit_clean,
    .linger = commit_linger,
    .free = commit_free,
};

/* ---- Making one ---- */

static struct err *commit_attach(struct commit *c, const struct commit_range *range)
{
    const uint32_t shared = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
    struct block_job *bj = &c->bj;

    TRY(graph_insert_filter(bj->filter, range->top, NULL));
    TRY(block_job_hold(bj, range->device, "main node", 0, PERM_ALL));
    for (struct node *at = range->top; at && at != range->base; at = chain_next(at))
        TRY(block_job_hold(bj, at, "intermediate node", 0, PERM_WRITE_UNCHANGED | PERM_WRITE));
    TRY(block_job_claim(bj, range->top, "top", BLOCK_JOB_CLAIM_NAMED, 0, PERM_ALL, &bj->source));
    TRY(block_job_claim(bj, range->base, "base", BLOCK_JOB_CLAIM_PLAIN,
                        PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE, shared, &bj->target));
    return block_job_freeze(bj, range->overlay, range->base);
}

static void commit_open(struct commit *c, const struct commit_range *range)
{
    c->copy = copy_new(c->bj.job.jobs->reactor,
                       &(struct copy_options){ .source = c->bj.source,
                                               .target = c->bj.target,
                                               .chunk_bytes = COMMIT_CHUNK,
                                               .max_bytes = COMMIT_CHUNK * COMMIT_WINDOW,
                                               .max_inflight = COMMIT_WINDOW,
                                               .use_status = true,
                                               .layers = chain_layers(range->top, range->base),
                                               .range_done = chunk_copied,
                                               .owner = c });
}

struct err *commit_make(struct jobs *jobs, const struct commit_params *params,
                        const struct commit_range *range, struct block_job **out)
{
    struct node *filter;
    struct job *job;
    struct commit *c;
    struct err *err;

    TRY(node_new_filter(range->top->graph, &driver_commit_top, params->filter_name, range->top,
                        &filter));
    err = job_new(jobs, &commit_driver, sizeof(struct commit), &params->job, &job);
    if (err) {
        node_unref(filter);
        return err;
    }
    c = commit_of(job);
    c->bj.graph = range->top->graph;
    c->bj.filter = filter;
    c->bj.on_source_error = c->bj.on_target_error = params->on_error;
    c->top = node_ref(range->top);
    c->base = node_ref(range->base);
    c->size = range->top->size;
    c->mask_protocol = params->mask_protocol;
    c->backing_file = xstrdup(params->backing_file);
    job_set_progress(job, 0, c->size);
    err = job_set_speed(job, params->speed);
    if (!err)
        err = commit_attach(c, range);
    if (err) {
        commit_clean(job);
        job_drop(job);
        return err;
    }
    c->base_was_read_only = range->base_was_read_only;
    commit_open(c, range);
    *out = &c->bj;
    return NULL;
}
