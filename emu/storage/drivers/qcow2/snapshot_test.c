/*
 * Internal snapshots: what the disk holds after random work with them, against a model that keeps whole copies; and
 * crashes at every step of creating, applying and deleting. Oracle: after a crash the image is as before the
 * operation or as after it, in content, size and list, and its check finds neither corruption nor leak.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum { SIZE_MAX_BYTES = 1 << 20, KEPT_MAX = 6, SECTOR = 512, STATE_BYTES = 20000 };

struct setup {
    unsigned cluster_bits, refcount_bits;
    bool extended, compress, v2;
    uint32_t size;
};

/* An image as it should be seen. */
struct picture {
    char id[SNAPSHOT_ID_MAX + 1];
    uint64_t size;
    uint8_t *data;
    uint64_t state_size;
    uint8_t state_byte;
};

struct model {
    struct picture now, kept[KEPT_MAX];
    unsigned count;
};

struct run {
    struct test_world w;
    struct rng rng;
    const struct setup *setup;
    struct node *node;
    struct edge *edge;
    struct model model;
    unsigned long crashes;
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

/* ---- The model ---- */

static void model_copy(struct model *out, const struct model *in)
{
    *out = *in;
    out->now.data = xmemdup(in->now.data, in->now.size);
    for (unsigned i = 0; i < in->count; i++)
        out->kept[i].data = xmemdup(in->kept[i].data, in->kept[i].size);
}

static void model_fini(struct model *m)
{
    xfree(m->now.data);
    for (unsigned i = 0; i < m->count; i++)
        xfree(m->kept[i].data);
}

static void model_create(struct model *m, const struct snapshot_info *info, uint8_t state_byte)
{
    struct picture *p = &m->kept[m->count++];

    *p = m->now;
    p->data = xmemdup(m->now.data, m->now.size);
    p->state_size = info->vm_state_size;
    p->state_byte = state_byte;
    snprintf(p->id, sizeof(p->id), "%s", info->id);
}

static void model_apply(struct model *m, unsigned i)
{
    xfree(m->now.data);
    m->now.size = m->kept[i].size;
    m->now.data = xmemdup(m->kept[i].data, m->kept[i].size);
}

static void model_remove(struct model *m, unsigned i)
{
    xfree(m->kept[i].data);
    memmove(&m->kept[i], &m->kept[i + 1], sizeof(m->kept[0]) * (m->count - i - 1));
    m->count--;
}

/* ---- Looking ---- */

static bool same_content(struct test_world *w, struct node *node, const struct picture *p)
{
    struct edge *edge = test_edge(w, node);
    uint8_t *buf = xmalloc(p->size + 1);
    bool same = node->size == p->size;

    if (same)
        EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, p->size, buf), 0);
    same = same && memcmp(buf, p->data, p->size) == 0;
    edge_detach(edge);
    xfree(buf);
    return same;
}

static bool same_list(struct node *node, const struct model *m)
{
    const struct snapshot_info *all;
    size_t n = node_snapshots(node, &all);

    if (n != m->count)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].id, m->kept[i].id) != 0 || all[i].disk_size != m->kept[i].size ||
            all[i].vm_state_size != m->kept[i].state_size)
            return false;
    }
    return true;
}

/* The state of the VM as the node shows it now. */
static void look_at_state(struct test_world *w, struct node *node, const struct picture *p)
{
    uint8_t *buf = xmalloc(STATE_BYTES);

    if (p->state_size) {
        EXPECT_EQ(test_vmstate(w, node, REQ_READ, 0, p->state_size, buf), 0);
        for (uint64_t i = 0; i < p->state_size && !test_has_failed(); i++)
            EXPECT_EQ(buf[i], (uint8_t)(p->state_byte + i));
    }
    xfree(buf);
}

/* Every snapshot, shown one at a time from a read-only opening of a copy of the disk. */
static void look_at_kept(struct test_world *from, uint64_t seed, const struct model *m)
{
    for (unsigned i = 0; i < m->count && !test_has_failed(); i++) {
        struct test_world *w = NEW(struct test_world);
        struct node *node;

        test_world_init(w, seed);
        test_disk_crash(test_disk(from, "top"), seed, test_disk(w, "top"));
        must(test_open(w, "top", "top", "'backing':null,'read-only':true", NODE_OPEN_MONITOR,
                       &node));
        must(test_snapshot_show(w, node, m->kept[i].id));
        EXPECT_MSG(same_content(w, node, &m->kept[i]), "snapshot %s differs", m->kept[i].id);
        look_at_state(w, node, &m->kept[i]);
        test_close(w, NULL, node);
        test_world_fini(w);
        xfree(w);
    }
}

