/*
 * Crashes at random moments of random work. After each: the image opens, its check finds no corruption and no
 * leak, and every sector holds what was last flushed or something written to it later.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { PARALLEL = 6, OPS = 250, SECTOR = 512, SECTORS_MAX = 4096, HISTORY = 64, CRASHES = 12 };

struct setup {
    unsigned cluster_bits, refcount_bits;
    bool compress, extended, punch;
    bool
        kept; /* All is allocated and stays so: zeroes keep their place, and nothing new is needed. */
    uint32_t size;
};

/* What a sector may hold: ids of its writes in order (0: zeroes). */
struct history {
    uint64_t ids[HISTORY];
    unsigned count, acked; /* acked: entries whose requests have ended. */
};

struct slot {
    struct req req;
    struct iovec iov;
    uint8_t *buf;
    bool busy;
    unsigned *acked; /* FLUSH: acked entries when it began. */
    struct crash_run *run;
};

struct crash_run {
    struct test_world w;
    struct rng rng;
    const struct setup *setup;
    struct node *node;
    struct edge *edge;
    struct history *model;
    struct slot slots[PARALLEL];
    uint64_t next_id;
    bool flushing;
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static void flushed(struct crash_run *r, const unsigned *acked)
{
    for (unsigned i = 0; i < r->setup->size / SECTOR; i++) {
        struct history *h = &r->model[i];
        unsigned drop = acked[i] ? acked[i] - 1 : 0;

        memmove(h->ids, h->ids + drop, (h->count - drop) * sizeof(h->ids[0]));
        h->count -= drop;
        h->acked -= drop;
    }
}

static void slot_done(struct req *req)
{
    struct slot *s = container_of(req, struct slot, req);
    struct crash_run *r = s->run;

    EXPECT_MSG(req->result == 0, "kind %d: %d", req->kind, req->result);
    s->busy = false;
    if (req->kind == REQ_FLUSH) {
        r->flushing = false;
        flushed(r, s->acked);
        return;
    }
    for (uint64_t i = req->offset / SECTOR; i < (req->offset + req->len) / SECTOR; i++)
        r->model[i].acked = r->model[i].count;
}

static bool may_write(const struct crash_run *r, uint64_t offset, uint64_t len)
{
    for (int i = 0; i < PARALLEL; i++) {
        const struct slot *s = &r->slots[i];

        if (s->busy && s->req.kind != REQ_FLUSH && s->req.offset < offset + len &&
            offset < s->req.offset + s->req.len)
            return false;
    }
    for (uint64_t i = offset / SECTOR; i < (offset + len) / SECTOR; i++) {
        if (r->model[i].count == HISTORY)
            return false;
    }
    return true;
}

static void start_flush(struct crash_run *r, struct slot *s)
{
    if (r->flushing)
        return; /* The histories move when one ends. */
    s->acked = xrealloc_array(s->acked, SECTORS_MAX, sizeof(unsigned));
    for (unsigned i = 0; i < r->setup->size / SECTOR; i++)
        s->acked[i] = r->model[i].acked;
    s->req = (struct req){ .kind = REQ_FLUSH, .done = slot_done };
    r->flushing = s->busy = true;
    edge_submit(r->edge, &s->req);
}

static void start(struct crash_run *r, struct slot *s)
{
    uint32_t cluster = 1U << r->setup->cluster_bits;
    uint64_t offset = rng_below(&r->rng, r->setup->size / SECTOR) * SECTOR;
    uint64_t len = rng_between(&r->rng, 1, 24) * SECTOR, id = 0;
    unsigned what = (unsigned)rng_below(&r->rng, 100);
    enum req_kind kind = what < 60   ? REQ_WRITE
                         : what < 75 ? REQ_DISCARD
                         : what < 85 ? REQ_ZERO
                                     : REQ_FLUSH;

    if (r->setup->kept && kind == REQ_DISCARD)
        kind = REQ_ZERO;
    if (kind == REQ_FLUSH) {
        start_flush(r, s);
        return;
    }
    if (kind == REQ_DISCARD || rng_chance(&r->rng, 1, 3) || (r->setup->compress && what < 20)) {
        offset = offset / cluster * cluster;
        len = rng_between(&r->rng, 1, 3) * cluster;
    }
    len = len > r->setup->size - offset ? r->setup->size - offset : len;
    if (!may_write(r, offset, len))
        return;
    s->req = (struct req){ .kind = kind, .offset = offset, .len = len, .done = slot_done };
    if (kind == REQ_ZERO)
        s->req.flags = !r->setup->kept && rng_chance(&r->rng, 1, 2) ? REQ_MAY_UNMAP : 0;
    if (kind == REQ_WRITE) {
        id = ++r->next_id;
        s->buf = xrealloc(s->buf, len);
        for (uint64_t i = 0; i < len / 8; i++)
            store_le64(s->buf + i * 8, id);
        s->iov = (struct iovec){ s->buf, len };
        s->req.data = iov_view(&s->iov, 1);
        if (r->setup->compress && what < 20)
            s->req.flags = REQ_COMPRESSED;
    }
    for (uint64_t i = offset / SECTOR; i < (offset + len) / SECTOR; i++)
        r->model[i].ids[r->model[i].count++] = id;
    s->busy = true;
    edge_submit(r->edge, &s->req);
}

static void compare_sector(const struct history *h, const uint8_t *p, uint64_t sector)
{
    uint64_t id = load_le64(p);

    for (unsigned i = 0; i < SECTOR / 8; i++) {
        if (load_le64(p + (uint64_t)i * 8) != id) {
            TEST_FAIL("sector %llu is torn", (unsigned long long)sector);
            return;
        }
    }
    for (unsigned i = 0; i < h->count; i++) {
        if (h->ids[i] == id)
            return;
    }
    TEST_FAIL("sector %llu holds %llu; oldest allowed is %llu", (unsigned long long)sector,
              (unsigned long long)id, (unsigned long long)h->ids[0]);
}

static void peer_check(struct test_world *w)
{
    CLEANUP(xfree) char *path = xasprintf("%s/crash.qcow2", test_tmpdir());
    CLEANUP(xfree) char *command = xasprintf("qemu-img check -q %s >/dev/null 2>&1", path);
    int status;

    test_disk_export(test_disk(w, "top"), path);
    status = system(command);
    EXPECT_MSG(status == 0 || status == 3 << 8, "qemu-img check: exit %d", status >> 8);
    remove(path);
}

static void crash(struct crash_run *r, uint64_t seed, bool peer)
{
    struct test_world *w = NEW(struct test_world);
    struct check_result result;
    uint8_t *buf = xmalloc(r->setup->size);
    struct node *node;
    struct edge *edge;

    test_world_init(w, seed);
    test_disk_crash(test_disk(&r->w, "top"), seed, test_disk(w, "top"));
    if (peer)
        peer_check(w);
    must(test_open(w, "top", "top", "'backing':null", NODE_OPEN_MONITOR, &node));
    must(test_check(w, node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.check_errors && !result.leaks, "after crash: %s",
               result.report);
    xfree(result.report);
    edge = test_edge(w, node);
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, r->setup->size, buf), 0);
    for (uint64_t i = 0; i < r->setup->size / SECTOR && !test_has_failed(); i++)
        compare_sector(&r->model[i], buf + i * SECTOR, i);
    test_close(w, edge, node);
    test_world_fini(w);
    xfree(buf);
    xfree(w);
}

