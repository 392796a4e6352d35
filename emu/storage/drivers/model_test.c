/* Random requests of all kinds, many at a time, against a disk in memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/rng.h"
#include "emu/storage/testing.h"
#include "tests/harness/test.h"

static const struct driver *const drivers[] = { &driver_file, &driver_raw, &driver_null_co, NULL };

enum { DISK = 256 << 10, SLOTS = 8, ROUNDS = 400, IOV = 5 };

struct slot {
    struct req req;
    struct iovec iov[IOV];
    uint8_t *mem; /* Of odd alignment. */
    uint8_t *expect;
    bool busy;
};

struct run {
    struct storage_world w;
    struct edge *edge;
    struct rng rng;
    uint8_t model[DISK];
    uint8_t unknown[DISK]; /* Discarded: anything may be read. */
    struct slot slots[SLOTS];
    unsigned busy;
    bool quiet, room;
};

static struct run *the_run; /* One at a time; done callbacks have no other way to it. */

static void io_done(struct req *req)
{
    struct slot *slot = container_of(req, struct slot, req);
    struct run *run = the_run;

    EXPECT_EQ(req->result, 0);
    if (req->kind == REQ_READ) {
        for (uint64_t i = 0; i < req->len; i++) {
            uint8_t got;

            if (run->unknown[req->offset + i])
                continue;
            iov_copy_from(iov_view_advance(req->data, i), 1, &got);
            if (got != run->model[req->offset + i]) {
                TEST_FAIL("read at %llu: %u, not %u", (unsigned long long)(req->offset + i), got,
                          run->model[req->offset + i]);
                break;
            }
        }
    }
    slot->busy = false;
    run->busy--;
    run->room = true;
    run->quiet = run->busy == 0;
}

static bool overlaps_others(struct run *run, uint64_t offset, uint64_t len)
{
    for (int i = 0; i < SLOTS; i++)
        if (run->slots[i].busy && run->slots[i].req.kind != REQ_FLUSH &&
            ranges_overlap(offset, len, run->slots[i].req.offset, run->slots[i].req.len))
            return true;
    return false;
}

static void fill_slot(struct run *run, struct slot *slot)
{
    static const enum req_kind kinds[] = { REQ_READ, REQ_READ, REQ_WRITE,   REQ_WRITE, REQ_WRITE,
                                           REQ_ZERO, REQ_ZERO, REQ_DISCARD, REQ_FLUSH };
    uint64_t len = rng_chance(&run->rng, 1, 3) ? rng_between(&run->rng, 1, 3000)
                                               : rng_between(&run->rng, 1, 60000);
    uint64_t offset = rng_below(&run->rng, DISK - len + 1);
    enum req_kind kind = kinds[rng_below(&run->rng, ARRAY_LEN(kinds))];
    uint32_t flags = 0;

    if (rng_chance(&run->rng, 1, 2)) {
        offset &= ~UINT64_C(511);
        len = MAX(len & ~UINT64_C(511), UINT64_C(512));
    }
    if (kind != REQ_FLUSH && overlaps_others(run, offset, len))
        return;
    if ((kind == REQ_WRITE || kind == REQ_ZERO) && rng_chance(&run->rng, 1, 4))
        flags |= REQ_FUA;
    if (kind == REQ_ZERO && rng_chance(&run->rng, 1, 2))
        flags |= REQ_MAY_UNMAP;
    if (kind == REQ_FLUSH)
        offset = len = 0;
    slot->req =
        (struct req){ .kind = kind, .flags = flags, .offset = offset, .len = len, .done = io_done };
    if (kind == REQ_READ || kind == REQ_WRITE) {
        uint8_t *at = slot->mem + rng_below(&run->rng, 4);
        uint64_t left = len;
        unsigned n = 0;

        rng_fill(&run->rng, at, len);
        if (rng_chance(&run->rng, 1, 4))
            memset(at, 0, len);
        for (; n < IOV - 1 && left > 1; n++) {
            uint64_t part = rng_below(&run->rng, left);

            slot->iov[n] = (struct iovec){ at, part };
            at += part;
            left -= part;
        }
        slot->iov[n++] = (struct iovec){ at, left };
        slot->req.data = iov_view(slot->iov, n);
    }
    if (kind == REQ_WRITE)
        iov_copy_from(slot->req.data, len, run->model + offset);
    if (kind == REQ_ZERO)
        memset(run->model + offset, 0, len);
    if (kind == REQ_WRITE || kind == REQ_ZERO)
        memset(run->unknown + offset, 0, len);
    if (kind == REQ_DISCARD)
        memset(run->unknown + offset, 1, len);
    slot->busy = true;
    run->busy++;
    run->quiet = false;
    edge_submit(run->edge, &slot->req);
}

static void random_run(uint64_t seed, const char *options, uint32_t max_transfer, uint32_t max_iov)
{
    struct run *run = NEW(struct run);
    struct node *node;

    test_note("seed %llu, %s", (unsigned long long)seed, options);
    the_run = run;
    rng_init(&run->rng, seed);
    storage_world_init(&run->w, seed, drivers);
    sim_file_create(run->w.sim, "disk", DISK);
    node = storage_must_open(&run->w, options);
    node->file->node->limits.max_transfer = max_transfer;
    node->file->node->limits.max_iov = max_iov;
    run->edge = storage_edge(&run->w, node, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
    for (int i = 0; i < SLOTS; i++)
        run->slots[i].mem = xmalloc(64 << 10);
    for (int round = 0; round < ROUNDS && !test_has_failed(); round++) {
        for (int i = 0; i < SLOTS; i++)
            if (!run->slots[i].busy && rng_chance(&run->rng, 1, 2))
                fill_slot(run, &run->slots[i]);
        run->room = false;
        if (run->busy)
            REQUIRE(storage_run_until(&run->w, &run->room));
    }
    if (run->busy)
        REQUIRE(storage_run_until(&run->w, &run->quiet));
    /* The file at rest. */
    uint8_t *file = xmalloc(DISK);

    sim_file_peek(run->w.sim, "disk", 0, file, DISK);
    for (int i = 0; i < DISK; i++) {
        if (!run->unknown[i] && file[i] != run->model[i]) {
            TEST_FAIL("at rest, byte %d: %u, not %u", i, file[i], run->model[i]);
            break;
        }
    }
    xfree(file);
    for (int i = 0; i < SLOTS; i++)
        xfree(run->slots[i].mem);
    edge_detach(run->edge);
    storage_world_fini(&run->w);
    xfree(run);
}

#define RAW "{'driver': 'raw', 'node-name': 'd', "

static void buffered(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        random_run(seed, RAW "'file': {'driver': 'file', 'filename': 'disk'}}", 0, 0);
}

static void direct(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        random_run(
            seed,
            RAW
            "'discard': 'unmap', 'file': {'driver': 'file', 'filename': 'disk', 'cache': {'direct': true}}}",
            0, 0);
}

static void small_transfers(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        random_run(seed,
                   RAW "'file': {'driver': 'file', 'filename': 'disk', 'cache': {'direct': true}}}",
                   4096, 2);
}

static void detect_zeroes(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        random_run(
            seed,
            RAW
            "'detect-zeroes': 'unmap', 'discard': 'unmap', 'file': {'driver': 'file', 'filename': 'disk'}}",
            10000, 3);
}

TEST_LIST(TEST(buffered), TEST(direct), TEST(small_transfers), TEST(detect_zeroes));