static void check_clean(struct test_world *w, struct node *node)
{
    struct check_result result;

    must(test_check(w, node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.check_errors && !result.leaks, "check: %s",
               result.report);
    xfree(result.report);
}

/* A crash now: what is left is one of the two. */
static void crash(struct run *r, const struct model *before, const struct model *after, bool deep)
{
    struct test_world *w = NEW(struct test_world);
    uint64_t seed = rng_u64(&r->rng);
    const struct model *is;
    struct node *node;

    r->crashes++;
    test_world_init(w, seed);
    test_disk_crash(test_disk(&r->w, "top"), seed, test_disk(w, "top"));
    must(test_open(w, "top", "top", "'backing':null", NODE_OPEN_MONITOR, &node));
    check_clean(w, node);
    is = same_list(node, after) && same_content(w, node, &after->now) ? after : before;
    EXPECT_MSG(same_list(node, is) && same_content(w, node, &is->now),
               "neither the old nor the new image");
    if (deep)
        look_at_kept(w, seed, is);
    test_close(w, NULL, node);
    test_world_fini(w);
    xfree(w);
}

/* ---- Acting ---- */

static void write_random(struct run *r)
{
    uint64_t size = r->model.now.size, offset = rng_below(&r->rng, size / SECTOR) * SECTOR;
    uint64_t len = MIN(rng_between(&r->rng, 1, 40) * SECTOR, size - offset);
    uint32_t cluster = 1U << r->setup->cluster_bits;
    uint8_t *buf = r->model.now.data + offset, byte = (uint8_t)rng_u64(&r->rng);
    enum req_kind kind = rng_chance(&r->rng, 1, 8) ? REQ_DISCARD
                         : rng_chance(&r->rng, 1, 6) && !r->setup->v2 ? REQ_ZERO
                                                                      : REQ_WRITE;
    uint32_t flags = 0;

    if (kind == REQ_DISCARD || (r->setup->compress && rng_chance(&r->rng, 1, 3))) {
        offset = align_down_u64(offset, cluster);
        len = MIN(cluster, size - offset);
        buf = r->model.now.data + offset;
        flags = kind == REQ_WRITE ? REQ_COMPRESSED : 0;
    }
    for (uint64_t i = 0; i < len; i++)
        buf[i] = kind == REQ_WRITE ? (uint8_t)(byte + i / 97) : 0;
    EXPECT_EQ(test_io(&r->w, r->edge, kind, flags, offset, len, kind == REQ_WRITE ? buf : NULL), 0);
}

static void write_state(struct run *r, uint8_t byte)
{
    uint8_t *buf = xmalloc(STATE_BYTES);

    for (unsigned i = 0; i < STATE_BYTES; i++)
        buf[i] = (uint8_t)(byte + i);
    /* In two unaligned pieces, the second first. */
    EXPECT_EQ(test_vmstate(&r->w, r->node, REQ_WRITE, 7777, STATE_BYTES - 7777, buf + 7777), 0);
    EXPECT_EQ(test_vmstate(&r->w, r->node, REQ_WRITE, 0, 7777, buf), 0);
    xfree(buf);
}

struct acting {
    bool done;
    struct err *err;
};

static void acted(void *arg, struct err *err)
{
    struct acting *a = arg;

    a->done = true;
    a->err = err;
}

/* Steps the operation to its end; at each step, a crash. */
static void step_with_crashes(struct run *r, struct acting *a, const struct model *before,
                              const struct model *after, unsigned every)
{
    unsigned n = 0;

    while (!a->done && !test_has_failed()) {
        REQUIRE(sim_step(r->w.sim));
        if (every && ++n % every == 0)
            crash(r, before, after, rng_chance(&r->rng, 1, 16));
    }
    must(a->err);
}

static void act(struct run *r, unsigned every)
{
    struct model before;
    struct acting a = { 0 };
    unsigned what = (unsigned)rng_below(&r->rng, 3), i;
    struct snapshot_info info = { .icount = UINT64_MAX, .date_sec = 1700000000 };

    if (!r->model.count)
        what = 0;
    if (r->model.count == KEPT_MAX && what == 0)
        what = 2;
    model_copy(&before, &r->model);
    if (what == 0) {
        uint8_t byte = (uint8_t)rng_u64(&r->rng);

        snprintf(info.id, sizeof(info.id), "%u", (unsigned)rng_between(&r->rng, 1, 1U << 30));
        snprintf(info.name, sizeof(info.name), "name of %s", info.id);
        if (rng_chance(&r->rng, 1, 3)) {
            write_state(r, byte);
            info.vm_state_size = STATE_BYTES;
        }
        if (every)
            check_clean(&r->w, r->node);
        model_create(&r->model, &info, byte);
        node_snapshot_create(r->node, &info, acted, &a);
    } else {
        i = (unsigned)rng_below(&r->rng, r->model.count);
        if (every)
            check_clean(&r->w, r->node); /* Everything is on the disk: leaks are the operation's. */
        if (what == 1) {
            node_snapshot_apply(r->node, r->model.kept[i].id, acted, &a);
            model_apply(&r->model, i);
        } else {
            node_snapshot_remove(r->node, r->model.kept[i].id, acted, &a);
            model_remove(&r->model, i);
        }
    }
    step_with_crashes(r, &a, &before, &r->model, every);
    if (every)
        crash(r, &r->model, &r->model, true); /* What is reported done is durable. */
    model_fini(&before);
}

static void resize(struct run *r)
{
    uint64_t size = rng_between(&r->rng, 1, SIZE_MAX_BYTES / SECTOR) * SECTOR;

    if (r->setup->v2)
        return; /* Version 2 cannot be resized with snapshots. */
    must(test_resize(&r->w, r->edge, size, PREALLOC_OFF));
    r->model.now.data = xrealloc(r->model.now.data, size);
    if (size > r->model.now.size)
        memset(r->model.now.data + r->model.now.size, 0, size - r->model.now.size);
    r->model.now.size = size;
}

static void run_one(const struct setup *setup, uint64_t seed, unsigned every, unsigned ops)
{
    struct run *r = NEW(struct run);
    CLEANUP(xfree)
    char *options = xasprintf("'size':%u,'cluster-size':%u,'refcount-bits':%u,'extended-l2':%s,"
                              "'version':'%s'",
                              setup->size, 1U << setup->cluster_bits, setup->refcount_bits,
                              setup->extended ? "true" : "false", setup->v2 ? "v2" : "v3");

    test_note("seed %llu cluster bits %u refcount bits %u", (unsigned long long)seed,
              setup->cluster_bits, setup->refcount_bits);
    test_world_init(&r->w, seed);
    rng_init(&r->rng, seed * 31);
    r->setup = setup;
    r->model.now.size = setup->size;
    r->model.now.data = xcalloc(1, setup->size);
    must(test_create(&r->w, "top", options));
    must(test_open(&r->w, "top", "top", "'discard':'unmap'", NODE_OPEN_MONITOR, &r->node));
    r->edge = test_edge(&r->w, r->node);
    for (unsigned i = 0; i < ops && !test_has_failed(); i++) {
        for (uint64_t n = rng_below(&r->rng, 12); n; n--)
            write_random(r);
        if (rng_chance(&r->rng, 1, 6))
            resize(r);
        act(r, every);
        EXPECT_MSG(same_list(r->node, &r->model), "the list differs");
        EXPECT_MSG(same_content(&r->w, r->node, &r->model.now), "the content differs");
    }
    test_close(&r->w, r->edge, r->node);
    if (!test_has_failed())
        look_at_kept(&r->w, seed, &r->model);
    test_world_fini(&r->w);
    model_fini(&r->model);
    xfree(r);
}

static void run_seeds(const struct setup *setup, uint64_t count)
{
    const char *first = getenv("QCOW2_TEST_SEED"), *many = getenv("QCOW2_TEST_SEEDS");
    uint64_t from = first ? strtoull(first, NULL, 0) : 1;

    count = many ? strtoull(many, NULL, 0) : count;
    for (uint64_t seed = from; seed < from + count && !test_has_failed(); seed++) {
        run_one(setup, seed, 0, 40);
        run_one(setup, seed, 1, 6);
    }
}

static void clusters_4k(void) { run_seeds(&(struct setup){ 12, 16, .size = 256 << 10 }, 3); }
static void clusters_512(void) { run_seeds(&(struct setup){ 9, 16, .size = 128 << 10 }, 2); }
static void wide_refcounts(void) { run_seeds(&(struct setup){ 9, 64, .size = 64 << 10 }, 2); }
static void narrow_refcounts(void) { run_seeds(&(struct setup){ 12, 4, .size = 256 << 10 }, 2); }
static void version_2(void)
{
    run_seeds(&(struct setup){ 12, 16, .v2 = true, .size = 256 << 10 }, 2);
}
static void compressed(void)
{
    run_seeds(&(struct setup){ 12, 8, .compress = true, .size = 256 << 10 }, 3);
}
static void extended(void)
{
    run_seeds(&(struct setup){ 14, 16, .extended = true, .size = 512 << 10 }, 2);
}

TEST_LIST(TEST(clusters_4k), TEST(clusters_512), TEST(wide_refcounts), TEST(narrow_refcounts),
          TEST(version_2), TEST(compressed), TEST(extended));
