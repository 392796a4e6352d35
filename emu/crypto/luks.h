#ifndef EMU_CRYPTO_LUKS_H
#define EMU_CRYPTO_LUKS_H

/*
 * LUKS version 1 (cryptsetup's "LUKS1 On-Disk Format Specification" 1.2.3): the partition header, and the key slots
 * that hold the master key. Works on memory; whoever opens a volume does the I/O.
 *
 * A key slot is the master key, split into many stripes of which every bit is needed (section 2.4), encrypted
 * with a key derived from a password. Deriving takes long on purpose: luks_slot_open(), luks_slot_seal() and
 * luks_rate() are for worker threads and are pure functions of their arguments.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/crypto/sector.h"

enum {
    LUKS_HEADER_LEN = 592,
    LUKS_SLOTS = 8,
    LUKS_STRIPES = 4000,
    LUKS_DIGEST_LEN = 20,
    LUKS_SALT_LEN = 32,
    LUKS_UUID_LEN = 40,
    LUKS_NAME_LEN = 32,
    LUKS_ITERATIONS_MIN = 1000,
    LUKS_ITER_TIME_DEFAULT_MS = 2000,
    /* Bytes of the key material of a slot, for buffers. */
    LUKS_MATERIAL_MAX = CIPHER_KEY_MAX * LUKS_STRIPES,
};

struct luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT_LEN];
    uint32_t key_offset; /* In sectors of 512 bytes from the start of the header. */
    uint32_t stripes;
};

struct luks_header {
    struct sector_spec spec;
    bool has_ivgen_hash;
    enum digest_alg hash;
    uint32_t payload_offset; /* Sectors. */
    uint32_t key_len;        /* Of the master key, at most CIPHER_KEY_MAX. */
    uint8_t mk_digest[LUKS_DIGEST_LEN];
    uint8_t mk_salt[LUKS_SALT_LEN];
    uint32_t mk_iterations;
    char uuid[LUKS_UUID_LEN + 1];
    struct luks_slot slots[LUKS_SLOTS];
};

/* What a new volume is to be. */
struct luks_options {
    struct sector_spec spec;
    bool has_ivgen_hash;
    enum digest_alg hash;
    uint64_t iter_time_ms;
    bool detached; /* The payload lies elsewhere. */
};
void luks_options_default(struct luks_options *options);

/* Whether the bytes begin as a LUKS version 1 header does. */
bool luks_probe(const uint8_t *buf, size_t len);

/* Reads a header of LUKS_HEADER_LEN bytes. Refuses what cannot be, with the reference's texts. */
struct err *luks_header_parse(struct luks_header *h, const uint8_t *buf, bool detached) MUST_USE;
void luks_header_encode(const struct luks_header *h, uint8_t buf[LUKS_HEADER_LEN]);
/* Lays out a new volume: no slot is active, salts and UUID are random. */
struct err *luks_header_init(struct luks_header *h, const struct luks_options *options) MUST_USE;
/* Bytes from the header to the payload of a volume with these options, for sizes. */
struct err *luks_overhead(const struct luks_options *options, uint64_t *out) MUST_USE;

size_t luks_material_len(const struct luks_header *h);
static inline uint64_t luks_slot_offset(const struct luks_header *h, unsigned slot)
{
    return (uint64_t)h->slots[slot].key_offset * CRYPT_SECTOR;
}
static inline uint64_t luks_payload_offset(const struct luks_header *h)
{
    return (uint64_t)h->payload_offset * CRYPT_SECTOR;
}

/*
 * Tries a password on an active slot with its material (luks_material_len bytes): true, and the master key in key,
 * when it opens the slot.
 */
bool luks_slot_open(const struct luks_header *h, unsigned slot, const void *password,
                    size_t password_len, const uint8_t *material, uint8_t key[CIPHER_KEY_MAX]);
/* Makes the material of a slot whose iterations and salt are set. */
void luks_slot_seal(const struct luks_header *h, unsigned slot, const void *password,
                    size_t password_len, const uint8_t key[CIPHER_KEY_MAX], uint8_t *material);
/* Fills mk_digest; mk_iterations is set. */
void luks_seal_digest(struct luks_header *h, const uint8_t key[CIPHER_KEY_MAX]);

/* Derives once with that many iterations, to measure how long it takes. */
void luks_measure(const struct luks_header *h, uint32_t iterations, size_t out_len);

/* The members of ImageInfoSpecificLUKS. Returns new. */
struct json *luks_info(const struct luks_header *h, bool detached);

#endif
