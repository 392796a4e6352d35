#include "emu/base/rng.h"

#include <string.h>

#include "emu/base/check.h"
#include "emu/base/hash.h"

static uint64_t rotl(uint64_t v, int n) { return v << n | v >> (64 - n); }

/* The state comes from splitmix64, as the authors of the generator advise. */
void rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        rng->s[i] = hash_u64(seed);
    }
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t rng_u32(struct rng *rng) { return (uint32_t)(rng_u64(rng) >> 32); }

uint64_t rng_below(struct rng *rng, uint64_t n)
{
    uint64_t limit, v;

    check(n > 0);
    /* Values above the largest multiple of n would make small results likelier. */
    limit = UINT64_MAX - (UINT64_MAX % n + 1) % n;
    do {
        v = rng_u64(rng);
    } while (v > limit);
    return v % n;
}

uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    check(low <= high);
    return high - low == UINT64_MAX ? rng_u64(rng) : low + rng_below(rng, high - low + 1);
}

bool rng_chance(struct rng *rng, uint32_t num, uint32_t den) { return rng_below(rng, den) < num; }

void rng_fill(struct rng *rng, void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        uint64_t v = rng_u64(rng);
        size_t n = len < sizeof(v) ? len : sizeof(v);

        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}

struct rng rng_fork(struct rng *rng)
{
    struct rng fork;

    rng_init(&fork, rng_u64(rng));
    return fork;
}
