/*
 * The mirror job.
 *
 * The dirty bitmap lies on the source node itself, below the filter, so that it also sees writes submitted before the
 * filter came. A bit is cleared before the range is read: a write that ends later sets it again.
 *
 * It is long because the phases of a mirror, of an active commit and of their end work on one state.
 */

#include "emu/jobs/block/mirror.h"

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/trace.h"
#include "emu/jobs/block/chain.h"
#include "emu/jobs/block/mirror_top.h"
#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_states.h"
#include "emu/jobs/job_verbs.h"
#include "emu/storage/copy.h"
#include "emu/storage/driver.h"
#include "emu/storage/open.h"

#define MIRROR_BUF_DEFAULT     (UINT64_C(16) << 20)
#define MIRROR_CHUNK           (UINT64_C(1) << 20)
#define MIRROR_WINDOW          16u
#define MIRROR_SCAN_BYTES      (UINT64_C(1) << 30)
#define MIRROR_GRANULARITY_MIN UINT32_C(512)
#define MIRROR_GRANULARITY_MAX (UINT32_C(64) << 20)

enum mirror_phase {
    MIRROR_START,  /* Nothing was done. */
    MIRROR_GROW,   /* The target of a commit gets the size of the source. */
    MIRROR_SCAN,   /* Which ranges the layers to copy hold. */
    MIRROR_COPY,   /* Copies are running or dirty ranges remain. */
    MIRROR_SYNCED, /* Target equals source; following guest writes. The job is READY. */
    MIRROR_DRAIN,  /* Source takes no new writes; last ranges are being copied. */
    MIRROR_FLUSH,  /* Target equals source for good; waiting for stable storage. */
    MIRROR_PHASE_COUNT,
};

static const uint32_t mirror_edges[MIRROR_PHASE_COUNT] = {
    [MIRROR_START] = BIT(MIRROR_GROW) | BIT(MIRROR_SCAN),
    [MIRROR_GROW] = BIT(MIRROR_SCAN),
    [MIRROR_SCAN] = BIT(MIRROR_COPY),
    [MIRROR_COPY] = BIT(MIRROR_SYNCED),
    [MIRROR_SYNCED] = BIT(MIRROR_COPY) | BIT(MIRROR_DRAIN),
    [MIRROR_DRAIN] = BIT(MIRROR_FLUSH),
};

struct mirror;

/* What may outlive the job: the flush, the growth of the target, a question about the source. */
struct mirror_flush {
    struct req req;
    struct mirror *mirror; /* NULL: abandoned. */
};

struct mirror {
    struct block_job bj;
    enum mirror_phase phase;
    struct node *target_node; /* Reference: the pivot needs it when the edge is gone. */
    char *replaces;           /* Owned; NULL: the source. */
    struct bitmap *dirty;     /* Owned. */
    struct mirror_top *top;   /* Owned. */
    struct copy *copy;        /* Owned. */
    struct extent ranges[MIRROR_WINDOW];
    uint32_t free_ranges; /* Bit per idle element of ranges. */
    uint64_t cursor, chunk;
    uint64_t copied, inflight_bytes;
    struct drain drain;
    bool draining, drained;
    struct mirror_flush *flush; /* Pending, owned by itself. */
    bool flushed;
    uint64_t scanned; /* The layers were asked up to there. */
    enum mirror_backing backing;
    enum sync_mode sync;
    struct mirror_flush *opening; /* Pending, owned by itself: the target's backing file. */
    bool grown;
    bool commit;
    unsigned layers; /* Of a commit: above the target. */
    enum mirror_copy_mode copy_mode;
};

static struct mirror *mirror_of(struct job *job)
{
    return container_of(job, struct mirror, bj.job);
}

static void mirror_progress(struct mirror *m)
{
    const uint64_t left = hbitmap_count(m->dirty->map) + m->inflight_bytes;

    job_set_progress(&m->bj.job, m->copied, m->copied + left);
}

static void mirror_drained(struct drain *drain)
{
    struct mirror *m = container_of(drain, struct mirror, drain);

    m->drained = true;
    job_kick(&m->bj.job);
}

static void mirror_end_drain(struct mirror *m)
{
    if (!m->draining)
        return;
    m->draining = m->drained = false;
    drain_end(&m->drain);
}

