/* mem_is_zero (iov.h). */

#include <immintrin.h>
#include <string.h>

#include "emu/base/bytes.h"
#include "emu/base/iov.h"

/* Up to 16 bytes: two words that may overlap. */
static bool zero_short(const uint8_t *p, size_t len)
{
    if (len >= 8)
        return (load_le64(p) | load_le64(p + len - 8)) == 0;
    if (len >= 4)
        return (load_le32(p) | load_le32(p + len - 4)) == 0;
    return len == 0 || (p[0] | p[len / 2] | p[len - 1]) == 0;
}

static __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static bool is_zero16(__m128i v)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) == 0xffff;
}

/* 64 bytes a turn; the last 1 to 64 bytes may be looked at twice. len is over 16. */
static bool zero_sse2(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;

    for (; end - p > 64; p += 64) {
        __m128i all = _mm_or_si128(_mm_or_si128(load16(p), load16(p + 16)),
                                   _mm_or_si128(load16(p + 32), load16(p + 48)));

        if (!is_zero16(all))
            return false;
    }
    for (; end - p > 16; p += 16) {
        if (!is_zero16(load16(p)))
            return false;
    }
    return is_zero16(load16(end - 16));
}

__attribute__((target("avx2"))) static __m256i load32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* 256 bytes a turn. len is over 256. */
__attribute__((target("avx2"))) static bool zero_avx2(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;

    for (; end - p > 256; p += 256) {
        __m256i a = _mm256_or_si256(load32(p), load32(p + 32));
        __m256i b = _mm256_or_si256(load32(p + 64), load32(p + 96));
        __m256i c = _mm256_or_si256(load32(p + 128), load32(p + 160));
        __m256i d = _mm256_or_si256(load32(p + 192), load32(p + 224));
        __m256i all = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));

        if (!_mm256_testz_si256(all, all))
            return false;
    }
    for (; end - p > 32; p += 32) {
        __m256i v = load32(p);

        if (!_mm256_testz_si256(v, v))
            return false;
    }
    {
        __m256i v = load32(end - 32);

        return _mm256_testz_si256(v, v);
    }
}

bool mem_is_zero(const void *p, size_t len)
{
    const uint8_t *bytes = p;

    if (len <= 16)
        return zero_short(bytes, len);
    /* Data is rarely zero at its first byte, its middle and its end. */
    if (bytes[0] | bytes[len / 2] | bytes[len - 1])
        return false;
    if (len > 256 && __builtin_cpu_supports("avx2"))
        return zero_avx2(bytes, len);
    return zero_sse2(bytes, len);
}
