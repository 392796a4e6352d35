/*
 * Our client against our server on the simulated reactor, whose streams split and delay bytes by seed:
 * random requests in flight together, compared with a disk in memory.
 */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/rng.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"
#include "tests/nbd/nbd_env.h"

enum { DISK = 1 << 20, SECTOR = 512, FLIGHT = 24, OPS = 400, LEN_MAX = 96 << 10 };

struct flight {
    struct req req;
    struct iovec iov[3];
    uint8_t *buf;
    bool busy;
    uint32_t completions;
    struct world *w;
};

struct world {
    struct nbd_env env;
    struct rng rng;
    struct edge *edge;
    uint8_t disk[DISK];
    struct flight flights[FLIGHT];
    unsigned started, busy, failed;
    bool all_done;
    bool expect_errors;
};

static bool overlaps(const struct world *w, uint64_t off, uint64_t len)
{
    for (unsigned i = 0; i < FLIGHT; i++)
        if (w->flights[i].busy &&
            ranges_overlap(off, len, w->flights[i].req.offset, w->flights[i].req.len))
            return true;
    return false;
}

static void start_one(struct world *w, struct flight *f);

static void flight_done(struct req *req)
{
    struct flight *f = container_of(req, struct flight, req);
    struct world *w = f->w;

    f->completions++;
    f->busy = false;
    w->busy--;
    if (req->result) {
        w->failed++;
        EXPECT_MSG(w->expect_errors, "request failed: %d", req->result);
    } else if (req->kind == REQ_READ) {
        EXPECT_MEM(f->buf, w->disk + req->offset, req->len);
    } else if (req->kind == REQ_WRITE) {
        memcpy(w->disk + req->offset, f->buf, req->len);
    } else if (req->kind == REQ_ZERO) {
        memset(w->disk + req->offset, 0, req->len);
    } else if (req->kind == REQ_STATUS) {
        EXPECT(req->status.len > 0 && req->status.len <= req->len);
        if (req->status.flags & STATUS_ZERO)
            EXPECT_MSG(mem_is_zero(w->disk + req->offset, req->status.len),
                       "offset %llu len %llu asked %llu: not zero", (unsigned long long)req->offset,
                       (unsigned long long)req->status.len, (unsigned long long)req->len);
    }
    if (w->started < OPS)
        start_one(w, f);
    else if (!w->busy)
        w->all_done = true;
}

static void start_one(struct world *w, struct flight *f)
{
    static const enum req_kind kinds[] = { REQ_READ, REQ_READ,  REQ_WRITE, REQ_WRITE,
                                           REQ_ZERO, REQ_FLUSH, REQ_STATUS };
    struct req *req = &f->req;
    uint64_t cut;

    memset(req, 0, sizeof(*req));
    w->started++;
    req->kind = kinds[rng_below(&w->rng, ARRAY_LEN(kinds))];
    do {
        req->len =
            (1 + rng_below(&w->rng, rng_chance(&w->rng, 1, 4) ? LEN_MAX / SECTOR : 8)) * SECTOR;
        req->offset = rng_below(&w->rng, (DISK - req->len) / SECTOR + 1) * SECTOR;
    } while (overlaps(w, req->offset, req->len));
    if (req->kind == REQ_WRITE) {
        rng_fill(&w->rng, f->buf, req->len);
        if (rng_chance(&w->rng, 1, 4))
            memset(f->buf, 0, req->len);
        req->flags = rng_chance(&w->rng, 1, 4) ? REQ_FUA : 0;
    } else {
        memset(f->buf, 0xa5, LEN_MAX);
    }
    if (req->kind == REQ_ZERO)
        req->flags = rng_chance(&w->rng, 1, 2) ? REQ_MAY_UNMAP : 0;
    if (req->kind == REQ_FLUSH)
        req->offset = req->len = 0;
    cut = req->len ? rng_below(&w->rng, req->len) : 0;
    f->iov[0] = (struct iovec){ f->buf, cut };
    f->iov[1] = (struct iovec){ f->buf + cut, req->len - cut };
    req->data = iov_view(f->iov, 2);
    req->done = flight_done;
    f->busy = true;
    w->busy++;
    edge_submit(w->edge, req);
}

