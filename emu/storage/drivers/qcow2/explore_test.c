/*
 * Crash exploration: all sequences of up to three operations of a small alphabet, with a crash after every completion
 * of the disk, for each with several choices of which unflushed sectors survive.
 *
 * Oracle, after each crash: the image opens for writing; its check finds neither corruption nor a leaked cluster; every
 * sector holds what it held at the last flush that ended or something written to it since; a stored bitmap that
 * is not marked as in use says all that is dirty; and the peer's tool, on a sample, sees no corruption.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/bitmap.h"
#include "emu/storage/drivers/qcow2/testing.h"
#include "tests/harness/test.h"

enum {
    CLUSTER = 4096,
    SECTOR = 512,
    CLUSTERS = 12,
    CLUSTERS_MAX = 16,
    SECTORS = CLUSTERS_MAX * CLUSTER / SECTOR,
    HISTORY = 8,
    LENGTH = 3,
    SUBSETS = 6,
};

enum action {
    WRITE,      /* Whole clusters. */
    COW,        /* A part of a cluster. */
    COMPRESSED,
    ZERO,
    DISCARD,
    FLUSH,
    CREATE,     /* A snapshot. */
    APPLY,
    DELETE,
    RESIZE,
    BITMAP,     /* Stores a bitmap. */
    ACTIONS,
};

/* What a sector may hold: ids of its writes in order (0: zeroes). */
struct history {
    uint64_t ids[HISTORY];
    unsigned count;
};

struct explore {
    struct test_world w;
    struct node *node;
    struct edge *edge;
    struct history now[SECTORS], kept[SECTORS];
    bool have_kept;
    uint64_t kept_size;
    uint64_t next_id, size;
    bool done, peer;
    struct err *err;
    int result;
    struct req req;
    struct iovec iov;
    uint8_t buf[CLUSTERS_MAX * CLUSTER];
    uint64_t seen; /* Completions of the disk that were crashed at. */
    unsigned long *points;
    unsigned sequence[LENGTH];
};

static void must(struct err *err)
{
    if (err)
        TEST_FAIL("%s", err_text(err));
    REQUIRE(!err);
}

/* ---- The model ---- */

static uint64_t last_of(const struct history *h) { return h->ids[h->count - 1]; }

static void push(struct explore *x, uint64_t offset, uint64_t len, uint64_t id)
{
    for (uint64_t i = offset / SECTOR; i < (offset + len) / SECTOR; i++) {
        REQUIRE(x->now[i].count < HISTORY);
        x->now[i].ids[x->now[i].count++] = id;
    }
}

/* All that has ended is durable now. */
static void settle(struct explore *x)
{
    for (unsigned i = 0; i < SECTORS; i++)
        x->now[i] = (struct history){ { last_of(&x->now[i]) }, 1 };
}

/* ---- After a crash ---- */

static void compare(const struct explore *x, const struct node *node, const uint8_t *data)
{
    for (uint64_t i = 0; i < MIN(node->size, x->size) / SECTOR; i++) {
        const struct history *h = &x->now[i];
        uint64_t id = load_le64(data + i * SECTOR);
        bool known = false;

        for (unsigned j = 1; j < SECTOR / 8; j++) {
            if (load_le64(data + i * SECTOR + (size_t)j * 8) != id)
                TEST_FAIL("sector %u is torn", (unsigned)i);
        }
        for (unsigned j = 0; j < h->count; j++)
            known |= h->ids[j] == id;
        if (!known)
            TEST_FAIL("sector %u holds %llu, last written %llu", (unsigned)i,
                      (unsigned long long)id, (unsigned long long)last_of(h));
        if (test_has_failed())
            return;
    }
}

static void peer_check(struct test_world *w)
{
    CLEANUP(xfree) char *path = xasprintf("%s/explore.qcow2", test_tmpdir());
    CLEANUP(xfree) char *command = xasprintf("qemu-img check -q %s >/dev/null 2>&1", path);
    int status;

    test_disk_export(test_disk(w, "top"), path);
    status = system(command);
    EXPECT_MSG(status == 0 || status == 3 << 8, "qemu-img check: exit %d", status >> 8);
    remove(path);
}