static void flush_done(struct req *req)
{
    struct mirror_flush *flush = container_of(req, struct mirror_flush, req);
    struct mirror *m = flush->mirror;

    if (m) {
        m->flush = NULL;
        m->flushed = req->result == 0;
        /* Never retried: after a failed flush nobody knows which writes were lost. */
        if (req->result < 0 &&
            job_io_error(&m->bj.job, JOB_ON_ERROR_REPORT, false, req->result) == JOB_ERROR_REPORT)
            job_fail_errno(&m->bj.job, req->result);
        job_end(&m->bj.job);
    }
    xfree(flush);
}

static void grown(void *arg, struct err *err)
{
    struct mirror_flush *growth = arg;
    struct mirror *m = growth->mirror;

    xfree(growth);
    if (!m) {
        err_free(err);
        return;
    }
    m->flush = NULL;
    m->grown = !err;
    if (err)
        job_fail(&m->bj.job, err);
    job_end(&m->bj.job);
}

static void start_growth(struct mirror *m)
{
    struct mirror_flush *growth = NEW(struct mirror_flush);

    growth->mirror = m;
    m->flush = growth;
    job_begin(&m->bj.job);
    edge_truncate(m->bj.target, m->bj.source->node->size, false, PREALLOC_OFF, grown, growth);
}

/* ---- Which ranges there are to copy, when not all of the disk ---- */

static void scanned(struct req *req)
{
    struct mirror_flush *question = container_of(req, struct mirror_flush, req);
    struct mirror *m = question->mirror;
    const struct req_status *status = &req->status;

    if (m) {
        m->flush = NULL;
        if (req->result < 0)
            block_job_copy_failed(&m->bj, true, req->result);
        else if ((status->flags & STATUS_ALLOCATED) && status->depth < MAX(m->layers, 1u))
            hbitmap_set(m->dirty->map, req->offset, status->len);
        if (req->result == 0)
            m->scanned += status->len;
        mirror_progress(m);
        job_end(&m->bj.job);
    }
    xfree(question);
}

/* True: all is known. */
static bool mirror_scan(struct mirror *m)
{
    const uint64_t size = m->bj.source->node->size;
    struct mirror_flush *question;

    if (m->scanned >= size)
        return true;
    if (m->flush || job_pace_wait(&m->bj.job))
        return false;
    question = NEW(struct mirror_flush);
    question->mirror = m;
    m->flush = question;
    job_begin(&m->bj.job);
    req_submit_part(&question->req, m->bj.source, REQ_STATUS, m->layers ? 0 : REQ_STATUS_ONE,
                    m->scanned, MIN(size - m->scanned, (uint64_t)MIRROR_SCAN_BYTES),
                    (struct iov_view){ 0 }, scanned);
    return false;
}

static void start_flush(struct mirror *m)
{
    struct mirror_flush *flush = NEW(struct mirror_flush);

    flush->mirror = m;
    flush->req.kind = REQ_FLUSH;
    flush->req.done = flush_done;
    m->flush = flush;
    job_begin(&m->bj.job);
    edge_submit(m->bj.target, &flush->req);
}

/* The only writer of m->phase, and the only place that starts a phase's one-off work. */
static void mirror_enter(struct mirror *m, enum mirror_phase to)
{
    fsm_check_edge(mirror_edges, m->phase, to);
    trace(mirror_phase, "%s: %d to %d", m->bj.job.id ? m->bj.job.id : "-", m->phase, to);
    m->phase = to;
    switch (to) {
    case MIRROR_START: unreachable();
    case MIRROR_GROW: start_growth(m); break;
    case MIRROR_SCAN:
    case MIRROR_COPY: break;
    case MIRROR_SYNCED:
        if (!job_is_ready(&m->bj.job))
            job_set_ready(&m->bj.job);
        break;
    case MIRROR_DRAIN:
        m->draining = true;
        drain_begin(&m->drain, m->bj.filter, mirror_drained);
        break;
    case MIRROR_FLUSH: start_flush(m); break;
    case MIRROR_PHASE_COUNT: unreachable();
    }
}

