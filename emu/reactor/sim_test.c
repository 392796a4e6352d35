/* The simulator: determinism, durability, faults, time. */
#include "emu/reactor/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/nstime.h"
#include "emu/base/rng.h"
#include "emu/reactor/conformance_testing.h"
#include "tests/harness/expect_err.h"

#define RW (FILE_READ | FILE_WRITE)
#define KIB 1024u
#define SECTOR 512u

static void make(struct conf *c, struct sim_options options)
{
    *c = (struct conf){ .dir = "" };
    c->world = sim_new(&options);
    c->r = sim_reactor_new(c->world);
}

void conf_make(struct conf *c) { make(c, (struct sim_options){ .seed = 1 }); }

void conf_drop(struct conf *c)
{
    EXPECT_EQ(reactor_ops_pending(c->r), 0);
    reactor_free(c->r);
    sim_free(c->world);
}

static struct reactor_file *open_file(struct conf *c, const char *name)
{
    return conf_file(c, name, RW | FILE_CREATE);
}

static int64_t sync_file(struct conf *c, struct reactor_file *f)
{
    struct probe p;

    probe_init(&p, NULL);
    reactor_file_sync(f, &p.op, true);
    return probe_wait(c, &p);
}

static void write_sectors(struct conf *c, struct reactor_file *f, unsigned first, unsigned count,
                          uint8_t value)
{
    static uint8_t bytes[64 * KIB];

    memset(bytes, value, count * SECTOR);
    REQUIRE_EQ(conf_pwrite(c, f, bytes, count * SECTOR, first * SECTOR), count * SECTOR);
}

/* The value a whole sector has; fails the test when it is torn. */
static uint8_t sector_of(const struct sim *sim, const char *path, unsigned sector)
{
    uint8_t bytes[SECTOR];

    sim_file_peek(sim, path, (uint64_t)sector * SECTOR, bytes, SECTOR);
    for (unsigned i = 1; i < SECTOR; i++)
        EXPECT_EQ(bytes[i], bytes[0]);
    return bytes[0];
}

/* ---- Determinism ---- */

/* A bit of everything with random choices; the digest of the run. */
struct run {
    uint64_t hash, events;
    int64_t ended_ns;
};

static void start_random(struct reactor_file *file, struct probe *p, struct iovec *iov,
                         struct file_stat *st, struct rng *rng)
{
    uint64_t offset = rng_below(rng, 65536);

    switch (rng_below(rng, 6)) {
    case 0: reactor_file_readv(file, &p->op, iov, 1, offset); break;
    case 1: reactor_file_sync(file, &p->op, true); break;
    case 2: reactor_file_stat(file, &p->op, st); break;
    case 3: reactor_file_allocate(file, &p->op, FILE_PUNCH, offset, 5000); break;
    default: reactor_file_writev(file, &p->op, iov, 1, offset); break;
    }
}

static struct run random_run(uint64_t seed)
{
    enum { OPS = 30, STEPS = 40 };
    struct conf c;
    struct reactor_file *files[2];
    struct reactor_stream *s[2];
    struct rng rng;
    static uint8_t buf[OPS][8192];
    struct run run;

    make(&c,
         (struct sim_options){ .seed = seed, .split_streams = true, .short_io_per_mille = 100 });
    files[0] = open_file(&c, "a");
    files[1] = open_file(&c, "b");
    REQUIRE(!reactor_stream_pair(c.r, s));
    rng_init(&rng, 99);
    for (int step = 0; step < STEPS; step++) {
        struct probe p[OPS], read, write;
        struct iovec iov[OPS], out = { buf[0], 60 };
        struct file_stat st[OPS];
        char in[100];

        for (int i = 0; i < OPS; i++) {
            probe_init(&p[i], NULL);
            iov[i] = (struct iovec){ buf[i], 1 + rng_below(&rng, sizeof(buf[i])) };
            start_random(files[rng_below(&rng, 2)], &p[i], &iov[i], &st[i], &rng);
        }
        probe_init(&read, NULL);
        probe_init(&write, NULL);
        stream_read(s[0], &read.op, in, sizeof(in));
        stream_writev(s[1], &write.op, &out, 1);
        op_cancel(&p[step % OPS].op);
        probe_wait(&c, &read);
        probe_wait(&c, &write);
        for (int i = 0; i < OPS; i++)
            probe_wait(&c, &p[i]);
    }
    EXPECT(sim_run(c.world, 1000));
    run = (struct run){ sim_hash(c.world), sim_events(c.world), sim_now(c.world) };
    reactor_file_close(files[0]);
    reactor_file_close(files[1]);
    stream_close(s[0]);
    stream_close(s[1]);
    conf_drop(&c);
    return run;
}

