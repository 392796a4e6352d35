/*
 * Stream and commit under random guest writes, on qcow2 images in memory whose requests end in seeded random order.
 *
 * The oracle is what the guest wrote: whatever becomes of the layers, the disk that it sees must stay the same, and in
 * the end the layers that a job took out must not be needed for it.
 */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/rng.h"
#include "emu/jobs/block/commit.h"
#include "emu/jobs/block/stream.h"
#include "emu/jobs/job_verbs.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

#define DISK_SIZE (UINT64_C(4) << 20)
#define SECTOR    512
#define LAYERS    4
#define GUEST_OPS 6

static const char *const names[LAYERS] = { "base", "mid", "top", "active" };

struct guest_op {
    struct req req;
    struct iovec iov;
    uint8_t buf[16 * SECTOR];
    bool busy;
};

struct world {
    struct test_world tw;
    struct jobs jobs;
    struct rng rng;
    struct node *layers[LAYERS];
    struct edge *guest;
    struct guest_op ops[GUEST_OPS];
    uint8_t *model;
    struct block_job *bj;
    struct err *err;
    bool made, concluded, ready;
    char *error; /* Of the job that concluded; owned. */
    struct notifier notifier;
};

static void job_told(struct notifier *notifier, void *data)
{
    struct world *w = container_of(notifier, struct world, notifier);
    const struct job_event *event = data;

    if (event->kind == JOB_EVENT_READY)
        w->ready = true;
    if (event->kind == JOB_EVENT_STATUS && event->job->status == JOB_CONCLUDED) {
        w->concluded = true;
        xfree(w->error);
        w->error = event->job->error ? xstrdup(err_text(event->job->error)) : NULL;
    }
}

static const struct edge_parent_ops guest_ops = { .what = "guest" };

/* Four layers; each but the lowest holds some of the disk, and some of it nobody holds. */
static struct world *world_new(uint64_t seed)
{
    struct world *w = NEW(struct world);

    rng_init(&w->rng, seed);
    test_world_init(&w->tw, seed);
    jobs_init(&w->jobs, w->tw.reactor);
    w->notifier.fn = job_told;
    notifier_add(&w->jobs.on_event, &w->notifier);
    w->model = xcalloc(1, DISK_SIZE);
    for (int i = 0; i < LAYERS; i++) {
        CLEANUP(xfree) char *options = NULL;
        struct edge *edge;

        REQUIRE_OK(test_create(&w->tw, names[i],
                               i ? "'size':4194304,'backing-file':'x','backing-fmt':'qcow2'"
                                 : "'size':4194304"));
        options = i ? xasprintf("'backing':'%s'", names[i - 1]) : xstrdup("'backing':null");
        REQUIRE_OK(
            test_open(&w->tw, names[i], names[i], options, NODE_OPEN_MONITOR, &w->layers[i]));
        edge = test_edge(&w->tw, w->layers[i]);
        for (int n = 0; n < 12; n++) {
            const uint64_t len = rng_between(&w->rng, 1, 200) * SECTOR;
            const uint64_t off = rng_below(&w->rng, (DISK_SIZE - len) / SECTOR) * SECTOR;

            memset(w->model + off, 16 * (i + 1) + n, len);
            EXPECT_EQ(test_io(&w->tw, edge, REQ_WRITE, 0, off, len, w->model + off), 0);
        }
        edge_detach(edge);
    }
    REQUIRE_OK(edge_attach(w->layers[LAYERS - 1], "root", &guest_ops, w,
                           PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL, &w->guest));
    return w;
}

static void guest_done(struct req *req)
{
    struct guest_op *op = container_of(req, struct guest_op, req);

    EXPECT_EQ(req->result, 0);
    op->busy = false;
}

/* Writes where no other write is under way, so that the model is never in doubt. */
static void guest_write(struct world *w)
{
    const uint64_t len = rng_between(&w->rng, 1, 16) * SECTOR;
    const uint64_t off = rng_below(&w->rng, (DISK_SIZE - len) / SECTOR) * SECTOR;
    struct guest_op *op = NULL;

    for (int i = 0; i < GUEST_OPS; i++) {
        const struct req *req = &w->ops[i].req;

        if (!w->ops[i].busy)
            op = &w->ops[i];
        else if (req->offset < off + len && off < req->offset + req->len)
            return;
    }
    if (!op)
        return;
    memset(op->buf, (int)rng_below(&w->rng, 256), len);
    memcpy(w->model + off, op->buf, len);
    op->busy = true;
    op->iov = (struct iovec){ op->buf, len };
    req_submit_part(&op->req, w->guest, REQ_WRITE, 0, off, len, iov_view(&op->iov, 1), guest_done);
}

static bool guest_is_busy(const struct world *w)
{
    for (int i = 0; i < GUEST_OPS; i++) {
        if (w->ops[i].busy)
            return true;
    }
    return false;
}

/* Runs until *flag, with guest writes between steps. */
static void run_until(struct world *w, const bool *flag)
{
    for (int i = 0; i < 2000000 && !*flag; i++) {
        if (rng_chance(&w->rng, 1, 20))
            guest_write(w);
        sim_step(w->tw.sim);
    }
    REQUIRE(*flag);
}

static void check_disk(struct world *w)
{
    uint8_t *seen = xcalloc(1, DISK_SIZE);

    for (int i = 0; i < 1000000 && guest_is_busy(w); i++)
        sim_step(w->tw.sim);
    EXPECT_EQ(test_io(&w->tw, w->guest, REQ_READ, 0, 0, DISK_SIZE, seen), 0);
    EXPECT(memcmp(seen, w->model, DISK_SIZE) == 0);
    xfree(seen);
}

