/*
 * A scenario: a guest writes to a disk while a job copies it, with verbs, faults, stalls and crash points at random
 * events. The oracle (oracle.h) knows what every read, every copy and every crash may show.
 */

#include "tests/sim/scenario.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/nstime.h"
#include "emu/jobs/block/backup.h"
#include "emu/jobs/block/mirror.h"
#include "emu/jobs/job_verbs.h"
#include "tests/sim/crash.h"
#include "tests/sim/guest.h"
#include "tests/sim/world.h"

/* How the job is meant to end. */
enum ending {
    END_WELL,
    END_CANCEL,
    END_TARGET_ERROR,
    END_SOURCE_ERROR,
    END_STALLED_CANCEL,
    ENDING_COUNT
};

struct plan {
    uint64_t size;
    uint32_t cluster, target_cluster;
    bool backing, target_raw, mirror, write_blocking;
    enum ending ending;
    uint64_t strike_at; /* Event of the fault or cancel, from the job's start. */
    unsigned crash_points;
};

struct scenario {
    struct world w;
    struct rng rng;
    struct plan plan;
    struct oracle oracle;
    struct guest guest;
    struct node *source, *target;
    struct edge *guest_edge;
    uint32_t *snapshot; /* Owned: what each sector held when the backup began. */
    struct job *job;    /* Borrowed; looked up by its id when used. */
    struct scenario_counts *counts;
    bool struck, pivoted;
    uint64_t job_began;
    int64_t cancelled_ns;
};

static void choose(struct scenario *s)
{
    static const uint32_t clusters[] = { 512, 4096, 65536 };
    struct plan *p = &s->plan;

    p->size = (1 + rng_below(&s->rng, 16)) * 65536 + (rng_chance(&s->rng, 1, 4) ? 1536 : 0);
    p->cluster = clusters[rng_below(&s->rng, 3)];
    p->target_cluster = clusters[rng_below(&s->rng, 3)];
    p->backing = rng_chance(&s->rng, 1, 3);
    p->target_raw = rng_chance(&s->rng, 1, 3);
    p->mirror = rng_chance(&s->rng, 1, 2);
    p->write_blocking = rng_chance(&s->rng, 1, 3);
    p->ending =
        rng_chance(&s->rng, 1, 2) ? END_WELL : (enum ending)rng_below(&s->rng, ENDING_COUNT);
    p->strike_at = 1 + rng_below(&s->rng, 600);
    p->crash_points = (unsigned)rng_below(&s->rng, 3);
}

static void create_image(struct scenario *s, const char *file, uint32_t cluster,
                         const char *backing)
{
    world_create(&s->w, "{'driver': 'file', 'filename': '%s', 'size': 0}", file);
    world_create(
        &s->w,
        "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': '%s'}, 'size': %" PRIu64
        ", 'cluster-size': %u%s}",
        file, s->plan.size, cluster, backing);
}

static void create_all(struct scenario *s)
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

