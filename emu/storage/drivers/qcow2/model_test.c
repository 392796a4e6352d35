/*
 * Random operations against a model of the disk (an array of bytes), over cluster sizes, refcount widths,
 * versions and with a backing file. The oracle after each run is the model, the image's own check, and the
 * same after reopening.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { PARALLEL = 8, OPS = 400 };

struct setup {
    unsigned cluster_bits, refcount_bits, version;
    bool backing, extended, small_cache;
    const char *compression;
    uint64_t size;
};

struct pending {
    struct req req;
    struct iovec iov;
    uint8_t *buf, *expect;
    bool busy;
};

struct run {
    struct test_world w;
    struct rng rng;
    const struct setup *setup;
    struct node *node, *base;
    struct edge *edge;
    uint8_t *model;
    uint64_t size;
    struct pending slots[PARALLEL];
    unsigned busy;
    bool some_done;
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static void open_image(struct run *r)
{
    const char *options = r->setup->backing ? "'discard':'unmap','backing':'base'"
                                            : "'discard':'unmap','backing':null";
    CLEANUP(xfree)
    char *text = xasprintf("%s%s,'pass-discard-request':%s", options,
                           r->setup->small_cache ? ",'l2-cache-size':512" : "",
                           rng_chance(&r->rng, 1, 2) ? "true" : "false");

    must(test_open(&r->w, "top", "top", text, NODE_OPEN_MONITOR, &r->node));
    r->edge = test_edge(&r->w, r->node);
}

static void close_image(struct run *r)
{
    edge_detach(r->edge);
    node_unref(r->node);
    r->edge = NULL;
    REQUIRE(sim_run(r->w.sim, 10000000));
    REQUIRE(!graph_find(r->w.graph, "top"));
}

static void op_done(struct req *req)
{
    struct pending *p = container_of(req, struct pending, req);

    EXPECT_MSG(req->result == 0, "kind %d at %llu len %llu: %d", req->kind,
               (unsigned long long)req->offset, (unsigned long long)req->len, req->result);
    if (req->kind == REQ_READ)
        EXPECT_MSG(memcmp(p->buf, p->expect, req->len) == 0, "read at %llu len %llu differs",
                   (unsigned long long)req->offset, (unsigned long long)req->len);
    p->busy = false;
}

static bool overlaps(const struct run *r, uint64_t offset, uint64_t len)
{
    for (int i = 0; i < PARALLEL; i++) {
        const struct pending *p = &r->slots[i];

        if (p->busy && p->req.kind != REQ_FLUSH && p->req.offset < offset + len &&
            offset < p->req.offset + p->req.len)
            return true;
    }
    return false;
}

static bool all_idle(struct run *r)
{
    for (int i = 0; i < PARALLEL; i++) {
        if (r->slots[i].busy)
            return false;
    }
    return true;
}

static void settle(struct run *r)
{
    while (!all_idle(r))
        REQUIRE(sim_step(r->w.sim));
}

/* Picks a range; lengths from a few bytes to several clusters. */
static void pick_range(struct run *r, uint64_t *offset, uint64_t *len)
{
    uint64_t cluster = UINT64_C(1) << r->setup->cluster_bits;

    *offset = rng_below(&r->rng, r->size / 512) * 512;
    *len = rng_chance(&r->rng, 1, 2) ? 512 * rng_between(&r->rng, 1, 16)
                                     : 512 * rng_between(&r->rng, 1, cluster * 5 / 512);
    if (rng_chance(&r->rng, 1, 3)) {
        *offset = *offset / cluster * cluster;
        *len = (*len + cluster - 1) / cluster * cluster;
    }
    if (*len > r->size - *offset)
        *len = r->size - *offset;
}

