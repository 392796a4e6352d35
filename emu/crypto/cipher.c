/*
 * Ciphers: a table of Nettle's block ciphers under the modes that LUKS and qcow2 need.
 */
#include "emu/crypto/cipher.h"

#include <string.h>

#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/nettle-meta.h>
#include <nettle/xts.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

struct cipher_kind {
    size_t key_len;
    const struct nettle_cipher *impl; /* NULL: known by name only. */
};

struct cipher {
    const struct nettle_cipher *impl;
    enum cipher_mode mode;
    void *encrypt, *decrypt, *tweak; /* owned; key schedules. */
};

const char *const cipher_alg_names[CIPHER_ALG_COUNT] = {
    [CIPHER_AES_128] = "aes-128",
    [CIPHER_AES_192] = "aes-192",
    [CIPHER_AES_256] = "aes-256",
    [CIPHER_DES] = "des",
    [CIPHER_3DES] = "3des",
    [CIPHER_CAST5_128] = "cast5-128",
    [CIPHER_SERPENT_128] = "serpent-128",
    [CIPHER_SERPENT_192] = "serpent-192",
    [CIPHER_SERPENT_256] = "serpent-256",
    [CIPHER_TWOFISH_128] = "twofish-128",
    [CIPHER_TWOFISH_192] = "twofish-192",
    [CIPHER_TWOFISH_256] = "twofish-256",
    [CIPHER_SM4] = "sm4",
};

const char *const cipher_mode_names[CIPHER_MODE_COUNT] = {
    [CIPHER_ECB] = "ecb",
    [CIPHER_CBC] = "cbc",
    [CIPHER_XTS] = "xts",
    [CIPHER_CTR] = "ctr",
};

static const struct cipher_kind kinds[CIPHER_ALG_COUNT] = {
    [CIPHER_AES_128] = { 16, &nettle_aes128 },
    [CIPHER_AES_192] = { 24, &nettle_aes192 },
    [CIPHER_AES_256] = { 32, &nettle_aes256 },
    [CIPHER_DES] = { 8, NULL },
    [CIPHER_3DES] = { 24, NULL },
    [CIPHER_CAST5_128] = { 16, &nettle_cast128 },
    [CIPHER_SERPENT_128] = { 16, &nettle_serpent128 },
    [CIPHER_SERPENT_192] = { 24, &nettle_serpent192 },
    [CIPHER_SERPENT_256] = { 32, &nettle_serpent256 },
    [CIPHER_TWOFISH_128] = { 16, &nettle_twofish128 },
    [CIPHER_TWOFISH_192] = { 24, &nettle_twofish192 },
    [CIPHER_TWOFISH_256] = { 32, &nettle_twofish256 },
    [CIPHER_SM4] = { 16, NULL },
};

void secret_wipe(void *data, size_t len)
{
    if (len)
        explicit_bzero(data, len);
}

size_t cipher_key_len(enum cipher_alg alg) { return kinds[alg].key_len; }

size_t cipher_key_len_of_mode(enum cipher_alg alg, enum cipher_mode mode)
{
    return kinds[alg].key_len * (mode == CIPHER_XTS ? 2 : 1);
}

size_t cipher_block_len(enum cipher_alg alg)
{
    return alg == CIPHER_DES || alg == CIPHER_3DES || alg == CIPHER_CAST5_128 ? 8 : 16;
}

size_t cipher_iv_len(enum cipher_alg alg, enum cipher_mode mode)
{
    return mode == CIPHER_ECB ? 0 : cipher_block_len(alg);
}

static void *schedule(const struct nettle_cipher *impl, nettle_set_key_func *set,
                      const uint8_t *key)
{
    void *ctx = xcalloc(1, impl->context_size);

    set(ctx, key);
    return ctx;
}

struct err *cipher_new(enum cipher_alg alg, enum cipher_mode mode, const uint8_t *key,
                       size_t key_len, struct cipher **out)
{
    const struct nettle_cipher *impl = kinds[alg].impl;
    struct cipher *cipher;

    if (!impl)
        return err_new("Algorithm '%s' not supported", cipher_alg_names[alg]);
    if (mode == CIPHER_XTS && impl->block_size != XTS_BLOCK_SIZE)
        return err_new("Unsupported cipher mode %s", cipher_mode_names[mode]);
    if (key_len != cipher_key_len_of_mode(alg, mode))
        return err_new("Cipher key length %zu should be %zu", key_len,
                       cipher_key_len_of_mode(alg, mode));
    cipher = NEW(struct cipher);
    cipher->impl = impl;
    cipher->mode = mode;
    cipher->encrypt = schedule(impl, impl->set_encrypt_key, key);
    if (mode != CIPHER_CTR)
        cipher->decrypt = schedule(impl, impl->set_decrypt_key, key);
    if (mode == CIPHER_XTS)
        cipher->tweak = schedule(impl, impl->set_encrypt_key, key + key_len / 2);
    *out = cipher;
    return NULL;
}

static void schedule_free(const struct cipher *cipher, void *ctx)
{
    if (ctx)
        secret_wipe(ctx, cipher->impl->context_size);
    xfree(ctx);
}

void cipher_free(struct cipher *cipher)
{
    if (!cipher)
        return;
    schedule_free(cipher, cipher->encrypt);
    schedule_free(cipher, cipher->decrypt);
    schedule_free(cipher, cipher->tweak);
    xfree(cipher);
}

void cipher_encrypt(const struct cipher *cipher, const uint8_t *iv, void *dst, const void *src,
                    size_t len)
{
    const struct nettle_cipher *impl = cipher->impl;
    uint8_t chain[CIPHER_IV_MAX];

    if (cipher->mode != CIPHER_ECB)
        memcpy(chain, iv, impl->block_size);
    switch (cipher->mode) {
    case CIPHER_ECB: impl->encrypt(cipher->encrypt, len, dst, src); return;
    case CIPHER_CBC:
        cbc_encrypt(cipher->encrypt, impl->encrypt, impl->block_size, chain, len, dst, src);
        return;
    case CIPHER_XTS:
        xts_encrypt_message(cipher->encrypt, cipher->tweak, impl->encrypt, chain, len, dst, src);
        return;
    case CIPHER_CTR:
        ctr_crypt(cipher->encrypt, impl->encrypt, impl->block_size, chain, len, dst, src);
        return;
    case CIPHER_MODE_COUNT: break;
    }
    unreachable();
}

void cipher_decrypt(const struct cipher *cipher, const uint8_t *iv, void *dst, const void *src,
                    size_t len)
{
    const struct nettle_cipher *impl = cipher->impl;
    uint8_t chain[CIPHER_IV_MAX];

    if (cipher->mode != CIPHER_ECB)
        memcpy(chain, iv, impl->block_size);
    switch (cipher->mode) {
    case CIPHER_ECB: impl->decrypt(cipher->decrypt, len, dst, src); return;
    case CIPHER_CBC:
        cbc_decrypt(cipher->decrypt, impl->decrypt, impl->block_size, chain, len, dst, src);
        return;
    case CIPHER_XTS:
        xts_decrypt_message(cipher->decrypt, cipher->tweak, impl->decrypt, impl->encrypt, chain,
                            len, dst, src);
        return;
    case CIPHER_CTR: cipher_encrypt(cipher, iv, dst, src, len); return;
    case CIPHER_MODE_COUNT: break;
    }
    unreachable();
}