static void repeats_itself(void)
{
    struct run a = random_run(1), b = random_run(2);
    char *elsewhere = malloc(100000); /* Other addresses the second time. */
    struct run again = random_run(1);

    free(elsewhere);
    EXPECT_EQ(a.hash, again.hash);
    EXPECT_EQ(a.events, again.events);
    EXPECT_EQ(a.ended_ns, again.ended_ns);
    EXPECT_NE(a.hash, b.hash);
}

static void keeps_its_order_on_demand(void)
{
    struct conf c;
    struct reactor_file *f;
    unsigned counter = 0;
    struct probe p[20];
    struct file_stat st[20];

    for (int in_order = 0; in_order < 2; in_order++) {
        bool sorted = true;

        make(&c, (struct sim_options){ .seed = 5, .in_order = in_order });
        f = open_file(&c, "a");
        counter = 0;
        for (int i = 0; i < 20; i++) {
            probe_init(&p[i], &counter);
            reactor_file_stat(f, &p[i].op, &st[i]);
        }
        for (int i = 0; i < 20; i++) {
            probe_wait(&c, &p[i]);
            sorted = sorted && p[i].order == (unsigned)i;
        }
        EXPECT_EQ(sorted, in_order);
        reactor_file_close(f);
        conf_drop(&c);
    }
}

/* ---- Time ---- */

static void advances_time_by_events(void)
{
    struct conf c;
    int64_t start;

    make(&c, (struct sim_options){ .seed = 1, .latency_min_ns = 1000, .latency_max_ns = 2000 });
    start = sim_now(c.world);
    reactor_file_close(open_file(&c, "a"));
    EXPECT_GE(sim_now(c.world), start + 1000);
    EXPECT_LE(sim_now(c.world), start + 2000);
    EXPECT(!sim_step(c.world));
    sim_run_for(c.world, 5 * NS_PER_SEC);
    EXPECT_EQ(reactor_now(c.r), sim_now(c.world));
    EXPECT_GE(reactor_now(c.r), start + 5 * NS_PER_SEC);
    conf_drop(&c);
}

struct tick {
    struct timer timer;
    struct reactor *r;
    unsigned runs;
    bool flag;
};

static void tick_again(struct timer *timer)
{
    struct tick *tick = container_of(timer, struct tick, timer);

    if (++tick->runs == 10)
        tick->flag = true;
    timer_arm(tick->r, timer, reactor_now(tick->r) + NS_PER_SEC);
}

static void notices_livelock(void)
{
    struct conf c;
    struct tick tick = { .timer.fn = tick_again };

    conf_make(&c);
    tick.r = c.r;
    timer_arm(c.r, &tick.timer, reactor_now(c.r));
    EXPECT(!sim_run(c.world, 5));
    EXPECT_EQ(tick.runs, 5);
    EXPECT(sim_run_until(c.world, &tick.flag, 100));
    EXPECT_EQ(tick.runs, 10);
    sim_run_for(c.world, 3 * NS_PER_SEC);
    EXPECT_EQ(tick.runs, 13);
    timer_disarm(&tick.timer);
    EXPECT(sim_run(c.world, 5));
    conf_drop(&c);
}

/* ---- Several reactors ---- */

struct hop {
    struct reactor *a, *b;
    unsigned count;
};

static void hop_to_b(void *arg);

static void hop_to_a(void *arg)
{
    struct hop *hop = arg;

    EXPECT(reactor_is_home(hop->b));
    EXPECT(!reactor_is_home(hop->a));
    hop->count++;
    reactor_post(hop->a, hop_to_b, hop);
}

static void hop_to_b(void *arg)
{
    struct hop *hop = arg;

    EXPECT(reactor_is_home(hop->a));
    if (hop->count < 5)
        reactor_post(hop->b, hop_to_a, hop);
}

static void runs_threads_as_reactors(void)
{
    struct conf c;
    struct reactor_thread *t;
    struct hop hop;

    conf_make(&c);
    REQUIRE_OK(reactor_thread_new(c.r, "t", &t));
    hop = (struct hop){ .a = c.r, .b = reactor_thread_reactor(t) };
    reactor_post(hop.a, hop_to_b, &hop);
    EXPECT(sim_run(c.world, 100));
    EXPECT_EQ(hop.count, 5);
    reactor_thread_stop(t);
    conf_drop(&c);
}