static void start(struct run *r, struct pending *p)
{
    uint64_t offset, len;
    unsigned what = (unsigned)rng_below(&r->rng, 100);

    pick_range(r, &offset, &len);
    if (overlaps(r, offset, len))
        return;
    p->buf = xrealloc(p->buf, len);
    p->expect = xrealloc(p->expect, len);
    p->iov = (struct iovec){ p->buf, len };
    p->req =
        (struct req){ .offset = offset, .len = len, .done = op_done, .data = iov_view(&p->iov, 1) };
    if (what < 45) {
        p->req.kind = REQ_WRITE;
        if (what < 6 && r->setup->compression) {
            uint64_t cluster = UINT64_C(1) << r->setup->cluster_bits;

            offset = offset / cluster * cluster;
            len = cluster * rng_between(&r->rng, 1, 3);
            len = len > r->size - offset ? r->size - offset : len;
            if (overlaps(r, offset, len))
                return;
            p->req.offset = offset;
            p->req.len = len;
            p->req.flags = REQ_COMPRESSED;
            p->buf = xrealloc(p->buf, len);
            p->iov = (struct iovec){ p->buf, len };
        }
        if (what == 0)
            rng_fill(&r->rng, p->buf, len);
        else
            memset(p->buf, (int)rng_between(&r->rng, 1, 255), len);
        p->buf[0] = (uint8_t)rng_u32(&r->rng);
        memcpy(r->model + offset, p->buf, len);
    } else if (what < 75) {
        p->req.kind = REQ_READ;
        memcpy(p->expect, r->model + offset, len);
    } else if (what < 85) {
        p->req.kind = REQ_ZERO;
        p->req.flags = rng_chance(&r->rng, 1, 2) ? REQ_MAY_UNMAP : 0;
        memset(r->model + offset, 0, len);
    } else if (what < 92) {
        uint64_t cluster = UINT64_C(1) << r->setup->cluster_bits, end = offset + len;

        /* A discarded cluster reads as zeroes here, or as it was where the format cannot say so. */
        if (r->setup->version == 2 && r->setup->backing)
            return;
        p->req.kind = REQ_DISCARD;
        offset = (offset + cluster - 1) / cluster * cluster;
        end = end == r->size ? end : end / cluster * cluster;
        if (offset < end)
            memset(r->model + offset, 0, end - offset);
    } else {
        p->req.kind = REQ_FLUSH;
        p->req.offset = p->req.len = 0;
    }
    p->busy = true;
    edge_submit(r->edge, &p->req);
}

static void compare_all(struct run *r)
{
    uint8_t *buf = xmalloc(r->size);

    EXPECT_EQ(test_io(&r->w, r->edge, REQ_READ, 0, 0, r->size, buf), 0);
    for (uint64_t i = 0; i < r->size; i++) {
        if (buf[i] != r->model[i]) {
            TEST_FAIL("byte %llu: 0x%02x, must be 0x%02x", (unsigned long long)i, buf[i],
                      r->model[i]);
            break;
        }
    }
    xfree(buf);
}

static void check_clean(struct run *r, bool leaks_allowed)
{
    struct check_result result;

    must(test_check(&r->w, r->node, 0, &result));
    EXPECT_MSG(result.corruptions == 0 && result.check_errors == 0, "corruptions: %s",
               result.report);
    if (!leaks_allowed)
        EXPECT_MSG(result.leaks == 0, "leaks: %s", result.report);
    xfree(result.report);
}

static void make_base(struct run *r)
{
    uint64_t size = r->size * 3 / 4 / 512 * 512;
    uint8_t *buf = xmalloc(size);
    CLEANUP(xfree) char *options = xasprintf("'size':%llu", (unsigned long long)size);
    struct edge *edge;

    must(test_create(&r->w, "base", options));
    must(test_open(&r->w, "base", "base", "'backing':null", NODE_OPEN_MONITOR, &r->base));
    edge = test_edge(&r->w, r->base);
    for (uint64_t i = 0; i < size; i++)
        buf[i] = (uint8_t)(i >> 9) | 1;
    REQUIRE_EQ(test_io(&r->w, edge, REQ_WRITE, 0, 0, size, buf), 0);
    memcpy(r->model, buf, size);
    edge_detach(edge);
    xfree(buf);
}

