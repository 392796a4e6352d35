/*
 * The stream job.
 *
 * The disk is walked in chunks, several at a time. Of each the layers are asked; what lies between the node and the
 * base is copied up by a request to the node itself (copy on read), which keeps guests' writes out meanwhile. What
 * cannot be read is skipped under on-error=ignore; the job fails in the end then, and the backing file stays.
 *
 * It is long because the phases of the job and of its end work on one state.
 */

#include "emu/jobs/block/stream.h"

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/str.h"
#include "emu/base/trace.h"
#include "emu/jobs/block/chain.h"
#include "emu/jobs/block/cor_top.h"
#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_verbs.h"
#include "emu/storage/backend.h"
#include "emu/storage/reopen.h"

#define STREAM_CHUNK  (UINT64_C(512) << 10)
#define STREAM_WINDOW 8u

enum stream_phase {
    STREAM_COPY,  /* Chunks are to do or in flight. */
    STREAM_FLUSH, /* All is copied; waiting for stable storage. */
    STREAM_PHASE_COUNT,
};

static const uint32_t stream_edges[STREAM_PHASE_COUNT] = {
    [STREAM_COPY] = BIT(STREAM_FLUSH),
    [STREAM_FLUSH] = 0,
};

struct stream;

/* What may outlive the job: a request a dead disk holds. */
struct stream_slot {
    struct req req;
    struct stream *stream; /* NULL: abandoned; the memory is its own then. */
    uint64_t pos, end;     /* Of its chunk, what is left; pos == end: idle. */
    uint64_t len;          /* Of the part under way. */
    bool busy;
    bool own_known; /* The node does not hold [pos, pos + len) itself. */
};

/* The change of the backing file; outlives the job when that is cancelled. */
struct stream_change {
    struct chain_change change;
    struct stream *stream; /* NULL: abandoned. */
};

struct stream {
    struct block_job bj;
    enum stream_phase phase;
    struct node *top;                         /* Reference. */
    struct node *overlay;                     /* Reference: the lowest node copied from. */
    struct stream_slot *slots[STREAM_WINDOW]; /* Owned. */
    struct stream_slot *flush;                /* Owned while pending. */
    struct stream_change *change;             /* Pending. */
    struct edge *above; /* Owned: the first layer below top; NULL: there is nothing to copy from. */
    unsigned layers;    /* From there to the base. */
    bool have_base;
    bool flushed;
    bool was_read_only;
    bool mask_protocol;
    char *backing_file; /* Owned. */
    uint64_t cursor, done, size;
    int first_error; /* Of the chunks skipped. */
};

static struct stream *stream_of(struct job *job)
{
    return container_of(job, struct stream, bj.job);
}

static void slot_step(struct stream_slot *slot);

/* ---- Chunks ---- */

/* The part under way is done or not to be done. */
static void slot_advance(struct stream_slot *slot, uint64_t len)
{
    struct stream *s = slot->stream;

    slot->pos += len;
    slot->own_known = false;
    s->done += len;
    job_set_progress(&s->bj.job, s->done, s->size);
}

static void slot_failed(struct stream_slot *slot, int result)
{
    struct stream *s = slot->stream;
    struct job *job = &s->bj.job;
    enum job_error_action action;

    slot->own_known = false;
    if (!job_is_going(job))
        return;
    action = job_io_error(job, s->bj.on_source_error, true, result);
    if (action == JOB_ERROR_REPORT)
        job_fail_errno(job, result);
    if (action != JOB_ERROR_IGNORE)
        return;
    job->retry_ns = 0; /* It is not tried again. */
    if (!s->first_error)
        s->first_error = result;
    slot_advance(slot, slot->len);
}

/* A request has ended. False: the job is gone. */
static bool slot_ended(struct stream_slot *slot)
{
    if (!slot->stream) {
        xfree(slot);
        return false;
    }
    slot->busy = false;
    return true;
}

