/*
 * Plain fixed-size set of small integers [0, nbits), one bit each. For byte ranges with cheap
 * searches over sparse content see hbitmap.h.
 */
#ifndef EMU_BASE_BITSET_H
#define EMU_BASE_BITSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/check.h"

struct bitset {
    uint64_t *words; /* owned; bits from nbits on are always 0. */
    size_t nbits;
};

/* All clear. False when out of memory. */
MUST_USE bool bitset_try_init(struct bitset *b, size_t nbits);
/* The same, but aborts; for small sets. */
void bitset_init(struct bitset *b, size_t nbits);
void bitset_fini(struct bitset *b);
CLEANUP_FINI(bitset_fini, struct bitset);

/* Changes the size; new bits are clear. False (and unchanged) when out of memory. */
MUST_USE bool bitset_try_resize(struct bitset *b, size_t nbits);

static inline bool bitset_test(const struct bitset *b, size_t bit)
{
    check(bit < b->nbits);
    return b->words[bit / 64] >> bit % 64 & 1;
}

static inline void bitset_set(struct bitset *b, size_t bit)
{
    check(bit < b->nbits);
    b->words[bit / 64] |= UINT64_C(1) << bit % 64;
}

static inline void bitset_clear(struct bitset *b, size_t bit)
{
    check(bit < b->nbits);
    b->words[bit / 64] &= ~(UINT64_C(1) << bit % 64);
}

static inline void bitset_assign(struct bitset *b, size_t bit, bool on)
{
    if (on)
        bitset_set(b, bit);
    else
        bitset_clear(b, bit);
}

/* Sets or clears the bits [first, first + n). */
void bitset_set_range(struct bitset *b, size_t first, size_t n);
void bitset_clear_range(struct bitset *b, size_t first, size_t n);

/* The first set / clear bit at or after `from`; nbits when there is none. */
size_t bitset_next_set(const struct bitset *b, size_t from);
size_t bitset_next_clear(const struct bitset *b, size_t from);

size_t bitset_count(const struct bitset *b);
bool bitset_any(const struct bitset *b);

#endif
