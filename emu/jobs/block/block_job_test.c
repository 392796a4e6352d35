/*
 * Mirror and backup under random guest writes, on disks in memory that are slow, fail and hang by seed.
 *
 * The oracle is a model of what the guest wrote and saw acknowledged: the jobs have no part in it. The disks apply
 * the data themselves, at a random time between start and end of a write.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"
#include "emu/base/nstime.h"
#include "emu/base/rng.h"
#include "emu/jobs/block/backup.h"
#include "emu/jobs/block/mirror.h"
#include "emu/jobs/job_verbs.h"
#include "emu/reactor/sim.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/driver.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

#define DISK_SIZE   (UINT64_C(1) << 20)
#define SECTOR_SIZE 512
#define GUEST_OPS   16

/* ---- A disk in memory ---- */

struct disk {
    uint8_t data[DISK_SIZE];
    struct list pending; /* struct disk_op. */
    unsigned fail_per_mille;
    int error;
    uint64_t fail_left; /* So many errors at most. */
    bool stalled;
    uint64_t writes; /* Applied. */
};

struct disk_op {
    struct timer timer;
    struct req *req;
    struct disk *disk;
    struct list link;
    bool applied;
};

static struct disk *disk_next;
static struct rng disk_rng;

struct disk_node {
    struct disk *disk;
};

static void disk_apply(struct disk_op *op)
{
    struct req *req = op->req;
    struct disk *disk = op->disk;

    op->applied = true;
    if (req->kind == REQ_WRITE)
        iov_copy_from(req->data, req->len, disk->data + req->offset);
    else if (req->kind == REQ_ZERO)
        memset(disk->data + req->offset, 0, req->len);
    else
        return;
    disk->writes++;
}

static void disk_op_done(struct timer *timer)
{
    struct disk_op *op = container_of(timer, struct disk_op, timer);
    struct disk *disk = op->disk;
    struct req *req = op->req;
    int result = 0;

    list_del(&op->link);
    if (!op->applied && req->kind != REQ_FLUSH && disk->fail_left > 0 &&
        rng_chance(&disk_rng, disk->fail_per_mille, 1000)) {
        disk->fail_left--;
        result = disk->error;
    } else if (!op->applied) {
        disk_apply(op);
    }
    if (req->kind == REQ_READ && result == 0)
        iov_copy_to(req->data, req->len, disk->data + req->offset);
    if (req->kind == REQ_STATUS)
        req->status = (struct req_status){ .flags = STATUS_DATA, .len = req->len };
    req_complete(req, result);
}

static void disk_submit(struct node *node, struct req *req)
{
    struct disk_op *op = req->ctx;
    struct disk_node *state = node->state;
    struct reactor *r = graph_reactor(node->graph);

    *op = (struct disk_op){ .req = req, .disk = state->disk, .timer = { .fn = disk_op_done } };
    list_add_tail(&op->disk->pending, &op->link);
    if (op->disk->stalled)
        return;
    if (op->disk->fail_per_mille == 0 && rng_chance(&disk_rng, 1, 3))
        disk_apply(op);
    timer_arm(r, &op->timer, reactor_now(r) + (int64_t)rng_between(&disk_rng, 1, 3000) * NS_PER_US);
}

static void disk_release(struct disk *disk, struct reactor *r)
{
    disk->stalled = false;
    list_for_each(op, &disk->pending, struct disk_op, link)
        if (!op->timer.armed)
            timer_arm(r, &op->timer, reactor_now(r) + 1000);
}

static void disk_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                      void *arg)
{
    struct disk_node *state = node->state;

    (void)opts;
    (void)flags;
    state->disk = disk_next;
    node->size = DISK_SIZE;
    node->limits.request_alignment = SECTOR_SIZE;
    done(arg, NULL);
}

static const struct driver driver_disk = {
    .name = "disk",
    .is_protocol = true,
    .state_size = sizeof(struct disk_node),
    .req_size = sizeof(struct disk_op),
    .open = disk_open,
    .submit = disk_submit,
};

static const struct driver *const test_drivers[] = { &driver_disk, NULL };

/* ---- The guest ---- */

struct guest_op {
    struct req req;
    struct iovec iov;
    uint8_t buf[8 * SECTOR_SIZE];
    bool busy;
};