static void world_init(struct world *w, uint64_t seed, bool split)
{
    struct sim_options options = { .seed = seed, .split_streams = split };

    memset(w, 0, sizeof(*w));
    test_note("seed %llu", (unsigned long long)seed);
    env_init_sim(&w->env, &options);
    rng_init(&w->rng, seed);
    sim_file_create(w->env.sim, "/disk", DISK);
    rng_fill(&w->rng, w->disk, DISK / 2);
    sim_file_poke(w->env.sim, "/disk", 0, w->disk, DISK / 2);
    env_open_ok(&w->env, "{'driver':'file','node-name':'disk','filename':'/disk'}");
    env_serve(&w->env, "/srv");
    env_export(&w->env, &(struct export_options){
                            .id = "e", .node_name = "disk", .name = "x", .writable = true });
    w->edge = env_attach(
        env_open_ok(
            &w->env,
            "{'driver':'nbd','node-name':'n','server':{'type':'unix','path':'/srv'},'export':'x'}"),
        true);
    for (unsigned i = 0; i < FLIGHT; i++) {
        w->flights[i].buf = xmalloc(LEN_MAX);
        w->flights[i].w = w;
    }
}

static void world_fini(struct world *w)
{
    edge_detach(w->edge);
    env_fini(&w->env);
    for (unsigned i = 0; i < FLIGHT; i++)
        xfree(w->flights[i].buf);
}

static void start_all(struct world *w)
{
    for (unsigned i = 0; i < FLIGHT; i++)
        start_one(w, &w->flights[i]);
}

static void random_requests_agree_with_a_model_disk(void)
{
    static struct world w;

    for (uint64_t seed = 1; seed <= 30 && !test_has_failed(); seed++) {
        world_init(&w, seed, seed % 2);
        start_all(&w);
        EXPECT(env_run_until(&w.env, &w.all_done));
        EXPECT_EQ(w.failed, 0);
        world_fini(&w);
    }
}

/* How a connection may end with requests in flight. */
enum end { END_RESET, END_STALL_FENCE, END_STALL_YANK, END_DELETE, END_COUNT };

static void deleted(void *arg, struct err *err)
{
    (void)arg;
    EXPECT_OK(err);
}

static void end_connection(struct world *w, enum end how)
{
    struct qapi_yank_instance_list list = { 0 };
    struct qapi_yank_instance *instance;

    if (how == END_STALL_FENCE || how == END_STALL_YANK) {
        sim_stream_stall(w->env.sim, "/srv", true);
        for (unsigned i = 0; i < 50; i++)
            sim_step(w->env.sim);
    }
    switch (how) {
    case END_RESET: sim_stream_reset(w->env.sim, "/srv"); break;
    case END_STALL_FENCE: node_fence(w->edge->node); break;
    case END_STALL_YANK:
        instance = qapi_yank_instance_list_add(&list);
        instance->type = QAPI_YANK_INSTANCE_TYPE_BLOCK_NODE;
        instance->u.block_node.node_name = xstrdup("n");
        EXPECT_OK(yank_run(w->env.yank, &list));
        qapi_yank_instance_list_fini(&list);
        break;
    case END_DELETE:
        EXPECT_OK(export_del(w->env.exports, "e", EXPORT_DEL_HARD, deleted, NULL));
        break;
    case END_COUNT: break;
    }
}

static void a_lost_connection_completes_every_request_once(void)
{
    static struct world w;
    uint8_t sector[SECTOR];

    for (uint64_t seed = 100; seed < 140 && !test_has_failed(); seed++) {
        world_init(&w, seed, true);
        w.expect_errors = true;
        start_all(&w);
        for (uint64_t i = rng_below(&w.rng, 400); i > 0; i--)
            sim_step(w.env.sim);
        end_connection(&w, (enum end)(seed % END_COUNT));
        EXPECT(env_run_until(&w.env, &w.all_done));
        EXPECT(w.failed > 0 || w.started == OPS);
        EXPECT_EQ(env_rw(&w.env, w.edge, REQ_READ, 0, sector, SECTOR), -EIO);
        sim_release(w.env.sim, NULL);
        world_fini(&w);
    }
}

TEST_LIST(TEST(random_requests_agree_with_a_model_disk),
          TEST(a_lost_connection_completes_every_request_once));
