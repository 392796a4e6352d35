/*
 * Integers in byte buffers of any alignment, and bit fields in integers.
 *
 * Wire and disk data are read with these; structs are never laid over buffers.
 */
#ifndef EMU_BASE_BYTES_H
#define EMU_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the host must be little-endian"
#endif

static inline uint8_t load_u8(const uint8_t *p) { return *p; }

static inline void store_u8(uint8_t *p, uint8_t v) { *p = v; }

/* load_le16, store_le16, load_be16, store_be16 and so on for 32 and 64 bits. */
#define BYTES_ACCESS(bits)                                                                         \
    static inline uint##bits##_t load_le##bits(const uint8_t *p)                                   \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return v;                                                                                  \
    }                                                                                              \
    static inline void store_le##bits(uint8_t *p, uint##bits##_t v) { memcpy(p, &v, sizeof(v)); }  \
    static inline uint##bits##_t load_be##bits(const uint8_t *p)                                   \
    {                                                                                              \
        return __builtin_bswap##bits(load_le##bits(p));                                            \
    }                                                                                              \
    static inline void store_be##bits(uint8_t *p, uint##bits##_t v)                                \
    {                                                                                              \
        store_le##bits(p, __builtin_bswap##bits(v));                                               \
    }

BYTES_ACCESS(16)
BYTES_ACCESS(32)
BYTES_ACCESS(64)
#undef BYTES_ACCESS

static inline uint32_t load_be24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline void store_be24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

/* A mask of the lowest `width` bits, 0 <= width <= 64 (32). */
static inline uint64_t bits_mask64(unsigned width)
{
    return width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static inline uint32_t bits_mask32(unsigned width)
{
    return width >= 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1;
}

/* The field of `width` bits whose lowest bit is bit `shift`. */
static inline uint64_t bits_get64(uint64_t word, unsigned shift, unsigned width)
{
    return word >> shift & bits_mask64(width);
}

static inline uint32_t bits_get32(uint32_t word, unsigned shift, unsigned width)
{
    return word >> shift & bits_mask32(width);
}

/* `word` with that field set to `value` (bits of value above the width are dropped). */
static inline uint64_t bits_set64(uint64_t word, unsigned shift, unsigned width, uint64_t value)
{
    uint64_t mask = bits_mask64(width) << shift;

    return (word & ~mask) | (value << shift & mask);
}

static inline uint32_t bits_set32(uint32_t word, unsigned shift, unsigned width, uint32_t value)
{
    uint32_t mask = bits_mask32(width) << shift;

    return (word & ~mask) | (value << shift & mask);
}

/* Sign-extends the lowest `width` bits, 1 <= width <= 64. */
static inline int64_t bits_sign_extend(uint64_t value, unsigned width)
{
    unsigned spare = 64 - width;

    return (int64_t)(value << spare) >> spare;
}

#endif