struct world {
    struct sim *sim;
    struct reactor *reactor;
    struct graph *graph;
    struct jobs jobs;
    struct notifier notifier;
    struct rng rng;
    struct disk *source_disk, *target_disk;
    struct node *source, *target;
    struct edge *guest;
    struct guest_op ops[GUEST_OPS];
    uint8_t *model;    /* What the guest would read; in doubt for ops in flight. */
    uint8_t *snapshot; /* The model when the job was made. */
    bool doubt[DISK_SIZE / SECTOR_SIZE];
    unsigned guest_errors;
    bool is_mirror;
    bool completed, cancelled, failed, concluded;
    unsigned ends;
    bool auto_resume;
    enum job_status status;
};

static struct world *the_world;

static void guest_done(struct req *req)
{
    struct guest_op *op = container_of(req, struct guest_op, req);

    op->busy = false;
    if (req->result < 0)
        the_world->guest_errors++;
}

static bool guest_overlaps(struct world *w, uint64_t off, uint64_t len)
{
    for (int i = 0; i < GUEST_OPS; i++) {
        const struct req *req = &w->ops[i].req;

        if (w->ops[i].busy && req->offset < off + len && off < req->offset + req->len)
            return true;
    }
    return false;
}

static void guest_write(struct world *w)
{
    const uint64_t off = rng_below(&w->rng, DISK_SIZE / SECTOR_SIZE - 8) * SECTOR_SIZE;
    const uint64_t len = rng_between(&w->rng, 1, 8) * SECTOR_SIZE;

    if (guest_overlaps(w, off, len))
        return;
    for (int i = 0; i < GUEST_OPS; i++) {
        struct guest_op *op = &w->ops[i];

        if (op->busy)
            continue;
        rng_fill(&w->rng, op->buf, len);
        op->iov = (struct iovec){ op->buf, len };
        op->req = (struct req){ .kind = rng_chance(&w->rng, 1, 6) ? REQ_ZERO : REQ_WRITE,
                                .offset = off,
                                .len = len,
                                .data = iov_view(&op->iov, 1),
                                .done = guest_done };
        op->busy = true;
        if (op->req.kind == REQ_ZERO)
            memset(w->model + off, 0, len);
        else
            memcpy(w->model + off, op->buf, len);
        edge_submit(w->guest, &op->req);
        return;
    }
}

static bool guest_idle(const struct world *w)
{
    for (int i = 0; i < GUEST_OPS; i++) {
        if (w->ops[i].busy)
            return false;
    }
    return true;
}

/* ---- The world ---- */

static void opened(void *arg, struct node *node, struct err *err)
{
    REQUIRE_OK(err);
    *(struct node **)arg = node;
}

static struct node *open_disk(struct world *w, const char *name, struct disk **out)
{
    CLEANUP(json_free) struct json *options = json_object();
    struct node *node = NULL;

    *out = disk_next = NEW(struct disk);
    list_init(&disk_next->pending);
    json_object_set_str(options, "driver", "disk");
    json_object_set_str(options, "node-name", name);
    node_open(w->graph, options, NODE_OPEN_MONITOR, opened, &node);
    sim_run(w->sim, 1000);
    REQUIRE(node);
    return node;
}

/* At the successful end the target has what it must have. */
static void check_target(struct world *w)
{
    const uint8_t *target = w->target_disk->data;

    for (uint64_t s = 0; s < DISK_SIZE; s += SECTOR_SIZE) {
        if (w->is_mirror) {
            EXPECT_MSG(memcmp(target + s, w->source_disk->data + s, SECTOR_SIZE) == 0,
                       "mirror differs at sector %llu", (unsigned long long)(s / SECTOR_SIZE));
        } else if (!w->doubt[s / SECTOR_SIZE]) {
            EXPECT_MSG(memcmp(target + s, w->snapshot + s, SECTOR_SIZE) == 0,
                       "backup differs at sector %llu", (unsigned long long)(s / SECTOR_SIZE));
        }
        if (test_has_failed())
            return;
    }
}

static void world_event(struct notifier *n, void *data)
{
    struct world *w = container_of(n, struct world, notifier);
    const struct job_event *event = data;

    switch (event->kind) {
    case JOB_EVENT_COMPLETED:
        w->completed = !event->job->error;
        w->failed = event->job->error != NULL;
        w->ends++;
        break;
    case JOB_EVENT_CANCELLED:
        w->cancelled = true;
        w->ends++;
        break;
    case JOB_EVENT_STATUS:
        /* The pivot is part of what follows: look before guests go on. */
        if (event->job->status == JOB_PENDING && !test_has_failed())
            check_target(w);
        w->status = event->job->status;
        w->concluded |= event->job->status == JOB_CONCLUDED;
        break;
    case JOB_EVENT_READY:
    case JOB_EVENT_PENDING:
    case JOB_EVENT_ERROR: break;
    }
}

