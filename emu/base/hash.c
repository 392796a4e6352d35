#include "emu/base/hash.h"

#include <nmmintrin.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/bytes.h"

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t crc, const uint8_t *p,
                                                             size_t len)
{
    uint64_t state = crc;

    for (; len >= 8; p += 8, len -= 8)
        state = _mm_crc32_u64(state, load_le64(p));
    for (; len > 0; p++, len--)
        state = _mm_crc32_u8((uint32_t)state, *p);
    return (uint32_t)state;
}

static uint32_t crc32c_plain(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len > 0; p++, len--) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    crc = ~crc;
    crc = __builtin_cpu_supports("sse4.2") ? crc32c_sse(crc, data, len)
                                           : crc32c_plain(crc, data, len);
    return ~crc;
}

uint64_t hash_bytes(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ len;

    for (; len >= 8; p += 8, len -= 8)
        h = hash_u64(h ^ load_le64(p));
    if (len > 0) {
        uint8_t tail[8] = { 0 };

        memcpy(tail, p, len);
        h = hash_u64(h ^ load_le64(tail));
    }
    return h;
}

/* FIPS 180-4, section 4.2.2. */
static const uint32_t k256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t v, unsigned n) { return v >> n | v << (32 - n); }

/* One round in which variable a of the standard is s[a], b the one after it, and so on around. */
static inline void sha256_round(uint32_t s[8], unsigned a, uint32_t kw)
{
    uint32_t va = s[a], vb = s[(a + 1) % 8], vc = s[(a + 2) % 8];
    uint32_t ve = s[(a + 4) % 8], vf = s[(a + 5) % 8], vg = s[(a + 6) % 8];
    uint32_t t1 = s[(a + 7) % 8] + (rotr(ve, 6) ^ rotr(ve, 11) ^ rotr(ve, 25)) +
                  ((ve & vf) ^ (~ve & vg)) + kw;
    uint32_t t2 = (rotr(va, 2) ^ rotr(va, 13) ^ rotr(va, 22)) + ((va & vb) ^ (va & vc) ^ (vb & vc));

    s[(a + 3) % 8] += t1;
    s[(a + 7) % 8] = t1 + t2;
}

static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], s[8];

    for (int i = 0; i < 16; i++)
        w[i] = load_be32(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];

        w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[i - 7] +
               (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof(s));
    /* The names of the eight variables move by one each round; after eight rounds they are back. */
    for (int i = 0; i < 64; i += 8) {
        sha256_round(s, 0, k256[i] + w[i]);
        sha256_round(s, 7, k256[i + 1] + w[i + 1]);
        sha256_round(s, 6, k256[i + 2] + w[i + 2]);
        sha256_round(s, 5, k256[i + 3] + w[i + 3]);
        sha256_round(s, 4, k256[i + 4] + w[i + 4]);
        sha256_round(s, 3, k256[i + 5] + w[i + 5]);
        sha256_round(s, 2, k256[i + 6] + w[i + 6]);
        sha256_round(s, 1, k256[i + 7] + w[i + 7]);
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

void sha256_init(struct sha256 *h)
{
    static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

    memcpy(h->state, start, sizeof(start));
    h->total = 0;
}

void sha256_update(struct sha256 *h, const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len > 0) {
        size_t used = h->total % 64;
        size_t n = len < 64 - used ? len : 64 - used;

        if (n < 64)
            memcpy(h->block + used, p, n);
        if (used + n == 64)
            compress(h->state, n < 64 ? h->block : p);
        h->total += n;
        p += n;
        len -= n;
    }
}

void sha256_final(struct sha256 *h, uint8_t out[SHA256_SIZE])
{
    uint64_t bits = h->total * 8;
    uint8_t length[8];
    uint8_t pad = 0x80;

    sha256_update(h, &pad, 1);
    pad = 0;
    while (h->total % 64 != 56)
        sha256_update(h, &pad, 1);
    store_be64(length, bits);
    sha256_update(h, length, 8);
    for (int i = 0; i < 8; i++)
        store_be32(out + 4 * i, h->state[i]);
}

char *sha256_final_hex(struct sha256 *h, char out[SHA256_HEX_SIZE])
{
    uint8_t digest[SHA256_SIZE];

    sha256_final(h, digest);
    for (int i = 0; i < SHA256_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return out;
}
