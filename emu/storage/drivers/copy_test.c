/* The window of copies: content, what it costs, errors, abandoning. */
#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/rng.h"
#include "emu/storage/copy.h"
#include "emu/storage/testing.h"
#include "tests/harness/expect_err.h"
#include "tests/harness/test.h"

static const struct driver *const drivers[] = { &driver_file, &driver_raw, &driver_null_co, NULL };

#define MIB             (UINT64_C(1) << 20)
#define FILE_NODE(name) "{'driver': 'file', 'node-name': '" name "', 'filename': '" name "'}"

struct pump {
    struct storage_world w;
    struct edge *source, *target;
    struct copy *copy;
    uint64_t next, size, chunk, copied, zeroed;
    unsigned errors;
    bool read_failed, finished;
};

static void pump_more(struct pump *p)
{
    while (copy_has_room(p->copy) && p->next < p->size) {
        uint64_t len = MIN(p->chunk, p->size - p->next);

        copy_start(p->copy, p->next, len, p->next);
        p->next += len;
    }
    p->finished = p->next >= p->size && !copy_inflight(p->copy);
}

static void range_done(struct copy *copy, const struct copy_range *range)
{
    struct pump *p = copy_owner(copy);

    EXPECT_EQ(range->cookie, range->offset);
    if (range->result < 0) {
        p->errors++;
        p->read_failed |= range->read_failed;
    }
    if (range->zeroed)
        p->zeroed += range->len;
    p->copied += range->len;
    pump_more(p);
}

static void start(struct pump *p, uint64_t seed, uint64_t size)
{
    *p = (struct pump){ .size = size, .chunk = MIB };
    storage_world_init(&p->w, seed, drivers);
    sim_file_create(p->w.sim, "src", size);
    sim_file_create(p->w.sim, "dst", size);
    p->source = storage_edge(&p->w, storage_must_open(&p->w, FILE_NODE("src")),
                             PERM_CONSISTENT_READ, PERM_ALL);
    p->target =
        storage_edge(&p->w, storage_must_open(&p->w, FILE_NODE("dst")), PERM_WRITE, PERM_ALL);
}

static struct copy_options options(struct pump *p)
{
    return (struct copy_options){ .source = p->source,
                                  .target = p->target,
                                  .chunk_bytes = MIB,
                                  .max_bytes = 4 * MIB,
                                  .max_inflight = 8,
                                  .use_status = true,
                                  .range_done = range_done,
                                  .owner = p };
}

static void run(struct pump *p, struct copy_options with)
{
    p->copy = copy_new(p->w.reactor, &with);
    pump_more(p);
    REQUIRE(storage_run_until(&p->w, &p->finished));
    EXPECT_EQ(p->copied, p->size);
    copy_free(p->copy);
}

static void stop(struct pump *p)
{
    edge_detach(p->source);
    edge_detach(p->target);
    storage_world_fini(&p->w);
}

static void expect_equal(struct pump *p)
{
    uint8_t *a = xmalloc(p->size), *b = xmalloc(p->size);

    sim_file_peek(p->w.sim, "src", 0, a, p->size);
    sim_file_peek(p->w.sim, "dst", 0, b, p->size);
    EXPECT_MEM(a, b, p->size);
    xfree(a);
    xfree(b);
}

static void scatter(struct pump *p, uint64_t seed, const char *path)
{
    struct rng rng;
    uint8_t buf[30000];

    rng_init(&rng, seed);
    for (int i = 0; i < 20; i++) {
        uint64_t len = rng_between(&rng, 1, sizeof(buf));

        rng_fill(&rng, buf, len);
        if (rng_chance(&rng, 1, 3))
            memset(buf, 0, len);
        sim_file_poke(p->w.sim, path, rng_below(&rng, p->size - len), buf, len);
    }
}

static void copies_all_kinds_of_content(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pump p;
        struct copy_options with;

        test_note("seed %llu", (unsigned long long)seed);
        start(&p, seed, 5 * MIB + 7 * 512);
        scatter(&p, seed, "src");
        scatter(&p, seed + 100, "dst");
        p.chunk = seed & 1 ? MIB : 64 * MIB;
        with = options(&p);
        with.use_status = seed & 2;
        with.detect_zeroes = seed & 4;
        with.zero_granularity = seed & 8 ? 4096 : 0;
        with.unmap = seed & 16;
        run(&p, with);
        expect_equal(&p);
        EXPECT_EQ(p.errors, 0u);
        stop(&p);
    }
}

