#include "emu/crypto/digest.h"

#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <nettle/sm3.h>

#include "emu/base/check.h"
#include "emu/crypto/cipher.h"

/* Room for the context of any hash in the table; checked where it is used. */
union digest_state {
    uint64_t align;
    uint8_t bytes[512];
};

/* HMAC in the form that PBKDF2 calls: the key is set once, and each digest goes back to that state. */
struct hmac {
    const struct nettle_hash *hash;
    union digest_state outer, inner, state;
};

const char *const digest_names[DIGEST_COUNT] = {
    [DIGEST_MD5] = "md5",
    [DIGEST_SHA1] = "sha1",
    [DIGEST_SHA224] = "sha224",
    [DIGEST_SHA256] = "sha256",
    [DIGEST_SHA384] = "sha384",
    [DIGEST_SHA512] = "sha512",
    [DIGEST_RIPEMD160] = "ripemd160",
    [DIGEST_SM3] = "sm3",
};

static const struct nettle_hash *const hashes[DIGEST_COUNT] = {
    [DIGEST_MD5] = &nettle_md5,
    [DIGEST_SHA1] = &nettle_sha1,
    [DIGEST_SHA224] = &nettle_sha224,
    [DIGEST_SHA256] = &nettle_sha256,
    [DIGEST_SHA384] = &nettle_sha384,
    [DIGEST_SHA512] = &nettle_sha512,
    [DIGEST_RIPEMD160] = &nettle_ripemd160,
    [DIGEST_SM3] = &nettle_sm3,
};

size_t digest_len(enum digest_alg alg) { return hashes[alg]->digest_size; }

void digest_bytes(enum digest_alg alg, const void *data, size_t len, uint8_t *out)
{
    digest_prefixed(alg, NULL, 0, data, len, out, digest_len(alg));
}

void digest_prefixed(enum digest_alg alg, const void *prefix, size_t prefix_len, const void *data,
                     size_t len, uint8_t *out, size_t out_len)
{
    const struct nettle_hash *hash = hashes[alg];
    union digest_state state;

    assert(hash->context_size <= sizeof(state));
    hash->init(&state);
    if (prefix_len)
        hash->update(&state, prefix_len, prefix);
    if (len)
        hash->update(&state, len, data);
    hash->digest(&state, out_len, out);
    secret_wipe(&state, sizeof(state));
}

static void hmac_step(void *ctx, size_t len, const uint8_t *data)
{
    struct hmac *mac = ctx;

    hmac_update(&mac->state, mac->hash, len, data);
}

static void hmac_end(void *ctx, size_t len, uint8_t *out)
{
    struct hmac *mac = ctx;

    hmac_digest(&mac->outer, &mac->inner, &mac->state, mac->hash, len, out);
}

void digest_pbkdf2(enum digest_alg alg, const void *password, size_t password_len, const void *salt,
                   size_t salt_len, uint32_t iterations, uint8_t *out, size_t out_len)
{
    struct hmac mac = { .hash = hashes[alg] };

    assert(mac.hash->context_size <= sizeof(mac.state));
    hmac_set_key(&mac.outer, &mac.inner, &mac.state, mac.hash, password_len, password);
    pbkdf2(&mac, hmac_step, hmac_end, mac.hash->digest_size, iterations, salt_len, salt, out_len,
           out);
    secret_wipe(&mac, sizeof(mac));
}