/* Finds a dirty range that nobody has locked, at or after the cursor, and locks it. */
static bool mirror_next(struct mirror *m, struct extent *range)
{
    const uint64_t size = hbitmap_size(m->dirty->map);
    uint64_t at = m->cursor, off, len, skip;

    for (int round = 0; round < 2; round++, at = 0) {
        while (hbitmap_next_dirty_area(m->dirty->map, at, size, m->chunk, &off, &len)) {
            if (mirror_top_lock(m->top, range, off, len, &skip)) {
                m->cursor = off + len;
                return true;
            }
            at = skip;
            if (at >= size)
                break;
        }
    }
    return false;
}

/* Fills the window. Idempotent. */
static void mirror_fill(struct mirror *m)
{
    struct job *job = &m->bj.job;

    while (m->free_ranges && copy_has_room(m->copy) && !job_pace_wait(job)) {
        const unsigned i = (unsigned)__builtin_ctz(m->free_ranges);
        struct extent *range = &m->ranges[i];

        if (!mirror_next(m, range))
            break;
        hbitmap_reset(m->dirty->map, range->off, range->len);
        m->free_ranges &= ~BIT(i);
        m->inflight_bytes += range->len;
        job_begin(job);
        job_pace_account(job, range->len);
        copy_start(m->copy, range->off, range->len, i);
    }
}

static bool mirror_clean_now(const struct mirror *m)
{
    return m->bj.job.inflight == 0 && !hbitmap_any(m->dirty->map);
}

static void mirror_copied(struct copy *copy, const struct copy_range *range)
{
    struct mirror *m = copy_owner(copy);

    m->free_ranges |= BIT(range->cookie);
    m->inflight_bytes -= range->len;
    if (range->result == 0) {
        m->copied += range->len;
    } else {
        hbitmap_set(m->dirty->map, range->offset, range->len);
        block_job_copy_failed(&m->bj, range->read_failed, range->result);
    }
    mirror_top_unlock(m->top, &m->ranges[range->cookie]);
    mirror_progress(m);
    job_end(&m->bj.job);
}

static bool guest_wanted(void *owner)
{
    struct mirror *m = owner;

    return job_is_going(&m->bj.job) && !m->bj.job.settled;
}

static void guest_began(void *owner)
{
    struct mirror *m = owner;

    job_begin_aside(&m->bj.job);
}

static void guest_ended(void *owner, int result)
{
    struct mirror *m = owner;

    if (result < 0)
        block_job_copy_failed(&m->bj, false, result);
    job_end_aside(&m->bj.job);
}

static void mirror_changed(void *owner)
{
    struct mirror *m = owner;

    mirror_progress(m);
    job_kick(&m->bj.job);
}

static enum job_step mirror_begin(struct mirror *m)
{
    const uint64_t source = m->bj.source->node->size, target = m->bj.target->node->size;

    if (m->commit && target < source) {
        mirror_enter(m, MIRROR_GROW);
        return JOB_AGAIN;
    }
    if (!m->commit && source != target) {
        job_set_progress(&m->bj.job, 0, 0);
        job_fail(&m->bj.job, err_new("Source and target image have different sizes"));
        return JOB_WAIT;
    }
    mirror_enter(m, MIRROR_SCAN);
    return JOB_AGAIN;
}

static enum job_step mirror_step(struct job *job)
{
    struct mirror *m = mirror_of(job);

    switch (m->phase) {
    case MIRROR_START: return mirror_begin(m);
    case MIRROR_GROW:
        if (!m->grown)
            return JOB_WAIT;
        mirror_enter(m, MIRROR_SCAN);
        return JOB_AGAIN;
    case MIRROR_SCAN:
        if (!mirror_scan(m))
            return JOB_WAIT;
        mirror_enter(m, MIRROR_COPY);
        return JOB_AGAIN;
    case MIRROR_COPY:
        mirror_fill(m);
        mirror_progress(m);
        if (!mirror_clean_now(m))
            return JOB_WAIT;
        mirror_enter(m, MIRROR_SYNCED);
        return JOB_AGAIN;
    case MIRROR_SYNCED:
        if (hbitmap_any(m->dirty->map))
            mirror_enter(m, MIRROR_COPY);
        else if (job->complete_requested || job->soft_cancel_requested)
            mirror_enter(m, MIRROR_DRAIN);
        else
            return JOB_WAIT; /* A guest write or job-complete wakes us. */
        return JOB_AGAIN;
    case MIRROR_DRAIN:
        if (!m->drained)
            return JOB_WAIT;
        mirror_fill(m); /* Writes that were in flight left dirt behind. */
        if (!mirror_clean_now(m) || job->aside > 0)
            return JOB_WAIT;
        mirror_enter(m, MIRROR_FLUSH);
        return JOB_AGAIN;
    case MIRROR_FLUSH: return m->flushed ? JOB_DONE : JOB_WAIT;
    case MIRROR_PHASE_COUNT: break;
    }
    unreachable();
}

