/*
 * Seeded pseudo-random numbers (xoshiro256**). The same seed gives the same sequence everywhere.
 * Not for secrets.
 */
#ifndef EMU_BASE_RNG_H
#define EMU_BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_u64(struct rng *rng);
uint32_t rng_u32(struct rng *rng);
/* Uniform in [0, n); n must not be 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);
/* Uniform in [low, high], both included. */
uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high);
/* True num times out of den. */
bool rng_chance(struct rng *rng, uint32_t num, uint32_t den);
void rng_fill(struct rng *rng, void *out, size_t len);
/* An independent generator seeded from this one; for giving each part of a test its own. */
struct rng rng_fork(struct rng *rng);

#endif
