/* What source and target must hold at the end of a scenario. */

#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "tests/sim/scene.h"

bool scene_read(struct scene *s, struct node *node, uint8_t *buf, const char *what)
{
    struct edge *edge = world_edge(&s->w, node, PERM_CONSISTENT_READ, PERM_ALL);

    if (edge && world_io(&s->w, edge, REQ_READ, 0, s->plan.size, buf) != 0)
        world_fail(&s->w, "%s cannot be read", what);
    if (edge)
        edge_detach(edge);
    return world_ok(&s->w);
}

void scene_check_now(struct scene *s, const uint8_t *buf, const char *what)
{
    const uint64_t now = oracle_now(&s->oracle);
    uint64_t bad = oracle_check_read(&s->oracle, now, 0, buf, s->plan.size);
    char allowed[80];
    uint32_t found;

    if (bad == UINT64_MAX)
        return;
    oracle_identify(buf + bad, bad, &found);
    oracle_describe(&s->oracle, bad, now, allowed, sizeof(allowed));
    world_fail(&s->w, "%s holds write %u at %" PRIu64 ", allowed:%s", what, found, bad, allowed);
}

static void check_now(struct scene *s, struct node *node, const char *what)
{
    uint8_t *buf = xmalloc(s->plan.size);

    if (world_ok(&s->w) && scene_read(s, node, buf, what))
        scene_check_now(s, buf, what);
    xfree(buf);
}

static void check_equal(struct scene *s, struct node *node, const uint8_t *expected,
                        const char *what)
{
    uint8_t *buf = xmalloc(s->plan.size);

    if (world_ok(&s->w) && scene_read(s, node, buf, what)) {
        for (uint64_t at = 0; at < s->plan.size && world_ok(&s->w); at += ORACLE_SECTOR) {
            uint32_t found, wanted;

            if (memcmp(buf + at, expected + at, ORACLE_SECTOR) == 0)
                continue;
            oracle_identify(buf + at, at, &found);
            oracle_identify(expected + at, at, &wanted);
            world_fail(&s->w, "%s holds write %u at %" PRIu64 ", not %u", what, found, at, wanted);
        }
    }
    xfree(buf);
}

/* How many requests of the guest the planned fault may have cost. */
static uint64_t errors_allowed(const struct scene *s)
{
    const bool mirror = plan_pivots(&s->plan);

    /* The guest of a stream meets what happens to the job's disks. */
    if (s->plan.work == WORK_STREAM && s->plan.ending != END_WELL)
        return UINT64_MAX;
    switch (s->plan.ending) {
    /* A table that cannot be read is waited for by any number of those in flight, and by their retries. */
    case END_SOURCE_ERROR: return 4 * GUEST_SLOTS;
    case END_TARGET_ERROR:
        /* Copy-before-write fails the guest's write rather than the backup. */
        if (!mirror)
            return 1;
        break;
    case END_TARGET_FULL:
    case END_STREAM_RESET:
    case END_NO_MEMORY:
        if (!mirror || s->plan.ending == END_NO_MEMORY)
            return UINT64_MAX;
        break;
    case END_WELL:
    case END_CANCEL:
    case END_STALLED_CANCEL:
    case ENDING_COUNT: return 0;
    }
    /* The guest on the target meets the fault itself, and no flush succeeds after a failed one. */
    return s->pivoting ? UINT64_MAX : 0;
}

/* The filter is gone with the job, and the guest is where it should be. */
static void check_graph(struct scene *s, bool pivoted)
{
    const struct node *expected = pivoted ? s->job_target : scene_disk(s);

    if (s->guest_edge->node != expected)
        world_fail(&s->w, "the guest is on node '%s', not on '%s'", s->guest_edge->node->name,
                   expected->name);
}

/* Another backup with the same bitmap, without misfortune, brings the target up to date. */
static void check_next_backup(struct scene *s)
{
    uint8_t *now = xmalloc(s->plan.size);

    if (scene_read(s, s->source, now, "the source")) {
        scene_start_job(s, true);
        if (world_ok(&s->w))
            scene_run_job_plainly(s);
        check_equal(s, s->target, now, "the second backup");
    }
    xfree(now);
}

/* A target that a job let go of takes no more requests, nor does a client that was cut off. */
static bool target_usable(const struct scene *s)
{
    return s->plan.ending != END_STREAM_RESET && s->plan.ending != END_STALLED_CANCEL;
}

void scene_verify(struct scene *s)
{
    const bool well = s->w.completed > 0, mirror = plan_pivots(&s->plan);

    if (s->guest.failure[0])
        world_fail(&s->w, "%s", s->guest.failure);
    if (s->guest.errors > errors_allowed(s))
        world_fail(&s->w, "%" PRIu64 " requests of the guest failed", s->guest.errors);
    if (s->plan.ending == END_WELL && !well)
        world_fail(&s->w, "the job did not succeed");
    if (well && mirror)
        check_now(s, s->plan.work == WORK_COMMIT ? s->source : s->target, "the mirror");
    if (well && s->plan.work == WORK_STREAM && s->overlay->backing)
        world_fail(&s->w, "the streamed image still has a backing file");
    if (well && !mirror && !s->overlay)
        check_equal(s, s->target, s->snapshot, "the backup");
    check_graph(s, well && s->pivoting);
    if (!(well && s->pivoting))
        check_now(s, scene_disk(s), "the disk");
    if (world_ok(&s->w) && s->overlay && (well || target_usable(s)))
        world_check(&s->w, s->overlay);
    if (world_ok(&s->w))
        world_check(&s->w, s->source);
    if (world_ok(&s->w) && (well || target_usable(s)))
        world_check(&s->w, s->target);
    if (world_ok(&s->w) && s->plan.work == WORK_BACKUP_BITMAP && target_usable(s))
        check_next_backup(s);
}
