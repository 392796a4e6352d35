/*
 * The simulator: sim SEED replays one run twice and compares the two; sim --seeds N runs 1..N;
 * sim --long runs until interrupted or something fails. Exit status 1 and one line with the seed
 * when a run failed.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/log.h"
#include "emu/base/str.h"
#include "emu/base/trace.h"
#include "tests/sim/scenario.h"

enum { FAILURES_MAX = 10, REPLAY_EVERY = 20 };

static void quiet(void *arg, enum log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

static bool run_seed(uint64_t seed, struct scenario_counts *counts, uint64_t *hash)
{
    char failure[256];

    if (scenario_run(seed, counts, hash, failure, sizeof(failure)))
        return true;
    printf("seed %" PRIu64 " failed: %s\n  replay: tools/dev sim %" PRIu64 "\n", seed, failure,
           seed);
    return false;
}

/* Whether another run of the seed is the same, event for event. */
static bool runs_equal(uint64_t seed, uint64_t hash)
{
    struct scenario_counts counts = { 0 };
    uint64_t again = 0;

    if (!run_seed(seed, &counts, &again))
        return false;
    if (again != hash)
        printf("seed %" PRIu64 " is not repeatable: %016" PRIx64 " and %016" PRIx64 "\n", seed,
               hash, again);
    return again == hash;
}

static int replay(uint64_t seed)
{
    struct scenario_counts counts = { 0 };
    uint64_t hash = 0;

    if (getenv("EMU_TRACE")) {
        trace_enable(getenv("EMU_TRACE"));
        trace_set_sink(trace_sink_stderr, NULL);
    }
    if (!run_seed(seed, &counts, &hash) || !runs_equal(seed, hash))
        return 1;
    printf("seed %" PRIu64 ": %" PRIu64 " events, digest %016" PRIx64 ", well\n", seed,
           counts.events, hash);
    return 0;
}

/* Seeds that once failed, one a line, '#' starts a comment. */
static unsigned run_regressions(const char *path, struct scenario_counts *counts)
{
    FILE *file = fopen(path, "r");
    unsigned failed = 0;
    char line[200];
    uint64_t hash;

    while (file && fgets(line, sizeof(line), file)) {
        uint64_t seed = strtoull(line, NULL, 10);

        if (line[0] >= '0' && line[0] <= '9')
            failed += !run_seed(seed, counts, &hash);
    }
    if (file)
        fclose(file);
    return failed;
}

static int run_many(uint64_t first, uint64_t last)
{
    struct scenario_counts counts = { 0 };
    unsigned failed;
    uint64_t hash;

    log_set_sink(quiet, NULL);
    failed = run_regressions("tests/sim/regressions.txt", &counts);
    for (uint64_t seed = first; seed <= last && failed < FAILURES_MAX; seed++) {
        if (!run_seed(seed, &counts, &hash))
            failed++;
        else if (seed % REPLAY_EVERY == 0)
            failed += !runs_equal(seed, hash);
    }
    printf("%" PRIu64 " runs, %" PRIu64 " events, %" PRIu64 " crash points; jobs: %" PRIu64
           " completed, %" PRIu64 " cancelled, %" PRIu64 " failed as they should\n%" PRIu64
           " passed, %u failed\n",
           counts.scenarios, counts.events, counts.crashes, counts.completed, counts.cancelled,
           counts.failed, counts.scenarios - failed, failed);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t n;

    if (argc == 3 && strcmp(argv[1], "--seeds") == 0 && parse_u64(argv[2], &n))
        return run_many(1, n);
    if (argc == 2 && strcmp(argv[1], "--long") == 0)
        return run_many(1000000, UINT64_MAX - 1);
    if (argc == 2 && parse_u64(argv[1], &n))
        return replay(n);
    if (argc == 1)
        return run_many(1, 200);
    fprintf(stderr, "usage: sim [SEED | --seeds N | --long]\n");
    return 2;
}