static void misuse_other_reactor(void *arg)
{
    struct hop *hop = arg;
    struct probe p;
    struct file_stat st;

    probe_init(&p, NULL);
    reactor_path_stat(hop->b, &p.op, "a", &st);
}

static void refuses_calls_from_afar(void)
{
    struct conf c;
    struct reactor_thread *t;
    struct hop hop;

    conf_make(&c);
    REQUIRE_OK(reactor_thread_new(c.r, "t", &t));
    hop = (struct hop){ .a = c.r, .b = reactor_thread_reactor(t) };
    reactor_post(hop.a, misuse_other_reactor, &hop);
    EXPECT_DEATH(sim_run(c.world, 10), "is_home");
    hop.b = hop.a;
    sim_crash(c.world, 1);
    sim_free(c.world);
}

/* ---- Crashes ---- */

/* After a crash the process is new. */
static void crash(struct conf *c, uint64_t seed)
{
    sim_crash(c->world, seed);
    c->r = sim_reactor_new(c->world);
}

static void crash_keeps_what_was_synced(void)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct conf c;
        struct reactor_file *f;

        conf_make(&c);
        f = open_file(&c, "a");
        write_sectors(&c, f, 0, 16, 0x11);
        EXPECT_EQ(sync_file(&c, f), 0);
        write_sectors(&c, f, 4, 4, 0x22);
        crash(&c, seed);
        EXPECT_EQ(sim_file_size(c.world, "/a"), 16 * SECTOR);
        for (unsigned s = 0; s < 16; s++) {
            uint8_t value = sector_of(c.world, "/a", s);

            if (s >= 4 && s < 8)
                EXPECT(value == 0x11 || value == 0x22);
            else
                EXPECT_EQ(value, 0x11);
        }
        conf_drop(&c);
    }
}

/* Over the seeds every sector is seen both kept and lost, and writes are torn between sectors. */
static void crash_tears_by_sector(void)
{
    unsigned kept[8] = { 0 }, torn = 0;
    enum { SEEDS = 100 };

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct conf c;
        struct reactor_file *f;
        unsigned kept_here = 0;

        conf_make(&c);
        f = open_file(&c, "a");
        write_sectors(&c, f, 0, 8, 0x11);
        EXPECT_EQ(sync_file(&c, f), 0);
        write_sectors(&c, f, 0, 8, 0x22);
        crash(&c, seed);
        for (unsigned s = 0; s < 8; s++) {
            if (sector_of(c.world, "/a", s) == 0x22) {
                kept[s]++;
                kept_here++;
            }
        }
        torn += kept_here > 0 && kept_here < 8;
        conf_drop(&c);
    }
    for (unsigned s = 0; s < 8; s++)
        EXPECT(kept[s] > SEEDS / 4 && kept[s] < SEEDS * 3 / 4);
    EXPECT_GT(torn, SEEDS / 2);
}

/* A write under way when the power goes may be there in part, but its op never completes. */
static void crash_catches_writes_under_way(void)
{
    unsigned kept = 0;
    enum { SEEDS = 60 };

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct conf c;
        struct reactor_file *f;
        struct probe p;
        char bytes[SECTOR];
        struct iovec iov = { bytes, SECTOR };

        conf_make(&c);
        f = open_file(&c, "a");
        write_sectors(&c, f, 0, 1, 0x11);
        EXPECT_EQ(sync_file(&c, f), 0);
        memset(bytes, 0x22, SECTOR);
        probe_init(&p, NULL);
        reactor_file_writev(f, &p.op, &iov, 1, 0);
        crash(&c, seed);
        EXPECT(sim_run(c.world, 10));
        EXPECT_EQ(p.calls, 0);
        kept += sector_of(c.world, "/a", 0) == 0x22;
        conf_drop(&c);
    }
    EXPECT(kept > SEEDS / 4 && kept < SEEDS * 3 / 4);
}

/* A write that comes while a sync is under way is not covered by it; what it overwrites is. */
static void sync_covers_what_came_before(void)
{
    bool seen[4] = { false }, covered_only = false;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct conf c;
        struct reactor_file *f;
        struct probe p;
        bool covered, overtaken = false;
        uint8_t value;

        make(&c, (struct sim_options){ .seed = seed });
        f = open_file(&c, "a");
        write_sectors(&c, f, 0, 1, 1);
        EXPECT_EQ(sync_file(&c, f), 0);
        write_sectors(&c, f, 0, 1, 2);
        probe_init(&p, NULL);
        reactor_file_sync(f, &p.op, true);
        write_sectors(&c, f, 0, 1, 3);
        covered = !op_pending(&p.op);
        if (!covered && seed % 2) {
            EXPECT_EQ(probe_wait(&c, &p), 0);
            covered = overtaken = true;
        }
        crash(&c, seed);
        value = sector_of(c.world, "/a", 0);
        if (covered)
            EXPECT_MSG(value == 2 || value == 3, "seed %d: %d", (int)seed, value);
        covered_only |= overtaken && value == 2;
        REQUIRE(value >= 1 && value <= 3);
        seen[value] = true;
        conf_drop(&c);
    }
    EXPECT(seen[1] && seen[2] && seen[3]);
    EXPECT(covered_only); /* And no more than what came before. */
}