static void slot_submit(struct stream_slot *slot, struct edge *edge, enum req_kind kind,
                        uint32_t flags, req_done_fn *done)
{
    slot->busy = true;
    job_begin(&slot->stream->bj.job);
    req_submit_part(&slot->req, edge, kind, flags, slot->pos, slot->len, (struct iov_view){ 0 },
                    done);
}

static void copied(struct req *req)
{
    struct stream_slot *slot = container_of(req, struct stream_slot, req);
    struct stream *s = slot->stream;

    if (!slot_ended(slot))
        return;
    if (req->result < 0)
        slot_failed(slot, req->result);
    else
        slot_advance(slot, slot->len);
    job_end(&s->bj.job);
}

/* [pos, pos + len) is to be copied up. */
static void slot_copy(struct stream_slot *slot)
{
    struct stream *s = slot->stream;

    job_pace_account(&s->bj.job, slot->len);
    slot_submit(slot, s->bj.source, REQ_READ, REQ_COPY_ON_READ | REQ_PREFETCH, copied);
}

static void below_told(struct req *req)
{
    struct stream_slot *slot = container_of(req, struct stream_slot, req);
    struct stream *s = slot->stream;
    const struct req_status *status = &req->status;

    if (!slot_ended(slot))
        return;
    if (req->result < 0) {
        slot_failed(slot, req->result);
    } else {
        slot->len = status->len;
        if ((status->flags & STATUS_ALLOCATED) && status->depth < s->layers)
            slot_copy(slot);
        else
            slot_advance(slot, slot->len);
    }
    job_end(&s->bj.job);
}

static void own_told(struct req *req)
{
    struct stream_slot *slot = container_of(req, struct stream_slot, req);
    struct stream *s = slot->stream;

    if (!slot_ended(slot))
        return;
    slot->len = MIN(slot->len, req->result < 0 ? slot->len : req->status.len);
    if (req->result < 0) {
        slot_failed(slot, req->result);
    } else if (req->status.flags & STATUS_ALLOCATED) {
        slot_advance(slot, slot->len);
    } else {
        slot->own_known = true;
        if (!job_is_going(&s->bj.job) || s->bj.job.pause_count > 0)
            slot->own_known = false;
        else
            slot_step(slot);
    }
    job_end(&s->bj.job);
}

/* Goes on with a chunk. */
static void slot_step(struct stream_slot *slot)
{
    struct stream *s = slot->stream;
    const uint64_t below = s->above ? s->above->node->size : 0;

    if (!slot->own_known) {
        slot->len = slot->end - slot->pos;
        slot_submit(slot, s->bj.source, REQ_STATUS, REQ_STATUS_ONE, own_told);
        return;
    }
    if (slot->pos < below) {
        slot->len = MIN(slot->len, below - slot->pos);
        slot_submit(slot, s->above, REQ_STATUS, 0, below_told);
        return;
    }
    /* Past the end of the layer below there are zeroes, but a base that is longer must not show. */
    if (s->have_base && s->above)
        slot_copy(slot);
    else
        slot_advance(slot, slot->len);
}

/* Fills the window. True: all is done. */
static bool stream_fill(struct stream *s)
{
    struct job *job = &s->bj.job;
    const unsigned window = job_pace_speed(job) ? 1 : STREAM_WINDOW;
    bool idle = true;

    for (unsigned i = 0; i < STREAM_WINDOW; i++) {
        struct stream_slot *slot = s->slots[i];

        while (!slot->busy && job_is_going(job)) {
            if (slot->pos == slot->end && (s->cursor == s->size || i >= window))
                break;
            if (job_pace_wait(job))
                return false;
            if (slot->pos == slot->end) {
                slot->pos = s->cursor;
                slot->end = s->cursor = MIN(s->cursor + STREAM_CHUNK, s->size);
            }
            slot_step(slot);
        }
        idle &= !slot->busy && slot->pos == slot->end;
    }
    return idle && s->cursor == s->size;
}

