#ifndef EMU_TESTS_SIM_CRASH_H
#define EMU_TESTS_SIM_CRASH_H

#include "tests/sim/oracle.h"
#include "tests/sim/world.h"

/*
 * Looks at what a crash now would leave of an image: it opens, its metadata is not corrupt, and every sector holds
 * something the oracle allows. The running world goes on undisturbed; failures are noted in it.
 */
void crash_check(struct world *w, const char *file, uint64_t size, const struct oracle *oracle,
                 uint64_t seed);

#endif