/* Lets go of everything in flight; the target can be touched no more. */
static void mirror_abandon(struct job *job)
{
    struct mirror *m = mirror_of(job);

    if (m->copy)
        copy_abandon(m->copy);
    m->copy = NULL;
    mirror_top_bypass(m->top);
    for (unsigned i = 0; i < MIRROR_WINDOW; i++) {
        if (extent_linked(&m->ranges[i]))
            mirror_top_unlock(m->top, &m->ranges[i]);
    }
    if (m->flush)
        m->flush->mirror = NULL;
    m->flush = NULL;
    if (m->opening)
        m->opening->mirror = NULL;
    m->opening = NULL;
    /* The base of a commit stays below the guest's disk, which hides what arrives there late. */
    if (m->bj.target && !m->commit)
        node_fence(m->bj.target->node);
    job->inflight = 0;
}

/* Moves the guests to the target, in one step. */
static struct err *mirror_pivot(struct mirror *m)
{
    struct node *replaced = m->bj.filter;

    if (m->replaces) {
        TRY(graph_lookup(m->bj.graph, m->replaces, &replaced));
        TRY(graph_remove_filter(m->bj.filter));
    }
    return graph_replace_node(replaced, m->target_node);
}

/* The job's own claims would conflict with those of the guests. */
static struct err *mirror_complete(struct mirror *m)
{
    copy_free(m->copy);
    m->copy = NULL;
    mirror_top_bypass(m->top);
    block_job_thaw(&m->bj);
    block_job_detach(&m->bj);
    return mirror_pivot(m);
}

static void backing_opened(void *arg, struct node *backing, struct err *err)
{
    struct mirror_flush *opening = arg;
    struct mirror *m = opening->mirror;

    xfree(opening);
    if (m && !err)
        err = node_set_backing(node_skip_filters(m->target_node), backing);
    if (backing)
        node_unref(backing);
    if (!m) {
        err_free(err);
        return;
    }
    m->opening = NULL;
    job_prepared(&m->bj.job, err ? err : mirror_complete(m));
}

/* The backing file that the header of the target names. False: there is none. */
static bool open_backing(struct mirror *m)
{
    struct node *target = node_skip_filters(m->target_node);
    struct json *options;
    struct err *err;
    char *name;

    if (target->backing || !target->backing_name || !*target->backing_name)
        return false;
    m->opening = NEW(struct mirror_flush);
    m->opening->mirror = m;
    name = filename_resolve(target->filename, target->backing_name);
    err = node_options_from_filename(name, target->backing_format, &options);
    xfree(name);
    if (err) {
        backing_opened(m->opening, NULL, err);
        return true;
    }
    json_object_set_bool(options, "read-only", true);
    node_open(m->bj.graph, options, 0, backing_opened, m->opening);
    json_free(options);
    return true;
}

static void mirror_prepare(struct job *job)
{
    struct mirror *m = mirror_of(job);
    struct node *source = m->bj.source ? m->bj.source->node : NULL;
    struct node *target = node_skip_filters(m->target_node), *below = NULL;
    struct err *err = NULL;

    if (!job->complete_requested || job->soft_cancel_requested) {
        job_prepared(job, NULL);
        return;
    }
    if (m->backing == MIRROR_BACKING_OPEN && open_backing(m))
        return;
    if (m->backing == MIRROR_BACKING_SOURCE && m->sync == SYNC_TOP)
        below = node_backing(source);
    else if (m->backing == MIRROR_BACKING_SOURCE && m->sync == SYNC_NONE)
        below = source;
    if (below && !target->backing)
        err = node_set_backing(target, below);
    job_prepared(job, err ? err : mirror_complete(m));
}

static void mirror_clean(struct job *job)
{
    struct mirror *m = mirror_of(job);

    copy_free(m->copy);
    m->copy = NULL;
    mirror_top_free(m->top);
    m->top = NULL;
    bitmap_free(m->dirty);
    m->dirty = NULL;
    /* Gated requests go on to wherever their edges point now. */
    mirror_end_drain(m);
    block_job_release(&m->bj);
    node_unref(m->target_node);
    m->target_node = NULL;
}