static void an_empty_disk_costs_next_to_nothing(void)
{
    struct pump p;
    struct copy_options with;
    uint64_t ops;

    start(&p, 1, UINT64_C(64) << 30);
    p.chunk = 64 * MIB;
    with = options(&p);
    with.target_is_zero = true;
    ops = sim_file_ops(p.w.sim);
    run(&p, with);
    EXPECT_LT(sim_file_ops(p.w.sim) - ops, 70u);
    EXPECT_EQ(p.zeroed, p.size);
    stop(&p);
}

static void a_read_error_is_told_from_a_write_error(void)
{
    struct pump p;
    uint8_t data[512] = { 1 };

    start(&p, 1, 4 * MIB);
    sim_file_poke(p.w.sim, "src", 2 * MIB, data, sizeof(data));
    sim_fault_add(p.w.sim,
                  &(struct sim_fault){
                      .path = "src", .kind = SIM_FAULT_READ, .count = UINT64_MAX, .error = EIO });
    run(&p, options(&p));
    EXPECT_EQ(p.errors, 1u);
    EXPECT(p.read_failed);
    stop(&p);
}

static void salvage_reads_zeroes(void)
{
    struct pump p;
    struct copy_options with;
    uint8_t data[512] = { 1 }, got[512], zero[512] = { 0 };

    start(&p, 1, 4 * MIB);
    sim_file_poke(p.w.sim, "src", 2 * MIB, data, sizeof(data));
    sim_file_poke(p.w.sim, "dst", 2 * MIB, data, sizeof(data));
    sim_fault_add(p.w.sim,
                  &(struct sim_fault){
                      .path = "src", .kind = SIM_FAULT_READ, .count = UINT64_MAX, .error = EIO });
    with = options(&p);
    with.salvage = true;
    run(&p, with);
    EXPECT_EQ(p.errors, 0u);
    sim_file_peek(p.w.sim, "dst", 2 * MIB, got, 512);
    EXPECT_MEM(got, zero, 512);
    stop(&p);
}

/* A zero extent is remembered; a write into it must be seen by ranges that start later. */
static void a_write_voids_what_was_known(void)
{
    struct pump p;
    struct copy_options with;
    struct edge *writer;
    uint8_t data[512];

    start(&p, 1, 16 * MIB);
    memset(data, 5, sizeof(data));
    writer = storage_edge(&p.w, p.source->node, PERM_WRITE, PERM_ALL);
    with = options(&p);
    with.target_is_zero = true;
    p.copy = copy_new(p.w.reactor, &with);
    p.size = MIB;
    pump_more(&p);
    REQUIRE(storage_run_until(&p.w, &p.finished));
    EXPECT_EQ(storage_io(&p.w, writer, REQ_WRITE, 0, 8 * MIB, 512, data), 0);
    p.size = 16 * MIB;
    p.finished = false;
    pump_more(&p);
    REQUIRE(storage_run_until(&p.w, &p.finished));
    copy_free(p.copy);
    expect_equal(&p);
    edge_detach(writer);
    stop(&p);
}

static void abandoned_with_a_dead_source(void)
{
    struct pump p;
    struct copy_options with;
    uint8_t data[512] = { 1 };

    start(&p, 1, 4 * MIB);
    for (uint64_t at = 0; at < 4 * MIB; at += 65536)
        sim_file_poke(p.w.sim, "src", at, data, sizeof(data));
    sim_fault_add(p.w.sim,
                  &(struct sim_fault){
                      .path = "src", .kind = SIM_FAULT_READ, .count = UINT64_MAX, .stall = true });
    with = options(&p);
    p.copy = copy_new(p.w.reactor, &with);
    pump_more(&p);
    sim_run(p.w.sim, 10000);
    EXPECT(!p.finished);
    copy_abandon(p.copy);
    edge_detach(p.source);
    edge_detach(p.target);
    sim_release(p.w.sim, NULL);
    sim_run(p.w.sim, 10000);
    EXPECT(!p.finished);
    storage_world_fini(&p.w);
}

TEST_LIST(TEST(copies_all_kinds_of_content), TEST(an_empty_disk_costs_next_to_nothing),
          TEST(a_read_error_is_told_from_a_write_error), TEST(salvage_reads_zeroes),
          TEST(a_write_voids_what_was_known), TEST(abandoned_with_a_dead_source));