static void fill_disk(struct crash_run *r)
{
    uint8_t *buf = xmalloc(r->setup->size);
    uint64_t id = ++r->next_id;

    for (uint64_t i = 0; i < r->setup->size / 8; i++)
        store_le64(buf + i * 8, id);
    EXPECT_EQ(test_io(&r->w, r->edge, REQ_WRITE, 0, 0, r->setup->size, buf), 0);
    EXPECT_EQ(test_io(&r->w, r->edge, REQ_FLUSH, 0, 0, 0, NULL), 0);
    for (unsigned i = 0; i < SECTORS_MAX; i++)
        r->model[i].ids[0] = id;
    xfree(buf);
}

static void run_one(const struct setup *setup, uint64_t seed, bool peer)
{
    struct crash_run *r = NEW(struct crash_run);
    CLEANUP(xfree)
    char *options = xasprintf("'size':%u,'cluster-size':%u,'refcount-bits':%u,'extended-l2':%s",
                              setup->size, 1U << setup->cluster_bits, setup->refcount_bits,
                              setup->extended ? "true" : "false");
    bool idle = false;

    test_note("seed %llu cluster bits %u refcount bits %u", (unsigned long long)seed,
              setup->cluster_bits, setup->refcount_bits);
    test_world_init(&r->w, seed);
    rng_init(&r->rng, seed * 77);
    r->setup = setup;
    r->model = xcalloc(SECTORS_MAX, sizeof(*r->model));
    for (unsigned i = 0; i < SECTORS_MAX; i++)
        r->model[i].count = r->model[i].acked = 1;
    must(test_create(&r->w, "top", options));
    must(test_open(&r->w, "top", "top",
                   setup->punch ? "'discard':'unmap'"
                                : "'discard':'unmap','pass-discard-request':false",
                   NODE_OPEN_MONITOR, &r->node));
    r->edge = test_edge(&r->w, r->node);
    if (setup->kept)
        fill_disk(r);
    for (int i = 0; i < OPS && !test_has_failed(); i++) {
        struct slot *s = &r->slots[rng_below(&r->rng, PARALLEL)];

        s->run = r;
        if (!s->busy)
            start(r, s);
        for (uint64_t n = rng_below(&r->rng, 8); n; n--)
            sim_step(r->w.sim);
        if (rng_chance(&r->rng, CRASHES, OPS))
            crash(r, rng_u64(&r->rng), peer);
    }
    while (!idle && !test_has_failed()) {
        idle = true;
        for (int i = 0; i < PARALLEL; i++)
            idle = idle && !r->slots[i].busy;
        if (!idle)
            sim_step(r->w.sim);
    }
    edge_detach(r->edge);
    node_unref(r->node);
    test_world_fini(&r->w);
    for (int i = 0; i < PARALLEL; i++) {
        xfree(r->slots[i].buf);
        xfree(r->slots[i].acked);
    }
    xfree(r->model);
    xfree(r);
}