static void crash_may_forget_growth(void)
{
    bool grew = false, stayed = false;

    for (uint64_t seed = 0; seed < 30; seed++) {
        struct conf c;
        struct reactor_file *f;

        conf_make(&c);
        f = open_file(&c, "a");
        write_sectors(&c, f, 0, 2, 1);
        EXPECT_EQ(sync_file(&c, f), 0);
        write_sectors(&c, f, 2, 2, 2);
        crash(&c, seed);
        if (sim_file_size(c.world, "/a") == 2 * SECTOR)
            stayed = true;
        else
            grew = sim_file_size(c.world, "/a") == 4 * SECTOR;
        conf_drop(&c);
    }
    EXPECT(grew && stayed);
}

static void dsync_writes_are_durable(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct conf c;
        struct reactor_file *f, *g;

        conf_make(&c);
        f = conf_file(&c, "a", RW | FILE_CREATE | FILE_DSYNC);
        write_sectors(&c, f, 0, 4, 7);
        g = conf_file(&c, "a", RW);
        write_sectors(&c, g, 8, 4, 8); /* Not by this handle. */
        write_sectors(&c, f, 2, 4, 9);
        crash(&c, seed);
        for (unsigned s = 0; s < 6; s++)
            EXPECT_EQ(sector_of(c.world, "/a", s), s < 2 ? 7 : 9);
        conf_drop(&c);
    }
}

/* After a failed sync the data can be read, a second sync succeeds, and the data is gone all the same. */
static void failed_sync_loses_for_good(void)
{
    struct conf c;
    struct reactor_file *f;
    struct sim_fault fault = { .path = "/a", .kind = SIM_FAULT_SYNC, .count = 1, .error = EIO };

    conf_make(&c);
    f = open_file(&c, "a");
    write_sectors(&c, f, 0, 2, 1);
    EXPECT_EQ(sync_file(&c, f), 0);
    write_sectors(&c, f, 0, 2, 2);
    sim_fault_add(c.world, &fault);
    EXPECT_EQ(sync_file(&c, f), -EIO);
    EXPECT_EQ(sector_of(c.world, "/a", 0), 2);
    write_sectors(&c, f, 1, 1, 3); /* Written again: can become durable. */
    EXPECT_EQ(sync_file(&c, f), 0);
    crash(&c, 1);
    EXPECT_EQ(sector_of(c.world, "/a", 0), 1);
    EXPECT_EQ(sector_of(c.world, "/a", 1), 3);
    conf_drop(&c);
}

static void crash_image_leaves_the_world_alone(void)
{
    struct conf c;
    struct reactor_file *f;
    struct sim_options options = { .seed = 1 };
    struct sim *images[20];
    bool lost = false, kept = false;

    conf_make(&c);
    f = open_file(&c, "a");
    write_sectors(&c, f, 0, 8, 1);
    EXPECT_EQ(sync_file(&c, f), 0);
    write_sectors(&c, f, 0, 1, 2);
    for (uint64_t seed = 0; seed < 20; seed++)
        images[seed] = sim_crash_image(c.world, seed, &options);
    write_sectors(&c, f, 0, 2, 3);
    EXPECT_EQ(sync_file(&c, f), 0);
    for (int i = 0; i < 20; i++) {
        uint8_t value = sector_of(images[i], "/a", 0);

        EXPECT(value == 1 || value == 2);
        lost |= value == 1;
        kept |= value == 2;
        EXPECT_EQ(sector_of(images[i], "/a", 1), 1);
        /* Changing an image changes neither the world nor its siblings. */
        sim_file_poke(images[i], "/a", SECTOR, "zz", 2);
        sim_free(images[i]);
    }
    EXPECT(lost && kept);
    EXPECT_EQ(sector_of(c.world, "/a", 0), 3);
    EXPECT_EQ(sector_of(c.world, "/a", 1), 3);
    reactor_file_close(f);
    conf_drop(&c);
}