static void mirror_free(struct job *job)
{
    struct mirror *m = mirror_of(job);

    xfree(m->replaces);
    xfree(m);
}

static const struct job_driver mirror_driver = {
    .type = JOB_TYPE_MIRROR,
    .block_job = true,
    .step = mirror_step,
    .abandon = mirror_abandon,
    .prepare_start = mirror_prepare,
    .clean = mirror_clean,
    .free = mirror_free,
    .can_complete = true,
    .can_soft_cancel = true,
};

static const struct job_driver active_commit_driver = {
    .type = JOB_TYPE_COMMIT,
    .block_job = true,
    .step = mirror_step,
    .abandon = mirror_abandon,
    .prepare_start = mirror_prepare,
    .clean = mirror_clean,
    .free = mirror_free,
    .can_complete = true,
    .can_soft_cancel = true,
};

struct err *mirror_change(struct job *job, enum mirror_copy_mode mode)
{
    struct mirror *m = mirror_of(job);

    TRY(job_check_verb(job, JOB_VERB_CHANGE));
    if (job->driver != &mirror_driver)
        return err_new("Job type does not support change");
    if (m->copy_mode == mode)
        return NULL;
    if (mode != MIRROR_WRITE_BLOCKING)
        return err_new("Change to copy mode 'background' is not implemented");
    m->copy_mode = mode;
    mirror_top_set_blocking(m->top, true);
    return NULL;
}

bool mirror_actively_synced(const struct job *job)
{
    const struct mirror *m = container_of(job, const struct mirror, bj.job);

    return job->driver == &mirror_driver && m->dirty && m->copy_mode == MIRROR_WRITE_BLOCKING &&
           job_is_ready(job) && m->phase != MIRROR_COPY && !hbitmap_any(m->dirty->map);
}

static struct err *mirror_check(const struct mirror_params *params)
{
    const uint32_t granularity = params->granularity;

    if (granularity != 0 &&
        (granularity < MIRROR_GRANULARITY_MIN || granularity > MIRROR_GRANULARITY_MAX))
        return err_new("Parameter 'granularity' expects a value in range [512B, 64MB]");
    if (granularity != 0 && !is_pow2(granularity))
        return err_new("Parameter 'granularity' expects a power of 2");
    if (params->commit)
        return NULL;
    TRY(launch_check_root(params->source));
    if (params->sync == SYNC_INCREMENTAL || params->sync == SYNC_BITMAP)
        return err_new("Sync mode '%s' not supported", sync_mode_name(params->sync));
    if (params->buf_size < 0)
        return err_new("Invalid parameter 'buf-size'");
    if (params->source == params->target)
        return err_new("Can't mirror node into itself");
    if (params->replaces && !graph_find(params->source->graph, params->replaces))
        return err_new("Failed to find node with node-name='%s'", params->replaces);
    if (params->replaces && graph_find(params->source->graph, params->replaces) == params->target)
        return err_new(
            "Cannot replace '%s' by a node mirrored from '%s', because it cannot be "
            "guaranteed that doing so would not lead to an abrupt change of visible data",
            params->replaces, params->source->name);
    TRY(block_job_check_unused(params->source));
    return block_job_check_unused(params->target);
}

/* The default follows the target's clusters: smaller pieces would cost it a read each. */
static uint32_t mirror_granularity(const struct mirror_params *params)
{
    const uint32_t cluster = node_cluster_size(params->target);

    if (params->granularity)
        return params->granularity;
    return cluster ? MIN(MAX(cluster, UINT32_C(4096)), UINT32_C(65536)) : UINT32_C(65536);
}

/* The layers between stay as they are: only the chain as a whole is right while the base changes. */
static struct err *mirror_hold_layers(struct mirror *m, const struct mirror_params *params)
{
    for (struct node *at = chain_next(params->source); at && at != params->target;
         at = chain_next(at))
        TRY(block_job_hold(&m->bj, at, "intermediate node", 0,
                           PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED | PERM_WRITE));
    return block_job_freeze(&m->bj, params->source, params->target);
}

