/*
 * Formats that map blocks by tables, against a model: random writes, zeroes, discards and flushes, with crashes. After
 * each crash the image opens, its check finds no corruption, and every sector holds what it had at the last flush or
 * something written to it later. Oracle: the model.
 */

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SECTOR = 512, SECTORS = 2048, HISTORY = 16, OPS = 200, CRASH_EVERY = 9, RUN_MAX = 48 };

struct model {
    uint8_t ids[SECTORS]
               [HISTORY]; /* What a sector may hold after a crash; the last is what it holds now. */
    unsigned count[SECTORS];
};

struct setup {
    const struct driver *format;
    const char *create;
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static void put(struct model *m, uint64_t sector, uint8_t id)
{
    if (m->count[sector] == HISTORY) {
        memmove(m->ids[sector], m->ids[sector] + 1, HISTORY - 1);
        m->count[sector]--;
    }
    m->ids[sector][m->count[sector]++] = id;
}

static void flushed(struct model *m)
{
    for (int i = 0; i < SECTORS; i++) {
        m->ids[i][0] = m->ids[i][m->count[i] - 1];
        m->count[i] = 1;
    }
}

static bool uniform(const uint8_t *sector) { return memcmp(sector, sector + 1, SECTOR - 1) == 0; }

/* Reads all; crashed: older contents since the last flush are fine. */
static void compare(struct test_world *w, struct edge *edge, const struct model *m, bool crashed)
{
    uint8_t *buf = xmalloc(SECTORS * SECTOR);

    REQUIRE(test_io(w, edge, REQ_READ, 0, 0, SECTORS * SECTOR, buf) == 0);
    for (int i = 0; i < SECTORS; i++) {
        bool found = false;

        for (unsigned k = crashed ? 0 : m->count[i] - 1; k < m->count[i]; k++)
            found |= m->ids[i][k] == buf[i * SECTOR];
        if (!found || !uniform(buf + i * SECTOR))
            TEST_FAIL("sector %d holds %d, not %d", i, buf[i * SECTOR], m->ids[i][m->count[i] - 1]);
        REQUIRE(found && uniform(buf + i * SECTOR));
    }
    xfree(buf);
}

static void check_image(struct test_world *w, struct node *node)
{
    struct check_result result;

    if (!w->format->check)
        return;
    must(test_check(w, node, 0, &result));
    EXPECT_EQ(result.corruptions, 0);
    EXPECT_EQ(result.check_errors, 0);
    xfree(result.report);
}

static void crash(struct test_world *from, const struct setup *setup, const struct model *m,
                  uint64_t seed)
{
    struct test_world *w = NEW(struct test_world);
    struct node *node;
    struct edge *edge;

    test_world_init_format(w, seed, setup->format);
    test_disk_crash(test_disk(from, "top"), seed, test_disk(w, "top"));
    must(test_open(w, "top", "top", NULL, NODE_OPEN_MONITOR | NODE_OPEN_CHECK, &node));
    check_image(w, node);
    edge = test_edge(w, node);
    compare(w, edge, m, true);
    edge_detach(edge);
    test_world_fini(w);
    xfree(w);
}

struct flushing {
    struct req req;
    bool done;
};

static void flush_done(struct req *req) { container_of(req, struct flushing, req)->done = true; }

/* A flush, with a crash after each event on its way: in the midst of a commit, too. */
static void flush_crashing(struct test_world *w, struct edge *edge, const struct setup *setup,
                           const struct model *m, uint64_t seed)
{
    struct flushing f = { .req = { .kind = REQ_FLUSH, .done = flush_done } };

    edge_submit(edge, &f.req);
    while (!f.done) {
        sim_run(w->sim, 1);
        crash(w, setup, m, seed++);
    }
    REQUIRE(f.req.result == 0);
}

static void one_op(struct test_world *w, struct edge *edge, struct model *m, uint8_t *id)
{
    uint64_t first = rng_below(&w->rng, SECTORS), what = rng_below(&w->rng, 10);
    uint64_t n = MIN(rng_between(&w->rng, 1, RUN_MAX), SECTORS - first);
    uint8_t *buf = xmalloc(RUN_MAX * SECTOR);
    int ret;

    if (what == 0) {
        REQUIRE(test_io(w, edge, REQ_FLUSH, 0, 0, 0, NULL) == 0);
        flushed(m);
    } else if (what <= 2) {
        ret = test_io(w, edge, REQ_ZERO, what == 2 ? REQ_MAY_UNMAP : 0, first * SECTOR, n * SECTOR,
                      NULL);
        REQUIRE(ret == 0);
        for (uint64_t i = 0; i < n; i++)
            put(m, first + i, 0);
    } else {
        *id = *id == 255 ? 1 : *id + 1;
        memset(buf, *id, n * SECTOR);
        REQUIRE(test_io(w, edge, REQ_WRITE, 0, first * SECTOR, n * SECTOR, buf) == 0);
        for (uint64_t i = 0; i < n; i++)
            put(m, first + i, *id);
    }
    xfree(buf);
}

static void run(const struct setup *setup, uint64_t seed)
{
    struct test_world *w = NEW(struct test_world);
    struct model *m = NEW(struct model);
    struct node *node;
    struct edge *edge;
    uint8_t id = 0;

    for (int i = 0; i < SECTORS; i++)
        m->count[i] = 1;
    test_world_init_format(w, seed, setup->format);
    must(test_create(w, "top", setup->create));
    must(test_open(w, "top", "top", "'discard':'unmap'", NODE_OPEN_MONITOR, &node));
    edge = test_edge(w, node);
    for (int i = 0; i < OPS; i++) {
        one_op(w, edge, m, &id);
        if (i % CRASH_EVERY == 0) {
            crash(w, setup, m, seed * OPS + (uint64_t)i);
            flush_crashing(w, edge, setup, m, seed * OPS * OPS + (uint64_t)i * OPS);
            flushed(m);
        }
    }
    compare(w, edge, m, false);
    test_close(w, edge, node);
    /* Closing wrote everything back. */
    must(test_open(w, "top", "again", NULL, NODE_OPEN_MONITOR | NODE_OPEN_CHECK, &node));
    check_image(w, node);
    edge = test_edge(w, node);
    compare(w, edge, m, false);
    edge_detach(edge);
    test_world_fini(w);
    xfree(m);
    xfree(w);
}

static void run_seeds(const struct setup *setup)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        run(setup, seed);
}

static void qed_small_clusters(void)
{
    run_seeds(&(struct setup){ &driver_qed, "'size':1048576,'cluster-size':4096,'table-size':2" });
}

static void qed_default(void) { run_seeds(&(struct setup){ &driver_qed, "'size':1048576" }); }

static void qcow(void) { run_seeds(&(struct setup){ &driver_qcow, "'size':1048576" }); }

static void parallels(void)
{
    run_seeds(&(struct setup){ &driver_parallels, "'size':1048576,'cluster-size':8192" });
}

TEST_LIST(TEST(qed_small_clusters), TEST(qed_default), TEST(qcow), TEST(parallels));