static void crash_releases_locks(void)
{
    struct conf c;
    struct reactor_file *f;
    struct probe p;

    conf_make(&c);
    f = open_file(&c, "a");
    probe_init(&p, NULL);
    reactor_file_lock(f, &p.op, FILE_LOCK_EXCLUSIVE, 0, 1);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    crash(&c, 1);
    f = open_file(&c, "a");
    reactor_file_lock(f, &p.op, FILE_LOCK_EXCLUSIVE, 0, 1);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    reactor_file_close(f);
    conf_drop(&c);
}

/*
 * Random writes, zeroes and syncs against a model that keeps, per sector, every content since the last
 * sync: what a crash image holds must be one of them.
 */
enum { MODEL_SECTORS = 64, MODEL_VERSIONS = 400 };

struct sector_model {
    uint8_t versions[MODEL_VERSIONS];
    unsigned first, count; /* versions[first] is durable. */
};

static void model_write(struct sector_model *m, unsigned first, unsigned count, uint8_t value)
{
    for (unsigned s = first; s < first + count; s++) {
        REQUIRE(m[s].count < MODEL_VERSIONS);
        m[s].versions[m[s].count++] = value;
    }
}

static void check_image(struct sim *world, const struct sector_model *model, uint64_t seed)
{
    struct sim_options options = { .seed = seed };
    struct sim *image = sim_crash_image(world, seed, &options);

    for (unsigned s = 0; s < MODEL_SECTORS; s++) {
        uint8_t value = sector_of(image, "/a", s);
        bool found = false;

        for (unsigned v = model[s].first; v < model[s].count; v++)
            found |= model[s].versions[v] == value;
        EXPECT_MSG(found, "seed %d: sector %u holds %d", (int)seed, s, value);
    }
    sim_free(image);
}

static void crash_images_agree_with_a_model(void)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sector_model *model = calloc(MODEL_SECTORS, sizeof(*model));
        unsigned covered[MODEL_SECTORS];
        struct conf c;
        struct reactor_file *f;
        struct rng rng;
        struct probe sync;

        make(&c, (struct sim_options){ .seed = seed });
        f = open_file(&c, "a");
        write_sectors(&c, f, 0, MODEL_SECTORS, 0);
        EXPECT_EQ(sync_file(&c, f), 0);
        model_write(model, 0, MODEL_SECTORS, 0);
        rng_init(&rng, seed);
        probe_init(&sync, NULL);
        for (int i = 0; i < 150; i++) {
            unsigned count = 1 + (unsigned)rng_below(&rng, 12);
            unsigned first = (unsigned)rng_below(&rng, MODEL_SECTORS - count);
            unsigned calls = sync.calls;
            struct probe p;

            probe_init(&p, NULL);
            if (!op_pending(&sync.op) && rng_chance(&rng, 1, 6)) {
                for (unsigned s = 0; s < MODEL_SECTORS; s++)
                    covered[s] = model[s].count - 1;
                reactor_file_sync(f, &sync.op, true);
            } else if (rng_chance(&rng, 1, 8)) {
                model_write(model, first, count, 0);
                reactor_file_allocate(f, &p.op, rng_chance(&rng, 1, 2) ? FILE_PUNCH : FILE_ZERO,
                                      first * SECTOR, count * SECTOR);
                EXPECT_EQ(probe_wait(&c, &p), 0);
            } else {
                uint8_t value = (uint8_t)(1 + rng_below(&rng, 255));

                model_write(model, first, count, value);
                write_sectors(&c, f, first, count, value);
            }
            if (sync.calls > calls && sync.op.result == 0) {
                for (unsigned s = 0; s < MODEL_SECTORS; s++)
                    model[s].first = covered[s];
            }
            if (rng_chance(&rng, 1, 4))
                check_image(c.world, model, seed * 1000 + (unsigned)i);
        }
        if (op_pending(&sync.op))
            probe_wait(&c, &sync);
        reactor_file_close(f);
        conf_drop(&c);
        free(model);
    }
}

