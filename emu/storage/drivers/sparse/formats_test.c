/*
 * Table-mapped formats on simulated disks: random requests against a model, failing I/O, and crashes at random
 * moments. After a crash the image opens, its check finds no corruption, and every sector holds what was last
 * flushed or something written to it later. Oracle: the model here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SECTOR = 512, SECTORS = 16384, SIZE = SECTORS * SECTOR, PARALLEL = 4, HISTORY = 24 };

struct setup {
    const struct driver *driver;
    const char *options;
    bool once;    /* Every block can be written once, as a whole. */
    bool garbage; /* The file goes on with old bytes behind the new image, as on a block device. */
    bool backing; /* On an image with data. */
};

struct slot {
    struct run *run;
    struct req req;
    struct iovec iov;
    uint8_t *buf;
    unsigned *acked; /* FLUSH: what was acknowledged when it began. */
    bool busy;
};

/* What a sector may hold: ids of its writes in order (0: zeroes). */
struct history {
    uint64_t ids[HISTORY];
    unsigned count, acked;
};

struct run {
    struct test_world w;
    struct rng rng;
    const struct setup *setup;
    struct node *node;
    struct edge *edge;
    struct history model[SECTORS];
    struct slot slots[PARALLEL];
    uint64_t next_id;
    bool flushing;
    unsigned failures;
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

static const char *const on_base =
    "'backing':{'driver':'vmdk','read-only':true,'file':{'driver':'file','disk':'base'}}";

/* A full image for others to be based on. */
static void make_base(struct run *r)
{
    uint8_t *buf = xmalloc(SIZE);
    struct node *node;
    struct edge *edge;

    for (unsigned i = 0; i < SECTORS; i++) {
        for (unsigned k = 0; k < SECTOR; k += 8)
            store_le64(buf + (uint64_t)i * SECTOR + k, 1000000 + i);
        r->model[i].ids[0] = 1000000 + i;
    }
    must(test_create(&r->w, "base", r->setup->options));
    must(test_open(&r->w, "base", "base", NULL, NODE_OPEN_MONITOR, &node));
    edge = test_edge(&r->w, node);
    REQUIRE(test_io(&r->w, edge, REQ_WRITE, 0, 0, SIZE, buf) == 0);
    test_close(&r->w, edge, node);
    xfree(buf);
}

static void add_garbage(struct test_disk *disk)
{
    enum { GARBAGE = 24 << 20 };
    uint8_t *bytes = xmalloc(GARBAGE);

    memset(bytes, 0xdd, GARBAGE);
    memcpy(bytes, disk->data, disk->size);
    test_disk_load(disk, bytes, GARBAGE);
    xfree(bytes);
}

static struct run *run_new(const struct setup *setup, uint64_t seed)
{
    struct run *r = NEW(struct run);

