/* mem_is_zero (iov.h). */

#include <immintrin.h>
#include <string.h>

#include "emu/base/iov.h"

/* 128 bytes a turn; the rest and short areas by words. */
__attribute__((target("avx2"))) static bool zero_avx2(const uint8_t *p, size_t len)
{
    for (; len >= 128; p += 128, len -= 128) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
        __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(p + 64));
        __m256i d = _mm256_loadu_si256((const __m256i *)(const void *)(p + 96));
        __m256i all = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));

        if (!_mm256_testz_si256(all, all))
            return false;
    }
    for (; len > 0; p++, len--) {
        if (*p)
            return false;
    }
    return true;
}

static bool zero_words(const uint8_t *p, size_t len)
{
    for (; len >= 64; p += 64, len -= 64) {
        uint64_t w[8];

        memcpy(w, p, sizeof(w));
        if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
            return false;
    }
    for (; len > 0; p++, len--) {
        if (*p)
            return false;
    }
    return true;
}

bool mem_is_zero(const void *p, size_t len)
{
    const uint8_t *bytes = p;

    /* Data is rarely zero at its first byte, its middle and its end. */
    if (len > 0 && (bytes[0] | bytes[len / 2] | bytes[len - 1]))
        return false;
    return __builtin_cpu_supports("avx2") ? zero_avx2(bytes, len) : zero_words(bytes, len);
}