static void run_setup(const struct setup *s, uint64_t seed)
{
    struct run *r = NEW(struct run);
    CLEANUP(xfree) char *options = NULL;

    test_note("seed %llu cluster bits %u refcount bits %u version %u backing %d extended %d",
              (unsigned long long)seed, s->cluster_bits, s->refcount_bits, s->version, s->backing,
              s->extended);
    test_world_init(&r->w, seed);
    rng_init(&r->rng, seed);
    r->setup = s;
    r->size = s->size;
    r->model = xcalloc(1, r->size);
    if (s->backing)
        make_base(r);
    options = xasprintf(
        "'size':%llu,'cluster-size':%u,'refcount-bits':%u,'version':'v%u','extended-l2':%s,"
        "'compression-type':'%s'%s",
        (unsigned long long)s->size, 1U << s->cluster_bits, s->refcount_bits, s->version,
        s->extended ? "true" : "false", s->compression ? s->compression : "zlib",
        s->backing ? ",'backing-file':'x','backing-fmt':'qcow2'" : "");
    must(test_create(&r->w, "top", options));
    open_image(r);
    for (int round = 0; round < 3 && !test_has_failed(); round++) {
        for (int i = 0; i < OPS && !test_has_failed(); i++) {
            struct pending *p = &r->slots[rng_below(&r->rng, PARALLEL)];

            if (!p->busy)
                start(r, p);
            for (uint64_t n = rng_below(&r->rng, 6); n; n--)
                sim_step(r->w.sim);
        }
        settle(r);
        compare_all(r);
        if (round == 1) {
            check_clean(r, false);
        } else {
            close_image(r);
            open_image(r);
            check_clean(r, false);
            compare_all(r);
        }
    }
    close_image(r);
    if (r->base)
        node_unref(r->base);
    if (getenv("QCOW2_TEST_EXPORT"))
        test_disk_export(test_disk(&r->w, "top"), getenv("QCOW2_TEST_EXPORT"));
    test_world_fini(&r->w);
    for (int i = 0; i < PARALLEL; i++) {
        xfree(r->slots[i].buf);
        xfree(r->slots[i].expect);
    }
    xfree(r->model);
    xfree(r);
}

static void run_seeds(const struct setup *s, int seeds)
{
    const char *first = getenv("QCOW2_TEST_SEED");

    for (int seed = 0; seed < seeds && !test_has_failed(); seed++)
        run_setup(s, (first ? strtoull(first, NULL, 0) : 1) + (uint64_t)seed);
}

static void default_image(void)
{
    run_seeds(&(struct setup){ 16, 16, 3, .compression = "zlib", .size = 4 << 20 }, 6);
}
static void small_clusters(void)
{
    run_seeds(&(struct setup){ 9, 16, 3, .compression = "zlib", .size = 1 << 20 }, 6);
}
static void small_clusters_wide_refcounts(void)
{
    run_seeds(&(struct setup){ 9, 64, 3, .size = 1 << 20 }, 6);
}
static void one_bit_refcounts(void)
{
    run_seeds(&(struct setup){ 12, 1, 3, .compression = "zstd", .size = 1 << 20 }, 6);
}
static void version_2(void)
{
    run_seeds(&(struct setup){ 12, 16, 2, .compression = "zlib", .size = 1 << 20 }, 6);
}
static void version_2_backing(void)
{
    run_seeds(&(struct setup){ 12, 16, 2, .backing = true, .size = 1 << 20 }, 6);
}
static void backing(void)
{
    run_seeds(&(struct setup){ 12, 16, 3, .backing = true, .compression = "zstd", .size = 1 << 20 },
              8);
}
static void backing_small_clusters(void)
{
    run_seeds(
        &(struct setup){ 9, 8, 3, .backing = true, .compression = "zlib", .size = (1 << 20) + 512 },
        6);
}
static void extended(void)
{
    run_seeds(
        &(struct setup){ 14, 16, 3, .extended = true, .compression = "zlib", .size = 2 << 20 }, 8);
}
static void extended_backing(void)
{
    run_seeds(&(struct setup){ 14, 16, 3, .extended = true, .backing = true, .compression = "zlib",
                               .size = 2 << 20 },
              8);
}
static void large_clusters(void)
{
    run_seeds(&(struct setup){ 21, 16, 3, .compression = "zlib", .size = 16 << 20 }, 1);
}