static struct world *world_new(uint64_t seed)
{
    struct world *w = NEW(struct world);

    the_world = w;
    w->sim = sim_new(&(struct sim_options){ .seed = seed });
    w->reactor = sim_reactor_new(w->sim);
    w->graph = graph_new(w->reactor, test_drivers);
    jobs_init(&w->jobs, w->reactor);
    w->notifier.fn = world_event;
    notifier_add(&w->jobs.on_event, &w->notifier);
    rng_init(&w->rng, seed);
    rng_init(&disk_rng, seed + 1);
    w->source = open_disk(w, "src", &w->source_disk);
    w->target = open_disk(w, "tgt", &w->target_disk);
    w->model = xmalloc(DISK_SIZE);
    w->snapshot = xmalloc(DISK_SIZE);
    rng_fill(&w->rng, w->source_disk->data, DISK_SIZE);
    memcpy(w->model, w->source_disk->data, DISK_SIZE);
    REQUIRE_OK(edge_attach(w->source, "root", NULL, NULL, PERM_CONSISTENT_READ | PERM_WRITE,
                           PERM_ALL, &w->guest));
    sim_run(w->sim, 1000);
    return w;
}

static void set_done(void *arg, struct err *err)
{
    EXPECT_OK(err);
    *(bool *)arg = true;
}

static void world_free(struct world *w)
{
    bool done = false;

    EXPECT(sim_run(w->sim, 1000000));
    EXPECT_EQ(w->jobs.live, 0);
    edge_detach(w->guest);
    graph_close_all(w->graph, set_done, &done);
    EXPECT(sim_run(w->sim, 1000000));
    EXPECT(done);
    graph_free(w->graph);
    jobs_fini(&w->jobs);
    reactor_free(w->reactor);
    sim_free(w->sim);
    xfree(w->source_disk);
    xfree(w->target_disk);
    xfree(w->model);
    xfree(w->snapshot);
    xfree(w);
}

static void take_snapshot(struct world *w)
{
    memcpy(w->snapshot, w->model, DISK_SIZE);
    for (int i = 0; i < GUEST_OPS; i++) {
        const struct req *req = &w->ops[i].req;

        for (uint64_t s = 0; w->ops[i].busy && s < req->len; s += SECTOR_SIZE)
            w->doubt[(req->offset + s) / SECTOR_SIZE] = true;
    }
}

static struct block_job *start_backup(struct world *w, enum job_on_error policy)
{
    struct block_job *bj;

    REQUIRE_OK(backup_new(&w->jobs,
                          &(struct backup_params){ .job = { .id = "j" },
                                                   .source = w->source,
                                                   .target = w->target,
                                                   .max_chunk = { true, 65536 },
                                                   .max_workers = { true, 3 },
                                                   .sync = SYNC_FULL,
                                                   .on_source_error = policy,
                                                   .on_target_error = policy },
                          &bj));
    take_snapshot(w);
    launch_start_held(bj);
    launch_let_go(bj);
    return bj;
}

static struct block_job *start_mirror(struct world *w, enum job_on_error policy,
                                      enum mirror_copy_mode mode)
{
    struct block_job *bj;

    w->is_mirror = true;
    REQUIRE_OK(mirror_new(&w->jobs,
                          &(struct mirror_params){ .job = { .id = "j" },
                                                   .source = w->source,
                                                   .target = w->target,
                                                   .sync = SYNC_FULL,
                                                   .granularity = 512,
                                                   .buf_size = 65536,
                                                   .on_source_error = policy,
                                                   .on_target_error = policy,
                                                   .copy_mode = mode },
                          &bj));
    job_start(&bj->job);
    return bj;
}

/* The guest's data is intact, wherever the guest is now. */
static void check_guest(struct world *w)
{
    const struct disk *disk = w->guest->node == w->target ? w->target_disk : w->source_disk;

    EXPECT(sim_run(w->sim, 1000000));
    EXPECT(guest_idle(w));
    if (w->guest_errors == 0)
        EXPECT_MSG(memcmp(disk->data, w->model, DISK_SIZE) == 0, "the guest lost data");
}