static void crash(struct explore *x, uint64_t seed)
{
    struct test_world *w = NEW(struct test_world);
    static uint8_t data[CLUSTERS_MAX * CLUSTER];
    struct check_result result;
    struct node *node;
    struct edge *edge;

    test_note("sequence %u %u %u, completion %llu, seed %llu", x->sequence[0], x->sequence[1],
              x->sequence[2], (unsigned long long)x->seen, (unsigned long long)seed);
    test_world_init(w, seed);
    test_disk_crash(test_disk(&x->w, "top"), seed, test_disk(w, "top"));
    if (x->peer && *x->points % 4999 == 0)
        peer_check(w);
    must(test_open(w, "top", "top", "'backing':null", NODE_OPEN_MONITOR, &node));
    must(test_check(w, node, 0, &result));
    EXPECT_MSG(!result.corruptions && !result.check_errors, "after crash: %s", result.report);
    EXPECT_MSG(!result.leaks, "after crash: %s", result.report);
    xfree(result.report);
    edge = test_edge(w, node);
    EXPECT_EQ(test_io(w, edge, REQ_READ, 0, 0, MIN(node->size, sizeof(data)), data), 0);
    compare(x, node, data);
    test_close(w, edge, node);
    test_world_fini(w);
    xfree(w);
    ++*x->points;
}

/* Runs the simulator until the operation has ended; crashes after each completion of the disk. */
static void run(struct explore *x)
{
    const struct test_disk *disk = test_disk(&x->w, "top");

    while (!x->done && !test_has_failed()) {
        uint64_t before = disk->write_ops + disk->flushes + disk->discards;

        sim_step(x->w.sim);
        if (disk->write_ops + disk->flushes + disk->discards == before)
            continue;
        x->seen++;
        for (uint64_t i = 0; i < SUBSETS && !test_has_failed(); i++)
            crash(x, x->seen * 64 + i);
    }
}

/* ---- Operations ---- */

static void op_done(void *arg, struct err *err)
{
    struct explore *x = arg;

    x->err = err;
    x->done = true;
}

static void req_done(struct req *req)
{
    struct explore *x = container_of(req, struct explore, req);

    x->result = req->result;
    x->done = true;
}

static void submit(struct explore *x, enum req_kind kind, uint32_t flags, uint64_t offset,
                   uint64_t len)
{
    x->req = (struct req){
        .kind = kind, .flags = flags, .offset = offset, .len = len, .done = req_done
    };
    if (kind == REQ_WRITE) {
        x->next_id++;
        for (uint64_t i = 0; i < len / 8; i++)
            store_le64(x->buf + i * 8, x->next_id);
        x->iov = (struct iovec){ x->buf, len };
        x->req.data = iov_view(&x->iov, 1);
    }
    if (len)
        push(x, offset, len, kind == REQ_WRITE ? x->next_id : 0);
    edge_submit(x->edge, &x->req);
}

static void apply_model(struct explore *x)
{
    for (unsigned i = 0; i < SECTORS; i++)
        push(x, (uint64_t)i * SECTOR, SECTOR, last_of(&x->kept[i]));
}

/* Starts an operation; false: it makes no sense now. */
static bool start_snapshot(struct explore *x, enum action action)
{
    const struct snapshot_info info = { .id = "1", .name = "s", .icount = UINT64_MAX };

    if ((action == CREATE) == x->have_kept || (action == APPLY && !list_empty(&x->node->bitmaps)))
        return false;
    if (action == CREATE) {
        memcpy(x->kept, x->now, sizeof(x->kept));
        x->kept_size = x->size;
        x->have_kept = true;
        node_snapshot_create(x->node, &info, op_done, x);
    } else if (action == APPLY) {
        apply_model(x);
        x->size = MIN(x->size, x->kept_size);
        node_snapshot_apply(x->node, "1", op_done, x);
    } else {
        x->have_kept = false;
        node_snapshot_remove(x->node, "1", op_done, x);
    }
    return true;
}

static bool start_bitmap(struct explore *x)
{
    struct bitmap *bitmap;

    if (!bitmap_find(x->node, "b"))
        must(bitmap_add(x->node, "b", SECTOR, true, false, &bitmap));
    bitmaps_store(x->node, op_done, x);
    return true;
}

