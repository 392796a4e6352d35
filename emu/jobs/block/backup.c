/*
 * The backup job.
 *
 * What is to do is the bitmap of the copy-before-write engine; the job copies from it in the
 * background, guest writes take their clusters out of it first. The job is done when nothing is
 * to do and nothing is claimed.
 */

#include "emu/jobs/block/backup.h"

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/check.h"
#include "emu/base/fsm.h"
#include "emu/base/trace.h"
#include "emu/jobs/block/backup_bitmap.h"
#include "emu/jobs/block/cbw.h"
#include "emu/jobs/job_pace.h"
#include "emu/jobs/job_verbs.h"

#define BACKUP_CLUSTER_MIN     UINT32_C(65536)
#define BACKUP_CHUNK           (UINT64_C(1) << 20)
#define BACKUP_WORKERS_DEFAULT 64
/* More workers than this only cost memory: with chunks of 1 MiB the window is deep enough for any disk. */
#define BACKUP_WINDOW_MAX 16u

enum backup_phase {
    BACKUP_COPY,  /* Clusters are to do or in flight. */
    BACKUP_GUARD, /* sync=none: only guest writes copy; ends by cancel alone. */
    BACKUP_FLUSH, /* All is copied; waiting for stable storage. */
    BACKUP_PHASE_COUNT,
};

static const uint32_t backup_edges[BACKUP_PHASE_COUNT] = {
    [BACKUP_COPY] = BIT(BACKUP_FLUSH) | BIT(BACKUP_GUARD),
    [BACKUP_GUARD] = 0,
    [BACKUP_FLUSH] = 0,
};

/* A request that may outlive the job. */
struct backup_flush {
    struct req req;
    struct backup *backup; /* NULL: abandoned. */
};

struct backup {
    struct block_job bj;
    enum backup_phase phase;
    enum sync_mode sync;
    struct cbw *cbw;   /* Owned until clean. */
    struct copy *copy; /* Owned; the background window. */
    struct cbw_claim claims[BACKUP_WINDOW_MAX];
    uint32_t free_claims; /* Bit per idle element of claims. */
    uint64_t cursor, chunk;
    uint64_t copied; /* In the background. */
    uint64_t total;
    bool discard_source;
    struct backup_flush *flush; /* Pending, owned by itself. */
    bool flushed;
    struct backup_bitmap bitmap;
};

static struct backup *backup_of(struct job *job)
{
    return container_of(job, struct backup, bj.job);
}

static void backup_progress(struct backup *b)
{
    const uint64_t current = b->copied + cbw_guest_bytes(b->cbw);

    job_set_progress(&b->bj.job, b->sync == SYNC_NONE ? current : MIN(current, b->total), b->total);
}

static void flush_done(struct req *req)
{
    struct backup_flush *flush = container_of(req, struct backup_flush, req);
    struct backup *b = flush->backup;

    if (b) {
        b->flush = NULL;
        b->flushed = req->result == 0;
        /* Never retried: after a failed flush nobody knows which writes were lost. */
        if (req->result < 0 &&
            job_io_error(&b->bj.job, JOB_ON_ERROR_REPORT, false, req->result) == JOB_ERROR_REPORT)
            job_fail_errno(&b->bj.job, req->result);
        job_end(&b->bj.job);
    }
    xfree(flush);
}

static void start_flush(struct backup *b)
{
    struct backup_flush *flush = NEW(struct backup_flush);

    flush->backup = b;
    flush->req.kind = REQ_FLUSH;
    flush->req.done = flush_done;
    b->flush = flush;
    job_begin(&b->bj.job);
    edge_submit(b->bj.target, &flush->req);
}

static void backup_enter(struct backup *b, enum backup_phase to)
{
    fsm_check_edge(backup_edges, b->phase, to);
    trace(backup_phase, "%s: %d to %d", b->bj.job.id ? b->bj.job.id : "-", b->phase, to);
    b->phase = to;
    switch (to) {
    case BACKUP_COPY:
    case BACKUP_GUARD: break;
    case BACKUP_FLUSH: start_flush(b); break;
    case BACKUP_PHASE_COUNT: unreachable();
    }
}

/* Fills the window. Idempotent. */
static void backup_fill(struct backup *b)
{
    struct job *job = &b->bj.job;

    while (b->free_claims && copy_has_room(b->copy) && !job_pace_wait(job)) {
        const unsigned i = (unsigned)__builtin_ctz(b->free_claims);
        const struct extent *range = &b->claims[i].range;

        if (!cbw_claim(b->cbw, &b->claims[i], &b->cursor, b->chunk))
            break;
        b->free_claims &= ~BIT(i);
        job_begin(job);
        job_pace_account(job, range->len);
        copy_start(b->copy, range->off, range->len, i);
    }
}

static void discarded(struct req *req) { xfree(req); }

