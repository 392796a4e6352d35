#ifndef EMU_CRYPTO_SECTOR_H
#define EMU_CRYPTO_SECTOR_H

/*
 * Encryption of disks sector by sector: each sector of 512 bytes is one message whose initialisation vector follows
 * from its number. Immutable once made, so several threads may use one.
 */

#include <stdint.h>

#include "emu/base/iov.h"
#include "emu/crypto/cipher.h"
#include "emu/crypto/digest.h"

enum ivgen_alg { IVGEN_PLAIN, IVGEN_PLAIN64, IVGEN_ESSIV, IVGEN_COUNT };
extern const char *const ivgen_names[IVGEN_COUNT];

enum { CRYPT_SECTOR = 512 };

struct sector_spec {
    enum cipher_alg alg;
    enum cipher_mode mode;
    enum ivgen_alg ivgen;
    enum digest_alg ivgen_hash; /* For essiv. */
};

struct sector_cipher;

/* Errors: as cipher_new(); "No AES cipher with key size 20 available", "Cipher cast5-128 not supported with essiv". */
struct err *sector_cipher_new(const struct sector_spec *spec, const uint8_t *key, size_t key_len,
                              struct sector_cipher **out) MUST_USE;
void sector_cipher_free(struct sector_cipher *cipher);
CLEANUP_FREE(sector_cipher_free, struct sector_cipher);

/*
 * En- or decrypts len bytes that begin at byte `offset` of the disk, a multiple of CRYPT_SECTOR. A last incomplete
 * sector is taken as it is (whole cipher blocks). dst is src or does not overlap it.
 */
void sector_encrypt(const struct sector_cipher *cipher, uint64_t offset, uint8_t *dst,
                    const uint8_t *src, size_t len);
void sector_decrypt(const struct sector_cipher *cipher, uint64_t offset, uint8_t *dst,
                    const uint8_t *src, size_t len);
/* Decrypts a vector in place; sectors may lie across its elements. */
void sector_decrypt_iov(const struct sector_cipher *cipher, uint64_t offset, struct iov_view data,
                        size_t len);

#endif
