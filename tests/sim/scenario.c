/*
 * A scenario: a guest writes to a disk while a job copies it, with verbs, faults, stalls and crash
 * points at random events. The oracle (oracle.h) knows what every read, copy and crash may show.
 */

#include "tests/sim/scenario.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "emu/base/alloc.h"
#include "emu/base/nstime.h"
#include "emu/jobs/block/backup.h"
#include "emu/jobs/block/commit.h"
#include "emu/jobs/block/mirror.h"
#include "emu/jobs/block/stream.h"
#include "emu/jobs/job_verbs.h"
#include "emu/storage/bitmap.h"
#include "tests/sim/crash.h"
#include "tests/sim/scene.h"

static void create_image(struct scene *s, const char *file, uint32_t cluster, const char *backing)
{
    world_create(&s->w, "{'driver': 'file', 'filename': '%s', 'size': 0}", file);
    world_create(
        &s->w,
        "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': '%s'}, 'size': %" PRIu64
        ", 'cluster-size': %u%s}",
        file, s->plan.size, cluster, backing);
}

static void create_all(struct scene *s)
{
    const struct plan *p = &s->plan;

    if (p->backing)
        create_image(s, "base", 4096, "");
    create_image(s, "source", p->cluster,
                 p->backing ? ", 'backing-file': 'base', 'backing-fmt': 'qcow2'" : "");
    if (p->target_raw)
        world_create(&s->w, "{'driver': 'file', 'filename': 'target', 'size': %" PRIu64 "}",
                     p->size);
    else
        create_image(s, "target", p->target_cluster, "");
}

static const char *target_driver(const struct scene *s)
{
    return s->plan.target_raw ? "raw" : "qcow2";
}

static struct node *open_image(struct scene *s, const char *driver, const char *name)
{
    const char *discard = s->plan.discards ? "unmap" : "ignore";

    return world_open(&s->w, NODE_OPEN_MONITOR,
                      "{'driver': '%s', 'node-name': '%s', 'discard': '%s', 'file': "
                      "{'driver': 'file', 'filename': '%s', 'discard': '%s', 'cache': {'direct': "
                      "%s}}}",
                      driver, name, discard, name, discard,
                      s->plan.direct_block ? "true" : "false");
}

