#include "tests/sim/crash.h"

#include <inttypes.h>

#include "emu/base/alloc.h"
#include "emu/base/rng.h"
#include "tests/sim/guest.h"

enum { CRASH_DEPTH_MAX = 3, CRASH_GUEST_REQUESTS = 60 };

struct crash {
    struct world *world; /* That which crashes. */
    const struct crash_disk *disk;
    const struct oracle *oracle;
    uint64_t seed;
    unsigned depth;
};

static void check_once(const struct crash *crash);

static void read_back(struct world *after, struct edge *edge, const struct crash *crash)
{
    uint64_t size = crash->disk->size, bad;
    uint8_t *buf = xmalloc(size);

    if (world_io(after, edge, REQ_READ, 0, size, buf) != 0) {
        world_fail(after, "the image cannot be read");
    } else {
        bad = oracle_check_crash(crash->oracle, 0, buf, size);
        if (bad != UINT64_MAX)
            world_fail(after, "flushed data is lost or garbage at %" PRIu64, bad);
    }
    xfree(buf);
}

/* A guest goes on with what was found, and the world crashes again under it. */
static void go_on(struct world *after, struct edge *edge, const struct crash *crash,
                  struct rng *rng)
{
    uint64_t next_at = rng_below(rng, 120), left = EVENTS_MAX;
    struct oracle oracle;
    struct guest guest;

    oracle_init_crashed(&oracle, crash->oracle);
    guest_init(&guest, rng_u64(rng), edge, &oracle, rng_below(rng, CRASH_GUEST_REQUESTS));
    guest.may_discard = crash->disk->discards;
    guest_start(&guest);
    while (!guest_idle(&guest) && left-- > 0 && sim_step(after->sim)) {
        if (next_at-- == 0)
            check_once(&(struct crash){ .world = after,
                                        .disk = crash->disk,
                                        .oracle = &oracle,
                                        .seed = rng_u64(rng),
                                        .depth = crash->depth + 1 });
    }
    if (!guest_idle(&guest))
        world_fail(after, "the guest's requests do not end");
    if (guest.failure[0])
        world_fail(after, "%s", guest.failure);
    if (guest.errors)
        world_fail(after, "%" PRIu64 " requests of the guest failed", guest.errors);
    guest_fini(&guest);
    oracle_fini(&oracle);
}

static void check_once(const struct crash *crash)
{
    struct sim_options options = { .seed = crash->seed };
    struct edge *edge = NULL;
    struct world after;
    struct node *node;
    struct rng rng;

    rng_init(&rng, crash->seed);
    world_init(&after, sim_crash_image(crash->world->sim, crash->seed, &options));
    sim_file_limit(after.sim, crash->disk->file, UINT64_MAX); /* Room was made meanwhile. */
    node = world_open(&after, NODE_OPEN_MONITOR,
                      "{'driver': '%s', 'node-name': 'after', 'discard': 'unmap', 'file': "
                      "{'driver': 'file', 'filename': '%s', 'discard': 'unmap'}}",
                      crash->disk->driver, crash->disk->file);
    if (world_ok(&after))
        world_check(&after, node);
    if (world_ok(&after))
        edge = world_edge(&after, node, PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL);
    if (world_ok(&after))
        read_back(&after, edge, crash);
    if (world_ok(&after) && crash->depth < CRASH_DEPTH_MAX && rng_chance(&rng, 1, 2))
        go_on(&after, edge, crash, &rng);
    if (world_ok(&after))
        world_check(&after, node);
    if (edge && world_ok(&after))
        edge_detach(edge);
    if (world_ok(&after))
        world_fini(&after);
    if (!world_ok(&after))
        world_fail(crash->world, "after a crash (seed %" PRIu64 "): %s", crash->seed,
                   after.failure);
}

void crash_check(struct world *w, const struct crash_disk *disk, const struct oracle *oracle,
                 uint64_t seed)
{
    check_once(&(struct crash){ .world = w, .disk = disk, .oracle = oracle, .seed = seed });
}