enum ending { END_NORMAL, END_CANCEL, END_SOFT };

static void run_job(struct world *w, enum ending ending, int writes)
{
    const int64_t give_up = sim_now(w->sim) + 600 * NS_PER_SEC;
    uint64_t cancel_at = sim_events(w->sim) + rng_below(&w->rng, 2500);
    int64_t cancelled_ns = 0;
    int idle = 0;
    /* Bursts keep copies busy; a trickle lets the job catch up with writes still in flight. */
    const uint32_t rate = rng_chance(&w->rng, 1, 2) ? 2 : 12;

    while (!w->concluded && sim_now(w->sim) < give_up && !test_has_failed()) {
        struct job *job = map_get(&w->jobs.by_id, "j");

        for (; writes > 0 && rng_chance(&w->rng, 1, rate); writes--)
            guest_write(w);
        if (job && rng_chance(&w->rng, 1, 50))
            job_kick(job);
        if (job && rng_chance(&w->rng, 1, 200))
            err_free(job_pause(job));
        else if (job && job->user_paused && rng_chance(&w->rng, 1, 10))
            err_free(job_resume(job));
        if (ending == END_CANCEL && !cancelled_ns && sim_events(w->sim) >= cancel_at) {
            cancelled_ns = sim_now(w->sim);
            err_free(job_cancel(job, JOB_CANCEL_FORCE));
        } else if (job && job->status == JOB_READY && writes < 200 && !job->complete_requested &&
                   ending != END_CANCEL) {
            err_free(ending == END_SOFT ? job_cancel_block(job, JOB_CANCEL_SOFT)
                                        : job_complete(job));
        }
        if (sim_step(w->sim)) {
            idle = 0;
            continue;
        }
        cancel_at = 0;
        if (++idle > 5000)
            TEST_FAIL("the job hangs in state %s, %u in flight, %u aside",
                      job_status_name(w->status), job ? job->inflight : 0, job ? job->aside : 0);
    }
    EXPECT(w->concluded);
    EXPECT_EQ(w->ends, 1);
    if (cancelled_ns)
        EXPECT_LE(sim_now(w->sim) - cancelled_ns, NS_PER_SEC);
    while (writes-- > 0)
        guest_write(w);
    check_guest(w);
}

/* ---- Tests ---- */

static void backup_holds_the_moment_of_its_start(void)
{
    for (uint64_t seed = 1; seed <= 150 && !test_has_failed(); seed++) {
        struct world *w = world_new(seed);

        test_note("seed %llu", (unsigned long long)seed);
        guest_write(w);
        guest_write(w);
        start_backup(w, JOB_ON_ERROR_REPORT);
        run_job(w, END_NORMAL, 600);
        EXPECT(w->completed);
        EXPECT_EQ(w->guest_errors, 0);
        world_free(w);
    }
}

static void mirror_equals_its_source(void)
{
    for (uint64_t seed = 1; seed <= 150 && !test_has_failed(); seed++) {
        struct world *w = world_new(seed);
        struct block_job *bj;

        test_note("seed %llu", (unsigned long long)seed);
        guest_write(w);
        guest_write(w);
        bj = start_mirror(w, JOB_ON_ERROR_REPORT,
                          seed % 3 == 0 ? MIRROR_WRITE_BLOCKING : MIRROR_BACKGROUND);
        if (seed % 3 == 1) {
            for (int i = 0; i < 30; i++) {
                guest_write(w);
                sim_step(w->sim);
            }
            EXPECT_OK(mirror_change(&bj->job, MIRROR_WRITE_BLOCKING));
        }
        run_job(w, seed % 2 ? END_NORMAL : END_SOFT, 600);
        EXPECT(w->completed);
        EXPECT_EQ(w->guest_errors, 0);
        EXPECT(w->guest->node == (seed % 2 ? w->target : w->source));
        world_free(w);
    }
}