/* A hint that nobody waits for; it may outlive the job. */
static void discard_copied(struct backup *b, const struct copy_range *range)
{
    struct req *req = NEW(struct req);

    req_submit_part(req, b->bj.source, REQ_DISCARD, REQ_SERIALISING, range->offset, range->len,
                    (struct iov_view){ 0 }, discarded);
}

static void backup_copied(struct copy *copy, const struct copy_range *range)
{
    struct backup *b = copy_owner(copy);

    b->free_claims |= BIT(range->cookie);
    /* Before guests' writes go on that waited for the copy: they come after it. */
    if (range->result == 0 && b->discard_source)
        discard_copied(b, range);
    cbw_release(b->cbw, &b->claims[range->cookie], range->result == 0);
    if (range->result == 0)
        b->copied += range->len;
    if (range->result < 0)
        block_job_copy_failed(&b->bj, range->read_failed, range->result);
    backup_progress(b);
    job_end(&b->bj.job);
}

static bool backup_guest_wanted(void *owner)
{
    struct backup *b = owner;

    return job_is_going(&b->bj.job);
}

static void backup_guest_began(void *owner)
{
    struct backup *b = owner;

    job_begin_aside(&b->bj.job);
}

static void backup_guest_ended(void *owner)
{
    struct backup *b = owner;

    backup_progress(b);
    job_end_aside(&b->bj.job);
}

static enum job_step backup_step(struct job *job)
{
    struct backup *b = backup_of(job);

    switch (b->phase) {
    case BACKUP_COPY:
        if (b->sync == SYNC_NONE) {
            backup_enter(b, BACKUP_GUARD);
            return JOB_AGAIN;
        }
        backup_fill(b);
        if (job->inflight > 0 || !cbw_finished(b->cbw))
            return JOB_WAIT;
        backup_enter(b, BACKUP_FLUSH);
        return JOB_AGAIN;
    case BACKUP_GUARD: return JOB_WAIT;
    case BACKUP_FLUSH: return b->flushed ? JOB_DONE : JOB_WAIT;
    case BACKUP_PHASE_COUNT: break;
    }
    unreachable();
}

/* Lets go of everything in flight; the target can be touched no more. */
static void backup_abandon(struct job *job)
{
    struct backup *b = backup_of(job);

    copy_abandon(b->copy);
    b->copy = NULL;
    for (unsigned i = 0; i < BACKUP_WINDOW_MAX; i++) {
        if (extent_linked(&b->claims[i].range))
            cbw_release(b->cbw, &b->claims[i], false);
    }
    cbw_bypass(b->cbw);
    if (b->flush)
        b->flush->backup = NULL;
    b->flush = NULL;
    node_fence(b->bj.target->node);
    job->inflight = 0;
}

/* The filter goes first, so that no guest waits for a copy any more. */
static void backup_clean(struct job *job)
{
    struct backup *b = backup_of(job);

    backup_bitmap_end(&b->bitmap, job->error == NULL, cbw_todo(b->cbw));
    cbw_free(b->cbw);
    copy_free(b->copy);
    b->cbw = NULL;
    b->copy = NULL;
    block_job_release(&b->bj);
}

static const struct job_driver backup_driver = {
    .type = JOB_TYPE_BACKUP,
    .block_job = true,
    .cancel_at_once = true,
    .step = backup_step,
    .abandon = backup_abandon,
    .clean = backup_clean,
};

static struct err *backup_check_perf(const struct backup_params *params, uint64_t cluster)
{
    if (params->max_workers.set &&
        (params->max_workers.value < 1 || params->max_workers.value > INT32_MAX))
        return err_new("max-workers must be between 1 and %d", INT32_MAX);
    if (params->max_chunk.set && params->max_chunk.value < 0)
        return err_new("max-chunk must be zero (which means no limit) or positive");
    if (params->max_chunk.set && params->max_chunk.value > 0 &&
        (uint64_t)params->max_chunk.value < cluster)
        return err_new("Required max-chunk (%lld) is less than backup cluster size (%llu)",
                       (long long)params->max_chunk.value, (unsigned long long)cluster);
    return NULL;
}

static struct err *backup_check(const struct backup_params *params, uint64_t cluster)
{
    if (params->source == params->target)
        return err_new("Source and target cannot be the same");
    if (params->compress && !(params->target->supported_write_flags & REQ_COMPRESSED))
        return err_new("Compression is not supported for this drive %s", params->target->name);
    TRY(block_job_check_unused(params->target));
    if (params->source->size != params->target->size)
        return err_new("Source and target image have different sizes");
    return backup_check_perf(params, cluster);
}

/* Puts the filter in and claims the nodes. What was done is undone by block_job_release(). */
static struct err *backup_attach(struct backup *b, const struct backup_params *params)
{
    struct block_job *bj = &b->bj;
    const uint32_t keep_size = PERM_CONSISTENT_READ | PERM_WRITE | PERM_WRITE_UNCHANGED;

