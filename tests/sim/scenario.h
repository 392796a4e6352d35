#ifndef EMU_TESTS_SIM_SCENARIO_H
#define EMU_TESTS_SIM_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a run counted, for the summary. */
struct scenario_counts {
    uint64_t scenarios, events, crashes, completed, cancelled, failed;
};

/*
 * Runs the scenario of a seed. False, with a text, when something was wrong. *hash is the digest
 * of its completions: equal for equal seeds.
 */
bool scenario_run(uint64_t seed, struct scenario_counts *counts, uint64_t *hash, char *failure,
                  size_t failure_len);

#endif
