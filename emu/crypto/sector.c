#include "emu/crypto/sector.h"

#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"

struct sector_cipher {
    struct cipher *cipher;
    struct cipher *salt; /* essiv: encrypts the sector number; else NULL. */
    enum ivgen_alg ivgen;
    size_t iv_len, salt_block;
};

const char *const ivgen_names[IVGEN_COUNT] = {
    [IVGEN_PLAIN] = "plain",
    [IVGEN_PLAIN64] = "plain64",
    [IVGEN_ESSIV] = "essiv",
};

/* The cipher of the same family whose key has the length of a hash. */
static struct err *salt_alg(enum cipher_alg alg, size_t key_len, enum cipher_alg *out)
{
    static const struct {
        enum cipher_alg first, last;
        const char *name;
    } families[] = {
        { CIPHER_AES_128, CIPHER_AES_256, "AES" },
        { CIPHER_SERPENT_128, CIPHER_SERPENT_256, "Serpent" },
        { CIPHER_TWOFISH_128, CIPHER_TWOFISH_256, "Twofish" },
    };

    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        if (alg < families[i].first || alg > families[i].last)
            continue;
        for (enum cipher_alg a = families[i].first; a <= families[i].last; a++) {
            if (cipher_key_len(a) == key_len) {
                *out = a;
                return NULL;
            }
        }
        return err_new("No %s cipher with key size %zu available", families[i].name, key_len);
    }
    return err_new("Cipher %s not supported with essiv", cipher_alg_names[alg]);
}

static struct err *make_salt(struct sector_cipher *cipher, const struct sector_spec *spec,
                             const uint8_t *key, size_t key_len)
{
    uint8_t salt[DIGEST_LEN_MAX];
    size_t salt_len = digest_len(spec->ivgen_hash);
    enum cipher_alg alg = spec->alg;
    struct err *err;

    TRY(salt_alg(spec->alg, salt_len, &alg));
    digest_bytes(spec->ivgen_hash, key, key_len, salt);
    err = cipher_new(alg, CIPHER_ECB, salt, salt_len, &cipher->salt);
    cipher->salt_block = cipher_block_len(alg);
    secret_wipe(salt, sizeof(salt));
    return err;
}

struct err *sector_cipher_new(const struct sector_spec *spec, const uint8_t *key, size_t key_len,
                              struct sector_cipher **out)
{
    struct sector_cipher *cipher = NEW(struct sector_cipher);
    struct err *err = cipher_new(spec->alg, spec->mode, key, key_len, &cipher->cipher);

    cipher->ivgen = spec->ivgen;
    cipher->iv_len = cipher_iv_len(spec->alg, spec->mode);
    if (!err && spec->ivgen == IVGEN_ESSIV)
        err = make_salt(cipher, spec, key, key_len);
    if (err) {
        sector_cipher_free(cipher);
        return err;
    }
    *out = cipher;
    return NULL;
}

void sector_cipher_free(struct sector_cipher *cipher)
{
    if (!cipher)
        return;
    cipher_free(cipher->cipher);
    cipher_free(cipher->salt);
    xfree(cipher);
}

static void make_iv(const struct sector_cipher *cipher, uint64_t sector, uint8_t iv[CIPHER_IV_MAX])
{
    memset(iv, 0, CIPHER_IV_MAX);
    switch (cipher->ivgen) {
    case IVGEN_PLAIN: store_le32(iv, (uint32_t)sector); return;
    case IVGEN_PLAIN64: store_le64(iv, sector); return;
    case IVGEN_ESSIV:
        store_le64(iv, sector);
        cipher_encrypt(cipher->salt, NULL, iv, iv, cipher->salt_block);
        return;
    case IVGEN_COUNT: break;
    }
    unreachable();
}

void sector_encrypt(const struct sector_cipher *cipher, uint64_t offset, uint8_t *dst,
                    const uint8_t *src, size_t len)
{
    uint8_t iv[CIPHER_IV_MAX];

    for (size_t at = 0; at < len; at += CRYPT_SECTOR) {
        make_iv(cipher, (offset + at) / CRYPT_SECTOR, iv);
        cipher_encrypt(cipher->cipher, iv, dst + at, src + at, MIN(len - at, (size_t)CRYPT_SECTOR));
    }
}

void sector_decrypt(const struct sector_cipher *cipher, uint64_t offset, uint8_t *dst,
                    const uint8_t *src, size_t len)
{
    uint8_t iv[CIPHER_IV_MAX];

    for (size_t at = 0; at < len; at += CRYPT_SECTOR) {
        make_iv(cipher, (offset + at) / CRYPT_SECTOR, iv);
        cipher_decrypt(cipher->cipher, iv, dst + at, src + at, MIN(len - at, (size_t)CRYPT_SECTOR));
    }
}

void sector_decrypt_iov(const struct sector_cipher *cipher, uint64_t offset, struct iov_view data,
                        size_t len)
{
    uint8_t sector[CRYPT_SECTOR];

    while (len) {
        struct iovec first;
        size_t n;

        (void)iov_slice(data, len, &first, 1);
        n = first.iov_len / CRYPT_SECTOR * CRYPT_SECTOR;
        if (n) {
            sector_decrypt(cipher, offset, first.iov_base, first.iov_base, n);
        } else {
            n = MIN(len, (size_t)CRYPT_SECTOR);
            iov_copy_from(data, n, sector);
            sector_decrypt(cipher, offset, sector, sector, n);
            iov_copy_to(data, n, sector);
        }
        data = iov_view_advance(data, n);
        offset += n;
        len -= n;
    }
}
