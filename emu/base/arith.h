/*
 * Integer arithmetic on untrusted sizes and offsets.
 *
 * The *_overflow_* functions return true when the exact result does not fit; *out is then the
 * wrapped value and must not be used. Alignments are powers of two unless a comment says otherwise.
 */
#ifndef EMU_BASE_ARITH_H
#define EMU_BASE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/check.h"

#define ARITH_CHECKED(suffix, type)                                                                \
    MUST_USE static inline bool add_overflow_##suffix(type a, type b, type *out)                   \
    {                                                                                              \
        return __builtin_add_overflow(a, b, out);                                                  \
    }                                                                                              \
    MUST_USE static inline bool sub_overflow_##suffix(type a, type b, type *out)                   \
    {                                                                                              \
        return __builtin_sub_overflow(a, b, out);                                                  \
    }                                                                                              \
    MUST_USE static inline bool mul_overflow_##suffix(type a, type b, type *out)                   \
    {                                                                                              \
        return __builtin_mul_overflow(a, b, out);                                                  \
    }

/* add_overflow_u32 ... mul_overflow_size. */
ARITH_CHECKED(u32, uint32_t)
ARITH_CHECKED(u64, uint64_t)
ARITH_CHECKED(i32, int32_t)
ARITH_CHECKED(i64, int64_t)
ARITH_CHECKED(size, size_t)
#undef ARITH_CHECKED

/* a + b, or the largest value when that does not fit. */
static inline uint64_t add_saturate_u64(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* a * b, or the largest value when that does not fit. */
static inline uint64_t mul_saturate_u64(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* a - b, or 0 when b is larger. */
static inline uint64_t sub_saturate_u64(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static inline bool is_pow2(uint64_t value) { return value && !(value & (value - 1)); }

static inline bool is_aligned(uint64_t value, uint64_t align) { return !(value & (align - 1)); }

static inline uint64_t align_down_u64(uint64_t value, uint64_t align)
{
    return value & ~(align - 1);
}

/* Wraps to 0 when the result does not fit; use align_up_overflow_u64 on untrusted values. */
static inline uint64_t align_up_u64(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

MUST_USE static inline bool align_up_overflow_u64(uint64_t value, uint64_t align, uint64_t *out)
{
    *out = align_up_u64(value, align);
    return *out < value;
}

/* Rounded up quotient, for any divisor but 0 and without overflow inside. */
static inline uint64_t div_round_up(uint64_t value, uint64_t divisor)
{
    return value / divisor + (value % divisor != 0);
}

/* The next multiple of any (not only power of two) unit; wraps when it does not fit. */
static inline uint64_t round_up_any(uint64_t value, uint64_t unit)
{
    return div_round_up(value, unit) * unit;
}

/* Number of zero bits below the lowest set bit; the width of the type for 0. */
static inline unsigned ctz32(uint32_t value) { return value ? (unsigned)__builtin_ctz(value) : 32; }

static inline unsigned ctz64(uint64_t value)
{
    return value ? (unsigned)__builtin_ctzll(value) : 64;
}

/* Number of zero bits above the highest set bit; the width of the type for 0. */
static inline unsigned clz32(uint32_t value) { return value ? (unsigned)__builtin_clz(value) : 32; }

static inline unsigned clz64(uint64_t value)
{
    return value ? (unsigned)__builtin_clzll(value) : 64;
}

static inline unsigned popcount32(uint32_t value) { return (unsigned)__builtin_popcount(value); }

static inline unsigned popcount64(uint64_t value) { return (unsigned)__builtin_popcountll(value); }

/* Position of the highest set bit. value must not be 0. */
static inline unsigned ilog2_u64(uint64_t value)
{
    check(value != 0);
    return 63 - (unsigned)__builtin_clzll(value);
}

/* Smallest power of two >= value; 1 for 0, and 0 when it does not fit. */
static inline uint64_t pow2_ceil_u64(uint64_t value)
{
    if (value <= 1)
        return 1;
    unsigned bits = 64 - clz64(value - 1);
    return bits == 64 ? 0 : UINT64_C(1) << bits;
}

/* Largest power of two <= value; 0 for 0. */
static inline uint64_t pow2_floor_u64(uint64_t value)
{
    return value ? UINT64_C(1) << ilog2_u64(value) : 0;
}

/*
 * Whether [off1, off1 + len1) and [off2, off2 + len2) share a byte. An empty range shares nothing.
 * Right also for ranges whose end would not fit in 64 bits.
 */
static inline bool ranges_overlap(uint64_t off1, uint64_t len1, uint64_t off2, uint64_t len2)
{
    if (!len1 || !len2)
        return false;
    return off1 <= off2 ? off2 - off1 < len1 : off1 - off2 < len2;
}

/* Whether [off, off + len) lies within [0, size); right also when off + len does not fit. */
static inline bool range_within(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

#endif