static void jobs_survive_errors_by_their_policy(void)
{
    static const enum job_on_error policies[] = { JOB_ON_ERROR_REPORT, JOB_ON_ERROR_IGNORE,
                                                  JOB_ON_ERROR_STOP, JOB_ON_ERROR_ENOSPC };

    for (uint64_t seed = 1; seed <= 160 && !test_has_failed(); seed++) {
        struct world *w = world_new(seed);
        struct disk *bad = seed & 4 ? w->source_disk : w->target_disk;
        const enum job_on_error policy = policies[seed & 3];

        test_note("seed %llu", (unsigned long long)seed);
        bad->fail_per_mille = 100;
        bad->error = policy == JOB_ON_ERROR_ENOSPC ? -ENOSPC : -EIO;
        bad->fail_left = 5;
        if (seed & 8)
            start_backup(w, policy);
        else
            start_mirror(w, policy, seed & 16 ? MIRROR_WRITE_BLOCKING : MIRROR_BACKGROUND);
        run_job(w, END_NORMAL, 60);
        if (policy != JOB_ON_ERROR_REPORT)
            EXPECT(w->completed);
        world_free(w);
    }
}

static void cancel_leaves_the_guest_alone(void)
{
    for (uint64_t seed = 1; seed <= 200 && !test_has_failed(); seed++) {
        struct world *w = world_new(seed);

        test_note("seed %llu", (unsigned long long)seed);
        if (seed & 1)
            start_backup(w, JOB_ON_ERROR_REPORT);
        else
            start_mirror(w, JOB_ON_ERROR_REPORT,
                         seed & 2 ? MIRROR_WRITE_BLOCKING : MIRROR_BACKGROUND);
        run_job(w, END_CANCEL, 200);
        EXPECT(w->completed || w->cancelled);
        EXPECT_EQ(w->guest_errors, 0);
        EXPECT(w->guest->node == w->source || w->completed);
        world_free(w);
    }
}

/* The target hangs for good in the middle; guests that wait for it are let go by the cancel. */
static void cancel_with_a_frozen_target(void)
{
    for (uint64_t seed = 1; seed <= 100 && !test_has_failed(); seed++) {
        struct world *w = world_new(seed);
        uint64_t applied;
        int64_t start;

        test_note("seed %llu", (unsigned long long)seed);
        if (seed & 1)
            start_backup(w, JOB_ON_ERROR_REPORT);
        else
            start_mirror(w, JOB_ON_ERROR_REPORT,
                         seed & 2 ? MIRROR_WRITE_BLOCKING : MIRROR_BACKGROUND);
        for (uint64_t i = rng_below(&w->rng, 60); i > 0; i--) {
            guest_write(w);
            sim_step(w->sim);
        }
        w->target_disk->stalled = true;
        for (int i = 0; i < 50; i++) {
            guest_write(w);
            sim_step(w->sim);
        }
        sim_run_for(w->sim, NS_PER_SEC);
        if (w->concluded) { /* It was quicker. */
            disk_release(w->target_disk, w->reactor);
            check_guest(w);
            world_free(w);
            continue;
        }
        start = sim_now(w->sim);
        err_free(job_cancel(map_get(&w->jobs.by_id, "j"), JOB_CANCEL_FORCE));
        sim_run(w->sim, 100000);
        EXPECT(w->concluded && w->ends == 1);
        EXPECT_LE(sim_now(w->sim) - start, NS_PER_SEC);
        check_guest(w); /* All guest writes were answered, with the target still frozen. */
        EXPECT_EQ(w->guest_errors, 0);
        applied = w->target_disk->writes;
        list_for_each(op, &w->target_disk->pending, struct disk_op, link)
            op->applied = true;
        disk_release(w->target_disk, w->reactor); /* The late completions. */
        sim_run(w->sim, 100000);
        EXPECT_EQ(w->target_disk->writes, applied);
        check_guest(w);
        world_free(w);
    }
}

static void bitmap_follows_the_outcome(void)
{
    for (int cancel = 0; cancel < 2; cancel++) {
        struct world *w = world_new(7);
        struct bitmap *bitmap;
        struct block_job *bj;

        REQUIRE_OK(bitmap_add(w->source, "b0", 65536, false, false, &bitmap));
        bitmap_set(bitmap, 65536, 131072);
        memcpy(w->target_disk->data, w->source_disk->data, DISK_SIZE);
        REQUIRE_OK(backup_new(&w->jobs,
                              &(struct backup_params){ .job = { .id = "j" },
                                                       .source = w->source,
                                                       .target = w->target,
                                                       .sync = SYNC_INCREMENTAL,
                                                       .bitmap = "b0" },
                              &bj));
        EXPECT_EQ(bj->job.progress.total, 131072);
        take_snapshot(w);
        job_start(&bj->job);
        run_job(w, cancel ? END_CANCEL : END_NORMAL, 0);
        EXPECT_EQ(hbitmap_count(bitmap->map), w->completed ? 0 : 131072);
        EXPECT(!bitmap->busy);
        world_free(w);
    }
}