/* ---- The job ---- */

static void flushed(struct req *req)
{
    struct stream_slot *flush = container_of(req, struct stream_slot, req);
    struct stream *s = flush->stream;
    int result = req->result;

    xfree(flush);
    if (!s)
        return;
    s->flush = NULL;
    s->flushed = result == 0;
    if (result < 0)
        job_fail_errno(&s->bj.job, result);
    job_end(&s->bj.job);
}

/* The only writer of s->phase. */
static void stream_enter(struct stream *s, enum stream_phase to)
{
    fsm_check_edge(stream_edges, s->phase, to);
    trace(stream_phase, "%s: %d to %d", s->bj.job.id ? s->bj.job.id : "-", s->phase, to);
    s->phase = to;
    switch (to) {
    case STREAM_COPY: break;
    case STREAM_FLUSH:
        s->flush = NEW(struct stream_slot);
        s->flush->stream = s;
        slot_submit(s->flush, s->bj.source, REQ_FLUSH, 0, flushed);
        break;
    case STREAM_PHASE_COUNT: unreachable();
    }
}

static enum job_step stream_step(struct job *job)
{
    struct stream *s = stream_of(job);

    switch (s->phase) {
    case STREAM_COPY:
        if (!stream_fill(s))
            return JOB_WAIT;
        if (s->first_error) {
            job_fail_errno(job, s->first_error);
            return JOB_WAIT;
        }
        stream_enter(s, STREAM_FLUSH);
        return JOB_AGAIN;
    case STREAM_FLUSH: return s->flushed ? JOB_DONE : JOB_WAIT;
    case STREAM_PHASE_COUNT: break;
    }
    unreachable();
}

static void stream_abandon(struct job *job)
{
    struct stream *s = stream_of(job);

    for (unsigned i = 0; i < STREAM_WINDOW; i++) {
        if (s->slots[i]->busy) {
            s->slots[i]->stream = NULL;
            s->slots[i] = NULL;
        }
    }
    if (s->flush)
        s->flush->stream = NULL;
    s->flush = NULL;
    if (s->change) {
        s->change->stream = NULL;
        s->change->change.relink = false;
    }
    s->change = NULL;
    job->inflight = 0;
}

static void changed(void *arg, struct err *err)
{
    struct stream_change *change = arg;
    struct stream *s = change->stream;

    xfree(change);
    if (!s) {
        err_free(err);
        return;
    }
    s->change = NULL;
    job_prepared(&s->bj.job, err);
}

/* The backing file of the top becomes what the overlay has now. */
static void stream_prepare(struct job *job)
{
    struct stream *s = stream_of(job);
    struct edge *below = s->overlay->backing;

    block_job_thaw(&s->bj);
    if (s->above) {
        edge_detach(s->above);
        s->above = NULL;
    }
    block_job_detach(&s->bj);
    if (!s->top->backing) {
        job_prepared(job, NULL);
        return;
    }
    s->change = NEW(struct stream_change);
    s->change->stream = s;
    chain_change_start(&s->change->change,
                       &(struct chain_change_options){ .node = s->top,
                                                       .base = below ? below->node : NULL,
                                                       .name = s->backing_file,
                                                       .mask_protocol = s->mask_protocol,
                                                       .relink = true },
                       changed, s->change);
}

static void stream_clean(struct job *job)
{
    struct stream *s = stream_of(job);

    if (s->above)
        edge_detach(s->above);
    s->above = NULL;
    block_job_release(&s->bj);
}

static void read_only_again(void *arg, struct err *err)
{
    struct stream_change *change = arg;
    struct stream *s = change->stream;

    xfree(change);
    err_ignore(err);
    if (!s)
        return;
    s->change = NULL;
    job_lingered(&s->bj.job);
}