static bool start(struct explore *x, enum action action)
{
    uint64_t size = x->node->size == CLUSTERS_MAX * CLUSTER ? (CLUSTERS - 3) * CLUSTER - 1024
                                                            : CLUSTERS_MAX * CLUSTER;

    x->done = false;
    switch (action) {
    case WRITE: submit(x, REQ_WRITE, 0, CLUSTER, CLUSTER * 2); return true;
    case COW: submit(x, REQ_WRITE, 0, CLUSTER * 2 + SECTOR, SECTOR * 10); return true;
    case COMPRESSED: submit(x, REQ_WRITE, REQ_COMPRESSED, CLUSTER * 2, CLUSTER * 2); return true;
    case ZERO:
        submit(x, REQ_ZERO, REQ_MAY_UNMAP, CLUSTER * 2 - SECTOR, CLUSTER + SECTOR);
        return true;
    case DISCARD: submit(x, REQ_DISCARD, 0, CLUSTER, CLUSTER * 3); return true;
    case FLUSH: submit(x, REQ_FLUSH, 0, 0, 0); return true;
    case CREATE:
    case APPLY:
    case DELETE: return start_snapshot(x, action);
    case RESIZE:
        if (size < x->size)
            push(x, size, x->size - size, 0);
        x->size = MIN(x->size, size);
        edge_truncate(x->edge, size, true, PREALLOC_OFF, op_done, x);
        return true;
    case BITMAP: return start_bitmap(x);
    case ACTIONS: break;
    }
    unreachable();
}

static void finish(struct explore *x, enum action action)
{
    must(x->err);
    EXPECT_EQ(x->result, 0);
    if (action == FLUSH)
        settle(x);
    if (action == RESIZE || action == APPLY)
        x->size = x->node->size;
    if (action == BITMAP) {
        x->done = false;
        bitmaps_begin_use(x->node, op_done, x);
        run(x);
        must(x->err);
    }
}

/* Content to begin with: some clusters written, one compressed, one zero. */
static void prepare(struct explore *x)
{
    must(test_create(&x->w, "top", "'size':49152,'cluster-size':4096"));
    must(test_open(&x->w, "top", "top", "'discard':'unmap'", NODE_OPEN_MONITOR, &x->node));
    x->edge = test_edge(&x->w, x->node);
    x->size = x->node->size;
    for (unsigned i = 0; i < SECTORS; i++)
        x->now[i].count = 1;
    submit(x, REQ_WRITE, 0, CLUSTER * 2, CLUSTER * 2);
    check(test_wait(&x->w, &x->done));
    x->done = false;
    submit(x, REQ_FLUSH, 0, 0, 0);
    check(test_wait(&x->w, &x->done));
    settle(x);
}

static void explore(const unsigned *sequence, unsigned length, unsigned long *points, bool peer)
{
    struct explore *x = NEW(struct explore);
    bool sensible = true;

    memcpy(x->sequence, sequence, sizeof(x->sequence));
    x->points = points;
    x->peer = peer;
    test_world_init(&x->w, 7);
    prepare(x);
    for (unsigned i = 0; i < length && sensible && !test_has_failed(); i++) {
        sensible = start(x, (enum action)sequence[i]);
        if (!sensible)
            break;
        run(x);
        finish(x, (enum action)sequence[i]);
    }
    edge_detach(x->edge);
    x->done = false;
    node_unref(x->node);
    graph_settle(x->w.graph, op_done, x);
    run(x);
    must(x->err);
    test_world_fini(&x->w);
    xfree(x);
}

static void sequences(unsigned first)
{
    bool peer = test_tool_path("qemu-img") != NULL;
    unsigned long points = 0;

    for (unsigned i = 0; i < ACTIONS * ACTIONS && !test_has_failed(); i++)
        explore((unsigned[LENGTH]){ first, i / ACTIONS, i % ACTIONS }, LENGTH, &points, peer);
    printf("%lu crash points\n", points);
}

static void after_write(void) { sequences(WRITE); }
static void after_cow(void) { sequences(COW); }
static void after_compressed(void) { sequences(COMPRESSED); }
static void after_zero(void) { sequences(ZERO); }
static void after_discard(void) { sequences(DISCARD); }
static void after_flush(void) { sequences(FLUSH); }
static void after_create(void) { sequences(CREATE); }
static void after_resize(void) { sequences(RESIZE); }
static void after_bitmap(void) { sequences(BITMAP); }

TEST_LIST(TEST(after_write), TEST(after_cow), TEST(after_compressed), TEST(after_zero),
          TEST(after_discard), TEST(after_flush), TEST(after_create), TEST(after_resize),
          TEST(after_bitmap));