static void idle(void *arg) { *(bool *)arg = true; }

static void world_free(struct world *w)
{
    bool done = false;

    jobs_cancel_all(&w->jobs, idle, &done);
    REQUIRE(test_wait(&w->tw, &done));
    sim_run(w->tw.sim, 100000);
    edge_detach(w->guest);
    notifier_remove(&w->notifier);
    jobs_fini(&w->jobs);
    test_world_fini(&w->tw);
    xfree(w->error);
    xfree(w->model);
    xfree(w);
}

static void job_made(void *arg, struct block_job *bj, struct err *err)
{
    struct world *w = arg;

    w->bj = bj;
    w->err = err;
    w->made = true;
    if (bj)
        job_start(&bj->job);
}

static void start_stream(struct world *w, const struct stream_params *more)
{
    struct stream_params params = *more;

    params.job.id = "j";
    w->made = w->concluded = w->ready = false;
    stream_new(&w->jobs, &params, job_made, w);
    REQUIRE(test_wait(&w->tw, &w->made));
}

static void start_commit(struct world *w, const struct commit_params *more)
{
    struct commit_params params = *more;

    params.job.id = "j";
    w->made = w->concluded = w->ready = false;
    commit_new(&w->jobs, &params, job_made, w);
    REQUIRE(test_wait(&w->tw, &w->made));
}

/* ---- Tests ---- */

static void stream_keeps_what_the_guest_sees(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = world_new(seed);
        const char *const bases[] = { NULL, "base", "mid" };
        const char *base = bases[seed % 3];

        start_stream(w, &(struct stream_params){ .top = w->layers[3], .base_node = base });
        REQUIRE_OK(w->err);
        run_until(w, &w->concluded);
        EXPECT(!w->error);
        EXPECT((base ? w->layers[3]->backing->node == graph_find(w->tw.graph, base)
                     : !w->layers[3]->backing));
        check_disk(w);
        world_free(w);
    }
}

static void stream_below_the_guest_keeps_what_it_sees(void)
{
    struct world *w = world_new(77);

    start_stream(w, &(struct stream_params){ .top = w->layers[2], .base_node = "base" });
    REQUIRE_OK(w->err);
    run_until(w, &w->concluded);
    EXPECT(!w->error);
    EXPECT(w->layers[2]->backing->node == w->layers[0]);
    check_disk(w);
    world_free(w);
}

static void commit_keeps_what_the_guest_sees(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = world_new(seed);
        const char *base = seed % 2 ? "base" : "mid";

        start_commit(w, &(struct commit_params){
                            .device = w->layers[3], .top_node = "top", .base_node = base });
        REQUIRE_OK(w->err);
        run_until(w, &w->concluded);
        EXPECT(!w->error);
        EXPECT(w->layers[3]->backing->node == graph_find(w->tw.graph, base));
        check_disk(w);
        world_free(w);
    }
}

static void active_commit_moves_the_guest(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = world_new(seed);

        start_commit(w, &(struct commit_params){ .device = w->layers[3] });
        REQUIRE_OK(w->err);
        run_until(w, &w->ready);
        EXPECT_OK(job_complete(&w->bj->job));
        run_until(w, &w->concluded);
        EXPECT(!w->error);
        EXPECT(w->guest->node == w->layers[0]);
        check_disk(w);
        world_free(w);
    }
}

static void cancelled_jobs_leave_the_chain(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = world_new(seed);

        if (seed % 2)
            start_stream(w, &(struct stream_params){ .top = w->layers[3] });
        else
            start_commit(w, &(struct commit_params){ .device = w->layers[3], .top_node = "top" });
        REQUIRE_OK(w->err);
        for (uint64_t i = 0; i < seed * 20 && !w->concluded; i++)
            sim_step(w->tw.sim);
        if (!w->concluded)
            EXPECT_OK(job_cancel(&w->bj->job, JOB_CANCEL_FORCE));
        run_until(w, &w->concluded);
        if (w->error)
            EXPECT(w->layers[3]->backing->node == w->layers[2]);
        check_disk(w);
        world_free(w);
    }
}

static void a_stream_that_cannot_read_fails_or_skips(void)
{
    for (int ignore = 0; ignore < 2; ignore++) {
        struct world *w = world_new(5);
        struct test_disk *disk = test_disk(&w->tw, "base");

        start_stream(w, &(struct stream_params){ .top = w->layers[3],
                                                 .on_error = ignore ? JOB_ON_ERROR_IGNORE
                                                                    : JOB_ON_ERROR_REPORT });
        REQUIRE_OK(w->err);
        disk->fail_nth = disk->ops + 2;
        disk->fail_error = EIO;
        REQUIRE(test_wait(&w->tw, &w->concluded));
        EXPECT_STR(w->error, "Input/output error");
        EXPECT(w->layers[3]->backing->node == w->layers[2]);
        check_disk(w);
        world_free(w);
    }
}

TEST_LIST(TEST(stream_keeps_what_the_guest_sees), TEST(stream_below_the_guest_keeps_what_it_sees),
          TEST(commit_keeps_what_the_guest_sees), TEST(active_commit_moves_the_guest),
          TEST(cancelled_jobs_leave_the_chain), TEST(a_stream_that_cannot_read_fails_or_skips));
