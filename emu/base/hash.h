/*
 * Checksums and hashes: crc32c, sha256, and fast hashes for tables. None of this is for secrets.
 */
#ifndef EMU_BASE_HASH_H
#define EMU_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"

/*
 * CRC-32C (Castagnoli), with the usual inversions. Start with crc = 0 and pass the result to go on
 * with more bytes. Uses SSE4.2 where the processor has it.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65

struct sha256 {
    uint32_t state[8];
    uint64_t total; /* Bytes seen. */
    uint8_t block[64];
};

void sha256_init(struct sha256 *h);
void sha256_update(struct sha256 *h, const void *data, size_t len);
void sha256_final(struct sha256 *h, uint8_t out[SHA256_SIZE]);
/* As sha256_final, but lower-case hex, terminated. Returns out. */
char *sha256_final_hex(struct sha256 *h, char out[SHA256_HEX_SIZE]);

/* For hash tables; the value may differ between builds, so it is never stored or sent. */
uint64_t hash_bytes(const void *data, size_t len);

/* Mixes all bits of one integer (splitmix64 finaliser). */
static inline uint64_t hash_u64(uint64_t v)
{
    v ^= v >> 30;
    v *= UINT64_C(0xbf58476d1ce4e5b9);
    v ^= v >> 27;
    v *= UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

#endif
