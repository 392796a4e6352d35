#include "tests/sim/plan.h"

#include "tests/sim/oracle.h"

static enum ending choose_ending(const struct plan *p, struct rng *rng)
{
    enum ending ending = (enum ending)rng_below(rng, ENDING_COUNT);

    if (rng_chance(rng, 1, 2))
        return END_WELL;
    return ending == END_STREAM_RESET && !p->target_nbd ? END_CANCEL : ending;
}

static enum job_on_error choose_policy(const struct plan *p, struct rng *rng)
{
    /*
     * A cut connection leaves writes behind that may still reach the target, so that nobody may
     * write there again: the job has to fail.
     */
    if (p->ending == END_STREAM_RESET || rng_chance(rng, 1, 2))
        return JOB_ON_ERROR_REPORT;
    return (enum job_on_error)rng_below(rng, JOB_ON_ERROR_COUNT);
}

void plan_choose(struct plan *p, struct rng *rng)
{
    static const uint32_t clusters[] = { 512, 4096, 65536 };

    p->direct_block = rng_chance(rng, 1, 3) ? clusters[rng_below(rng, 2)] : 0;
    p->size = (1 + rng_below(rng, 16)) * 65536;
    /* Whoever may not resize a file can only write whole blocks. */
    if (p->direct_block <= ORACLE_SECTOR && rng_chance(rng, 1, 4))
        p->size += 3 * ORACLE_SECTOR;
    p->cluster = clusters[rng_below(rng, 3)];
    p->target_cluster = clusters[rng_below(rng, 3)];
    p->bitmap_granularity = clusters[rng_below(rng, 3)];
    p->backing = rng_chance(rng, 1, 3);
    p->target_raw = rng_chance(rng, 1, 3);
    p->target_nbd = rng_chance(rng, 1, 3);
    p->discards = rng_chance(rng, 1, 3);
    p->manual_finalize = rng_chance(rng, 1, 4);
    p->manual_dismiss = rng_chance(rng, 1, 4);
    p->work = (enum work)rng_below(rng, WORK_COUNT);
    if (plan_is_chain(p))
        p->target_nbd = false;
    /* What a backup shows of requests in flight at its moment nobody can say. */
    p->busy_start = plan_is_mirror(p) && rng_chance(rng, 1, 2);
    p->ending = choose_ending(p, rng);
    p->on_error = choose_policy(p, rng);
    p->strike_at = 1 + rng_below(rng, 600);
    p->crash_points = (unsigned)rng_below(rng, 3);
}