static void stream_linger(struct job *job)
{
    struct stream *s = stream_of(job);

    if (!s->was_read_only) {
        job_lingered(job);
        return;
    }
    s->change = NEW(struct stream_change);
    s->change->stream = s;
    reopen_read_only(s->top, true, read_only_again, s->change);
}

static void stream_free(struct job *job)
{
    struct stream *s = stream_of(job);

    for (unsigned i = 0; i < STREAM_WINDOW; i++)
        xfree(s->slots[i]);
    node_unref(s->top);
    node_unref(s->overlay);
    xfree(s->backing_file);
    xfree(s);
}

static const struct job_driver stream_driver = {
    .type = JOB_TYPE_STREAM,
    .block_job = true,
    .step = stream_step,
    .abandon = stream_abandon,
    .prepare_start = stream_prepare,
    .clean = stream_clean,
    .linger = stream_linger,
    .free = stream_free,
};

/* ---- Making one ---- */

struct stream_making {
    struct jobs *jobs;
    struct stream_params params;        /* Its strings are borrowed. */
    struct node *top, *overlay, *base;  /* References; base may be NULL. */
    bool was_read_only;
    block_job_made_fn *done;
    void *arg;
};

static struct err *find_bottom(const struct stream_params *params, struct node **overlay)
{
    struct node *bottom;

    TRY(graph_lookup_either(params->top->graph, NULL, params->bottom, &bottom));
    if (bottom->driver->is_filter)
        return err_new("Node '%s' is a filter, use a non-filter node as 'bottom'", bottom->name);
    if (!chain_contains(params->top, bottom))
        return err_new("Node '%s' is not in a chain starting from '%s'", params->bottom,
                       params->top->name);
    *overlay = bottom;
    return NULL;
}

/* What is copied, and what stays below. */
static struct err *find_range(const struct stream_params *params, struct node **overlay,
                              struct node **base)
{
    struct node *top = params->top;

    *base = NULL;
    if (params->base && params->base_node)
        return err_new("'base' and 'base-node' cannot be specified at the same time");
    if (params->base && params->bottom)
        return err_new("'base' and 'bottom' cannot be specified at the same time");
    if (params->bottom && params->base_node)
        return err_new("'bottom' and 'base-node' cannot be specified at the same time");
    if (params->base) {
        *base = chain_find_file(top, params->base);
        if (!*base)
            return err_new("Can't find '%s' in the backing chain", params->base);
    }
    if (params->base_node) {
        TRY(graph_lookup_either(top->graph, NULL, params->base_node, base));
        if (*base == top || !chain_contains(top, *base))
            return err_new("Node '%s' is not a backing image of '%s'", params->base_node,
                           top->name);
    }
    if (params->bottom) {
        TRY(find_bottom(params, overlay));
        *base = (*overlay)->backing ? (*overlay)->backing->node : NULL;
    } else {
        *overlay = chain_overlay(top, *base);
    }
    if (!*base && params->backing_file)
        return err_new("backing file specified, but streaming the entire chain");
    return NULL;
}

static struct err *check_free(struct node *top, struct node *base)
{
    for (struct node *at = top; at && at != base; at = chain_next(at))
        TRY(block_job_check_unused(at));
    return NULL;
}

static struct err *stream_attach(struct stream *s, const struct stream_making *making)
{
    const uint32_t shared = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
    struct block_job *bj = &s->bj;
    struct node *top = node_skip_filters(making->top), *base = making->base;
    struct node *below = node_backing(top), *last, *next;

    TRY(graph_insert_filter(bj->filter, making->top, NULL));
    TRY(block_job_hold_plain(bj, bj->filter, "main node"));
    TRY(block_job_claim(bj, top, "active node", BLOCK_JOB_CLAIM_NAMED,
                        PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED, shared | PERM_WRITE,
                        &bj->source));
    for (struct node *at = chain_next(top); at && at != base; at = chain_next(at))
        TRY(block_job_hold(bj, at, "intermediate node", 0, shared));
    if (below)
        TRY(block_job_claim(bj, below, "layers", BLOCK_JOB_CLAIM_NAMED, 0, PERM_ALL, &s->above));
    /* Down to the lowest node that goes away; its own link may change. */
    last = making->overlay;
    while ((next = chain_next(last)) && next != base)
        last = next;
    return block_job_freeze(bj, making->top, last);
}