static void open_all(struct scene *s)
{
    s->source = open_image(s, "qcow2", "source");
    s->target = s->job_target = open_image(s, target_driver(s), "target");
    if (world_ok(&s->w) && s->plan.target_nbd) {
        world_serve(&s->w, "target", SCENE_SOCKET);
        s->job_target = world_open(&s->w, NODE_OPEN_MONITOR,
                                   "{'driver': 'nbd', 'node-name': 'remote', 'export': 'target', "
                                   "'server': {'type': 'unix', 'path': '" SCENE_SOCKET "'}}");
    }
    if (world_ok(&s->w) && s->plan.work == WORK_BACKUP_BITMAP) {
        struct bitmap *bitmap;

        err_ignore(
            bitmap_add(s->source, "bitmap", s->plan.bitmap_granularity, false, false, &bitmap));
    }
    if (world_ok(&s->w))
        s->guest_edge = world_edge(&s->w, s->source, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
}

/* Puts an overlay above the source, and the guest, which is idle, on it. */
static void stack_overlay(struct scene *s)
{
    create_image(s, "overlay", s->plan.target_cluster,
                 ", 'backing-file': 'source', 'backing-fmt': 'qcow2'");
    if (!world_ok(&s->w))
        return;
    /* As snapshots do: flushes of the guest do not reach below the overlay later. */
    if (world_io(&s->w, s->guest_edge, REQ_FLUSH, 0, 0, NULL) != 0)
        world_fail(&s->w, "the source cannot be flushed");
    edge_detach(s->guest_edge);
    s->guest_edge = NULL;
    s->overlay = world_open(&s->w, NODE_OPEN_MONITOR,
                            "{'driver': 'qcow2', 'node-name': 'overlay', 'backing': 'source', "
                            "'file': {'driver': 'file', 'filename': 'overlay'}}");
    if (!world_ok(&s->w))
        return;
    s->guest_edge = world_edge(&s->w, s->overlay, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
    s->guest.edge = s->guest_edge;
    s->job_target = s->plan.work == WORK_COMMIT ? s->source : s->overlay;
}

const char *scene_source_file(const struct scene *s)
{
    return s->plan.work == WORK_COMMIT ? "overlay" : "source";
}

const char *scene_target_file(const struct scene *s)
{
    if (!plan_is_chain(&s->plan))
        return "target";
    return s->plan.work == WORK_COMMIT ? "source" : "overlay";
}

struct job *scene_job(struct scene *s) { return map_get(&s->w.jobs.by_id, "job"); }

void scene_maybe_crash(struct scene *s)
{
    struct crash_disk disk = {
        .driver = "qcow2", .file = "source", .size = s->plan.size, .discards = s->plan.discards
    };

    /* What looks at a crash has memory. */
    if (s->plan.ending == END_NO_MEMORY && s->struck)
        return;
    if (s->plan.crash_points == 0 || !rng_chance(&s->rng, 1, 150))
        return;
    /* Between the request and the pivot nobody can say which disk the guest is on. */
    if (s->pivoting && (scene_job(s) || s->w.completed == 0))
        return;
    if (s->pivoting) {
        disk.driver = s->overlay ? "qcow2" : target_driver(s);
        disk.file = scene_target_file(s);
    } else if (s->overlay) {
        disk.file = "overlay";
    }
    s->plan.crash_points--;
    s->counts->crashes++;
    crash_check(&s->w, &disk, &s->oracle, rng_u64(&s->rng));
}

void scene_quiet_guest(struct scene *s)
{
    uint64_t left = EVENTS_MAX;

    while (!guest_idle(&s->guest) && world_ok(&s->w) && left-- > 0 && sim_step(s->w.sim))
        scene_maybe_crash(s);
    if (!guest_idle(&s->guest))
        world_fail(&s->w, "the guest's requests do not end");
}

static struct err *make_mirror(struct scene *s, const struct job_options *job,
                               enum job_on_error on_error, struct block_job **out)
{
    struct mirror_params params = { .job = *job,
                                    .source = s->source,
                                    .target = s->job_target,
                                    .sync = SYNC_FULL,
                                    .on_target_error = on_error,
                                    .unmap = true };

    params.copy_mode =
        s->plan.work == WORK_MIRROR_BLOCKING ? MIRROR_WRITE_BLOCKING : MIRROR_BACKGROUND;
    return mirror_new(&s->w.jobs, &params, out);
}

static struct err *make_backup(struct scene *s, const struct job_options *job,
                               enum job_on_error on_error, struct block_job **out)
{
    struct backup_params params = { .job = *job,
                                    .source = s->source,
                                    .target = s->job_target,
                                    .sync = SYNC_FULL,
                                    .on_target_error = on_error };

    if (s->plan.work == WORK_BACKUP_BITMAP) {
        params.sync = SYNC_INCREMENTAL;
        params.bitmap = "bitmap";
    }
    return backup_new(&s->w.jobs, &params, out);
}

/* What stream_new() and commit_new() leave. */
struct made {
    bool done;
    struct block_job *bj;
    struct err *err;
};

static void chain_job_made(void *arg, struct block_job *bj, struct err *err)
{
    struct made *made = arg;

    made->done = true;
    made->bj = bj;
    made->err = err;
}

static struct err *make_chain_job(struct scene *s, const struct job_options *job,
                                  enum job_on_error on_error, struct block_job **out)
{
    const struct stream_params stream = { .job = *job, .top = s->overlay, .on_error = on_error };
    const struct commit_params commit = {
        .job = *job, .device = s->overlay, .base_node = "source", .on_error = on_error
    };
    struct made made = { 0 };

    if (s->plan.work == WORK_STREAM)
        stream_new(&s->w.jobs, &stream, chain_job_made, &made);
    else
        commit_new(&s->w.jobs, &commit, chain_job_made, &made);
    while (!made.done && sim_step(s->w.sim))
        ;
    if (!made.done)
        return err_new("it is never made");
    *out = made.bj;
    return made.err;
}

static struct err *make_job(struct scene *s, const struct job_options *job,
                            enum job_on_error on_error, struct block_job **out)
{
    if (plan_is_chain(&s->plan))
        return make_chain_job(s, job, on_error, out);
    return plan_is_mirror(&s->plan) ? make_mirror(s, job, on_error, out)
                                    : make_backup(s, job, on_error, out);
}

void scene_start_job(struct scene *s, bool faultless)
{
    const struct plan *p = &s->plan;
    const struct job_options options = { .id = "job",
                                         .manual_finalize = p->manual_finalize,
                                         .manual_dismiss = p->manual_dismiss };
    enum job_on_error on_error = faultless ? JOB_ON_ERROR_REPORT : p->on_error;
    struct block_job *bj = NULL;
    struct err *err = make_job(s, &options, on_error, &bj);

    if (err) {
        world_fail(&s->w, "starting the job: %s", err_text(err));
        err_free(err);
        return;
    }
    launch_start_held(bj);
    launch_let_go(bj);
    s->job_began = sim_events(s->w.sim);
}

static void fault(struct scene *s, const struct sim_fault *fault)
{
    sim_fault_add(s->w.sim, fault);
}

static void cancel(struct scene *s)
{
    struct job *job = scene_job(s);

    if (job)
        err_ignore(job_cancel(job, JOB_CANCEL_FORCE));
    s->cancelled_ns = sim_now(s->w.sim);
}

/* The planned misfortune. */
static void strike(struct scene *s)
{
    struct sim *sim = s->w.sim;

    s->struck = true;
    s->struck_ns = sim_now(sim);
    switch (s->plan.ending) {
    case END_WELL: break;
    case END_TARGET_ERROR:
        fault(s, &(struct sim_fault){ .path = scene_target_file(s),
                                      .kind = SIM_FAULT_WRITE,
                                      .count = 1,
                                      .error = EIO });
        break;
    case END_TARGET_FULL:
        sim_file_limit(sim, scene_target_file(s), sim_file_size(sim, scene_target_file(s)) / 2);
        break;
    case END_SOURCE_ERROR:
        fault(s,
              &(struct sim_fault){
                  .path = scene_source_file(s), .kind = SIM_FAULT_READ, .count = 1, .error = EIO });
        break;
    case END_STALLED_CANCEL:
        if (s->plan.target_nbd)
            sim_stream_stall(sim, SCENE_SOCKET, true);
        else
            fault(s, &(struct sim_fault){ .path = scene_target_file(s),
                                          .kind = SIM_FAULT_ANY,
                                          .count = UINT64_MAX,
                                          .stall = true });
        sim_run_for(sim, 5 * NS_PER_MS);
        cancel(s);
        break;
    case END_CANCEL: cancel(s); break;
    case END_STREAM_RESET: sim_stream_reset(sim, SCENE_SOCKET); break;
    case END_NO_MEMORY: alloc_fail_after(1 + rng_below(&s->rng, 12)); break;
    case ENDING_COUNT: break;
    }
}

static void random_verb(struct scene *s)
{
    struct job *job = scene_job(s);

    if (!job || !rng_chance(&s->rng, 1, 40))
        return;
    switch (rng_below(&s->rng, 5)) {
    case 0: err_ignore(job_pause(job)); break;
    case 1: err_ignore(job_resume(job)); break;
    case 2: err_ignore(job_set_speed(job, rng_chance(&s->rng, 1, 2) ? 0 : 1 << 20)); break;
    case 3: job_kick(job); break; /* A wake-up with nothing new is always legal. */
    default:
        if (rng_chance(&s->rng, 1, 2))
            err_ignore(job_finalize(job));
        else
            err_ignore(job_dismiss(job));
    }
}

/* A READY mirror is completed once the guest has done its work, or now and then before. */
static void complete_mirror(struct scene *s)
{
    struct job *job = scene_job(s);

    if (!job || !job_is_ready(job) || job->complete_requested || job->cancel_requested)
        return;
    if (s->guest.left > 0 && !rng_chance(&s->rng, 1, 200))
        return;
    if (job->user_paused)
        err_ignore(job_resume(job));
    s->pivoting = true;
    err_ignore(job_complete(job));
}

/* Does what the job waits for. False: it waits for nothing of ours. */
static bool help(struct scene *s)
{
    struct job *job = scene_job(s);

    if (!job)
        return false;
    switch (job->status) {
    case JOB_PENDING: err_ignore(job_finalize(job)); return true;
    case JOB_CONCLUDED: err_ignore(job_dismiss(job)); return true;
    case JOB_UNDEFINED:
    case JOB_CREATED:
    case JOB_RUNNING:
    case JOB_PAUSED:
    case JOB_READY:
    case JOB_STANDBY:
    case JOB_WAITING:
    case JOB_ABORTING:
    case JOB_NULL:
    case JOB_STATUS_COUNT: break;
    }
    if (!job->user_paused)
        return false;
    err_ignore(job_resume(job));
    return true;
}

/* Somebody makes room on the full disk after a while. */
static void make_room(struct scene *s)
{
    if (s->struck_ns && sim_now(s->w.sim) - s->struck_ns > NS_PER_SEC)
        sim_file_limit(s->w.sim, scene_target_file(s), UINT64_MAX);
}

static void fail_if_alive(struct scene *s)
{
    struct job *job = scene_job(s);

    if (job && world_ok(&s->w))
        world_fail(&s->w, "the job is still %s%s", job_status_name(job->status),
                   s->cancelled_ns ? " a second after cancel" : "");
}

/* A cancelled job has a second to be over, but for what the user has yet to do. */
static bool overdue(struct scene *s)
{
    const struct job *job = scene_job(s);

    return s->cancelled_ns && sim_now(s->w.sim) - s->cancelled_ns > NS_PER_SEC && job &&
           job->cancel_requested && job->status != JOB_CONCLUDED;
}

void scene_run_job(struct scene *s)
{
    uint64_t left = EVENTS_MAX;

    while (scene_job(s) && world_ok(&s->w) && left-- > 0 && !overdue(s)) {
        if (!s->struck && sim_events(s->w.sim) - s->job_began >= s->plan.strike_at)
            strike(s);
        random_verb(s);
        complete_mirror(s);
        make_room(s);
        scene_maybe_crash(s);
        if (!sim_step(s->w.sim) && !help(s))
            break;
    }
    fail_if_alive(s);
}

void scene_run_job_plainly(struct scene *s)
{
    uint64_t left = EVENTS_MAX;

    while (scene_job(s) && left-- > 0 && (sim_step(s->w.sim) || help(s)))
        ;
    fail_if_alive(s);
}

static void take_snapshot(struct scene *s)
{
    s->snapshot = xmalloc(s->plan.size);
    if (world_ok(&s->w) && scene_read(s, s->source, s->snapshot, "the source"))
        scene_check_now(s, s->snapshot, "the source");
}

/* Lets the guest fill the disk before the job begins. */
static void prelude(struct scene *s)
{
    const uint64_t busy_until = s->guest.left / 2;

    guest_start(&s->guest);
    if (s->plan.busy_start) {
        while (s->guest.left > busy_until && sim_step(s->w.sim))
            ;
        return;
    }
    scene_quiet_guest(s);
    take_snapshot(s);
    if (world_ok(&s->w) && plan_is_chain(&s->plan))
        stack_overlay(s);
}

static void play(struct scene *s)
{
    struct sim *sim = s->w.sim;

    guest_init(&s->guest, rng_u64(&s->rng), s->guest_edge, &s->oracle, 20 + rng_below(&s->rng, 80));
    s->guest.may_discard = s->plan.discards;
    prelude(s);
    if (world_ok(&s->w))
        scene_start_job(s, false);
    s->guest.left = 20 + rng_below(&s->rng, 150);
    guest_start(&s->guest);
    scene_run_job(s);
    alloc_fail_reset();
    sim_fault_clear(sim);
    sim_file_limit(sim, scene_target_file(s), UINT64_MAX);
    sim_stream_stall(sim, SCENE_SOCKET, false);
    sim_release(sim, NULL);
    scene_quiet_guest(s);
    if (world_ok(&s->w))
        scene_verify(s);
    guest_fini(&s->guest);
    if (world_ok(&s->w))
        edge_detach(s->guest_edge);
}

bool scenario_run(uint64_t seed, struct scenario_counts *counts, uint64_t *hash, char *failure,
                  size_t failure_len)
{
    struct scene s = { .counts = counts };
    struct sim_options options = { .seed = seed, .split_streams = true };

    rng_init(&s.rng, seed);
    options.short_io_per_mille = rng_chance(&s.rng, 1, 2) ? 20 : 0;
    plan_choose(&s.plan, &s.rng);
    options.direct_block = s.plan.direct_block;
    world_init(&s.w, sim_new(&options));
    oracle_init(&s.oracle, s.plan.size);
    create_all(&s);
    if (world_ok(&s.w))
        open_all(&s);
    if (world_ok(&s.w))
        play(&s);
    counts->scenarios++;
    counts->events += sim_events(s.w.sim);
    counts->completed += s.w.completed;
    counts->cancelled += s.w.cancelled;
    counts->failed += s.w.failed;
    *hash = sim_hash(s.w.sim);
    if (world_ok(&s.w))
        world_fini(&s.w);
    oracle_fini(&s.oracle);
    xfree(s.snapshot);
    snprintf(failure, failure_len, "%s (job %d, ending %d, policy %d%s)", s.w.failure, s.plan.work,
             s.plan.ending, s.plan.on_error, s.pivoting ? ", pivoting" : "");
    return world_ok(&s.w);
}