struct single {
    struct req req;
    struct iovec iov;
    uint8_t buf[4096];
    bool done;
};

static void single_done(struct req *req) { container_of(req, struct single, req)->done = true; }

static void submit_single(struct edge *edge, struct single *s, enum req_kind kind, uint64_t offset,
                          uint64_t len, int byte)
{
    memset(s->buf, byte, sizeof(s->buf));
    s->done = false;
    s->iov = (struct iovec){ s->buf, sizeof(s->buf) };
    s->req = (struct req){ .kind = kind,
                           .offset = offset,
                           .len = len,
                           .data = iov_view(&s->iov, 1),
                           .done = single_done };
    edge_submit(edge, &s->req);
}

/* A write is still on its way to a cluster that is discarded meanwhile: who gets that cluster next must not suffer. */
static void late_writes_do_not_hit_reused_clusters(void)
{
    for (uint64_t seed = 1; seed < 200 && !test_has_failed(); seed++) {
        struct test_world *w = NEW(struct test_world);
        struct single *s = NEW_ARRAY(struct single, 4);
        uint8_t *buf = xmalloc(4096);
        struct node *node;
        struct edge *edge;

        test_note("seed %llu", (unsigned long long)seed);
        test_world_init(w, seed);
        must(test_create(w, "top", "'size':1048576,'cluster-size':4096"));
        must(test_open(w, "top", "top", "'discard':'unmap','pass-discard-request':false",
                       NODE_OPEN_MONITOR, &node));
        edge = test_edge(w, node);
        memset(buf, 1, 4096);
        REQUIRE_EQ(test_io(w, edge, REQ_WRITE, 0, 0, 4096, buf), 0);
        submit_single(edge, &s[0], REQ_WRITE, 0, 2048, 2);
        test_disk(w, "top")->late_kind = REQ_WRITE;
        test_disk(w, "top")->late_len = 2048;
        submit_single(edge, &s[1], REQ_DISCARD, 0, 4096, 0);
        for (int i = 0; i < 2; i++) {
            submit_single(edge, &s[2], REQ_FLUSH, 0, 0, 0);
            REQUIRE(test_wait(w, &s[2].done));
        }
        submit_single(edge, &s[3], REQ_WRITE, 65536, 4096, 4);
        REQUIRE(test_wait(w, &s[3].done));
        EXPECT(!s[0].done);
        test_disk(w, "top")->late_len = 0;
        REQUIRE_EQ(test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL), 0); /* The disk looks again. */
        REQUIRE(test_wait(w, &s[0].done) && test_wait(w, &s[1].done));
        REQUIRE_EQ(test_io(w, edge, REQ_READ, 0, 65536, 4096, buf), 0);
        EXPECT_MEM(buf, s[3].buf, 4096);
        test_close(w, edge, node);
        test_world_fini(w);
        xfree(buf);
        xfree(s);
        xfree(w);
    }
}

TEST_LIST(TEST(late_writes_do_not_hit_reused_clusters), TEST(default_image), TEST(small_clusters),
          TEST(small_clusters_wide_refcounts), TEST(one_bit_refcounts), TEST(version_2),
          TEST(version_2_backing), TEST(backing), TEST(backing_small_clusters), TEST(extended),
          TEST(extended_backing), TEST(large_clusters));
