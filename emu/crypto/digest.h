#ifndef EMU_CRYPTO_DIGEST_H
#define EMU_CRYPTO_DIGEST_H

/* Cryptographic hashes by the names that QMP gives them, and PBKDF2 (RFC 8018) with HMAC. Pure functions. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum digest_alg {
    DIGEST_MD5,
    DIGEST_SHA1,
    DIGEST_SHA224,
    DIGEST_SHA256,
    DIGEST_SHA384,
    DIGEST_SHA512,
    DIGEST_RIPEMD160,
    DIGEST_SM3,
    DIGEST_COUNT,
};

extern const char *const digest_names[DIGEST_COUNT];

enum { DIGEST_LEN_MAX = 64 };

size_t digest_len(enum digest_alg alg);
/* out gets digest_len() bytes. */
void digest_bytes(enum digest_alg alg, const void *data, size_t len, uint8_t *out);
/* Hashes prefix and data as one message and gives the first out_len bytes, at most digest_len(). */
void digest_prefixed(enum digest_alg alg, const void *prefix, size_t prefix_len, const void *data,
                     size_t len, uint8_t *out, size_t out_len);

/* Derives out_len bytes from a password; iterations is at least 1. Takes its time: a worker calls it. */
void digest_pbkdf2(enum digest_alg alg, const void *password, size_t password_len, const void *salt,
                   size_t salt_len, uint32_t iterations, uint8_t *out, size_t out_len);

#endif