static void refusals_have_the_known_texts(void)
{
    struct world *w = world_new(3);
    struct backup_params b = {
        .job = { .id = "j" }, .source = w->source, .target = w->source, .sync = SYNC_FULL
    };
    struct mirror_params m = { .job = { .id = "j" }, .source = w->source, .target = w->source };
    struct block_job *bj;

    EXPECT_ERR(backup_new(&w->jobs, &b, &bj), "Source and target cannot be the same");
    b.target = w->target;
    b.sync = SYNC_BITMAP;
    EXPECT_ERR(backup_new(&w->jobs, &b, &bj),
               "must provide a valid bitmap name for 'bitmap' sync mode");
    b.bitmap = "zz";
    EXPECT_ERR(backup_new(&w->jobs, &b, &bj), "Bitmap 'zz' could not be found");
    b.bitmap = NULL;
    b.sync = SYNC_FULL;
    b.speed = -1;
    EXPECT_ERR(backup_new(&w->jobs, &b, &bj), "Parameter 'speed' expects a non-negative value");
    b.speed = 0;
    b.filter_name = "1x";
    EXPECT_ERR(backup_new(&w->jobs, &b, &bj), "Could not create node: Invalid node-name: '1x'");
    EXPECT_ERR(mirror_new(&w->jobs, &m, &bj), "Can't mirror node into itself");
    m.target = w->target;
    m.granularity = 1000;
    EXPECT_ERR(mirror_new(&w->jobs, &m, &bj), "Parameter 'granularity' expects a power of 2");
    m.granularity = 256;
    EXPECT_ERR(mirror_new(&w->jobs, &m, &bj),
               "Parameter 'granularity' expects a value in range [512B, 64MB]");
    m.granularity = 0;
    m.sync = SYNC_BITMAP;
    EXPECT_ERR(mirror_new(&w->jobs, &m, &bj), "Sync mode 'bitmap' not supported");
    m.sync = SYNC_FULL;
    REQUIRE_OK(mirror_new(&w->jobs, &m, &bj));
    b.filter_name = NULL;
    b.job.id = "k";
    EXPECT_ERR(backup_new(&w->jobs, &b, &bj),
               "Node 'tgt' is busy: block device is in use by block job: mirror");
    EXPECT_OK(job_cancel(map_get(&w->jobs.by_id, "j"), JOB_CANCEL_FORCE));
    world_free(w);
}

static void status_done(struct req *req) { req->flags = 0; }

/* The source disk is one extent, and stays one when it is asked through the filter of a job. */
static void filters_pass_on_block_status(void)
{
    for (int mirror = 0; mirror < 2; mirror++) {
        struct world *w = world_new(11);
        struct req req = {
            .kind = REQ_STATUS, .flags = REQ_WANT_ZERO, .len = DISK_SIZE, .done = status_done
        };

        w->target_disk->stalled = true; /* The job stays. */
        if (mirror)
            start_mirror(w, JOB_ON_ERROR_REPORT, MIRROR_BACKGROUND);
        else
            start_backup(w, JOB_ON_ERROR_REPORT);
        edge_submit(w->guest, &req);
        while (req.flags && sim_step(w->sim)) {
        }
        EXPECT_EQ(req.flags, 0);
        EXPECT_EQ(req.result, 0);
        EXPECT_EQ(req.status.len, DISK_SIZE);
        EXPECT(req.status.flags & STATUS_DATA);
        disk_release(w->target_disk, w->reactor);
        err_free(job_cancel(map_get(&w->jobs.by_id, "j"), JOB_CANCEL_FORCE));
        world_free(w);
    }
}

TEST_LIST(TEST(backup_holds_the_moment_of_its_start), TEST(mirror_equals_its_source),
          TEST(jobs_survive_errors_by_their_policy), TEST(cancel_leaves_the_guest_alone),
          TEST(cancel_with_a_frozen_target), TEST(bitmap_follows_the_outcome),
          TEST(filters_pass_on_block_status), TEST(refusals_have_the_known_texts));