static void stream_fill_in(struct stream *s, const struct stream_making *making)
{
    const struct stream_params *params = &making->params;

    s->bj.graph = making->top->graph;
    s->bj.on_source_error = params->on_error;
    s->top = node_ref(node_skip_filters(making->top));
    s->overlay = node_ref(making->overlay);
    s->have_base = making->base != NULL;
    s->layers = node_backing(s->top) ? chain_layers(node_backing(s->top), making->base) : 0;
    s->was_read_only = making->was_read_only;
    s->mask_protocol = params->mask_protocol;
    s->backing_file = xstrdup(params->backing_file);
    /* There is nothing to do when the lowest layer is the node itself. */
    s->size = s->overlay == s->top ? 0 : making->top->size;
    for (unsigned i = 0; i < STREAM_WINDOW; i++) {
        s->slots[i] = NEW(struct stream_slot);
        s->slots[i]->stream = s;
    }
    job_set_progress(&s->bj.job, 0, s->size);
}

static struct err *stream_make(const struct stream_making *making, struct block_job **out)
{
    const struct stream_params *params = &making->params;
    struct node *filter;
    struct job *job;
    struct stream *s;
    struct err *err;

    TRY(check_free(making->top, making->base));
    TRY(node_new_filter(making->top->graph, &driver_cor_top, params->filter_name, making->top,
                        &filter));
    err = job_new(making->jobs, &stream_driver, sizeof(struct stream), &params->job, &job);
    if (err) {
        node_unref(filter);
        return err;
    }
    s = stream_of(job);
    s->bj.filter = filter;
    stream_fill_in(s, making);
    err = job_set_speed(job, params->speed);
    if (!err)
        err = stream_attach(s, making);
    if (err) {
        stream_clean(job);
        job_drop(job);
        return err;
    }
    *out = &s->bj;
    return NULL;
}

static void ignore_result(void *arg, struct err *err)
{
    (void)arg;
    err_ignore(err);
}

static void making_end(struct stream_making *making, struct block_job *bj, struct err *err)
{
    block_job_made_fn *done = making->done;
    void *arg = making->arg;

    if (err && making->was_read_only)
        reopen_read_only(making->top, true, ignore_result, NULL);
    node_unref(making->top);
    node_unref(making->overlay);
    if (making->base)
        node_unref(making->base);
    xfree(making);
    done(arg, bj, err);
}

static void writable(void *arg, struct err *err)
{
    struct stream_making *making = arg;
    struct block_job *bj = NULL;

    if (err)
        making->was_read_only = false;
    else
        err = stream_make(making, &bj);
    making_end(making, bj, err);
}

void stream_new(struct jobs *jobs, const struct stream_params *params, block_job_made_fn *done,
                void *arg)
{
    struct node *overlay = NULL, *base = NULL;
    struct stream_making *making;
    struct node *top = node_skip_filters(params->top);
    struct err *err = find_range(params, &overlay, &base);

    if (!err)
        err = check_free(params->top, base);
    if (err) {
        done(arg, NULL, err);
        return;
    }
    making = NEW(struct stream_making);
    *making = (struct stream_making){ .jobs = jobs,
                                      .params = *params,
                                      .top = node_ref(params->top),
                                      .overlay = node_ref(overlay),
                                      .base = base ? node_ref(base) : NULL,
                                      .was_read_only = top->read_only,
                                      .done = done,
                                      .arg = arg };
    reopen_read_only(top, false, writable, making);
}
