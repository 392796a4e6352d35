#ifndef EMU_TESTS_SIM_GUEST_H
#define EMU_TESTS_SIM_GUEST_H

/*
 * A guest of the simulator: random requests on one edge, some at a time, never two writes to one
 * sector at once, every read held against the oracle.
 */

#include "emu/base/rng.h"
#include "emu/storage/node.h"
#include "tests/sim/oracle.h"

enum { GUEST_SLOTS = 8, GUEST_REQUEST_MAX = 256 << 10 };

struct guest;
struct guest_slot {
    struct req req;
    struct guest *guest;
    struct iovec iov;
    uint8_t *buf; /* owned */
    uint32_t number;
    uint64_t since;
    bool busy;
};

struct guest {
    struct rng rng;
    struct edge *edge;     /* borrowed */
    struct oracle *oracle; /* borrowed */
    struct guest_slot slots[GUEST_SLOTS];
    unsigned busy, limit;
    uint64_t left;   /* Requests still to start. */
    uint64_t errors; /* Requests that failed. */
    bool stopped;
    bool may_discard;
    char failure[160]; /* The first wrong read; "" while all is well. */
};

void guest_init(struct guest *guest, uint64_t seed, struct edge *edge, struct oracle *oracle,
                uint64_t requests);
/* Starts requests while slots are free. */
void guest_start(struct guest *guest);
/* No new requests; those in flight go on. */
void guest_stop(struct guest *guest);
static inline bool guest_idle(const struct guest *guest) { return guest->busy == 0; }
void guest_fini(struct guest *guest);

#endif