static void run_seeds(const struct setup *setup, uint64_t count)
{
    const char *first = getenv("QCOW2_TEST_SEED"), *many = getenv("QCOW2_TEST_SEEDS");
    uint64_t from = first ? strtoull(first, NULL, 0) : 1;
    bool peer = test_tool_path("qemu-img") != NULL;

    count = many ? strtoull(many, NULL, 0) : count;
    for (uint64_t seed = from; seed < from + count && !test_has_failed(); seed++)
        run_one(setup, seed, peer && seed == from);
}

static void clusters_4k(void) { run_seeds(&(struct setup){ 12, 16, .size = 512 << 10 }, 12); }
static void clusters_4k_punched(void)
{
    run_seeds(&(struct setup){ 12, 16, .punch = true, .size = 512 << 10 }, 12);
}
static void clusters_512(void)
{
    run_seeds(&(struct setup){ 9, 16, .punch = true, .size = 512 << 10 }, 12);
}
static void clusters_512_wide_refcounts(void)
{
    run_seeds(&(struct setup){ 9, 64, .punch = true, .size = 512 << 10 }, 12);
}
static void compressed(void)
{
    run_seeds(&(struct setup){ 12, 8, .compress = true, .punch = true, .size = 512 << 10 }, 12);
}
static void places_kept(void)
{
    run_seeds(&(struct setup){ 12, 16, .kept = true, .size = 512 << 10 }, 24);
}
static void extended(void)
{
    run_seeds(&(struct setup){ 14, 16, .extended = true, .punch = true, .size = 1 << 20 }, 12);
}

TEST_LIST(TEST(clusters_4k), TEST(clusters_4k_punched), TEST(clusters_512),
          TEST(clusters_512_wide_refcounts), TEST(compressed), TEST(places_kept), TEST(extended));