static struct err *mirror_attach(struct mirror *m, const struct mirror_params *params)
{
    struct block_job *bj = &m->bj;
    const uint32_t keep_size = PERM_CONSISTENT_READ | PERM_WRITE | PERM_WRITE_UNCHANGED;

    const uint32_t target_perm = PERM_WRITE | (params->commit ? PERM_RESIZE : 0);
    const uint32_t target_shared =
        PERM_WRITE_UNCHANGED | (params->commit ? PERM_CONSISTENT_READ | PERM_WRITE : 0);

    mirror_top_share(bj->filter, params->commit);
    TRY(graph_insert_filter(bj->filter, params->source, NULL));
    TRY(block_job_hold(bj, bj->filter, "main node", 0, PERM_ALL));
    TRY(block_job_claim(bj, params->source, "source", BLOCK_JOB_CLAIM_NAMED, PERM_CONSISTENT_READ,
                        keep_size, &bj->source));
    if (params->commit)
        TRY(mirror_hold_layers(m, params));
    TRY(block_job_claim(bj, params->target, "target", BLOCK_JOB_CLAIM_PLAIN, target_perm,
                        target_shared, &bj->target));
    return bitmap_add(params->source, NULL, mirror_granularity(params), false, false, &m->dirty);
}

static void mirror_open(struct mirror *m, const struct mirror_params *params)
{
    const uint64_t granularity = hbitmap_granularity(m->dirty->map);
    const uint64_t buf = params->buf_size ? (uint64_t)params->buf_size : MIRROR_BUF_DEFAULT;

    m->chunk = MAX(MIN(MIRROR_CHUNK, pow2_floor_u64(buf)), granularity);
    m->free_ranges = BIT(MIRROR_WINDOW) - 1;
    m->copy_mode = params->copy_mode;
    m->layers = params->commit ? chain_layers(params->source, params->target) : 0;
    m->target_node = node_ref(params->target);
    m->backing = params->backing;
    m->sync = params->sync;
    m->replaces = xstrdup(params->replaces);
    if (params->sync != SYNC_TOP && !params->commit)
        m->scanned = params->source->size;
    if (params->sync == SYNC_FULL && !params->commit && params->source->size > 0)
        hbitmap_set(m->dirty->map, 0, params->source->size);
    m->copy = copy_new(m->bj.job.jobs->reactor, &(struct copy_options){
                                                    .source = m->bj.source,
                                                    .target = m->bj.target,
                                                    .chunk_bytes = m->chunk,
                                                    .max_bytes = MAX(buf, m->chunk),
                                                    .max_inflight = MIRROR_WINDOW,
                                                    .use_status = true,
                                                    .top_only = params->sync == SYNC_TOP,
                                                    .layers = m->layers,
                                                    .unmap = params->unmap,
                                                    .range_done = mirror_copied,
                                                    .owner = m,
                                                });
    m->top = mirror_top_open(m->bj.filter, &(struct mirror_top_options){
                                               .target = m->bj.target,
                                               .dirty = m->dirty,
                                               .wanted = guest_wanted,
                                               .write_began = guest_began,
                                               .write_ended = guest_ended,
                                               .changed = mirror_changed,
                                               .owner = m,
                                           });
    mirror_top_set_blocking(m->top, params->copy_mode == MIRROR_WRITE_BLOCKING);
}

struct err *mirror_new(struct jobs *jobs, const struct mirror_params *params,
                       struct block_job **out)
{
    struct node *filter;
    struct job *job;
    struct mirror *m;
    struct err *err;

    TRY(mirror_check(params));
    TRY(node_new_filter(params->source->graph, &driver_mirror_top, params->filter_name,
                        params->source, &filter));
    err = job_new(jobs, params->commit ? &active_commit_driver : &mirror_driver,
                  sizeof(struct mirror), &params->job, &job);
    if (err) {
        node_unref(filter);
        return err;
    }
    m = mirror_of(job);
    m->bj.graph = params->source->graph;
    m->bj.filter = filter;
    m->bj.on_source_error = params->on_source_error;
    m->bj.on_target_error = params->on_target_error;
    m->commit = params->commit;
    err = job_set_speed(job, params->speed);
    if (!err)
        err = mirror_attach(m, params);
    if (err) {
        block_job_release(&m->bj);
        job_drop(job);
        return err;
    }
    mirror_open(m, params);
    *out = &m->bj;
    return NULL;
}