static void open_all(struct scenario *s)
{
    s->source = world_open(
        &s->w, NODE_OPEN_MONITOR,
        "{'driver': 'qcow2', 'node-name': 'source', 'file': {'driver': 'file', 'filename': 'source'}}");
    s->target = world_open(
        &s->w, NODE_OPEN_MONITOR,
        "{'driver': '%s', 'node-name': 'target', 'file': {'driver': 'file', 'filename': 'target'}}",
        s->plan.target_raw ? "raw" : "qcow2");
    if (world_ok(&s->w))
        s->guest_edge = world_edge(&s->w, s->source, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
}

/* Runs until the guest has nothing in flight. */
static void quiet_guest(struct scenario *s)
{
    uint64_t left = EVENTS_MAX;

    while (!guest_idle(&s->guest) && left-- > 0 && sim_step(s->w.sim))
        ;
    if (!guest_idle(&s->guest))
        world_fail(&s->w, "the guest's requests do not end");
}

static void start_job(struct scenario *s)
{
    const struct plan *p = &s->plan;
    struct block_job *bj = NULL;
    struct err *err;

    if (p->mirror) {
        struct mirror_params params = { .job = { .id = "job" },
                                        .source = s->source,
                                        .target = s->target,
                                        .sync = SYNC_FULL,
                                        .unmap = true };

        params.copy_mode = p->write_blocking ? MIRROR_WRITE_BLOCKING : MIRROR_BACKGROUND;
        err = mirror_new(&s->w.jobs, &params, &bj);
    } else {
        struct backup_params params = {
            .job = { .id = "job" }, .source = s->source, .target = s->target, .sync = SYNC_FULL
        };

        err = backup_new(&s->w.jobs, &params, &bj);
    }
    if (err) {
        world_fail(&s->w, "starting the job: %s", err_text(err));
        err_free(err);
        return;
    }
    launch_start_held(bj);
    launch_let_go(bj);
    s->job_began = sim_events(s->w.sim);
}

static void take_snapshot(struct scenario *s)
{
    uint64_t sectors = s->plan.size / ORACLE_SECTOR;

    s->snapshot = xcalloc(sectors, sizeof(*s->snapshot));
    for (uint64_t i = 0; i < sectors; i++)
        s->snapshot[i] = oracle_current(&s->oracle, i);
}

static struct job *live_job(struct scenario *s) { return map_get(&s->w.jobs.by_id, "job"); }

/* The planned misfortune. */
static void strike(struct scenario *s)
{
    struct sim *sim = s->w.sim;
    struct job *job = live_job(s);

    s->struck = true;
    switch (s->plan.ending) {
    case END_WELL: break;
    case END_TARGET_ERROR:
        sim_fault_add(sim,
                      &(struct sim_fault){
                          .path = "target", .kind = SIM_FAULT_WRITE, .count = 1, .error = EIO });
        break;
    case END_SOURCE_ERROR:
        sim_fault_add(sim,
                      &(struct sim_fault){
                          .path = "source", .kind = SIM_FAULT_READ, .count = 1, .error = EIO });
        break;
    case END_STALLED_CANCEL:
        sim_fault_add(
            sim, &(struct sim_fault){
                     .path = "target", .kind = SIM_FAULT_ANY, .count = UINT64_MAX, .stall = true });
        sim_run_for(sim, 5 * NS_PER_MS);
        job = live_job(s);
        /* fall through */
    case END_CANCEL:
        if (job)
            err_ignore(job_cancel(job, JOB_CANCEL_FORCE));
        s->cancelled_ns = sim_now(sim);
        break;
    case ENDING_COUNT: break;
    }
}

static void random_verb(struct scenario *s)
{
    struct job *job = live_job(s);

    if (!job || !rng_chance(&s->rng, 1, 40))
        return;
    switch (rng_below(&s->rng, 4)) {
    case 0: err_ignore(job_pause(job)); break;
    case 1: err_ignore(job_resume(job)); break;
    case 2: err_ignore(job_set_speed(job, rng_chance(&s->rng, 1, 2) ? 0 : 1 << 20)); break;
    default: job_kick(job); /* A wake-up with nothing new is always legal. */
    }
}

/* A READY mirror is completed once the guest has done its work, or now and then before. */
static void complete_mirror(struct scenario *s)
{
    struct job *job = live_job(s);

    if (!job || !job_is_ready(job) || job->complete_requested || job->cancel_requested)
        return;
    if (s->guest.left > 0 && !rng_chance(&s->rng, 1, 200))
        return;
    if (job->user_paused)
        err_ignore(job_resume(job));
    s->pivoted = true;
    err_ignore(job_complete(job));
}

static void maybe_crash(struct scenario *s)
{
    if (s->plan.crash_points == 0 || s->pivoted || !rng_chance(&s->rng, 1, 150))
        return;
    s->plan.crash_points--;
    s->counts->crashes++;
    crash_check(&s->w, "source", s->plan.size, &s->oracle, rng_u64(&s->rng));
}

static void run_job(struct scenario *s)
{
    uint64_t left = EVENTS_MAX;

    while (live_job(s) && world_ok(&s->w) && left-- > 0) {
        if (!s->struck && sim_events(s->w.sim) - s->job_began >= s->plan.strike_at)
            strike(s);
        random_verb(s);
        complete_mirror(s);
        maybe_crash(s);
        if (!sim_step(s->w.sim)) {
            struct job *job = live_job(s);

            if (!job || !job->user_paused)
                break;
            err_ignore(job_resume(job));
        }
        if (s->cancelled_ns && sim_now(s->w.sim) - s->cancelled_ns > NS_PER_SEC)
            break;
    }
    if (live_job(s) && world_ok(&s->w))
        world_fail(&s->w, "the job is still %s%s", job_status_name(live_job(s)->status),
                   s->cancelled_ns ? " a second after cancel" : "");
}

/* Compares a node's content with one number per sector (NULL: the oracle's current ones). */
static void compare(struct scenario *s, struct node *node, const uint32_t *numbers,
                    const char *what)
{
    struct edge *edge = world_edge(&s->w, node, PERM_CONSISTENT_READ, PERM_ALL);
    uint8_t *buf = xmalloc(s->plan.size), expected[ORACLE_SECTOR];

    if (edge && world_io(&s->w, edge, REQ_READ, 0, s->plan.size, buf) != 0)
        world_fail(&s->w, "%s cannot be read", what);
    for (uint64_t i = 0; edge && world_ok(&s->w) && i < s->plan.size / ORACLE_SECTOR; i++) {
        uint32_t number = numbers ? numbers[i] : oracle_current(&s->oracle, i), found;

        oracle_fill(number, i * ORACLE_SECTOR, expected, ORACLE_SECTOR);
        oracle_identify(buf + i * ORACLE_SECTOR, i * ORACLE_SECTOR, &found);
        if (memcmp(buf + i * ORACLE_SECTOR, expected, ORACLE_SECTOR) != 0)
            world_fail(&s->w, "%s: sector %" PRIu64 " holds write %u, not %u", what, i, found,
                       number);
    }
    if (edge)
        edge_detach(edge);
    xfree(buf);
}

/* How many requests of the guest the planned fault may have cost. */
static uint64_t errors_allowed(const struct scenario *s)
{
    switch (s->plan.ending) {
    case END_SOURCE_ERROR: return 1;
    case END_TARGET_ERROR:
        /* Copy-before-write fails the guest's write rather than the backup; a mirror met it after the pivot. */
        return !s->plan.mirror || s->pivoted ? 1 : 0;
    case END_WELL:
    case END_CANCEL:
    case END_STALLED_CANCEL:
    case ENDING_COUNT: break;
    }
    return 0;
}

static void verify(struct scenario *s)
{
    bool well = s->w.completed > 0;

    if (s->guest.failure[0])
        world_fail(&s->w, "%s", s->guest.failure);
    if (s->guest.errors > errors_allowed(s))
        world_fail(&s->w, "%" PRIu64 " requests of the guest failed", s->guest.errors);
    if (s->plan.ending == END_WELL && !well)
        world_fail(&s->w, "the job did not succeed");
    if (well && s->plan.mirror && s->guest.errors == 0)
        compare(s, s->target, NULL, "the mirror");
    if (well && !s->plan.mirror)
        compare(s, s->target, s->snapshot, "the backup");
    if (!s->pivoted && s->guest.errors == 0)
        compare(s, s->source, NULL, "the source");
    if (world_ok(&s->w))
        world_check(&s->w, s->source);
    if (world_ok(&s->w) && well)
        world_check(&s->w, s->target);
}

static void play(struct scenario *s)
{
    guest_init(&s->guest, rng_u64(&s->rng), s->guest_edge, &s->oracle,
               40 + rng_below(&s->rng, 160));
    s->guest.left /= 2;
    guest_start(&s->guest);
    quiet_guest(s);
    take_snapshot(s);
    if (world_ok(&s->w))
        start_job(s);
    s->guest.left = 20 + rng_below(&s->rng, 150);
    guest_start(&s->guest);
    run_job(s);
    sim_fault_clear(s->w.sim);
    sim_release(s->w.sim, NULL);
    quiet_guest(s);
    if (world_ok(&s->w))
        verify(s);
    guest_fini(&s->guest);
    if (world_ok(&s->w))
        edge_detach(s->guest_edge);
}

bool scenario_run(uint64_t seed, struct scenario_counts *counts, uint64_t *hash, char *failure,
                  size_t failure_len)
{
    struct scenario s = { .counts = counts };
    struct sim_options options = { .seed = seed, .split_streams = true };

    rng_init(&s.rng, seed);
    options.short_io_per_mille = (rng_chance(&s.rng, 1, 2) && !getenv("NOSHORT")) ? 20 : 0;
    choose(&s);
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
    snprintf(failure, failure_len, "%s", s.w.failure);
    return world_ok(&s.w);
}
