#ifndef EMU_TESTS_SIM_CRASH_H
#define EMU_TESTS_SIM_CRASH_H

#include "tests/sim/oracle.h"
#include "tests/sim/world.h"

/* A disk to look at after a crash. */
struct crash_disk {
    const char *driver, *file; /* Of the node, and the path of its file. */
    uint64_t size;
    bool discards;
};

/*
 * Looks at what a crash now would leave of an image: it opens, its metadata is not corrupt, and
 * every sector holds something the oracle allows. Sometimes a guest goes on there, until the next
 * crash. The running world goes on undisturbed; failures are noted in it.
 */
void crash_check(struct world *w, const struct crash_disk *disk, const struct oracle *oracle,
                 uint64_t seed);

#endif