static void handles_huge_sparse_files(void)
{
    struct conf c;
    struct reactor_file *f;
    struct file_extent e = { 0 };
    struct probe p;
    uint64_t tib = UINT64_C(1) << 40;

    conf_make(&c);
    sim_file_create(c.world, "/a", 8 * tib);
    f = open_file(&c, "a");
    write_sectors(&c, f, 0, 1, 1);
    probe_init(&p, NULL);
    EXPECT_EQ(conf_pwrite(&c, f, "x", 1, 7 * tib), 1);
    reactor_file_extent(f, &p.op, 4096, &e);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    EXPECT(!e.data && e.end == 7 * tib);
    reactor_file_extent(f, &p.op, 7 * tib + 4096, &e);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    EXPECT(!e.data && e.end == 8 * tib);
    reactor_file_allocate(f, &p.op, FILE_PUNCH, 0, 8 * tib);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    reactor_file_extent(f, &p.op, 0, &e);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    EXPECT(!e.data && e.end == 8 * tib);
    reactor_file_truncate(f, &p.op, 0);
    EXPECT_EQ(probe_wait(&c, &p), 0);
    reactor_file_close(f);
    conf_drop(&c);
}

/* ---- Faults ---- */

static void fails_the_chosen_ops(void)
{
    struct conf c;
    struct reactor_file *f;
    struct sim_fault fault = {
        .path = "/a", .kind = SIM_FAULT_WRITE, .skip = 1, .count = 2, .error = EIO
    };
    struct sim_fault ranged = { .kind = SIM_FAULT_READ,
                                .count = UINT64_MAX,
                                .error = EILSEQ,
                                .min_offset = 100,
                                .max_offset = 200 };
    char buf[16] = "";

    conf_make(&c);
    f = open_file(&c, "a");
    sim_fault_add(c.world, &fault);
    EXPECT_EQ(conf_pwrite(&c, f, "1", 1, 0), 1);
    EXPECT_EQ(conf_pwrite(&c, f, "2", 1, 0), -EIO);
    EXPECT_EQ(conf_pwrite(&c, f, "3", 1, 0), -EIO);
    EXPECT_EQ(conf_pread(&c, f, buf, 1, 0), 1);
    EXPECT_EQ(buf[0], '1'); /* A failed write changes nothing. */
    EXPECT_EQ(conf_pwrite(&c, f, "4", 1, 300), 1);
    sim_fault_add(c.world, &ranged);
    EXPECT_EQ(conf_pread(&c, f, buf, 16, 84), 16);
    EXPECT_EQ(conf_pread(&c, f, buf, 17 - 1, 85), -EILSEQ);
    EXPECT_EQ(conf_pread(&c, f, buf, 1, 199), -EILSEQ);
    EXPECT_EQ(conf_pread(&c, f, buf, 1, 200), 1);
    sim_fault_clear(c.world);
    EXPECT_EQ(conf_pread(&c, f, buf, 1, 199), 1);
    reactor_file_close(f);
    conf_drop(&c);
}

static void fails_the_nth_op(void)
{
    struct conf c;
    struct reactor_file *f;
    uint64_t before;

    conf_make(&c);
    f = open_file(&c, "a");
    before = sim_file_ops(c.world);
    sim_fail_nth(c.world, 3, ENOSPC);
    EXPECT_EQ(conf_pwrite(&c, f, "1", 1, 0), 1);
    EXPECT_EQ(sync_file(&c, f), 0);
    EXPECT_EQ(conf_pwrite(&c, f, "1", 1, 0), -ENOSPC);
    EXPECT_EQ(conf_pwrite(&c, f, "1", 1, 0), 1);
    EXPECT_EQ(sim_file_ops(c.world), before + 4);
    sim_fail_nth(c.world, 1, EIO);
    sim_fail_nth(c.world, 0, 0);
    EXPECT_EQ(sync_file(&c, f), 0);
    reactor_file_close(f);
    conf_drop(&c);
}

static void stalls_until_released(void)
{
    struct conf c;
    struct reactor_file *a, *b;
    struct sim_fault fault = {
        .path = "/a", .kind = SIM_FAULT_WRITE, .count = UINT64_MAX, .stall = true
    };
    struct sim_fault other = {
        .path = "/b", .kind = SIM_FAULT_ANY, .count = UINT64_MAX, .stall = true
    };
    struct iovec iov = { "x", 1 };
    struct probe p, q;

    conf_make(&c);
    a = open_file(&c, "a");
    b = open_file(&c, "b");
    sim_fault_add(c.world, &fault);
    sim_fault_add(c.world, &other);
    probe_init(&p, NULL);
    probe_init(&q, NULL);
    reactor_file_writev(a, &p.op, &iov, 1, 0);
    reactor_file_writev(b, &q.op, &iov, 1, 0);
    EXPECT(sim_run(c.world, 100)); /* Idle: a stall is no work. */
    op_cancel(&p.op);              /* The kernel does not let go. */
    EXPECT(sim_run(c.world, 100));
    EXPECT_EQ(p.calls, 0);
    EXPECT_EQ(sync_file(&c, a), 0); /* Other kinds go on. */
    sim_release(c.world, "/a");
    EXPECT(sim_run(c.world, 100));
    EXPECT_EQ(p.calls, 1);
    EXPECT_EQ(p.op.result, 1);
    EXPECT_EQ(q.calls, 0);
    EXPECT_EQ(conf_pwrite(&c, a, "y", 1, 0), 1); /* The fault is over. */
    sim_release(c.world, NULL);
    EXPECT_EQ(probe_wait(&c, &q), 1);
    reactor_file_close(a);
    reactor_file_close(b);
    conf_drop(&c);
}

