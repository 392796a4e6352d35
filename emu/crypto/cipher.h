#ifndef EMU_CRYPTO_CIPHER_H
#define EMU_CRYPTO_CIPHER_H

/*
 * Symmetric ciphers in the modes that disk formats use.
 *
 * A cipher is immutable once made: several threads may use one at a time, because the initialisation
 * vector comes with each call. Keys are wiped when it is freed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"

enum cipher_alg {
    CIPHER_AES_128,
    CIPHER_AES_192,
    CIPHER_AES_256,
    CIPHER_DES,
    CIPHER_3DES,
    CIPHER_CAST5_128,
    CIPHER_SERPENT_128,
    CIPHER_SERPENT_192,
    CIPHER_SERPENT_256,
    CIPHER_TWOFISH_128,
    CIPHER_TWOFISH_192,
    CIPHER_TWOFISH_256,
    CIPHER_SM4,
    CIPHER_ALG_COUNT,
};
enum cipher_mode { CIPHER_ECB, CIPHER_CBC, CIPHER_XTS, CIPHER_CTR, CIPHER_MODE_COUNT };

/* Names as QMP and the tools spell them. Some algorithms have a name but no implementation. */
extern const char *const cipher_alg_names[CIPHER_ALG_COUNT];
extern const char *const cipher_mode_names[CIPHER_MODE_COUNT];

enum { CIPHER_IV_MAX = 16, CIPHER_KEY_MAX = 64 };

/* Bytes of a key of the algorithm itself; XTS needs two of them. */
size_t cipher_key_len(enum cipher_alg alg);
size_t cipher_key_len_of_mode(enum cipher_alg alg, enum cipher_mode mode);
/* Bytes of a block, and of the initialisation vector (0 for ECB). */
size_t cipher_block_len(enum cipher_alg alg);
size_t cipher_iv_len(enum cipher_alg alg, enum cipher_mode mode);

struct cipher;

/*
 * Makes a cipher; key_len must be what cipher_key_len_of_mode() tells. Fails with "Algorithm 'des' not
 * supported", "Unsupported cipher mode xts" and the like.
 */
struct err *cipher_new(enum cipher_alg alg, enum cipher_mode mode, const uint8_t *key,
                       size_t key_len, struct cipher **out) MUST_USE;
void cipher_free(struct cipher *cipher);
CLEANUP_FREE(cipher_free, struct cipher);

/*
 * Encrypts or decrypts len bytes, whole blocks (any length with CTR; at least one block with XTS). dst is src
 * or does not overlap it. iv has cipher_iv_len() bytes and is not changed.
 */
void cipher_encrypt(const struct cipher *cipher, const uint8_t *iv, void *dst, const void *src,
                    size_t len);
void cipher_decrypt(const struct cipher *cipher, const uint8_t *iv, void *dst, const void *src,
                    size_t len);

/* Overwrites memory that held a secret; not optimised away. NULL is fine when len is 0. */
void secret_wipe(void *data, size_t len);

#endif