    test_note("%s %s seed %llu", setup->driver->name, setup->options, (unsigned long long)seed);
    test_world_init_format(&r->w, seed, setup->driver);
    rng_init(&r->rng, seed * 131);
    r->setup = setup;
    for (unsigned i = 0; i < SECTORS; i++)
        r->model[i].count = r->model[i].acked = 1;
    if (setup->backing)
        make_base(r);
    must(test_create(&r->w, "top", setup->options));
    if (setup->garbage)
        add_garbage(test_disk(&r->w, "top"));
    must(test_open(&r->w, "top", "top", setup->backing ? on_base : NULL, NODE_OPEN_MONITOR,
                   &r->node));
    REQUIRE(r->node->size == SIZE);
    r->edge = test_edge(&r->w, r->node);
    return r;
}

static void run_free(struct run *r)
{
    if (r->edge)
        test_close(&r->w, r->edge, r->node);
    test_world_fini(&r->w);
    for (int i = 0; i < PARALLEL; i++) {
        xfree(r->slots[i].buf);
        xfree(r->slots[i].acked);
    }
    xfree(r);
}

/* ---- Random work ---- */

static void flushed(struct run *r, const unsigned *acked)
{
    for (unsigned i = 0; i < SECTORS; i++) {
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
    struct run *r = s->run;

    s->busy = false;
    if (req->kind == REQ_FLUSH)
        r->flushing = false;
    if (req->result) {
        r->failures++;
        return;
    }
    if (req->kind == REQ_FLUSH) {
        flushed(r, s->acked);
        return;
    }
    for (uint64_t i = req->offset / SECTOR; i < (req->offset + req->len) / SECTOR; i++)
        r->model[i].acked = r->model[i].count;
}

static bool may_write(const struct run *r, uint64_t offset, uint64_t len)
{
    for (int i = 0; i < PARALLEL; i++) {
        const struct slot *s = &r->slots[i];

        if (s->busy && s->req.kind != REQ_FLUSH && s->req.offset < offset + len &&
            offset < s->req.offset + s->req.len)
            return false;
    }
    for (uint64_t i = offset / SECTOR; i < (offset + len) / SECTOR; i++) {
        if (r->model[i].count == HISTORY || (r->setup->once && r->model[i].ids[0]) ||
            (r->setup->once && r->model[i].count > 1))
            return false;
    }
    return true;
}

static void start_flush(struct run *r, struct slot *s)
{
    if (r->flushing)
        return;
    s->acked = xrealloc_array(s->acked, SECTORS, sizeof(unsigned));
    for (unsigned i = 0; i < SECTORS; i++)
        s->acked[i] = r->model[i].acked;
    s->req = (struct req){ .kind = REQ_FLUSH, .done = slot_done };
    r->flushing = s->busy = true;
    edge_submit(r->edge, &s->req);
}

static void start(struct run *r, struct slot *s)
{
    /* Few places, so that blocks are met again. */
    uint64_t unit = r->setup->once ? 128 : 1;
    uint64_t offset = rng_below(&r->rng, SECTORS / 64 / unit) * unit * SECTOR *
                      (rng_chance(&r->rng, 1, 2) ? 63 : 1);
    uint64_t len = rng_between(&r->rng, 1, 40) * SECTOR, id = 0;
    unsigned what = (unsigned)rng_below(&r->rng, 100);
    enum req_kind kind = what < 75 ? REQ_WRITE : what < 88 ? REQ_ZERO : REQ_FLUSH;

    s->run = r;
    if (kind == REQ_FLUSH) {
        start_flush(r, s);
        return;
    }
    if (r->setup->once) {
        kind = REQ_WRITE;
        offset = offset / (unit * SECTOR) * (unit * SECTOR);
        len = unit * SECTOR;
    }
    len = len > SIZE - offset ? SIZE - offset : len;
    if (!may_write(r, offset, len))
        return;
    s->req = (struct req){ .kind = kind, .offset = offset, .len = len, .done = slot_done };
    if (kind == REQ_WRITE) {
        id = ++r->next_id;
        s->buf = xrealloc(s->buf, len);
        for (uint64_t i = 0; i < len / 8; i++)
            store_le64(s->buf + i * 8, id);
        s->iov = (struct iovec){ s->buf, len };
        s->req.data = iov_view(&s->iov, 1);
    }
    for (uint64_t i = offset / SECTOR; i < (offset + len) / SECTOR; i++)
        r->model[i].ids[r->model[i].count++] = id;
    s->busy = true;
    edge_submit(r->edge, &s->req);
}

static void settle(struct run *r)
{
    for (bool idle = false; !idle && !test_has_failed();) {
        idle = true;
        for (int i = 0; i < PARALLEL; i++)
            idle = idle && !r->slots[i].busy;
        if (!idle)
            sim_step(r->w.sim);
    }
}

/* ---- Looking ---- */

static void check_image(struct test_world *w, struct node *node, bool exact)
{
    struct check_result result;

    /* The count of allocated blocks of vdi is ahead of the map for a moment: safe, but no clean check. */
    if (!w->format->check || (w->format == &driver_vdi && !exact))
        return;
    must(test_check(w, node, 0, &result));
    EXPECT_MSG(result.corruptions == 0 && result.check_errors == 0, "%s", result.report);
    xfree(result.report);
}

/* Every sector holds one of what the model allows, the last of it when exact. */
static void look(const struct run *r, struct test_world *w, struct edge *edge, bool exact)
{
    uint8_t *buf = xmalloc(SIZE);

    REQUIRE(test_io(w, edge, REQ_READ, 0, 0, SIZE, buf) == 0);
    for (unsigned i = 0; i < SECTORS && !test_has_failed(); i++) {
        const struct history *h = &r->model[i];
        uint64_t id = load_le64(buf + (uint64_t)i * SECTOR);
        bool found = false;

        for (unsigned k = exact ? h->count - 1 : 0; k < h->count; k++)
            found = found || h->ids[k] == id;
        EXPECT_MSG(found, "sector %u holds %llu", i, (unsigned long long)id);
        for (unsigned k = 8; k < SECTOR; k += 8)
            REQUIRE(load_le64(buf + (uint64_t)i * SECTOR + k) == id);
    }
    xfree(buf);
}

/* The same of the image on "top" of another world. */
static void verify(struct run *r, struct test_world *w, bool exact)
{
    struct test_disk *base = test_disk(&r->w, "base");
    struct node *node;
    struct edge *edge;

    if (r->setup->backing)
        test_disk_load(test_disk(w, "base"), base->data, base->size);
    must(
        test_open(w, "top", "again", r->setup->backing ? on_base : NULL, NODE_OPEN_MONITOR, &node));
    edge = test_edge(w, node);
    check_image(w, node, exact);
    look(r, w, edge, exact);
    test_close(w, edge, node);
}

static void crash(struct run *r)
{
    struct test_world *w = NEW(struct test_world);

    test_world_init_format(w, rng_u64(&r->rng), r->setup->driver);
    test_disk_crash(test_disk(&r->w, "top"), rng_u64(&r->rng), test_disk(w, "top"));
    verify(r, w, false);
    test_world_fini(w);
    xfree(w);
}

static void work(struct run *r, int ops, int crashes)
{
    for (int i = 0; i < ops && !test_has_failed(); i++) {
        struct slot *s = &r->slots[rng_below(&r->rng, PARALLEL)];

        if (!s->busy)
            start(r, s);
        for (uint64_t n = rng_below(&r->rng, 10); n; n--)
            sim_step(r->w.sim);
        if (crashes && rng_chance(&r->rng, (uint32_t)crashes, (uint32_t)ops))
            crash(r);
        if (!r->failures && i % 100 == 99) {
            settle(r);
            look(r, &r->w, r->edge, true);
        }
    }
    settle(r);
}

/* ---- The tests ---- */

static void survives_crashes(const struct setup *setup)
{
    for (uint64_t seed = 1; seed <= 3 && !test_has_failed(); seed++) {
        struct run *r = run_new(setup, seed);

        work(r, 250, 4);
        EXPECT(r->failures == 0);
        run_free(r);
    }
}

static void keeps_data_when_closed(const struct setup *setup)
{
    for (uint64_t seed = 100; seed <= 101 && !test_has_failed(); seed++) {
        struct run *r = run_new(setup, seed);
        struct test_world *w = NEW(struct test_world);
        struct test_disk *disk;

        work(r, 300, 0);
        test_close(&r->w, r->edge, r->node);
        r->edge = NULL;
        disk = test_disk(&r->w, "top");
        test_world_init_format(w, seed, setup->driver);
        test_disk_load(test_disk(w, "top"), disk->data, disk->size);
        verify(r, w, true);
        test_world_fini(w);
        xfree(w);
        run_free(r);
    }
}

/* One request to the file fails; nothing hangs, and what is left is a sound image. */
static void survives_failing_io(const struct setup *setup)
{
    for (uint64_t nth = 1; nth < 60 && !test_has_failed(); nth += 5) {
        struct run *r = run_new(setup, 7);
        struct test_disk *disk = test_disk(&r->w, "top");
        struct test_world *w = NEW(struct test_world);

        disk->fail_nth = disk->ops + nth;
        disk->fail_error = EIO;
        work(r, 60, 0);
        test_world_init_format(w, 1, setup->driver);
        test_disk_crash(disk, nth, test_disk(w, "top"));
        verify(r, w, false);
        test_world_fini(w);
        xfree(w);
        run_free(r);
    }
}

static const struct setup vdi = { .driver = &driver_vdi, .options = "'size':8388608" };
static const struct setup vdi_static = { .driver = &driver_vdi,
                                         .options = "'size':8388608,'preallocation':'metadata'" };
static const struct setup vdi_garbage = { .driver = &driver_vdi,
                                          .options = "'size':8388608",
                                          .garbage = true };
static const struct setup vmdk_backing = { .driver = &driver_vmdk,
                                           .options = "'size':8388608",
                                           .backing = true };
static const struct setup vpc = { .driver = &driver_vpc,
                                  .options = "'size':8388608,'force-size':true" };
static const struct setup vpc_fixed = {
    .driver = &driver_vpc, .options = "'size':8388608,'force-size':true,'subformat':'fixed'"
};
static const struct setup vmdk = { .driver = &driver_vmdk, .options = "'size':8388608" };
static const struct setup vmdk_zeroed = { .driver = &driver_vmdk,
                                          .options = "'size':8388608,'zeroed-grain':true" };
static const struct setup vmdk_stream = { .driver = &driver_vmdk,
                                          .options = "'size':8388608,'subformat':'streamOptimized'",
                                          .once = true };
static const struct setup vhdx = { .driver = &driver_vhdx,
                                   .options = "'size':8388608,'block-size':1048576" };
static const struct setup vhdx_fixed = {
    .driver = &driver_vhdx, .options = "'size':8388608,'block-size':1048576,'subformat':'fixed'"
};

#define FORMAT(name)                                                                               \
    static void name##_survives_crashes(void) { survives_crashes(&name); }                        \
    static void name##_keeps_data_when_closed(void) { keeps_data_when_closed(&name); }            \
    static void name##_survives_failing_io(void) { survives_failing_io(&name); }
FORMAT(vdi)
FORMAT(vdi_static)
FORMAT(vdi_garbage)
FORMAT(vmdk_backing)
FORMAT(vpc)
FORMAT(vpc_fixed)
FORMAT(vmdk)
FORMAT(vmdk_zeroed)
FORMAT(vmdk_stream)
FORMAT(vhdx)
FORMAT(vhdx_fixed)
#undef FORMAT

#define TESTS(name)                                                                                \
    TEST(name##_survives_crashes), TEST(name##_keeps_data_when_closed),                           \
        TEST(name##_survives_failing_io)
TEST_LIST(TESTS(vdi), TESTS(vdi_static), TESTS(vdi_garbage), TESTS(vmdk_backing), TESTS(vpc),
          TESTS(vpc_fixed), TESTS(vmdk), TESTS(vmdk_zeroed), TESTS(vmdk_stream), TESTS(vhdx),
          TESTS(vhdx_fixed));