static void lets_go_of_stalled_opens(void)
{
    struct conf c;
    struct sim_fault fault = { .kind = SIM_FAULT_OPEN, .count = 1, .stall = true };
    struct reactor_file *f = NULL;
    struct probe p;

    conf_make(&c);
    sim_fault_add(c.world, &fault);
    probe_init(&p, NULL);
    reactor_file_open(c.r, &p.op, "/a", RW | FILE_CREATE, &f);
    EXPECT(sim_run(c.world, 100));
    EXPECT_EQ(p.calls, 0);
    op_cancel(&p.op);
    EXPECT_EQ(probe_wait(&c, &p), -ECANCELED);
    EXPECT_PTR(f, NULL);
    conf_drop(&c);
}

static void fills_up(void)
{
    struct conf c;
    struct reactor_file *f;
    char bytes[64] = "";
    struct probe p;

    conf_make(&c);
    f = open_file(&c, "a");
    sim_file_limit(c.world, "/a", 100);
    EXPECT_EQ(conf_pwrite(&c, f, bytes, 64, 0), 64);
    EXPECT_EQ(conf_pwrite(&c, f, bytes, 64, 64), 36);
    EXPECT_EQ(conf_pwrite(&c, f, bytes, 64, 100), -ENOSPC);
    probe_init(&p, NULL);
    reactor_file_truncate(f, &p.op, 101);
    EXPECT_EQ(probe_wait(&c, &p), -ENOSPC);
    reactor_file_allocate(f, &p.op, FILE_ALLOC, 0, 101);
    EXPECT_EQ(probe_wait(&c, &p), -ENOSPC);
    sim_file_limit(c.world, "/a", UINT64_MAX);
    EXPECT_EQ(conf_pwrite(&c, f, bytes, 64, 100), 64);
    reactor_file_close(f);
    conf_drop(&c);
}

static void transfers_short_at_times(void)
{
    struct conf c;
    struct reactor_file *f;
    char bytes[1000] = "";
    int short_reads = 0, short_writes = 0;

    make(&c, (struct sim_options){ .seed = 3, .short_io_per_mille = 500 });
    f = open_file(&c, "a");
    for (int i = 0; i < 100; i++) {
        int64_t wrote = conf_pwrite(&c, f, bytes, 1000, 0);
        int64_t got;

        EXPECT(wrote > 0 && wrote <= 1000);
        short_writes += wrote < 1000;
        got = conf_pread(&c, f, bytes, 10, 0);
        EXPECT_EQ(got, 10); /* Too little to split. */
        got = conf_pread(&c, f, bytes, 1000, 0);
        EXPECT(got > 0 && got <= 1000);
        short_reads += got < 1000;
    }
    EXPECT(short_writes > 20 && short_writes < 80);
    EXPECT(short_reads > 20);
    reactor_file_close(f);
    conf_drop(&c);
}

/* ---- Streams ---- */

static int64_t send_byte(struct conf *c, struct reactor_stream *s)
{
    struct iovec iov = { "x", 1 };
    struct probe p;

    probe_init(&p, NULL);
    stream_writev(s, &p.op, &iov, 1);
    return probe_wait(c, &p);
}

static void streams_stall_and_go_on(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    struct probe r, w;
    struct iovec iov = { "x", 1 };
    char byte;

    conf_make(&c);
    conf_streams(&c, s);
    probe_init(&r, NULL);
    probe_init(&w, NULL);
    sim_stream_stall(c.world, "/sock", true);
    stream_read(s[0], &r.op, &byte, 1);
    stream_writev(s[1], &w.op, &iov, 1);
    EXPECT(sim_run(c.world, 100));
    EXPECT_EQ(r.calls + w.calls, 0);
    sim_stream_stall(c.world, "/sock", false);
    EXPECT_EQ(probe_wait(&c, &r), 1);
    EXPECT_EQ(probe_wait(&c, &w), 1);
    /* Pending ops on a connection that stands still end when it is closed. */
    sim_stream_stall(c.world, "/sock", true);
    stream_read(s[0], &r.op, &byte, 1);
    stream_close(s[0]);
    EXPECT_EQ(probe_wait(&c, &r), -ECANCELED);
    stream_close(s[1]);
    conf_drop(&c);
}

