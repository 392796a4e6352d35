/* LUKS1 key slots: the anti-forensic splitter (specification, section 2.4) and the two derivations of a slot. */
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/crypto/luks.h"
#include "emu/crypto/random.h"

/* Every bit of the result depends on every bit of its digest-sized piece of the block. */
static void diffuse(enum digest_alg alg, uint8_t *block, size_t len)
{
    size_t step = digest_len(alg);
    uint8_t piece[DIGEST_LEN_MAX], count[4];

    for (size_t at = 0, i = 0; at < len; at += step, i++) {
        size_t n = MIN(step, len - at);

        store_be32(count, (uint32_t)i);
        digest_prefixed(alg, count, sizeof(count), block + at, n, piece, n);
        memcpy(block + at, piece, n);
    }
    secret_wipe(piece, sizeof(piece));
}

static void mix(uint8_t *block, const uint8_t *with, size_t len)
{
    for (size_t i = 0; i < len; i++)
        block[i] ^= with[i];
}

/* The accumulated block of all stripes but the last. */
static void fold(const struct luks_header *h, const uint8_t *split, uint8_t block[CIPHER_KEY_MAX])
{
    memset(block, 0, CIPHER_KEY_MAX);
    for (size_t i = 0; i + 1 < LUKS_STRIPES; i++) {
        mix(block, split + i * h->key_len, h->key_len);
        diffuse(h->hash, block, h->key_len);
    }
}

static void split_key(const struct luks_header *h, const uint8_t *key, uint8_t *split)
{
    uint8_t *last = split + (size_t)(LUKS_STRIPES - 1) * h->key_len;
    uint8_t block[CIPHER_KEY_MAX];

    random_bytes(split, (size_t)(LUKS_STRIPES - 1) * h->key_len);
    fold(h, split, block);
    memcpy(last, key, h->key_len);
    mix(last, block, h->key_len);
    secret_wipe(block, sizeof(block));
}

static void merge_key(const struct luks_header *h, const uint8_t *split,
                      uint8_t key[CIPHER_KEY_MAX])
{
    fold(h, split, key);
    mix(key, split + (size_t)(LUKS_STRIPES - 1) * h->key_len, h->key_len);
}

static void key_digest(const struct luks_header *h, const uint8_t *key,
                       uint8_t digest[LUKS_DIGEST_LEN])
{
    digest_pbkdf2(h->hash, key, h->key_len, h->mk_salt, LUKS_SALT_LEN, h->mk_iterations, digest,
                  LUKS_DIGEST_LEN);
}

void luks_seal_digest(struct luks_header *h, const uint8_t key[CIPHER_KEY_MAX])
{
    key_digest(h, key, h->mk_digest);
}

/* The cipher that the password gives; NULL when there is none, which the header's checks rule out. */
static struct sector_cipher *slot_cipher(const struct luks_header *h, unsigned slot,
                                         const void *password, size_t password_len)
{
    uint8_t key[CIPHER_KEY_MAX];
    struct sector_cipher *cipher = NULL;

    digest_pbkdf2(h->hash, password, password_len, h->slots[slot].salt, LUKS_SALT_LEN,
                  h->slots[slot].iterations, key, h->key_len);
    err_ignore(sector_cipher_new(&h->spec, key, h->key_len, &cipher));
    secret_wipe(key, sizeof(key));
    return cipher;
}

bool luks_slot_open(const struct luks_header *h, unsigned slot, const void *password,
                    size_t password_len, const uint8_t *material, uint8_t key[CIPHER_KEY_MAX])
{
    CLEANUP(sector_cipher_free)
    struct sector_cipher *cipher = slot_cipher(h, slot, password, password_len);
    size_t len = luks_material_len(h);
    uint8_t digest[LUKS_DIGEST_LEN];
    uint8_t *split;

    if (!cipher)
        return false;
    split = xmalloc(len);
    sector_decrypt(cipher, 0, split, material, len);
    merge_key(h, split, key);
    secret_wipe(split, len);
    xfree(split);
    key_digest(h, key, digest);
    return memcmp(digest, h->mk_digest, LUKS_DIGEST_LEN) == 0;
}

void luks_slot_seal(const struct luks_header *h, unsigned slot, const void *password,
                    size_t password_len, const uint8_t key[CIPHER_KEY_MAX], uint8_t *material)
{
    CLEANUP(sector_cipher_free)
    struct sector_cipher *cipher = slot_cipher(h, slot, password, password_len);

    split_key(h, key, material);
    if (cipher)
        sector_encrypt(cipher, 0, material, material, luks_material_len(h));
}

void luks_measure(const struct luks_header *h, uint32_t iterations, size_t out_len)
{
    static const uint8_t salt[LUKS_SALT_LEN];
    uint8_t out[CIPHER_KEY_MAX];

    digest_pbkdf2(h->hash, "password", 8, salt, sizeof(salt), iterations, out,
                  MIN(out_len, sizeof(out)));
}
