#include "tests/sim/crash.h"

#include <inttypes.h>

#include "emu/base/alloc.h"

static void read_back(struct world *after, struct node *node, uint64_t size,
                      const struct oracle *oracle)
{
    struct edge *edge = world_edge(after, node, PERM_CONSISTENT_READ, PERM_ALL);
    uint8_t *buf = xmalloc(size);
    uint64_t bad;

    if (edge && world_io(after, edge, REQ_READ, 0, size, buf) != 0)
        world_fail(after, "the image cannot be read");
    if (edge && world_ok(after)) {
        bad = oracle_check_crash(oracle, 0, buf, size);
        if (bad != UINT64_MAX)
            world_fail(after, "flushed data is lost or garbage at %" PRIu64, bad);
    }
    if (edge)
        edge_detach(edge);
    xfree(buf);
}

void crash_check(struct world *w, const char *file, uint64_t size, const struct oracle *oracle,
                 uint64_t seed)
{
    struct sim_options options = { .seed = seed };
    struct world after;
    struct node *node;

    world_init(&after, sim_crash_image(w->sim, seed, &options));
    node = world_open(
        &after, NODE_OPEN_MONITOR,
        "{'driver': 'qcow2', 'node-name': 'after', 'file': {'driver': 'file', 'filename': '%s'}}",
        file);
    if (world_ok(&after))
        world_check(&after, node);
    if (world_ok(&after))
        read_back(&after, node, size, oracle);
    if (!world_ok(&after))
        world_fail(w, "after a crash (seed %" PRIu64 "): %s", seed, after.failure);
    else
        world_fini(&after);
    if (!world_ok(&after))
        world_fail(w, "after a crash (seed %" PRIu64 "): %s", seed, after.failure);
}