static void streams_reset(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    struct probe r;
    char byte;

    conf_make(&c);
    conf_streams(&c, s);
    probe_init(&r, NULL);
    stream_read(s[0], &r.op, &byte, 1);
    sim_stream_reset(c.world, "/sock");
    EXPECT_EQ(probe_wait(&c, &r), -ECONNRESET);
    EXPECT_EQ(send_byte(&c, s[1]), -ECONNRESET);
    stream_close(s[0]);
    stream_close(s[1]);
    conf_drop(&c);
}

static void streams_split(void)
{
    struct conf c;
    struct reactor_stream *s[2];
    char out[1000] = "", in[1000];
    struct iovec iov = { out, sizeof(out) };
    struct probe r, w;

    make(&c, (struct sim_options){ .seed = 1, .split_streams = true });
    conf_streams(&c, s);
    probe_init(&r, NULL);
    probe_init(&w, NULL);
    stream_writev(s[0], &w.op, &iov, 1);
    stream_read(s[1], &r.op, in, sizeof(in));
    EXPECT_GT(probe_wait(&c, &r), 0);
    EXPECT_LT(r.op.result, 1000);
    EXPECT_EQ(conf_read_all(&c, s[1], in, 1000 - (size_t)r.op.result), 1000 - r.op.result);
    EXPECT_EQ(probe_wait(&c, &w), 1000);
    stream_close(s[0]);
    stream_close(s[1]);
    conf_drop(&c);
}

static void streams_outlive_a_crashed_peer(void)
{
    struct conf c;
    struct reactor_stream *s[2];

    conf_make(&c);
    conf_streams(&c, s);
    sim_crash(c.world, 1); /* Everything is gone, nothing leaks. */
    c.r = sim_reactor_new(c.world);
    conf_streams(&c, s);
    EXPECT_EQ(send_byte(&c, s[0]), 1);
    stream_close(s[0]);
    stream_close(s[1]);
    conf_drop(&c);
}

/* ---- Files of the host ---- */

static void copies_to_and_from_the_host(void)
{
    struct conf c;
    char path[300], buf[5] = "";

    conf_make(&c);
    snprintf(path, sizeof(path), "%s/f", test_tmpdir());
    sim_file_create(c.world, "/a", 10000);
    sim_file_poke(c.world, "/a", 5000, "here", 4);
    EXPECT_OK(sim_file_export(c.world, "/a", path));
    EXPECT_OK(sim_file_import(c.world, "/b", path));
    EXPECT(sim_file_exists(c.world, "/b"));
    EXPECT(!sim_file_exists(c.world, "/c"));
    EXPECT_EQ(sim_file_size(c.world, "/b"), 10000);
    sim_file_peek(c.world, "/b", 5000, buf, 4);
    EXPECT_STR(buf, "here");
    crash(&c, 1); /* Both are durable. */
    EXPECT_EQ(sim_file_size(c.world, "/b"), 10000);
    sim_file_peek(c.world, "/a", 5000, buf, 4);
    EXPECT_STR(buf, "here");
    conf_drop(&c);
}

TEST_LIST(TEST(repeats_itself), TEST(keeps_its_order_on_demand), TEST(advances_time_by_events),
          TEST(notices_livelock), TEST(runs_threads_as_reactors), TEST(refuses_calls_from_afar),
          TEST(crash_keeps_what_was_synced), TEST(crash_tears_by_sector),
          TEST(crash_catches_writes_under_way), TEST(sync_covers_what_came_before),
          TEST(crash_may_forget_growth), TEST(dsync_writes_are_durable),
          TEST(failed_sync_loses_for_good), TEST(crash_image_leaves_the_world_alone),
          TEST(crash_releases_locks), TEST(crash_images_agree_with_a_model),
          TEST(handles_huge_sparse_files), TEST(fails_the_chosen_ops), TEST(fails_the_nth_op),
          TEST(stalls_until_released), TEST(lets_go_of_stalled_opens), TEST(fills_up),
          TEST(transfers_short_at_times), TEST(streams_stall_and_go_on), TEST(streams_reset),
          TEST(streams_split), TEST(streams_outlive_a_crashed_peer),
          TEST(copies_to_and_from_the_host));