    if (!params->discard_source)
        cbw_unshare_writes(bj->filter);
    /* A target that shows the source where it holds nothing itself goes on to look at the source. */
    TRY(graph_insert_filter(bj->filter, params->source,
                            node_skip_filters(params->target)->backing));
    TRY(block_job_hold(bj, bj->filter, "main node", 0, PERM_ALL));
    TRY(block_job_claim(bj, params->source, "source", BLOCK_JOB_CLAIM_HIDDEN,
                        PERM_CONSISTENT_READ | (params->discard_source ? PERM_WRITE : 0), keep_size,
                        &bj->source));
    /* The target may lie below what guests use, as in fleecing: only its size has to stay. */
    return block_job_claim(bj, params->target, "target", BLOCK_JOB_CLAIM_NAMED, PERM_WRITE,
                           keep_size, &bj->target);
}

static void backup_open(struct backup *b, const struct backup_params *params, struct hbitmap *todo)
{
    const uint64_t cluster = hbitmap_granularity(todo);
    const uint64_t workers =
        params->max_workers.set ? (uint64_t)params->max_workers.value : BACKUP_WORKERS_DEFAULT;
    const unsigned window = (unsigned)MIN(workers, (uint64_t)BACKUP_WINDOW_MAX);
    /* Compressed clusters are written one by one. */
    const uint64_t want = params->compress ? cluster : MAX(BACKUP_CHUNK, cluster);
    const uint64_t limit = params->max_chunk.set ? (uint64_t)params->max_chunk.value : 0;

    /* Compressed clusters are written whole, not by what is known of their parts. */
    const bool by_status = !params->compress || params->sync == SYNC_TOP;

    b->chunk = limit ? align_down_u64(MIN(want, limit), cluster) : want;
    b->sync = params->sync;
    b->total = params->sync == SYNC_NONE ? params->source->size : hbitmap_count(todo);
    b->free_claims = BIT(window) - 1;
    b->cbw = cbw_open(b->bj.filter, &(struct cbw_options){
                                        .source = b->bj.source,
                                        .target = b->bj.target,
                                        .todo = todo,
                                        .use_status = by_status,
                                        .detect_zeroes = !by_status,
                                        .top_only = params->sync == SYNC_TOP,
                                        .unmap = true,
                                        .write_flags = params->compress ? REQ_COMPRESSED : 0,
                                        .wanted = backup_guest_wanted,
                                        .guest_began = backup_guest_began,
                                        .guest_ended = backup_guest_ended,
                                        .owner = b,
                                    });
    b->copy =
        copy_new(b->bj.job.jobs->reactor, &(struct copy_options){
                                              .source = b->bj.source,
                                              .target = b->bj.target,
                                              .chunk_bytes = pow2_ceil_u64(b->chunk),
                                              .max_bytes = b->chunk * window,
                                              .max_inflight = window,
                                              .use_status = by_status,
                                              .detect_zeroes = !by_status,
                                              .top_only = params->sync == SYNC_TOP,
                                              .unmap = true,
                                              .write_flags = params->compress ? REQ_COMPRESSED : 0,
                                              .range_done = backup_copied,
                                              .owner = b,
                                          });
    backup_progress(b);
}

struct err *backup_new(struct jobs *jobs, const struct backup_params *params,
                       struct block_job **out)
{
    const uint64_t cluster = MAX(MAX((uint64_t)BACKUP_CLUSTER_MIN, params->min_cluster),
                                 (uint64_t)node_cluster_size(params->target));
    CLEANUP(hbitmap_free) struct hbitmap *todo = NULL;
    struct bitmap *bitmap = NULL;
    struct node *filter;
    struct job *job;
    struct backup *b;
    struct err *err;

    TRY(backup_bitmap_check(params, &bitmap));
    if (params->min_cluster && !is_pow2(params->min_cluster))
        return err_new(
            "Could not create node: Cannot create block-copy-state: min-cluster-size needs to be a power of 2");
    TRY(backup_check(params, cluster));
    todo = hbitmap_new(params->source->size, cluster);
    if (!todo)
        return err_new("Out of memory for the map of a backup of %llu bytes",
                       (unsigned long long)params->source->size);
    err = node_new_filter(params->source->graph, &driver_cbw, params->filter_name, params->source,
                          &filter);
    if (err)
        return err_prefix(err, "Could not create node: ");
    err = job_new(jobs, &backup_driver, sizeof(struct backup), &params->job, &job);
    if (err) {
        node_unref(filter);
        return err;
    }
    b = backup_of(job);
    b->bj.graph = params->source->graph;
    b->bj.filter = filter;
    b->bj.on_source_error = params->on_source_error;
    b->bj.on_target_error = params->on_target_error;
    b->discard_source = params->discard_source;
    err = job_set_speed(job, params->speed);
    if (!err)
        err = backup_attach(b, params);
    if (!err)
        err = backup_bitmap_begin(&b->bitmap, bitmap, params, todo);
    if (err) {
        block_job_release(&b->bj);
        job_drop(job);
        return err;
    }
    backup_open(b, params, todo);
    todo = NULL;
    *out = &b->bj;
    return NULL;
}
