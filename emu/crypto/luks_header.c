/* LUKS1 header: layout, checks, and what queries show of it. Offsets are those of the specification's figures 1, 2. */
#include <inttypes.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/base/str.h"
#include "emu/base/uuid.h"
#include "emu/crypto/luks.h"
#include "emu/crypto/random.h"

enum {
    AT_VERSION = 6,
    AT_CIPHER_NAME = 8,
    AT_CIPHER_MODE = 40,
    AT_HASH_SPEC = 72,
    AT_PAYLOAD = 104,
    AT_KEY_LEN = 108,
    AT_MK_DIGEST = 112,
    AT_MK_SALT = 132,
    AT_MK_ITERATIONS = 164,
    AT_UUID = 168,
    AT_SLOTS = 208,
    SLOT_LEN = 48,
    SLOT_ALIGN = 4096,
};

static const uint32_t slot_active = UINT32_C(0x00ac71f3), slot_disabled = UINT32_C(0x0000dead);
static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

/* The header's names of ciphers with the lengths of their keys. */
static const struct {
    const char *name;
    enum cipher_alg alg;
} cipher_names[] = {
    { "aes", CIPHER_AES_128 },         { "aes", CIPHER_AES_192 },
    { "aes", CIPHER_AES_256 },         { "cast5", CIPHER_CAST5_128 },
    { "serpent", CIPHER_SERPENT_128 }, { "serpent", CIPHER_SERPENT_192 },
    { "serpent", CIPHER_SERPENT_256 }, { "twofish", CIPHER_TWOFISH_128 },
    { "twofish", CIPHER_TWOFISH_192 }, { "twofish", CIPHER_TWOFISH_256 },
};

void luks_options_default(struct luks_options *options)
{
    *options = (struct luks_options){
        .spec = { CIPHER_AES_256, CIPHER_XTS, IVGEN_PLAIN64, DIGEST_SHA256 },
        .hash = DIGEST_SHA256,
        .iter_time_ms = LUKS_ITER_TIME_DEFAULT_MS,
    };
}

bool luks_probe(const uint8_t *buf, size_t len)
{
    return len >= AT_CIPHER_NAME && memcmp(buf, magic, sizeof(magic)) == 0 &&
           load_be16(buf + AT_VERSION) == 1;
}

size_t luks_material_len(const struct luks_header *h) { return (size_t)h->key_len * LUKS_STRIPES; }

/* ---- Checks ---- */

static struct err *check_name(const uint8_t *buf, size_t at, const char *what)
{
    if (!memchr(buf + at, 0, LUKS_NAME_LEN))
        return err_new("LUKS header %s is not NUL terminated", what);
    return NULL;
}

/* First and one past the last sector of a slot's material; 64 bits wide, so that nothing wraps around. */
static uint64_t slot_start(const struct luks_header *h, unsigned i)
{
    return h->slots[i].key_offset;
}

static uint64_t slot_end(const struct luks_header *h, unsigned i)
{
    return slot_start(h, i) +
           div_round_up((uint64_t)h->key_len * LUKS_STRIPES, (uint64_t)CRYPT_SECTOR);
}

static struct err *check_slot(const struct luks_header *h, unsigned i, bool detached)
{
    const struct luks_slot *slot = &h->slots[i];

    if (slot->stripes != LUKS_STRIPES)
        return err_new("Keyslot %u is corrupted (stripes %" PRId32 " != %d)", i,
                       (int32_t)slot->stripes, LUKS_STRIPES);
    if (slot_start(h, i) < div_round_up((uint64_t)LUKS_HEADER_LEN, (uint64_t)CRYPT_SECTOR))
        return err_new("Keyslot %u is overlapping with the LUKS header", i);
    if (slot->active && slot->iterations == 0)
        return err_new("Keyslot %u iteration count is zero", i);
    if (!detached && slot_end(h, i) > h->payload_offset)
        return err_new("Keyslot %u is overlapping with the encrypted payload", i);
    for (unsigned j = i + 1; j < LUKS_SLOTS; j++) {
        if (slot_start(h, i) < slot_end(h, j) && slot_start(h, j) < slot_end(h, i))
            return err_new("Keyslots %u and %u are overlapping in the header", i, j);
    }
    return NULL;
}

static struct err *parse_slots(struct luks_header *h, const uint8_t *buf, bool detached)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const uint8_t *at = buf + AT_SLOTS + (size_t)i * SLOT_LEN;
        struct luks_slot *slot = &h->slots[i];
        uint32_t state = load_be32(at);

        if (state != slot_active && state != slot_disabled)
            return err_new("Keyslot %u state (active/disable) is corrupted", i);
        slot->active = state == slot_active;
        slot->iterations = load_be32(at + 4);
        memcpy(slot->salt, at + 8, LUKS_SALT_LEN);
        slot->key_offset = load_be32(at + 40);
        slot->stripes = load_be32(at + 44);
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        TRY(check_slot(h, i, detached));
    return NULL;
}

/* ---- Names ---- */

static struct err *digest_by_name(const char *name, enum digest_alg *out)
{
    int i = str_index(name, digest_names, DIGEST_COUNT);

    if (i < 0)
        return err_new("Hash algorithm '%s' not supported", name);
    *out = (enum digest_alg)i;
    return NULL;
}

static struct err *cipher_by_name(struct luks_header *h, const char *name)
{
    uint32_t len = h->key_len;

    if (h->spec.mode == CIPHER_XTS) {
        if (len % 2)
            return err_new("XTS cipher key length should be a multiple of 2");
        len /= 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(cipher_names); i++) {
        if (strcmp(name, cipher_names[i].name) == 0 && cipher_key_len(cipher_names[i].alg) == len) {
            h->spec.alg = cipher_names[i].alg;
            return NULL;
        }
    }
    return err_new("Algorithm '%s' with key size %" PRIu32 " bytes not supported", name, len);
}

/* "xts-plain64", "cbc-essiv:sha256" */
static struct err *parse_mode(struct luks_header *h, const char *text)
{
    CLEANUP(xfree) char *mode = xstrdup(text);
    char *ivgen = strchr(mode, '-'), *hash;
    int i;

    if (!ivgen)
        return err_new("Unexpected cipher mode string format '%s'", text);
    *ivgen++ = 0;
    hash = strchr(ivgen, ':');
    if (hash) {
        *hash++ = 0;
        TRY(digest_by_name(hash, &h->spec.ivgen_hash));
        h->has_ivgen_hash = true;
    }
    i = str_index(mode, cipher_mode_names, CIPHER_MODE_COUNT);
    if (i < 0)
        return err_new("Cipher mode '%s' not supported", mode);
    h->spec.mode = (enum cipher_mode)i;
    i = str_index(ivgen, ivgen_names, IVGEN_COUNT);
    if (i < 0)
        return err_new("IV generator '%s' not supported", ivgen);
    h->spec.ivgen = (enum ivgen_alg)i;
    if (h->spec.ivgen == IVGEN_ESSIV && !h->has_ivgen_hash)
        return err_new("Missing IV generator hash specification");
    return NULL;
}

struct err *luks_header_parse(struct luks_header *h, const uint8_t *buf, bool detached)
{
    *h = (struct luks_header){ 0 };
    if (memcmp(buf, magic, sizeof(magic)) != 0)
        return err_new("Volume is not in LUKS format");
    if (load_be16(buf + AT_VERSION) != 1)
        return err_new("LUKS version %u is not supported", load_be16(buf + AT_VERSION));
    TRY(check_name(buf, AT_CIPHER_NAME, "cipher name"));
    TRY(check_name(buf, AT_CIPHER_MODE, "cipher mode"));
    TRY(check_name(buf, AT_HASH_SPEC, "hash spec"));
    h->payload_offset = load_be32(buf + AT_PAYLOAD);
    h->key_len = load_be32(buf + AT_KEY_LEN);
    memcpy(h->mk_digest, buf + AT_MK_DIGEST, LUKS_DIGEST_LEN);
    memcpy(h->mk_salt, buf + AT_MK_SALT, LUKS_SALT_LEN);
    h->mk_iterations = load_be32(buf + AT_MK_ITERATIONS);
    memcpy(h->uuid, buf + AT_UUID, LUKS_UUID_LEN);
    if (!detached && luks_payload_offset(h) < LUKS_HEADER_LEN)
        return err_new("LUKS payload is overlapping with the header");
    if (h->mk_iterations == 0)
        return err_new("LUKS key iteration count is zero");
    TRY(parse_slots(h, buf, detached));
    TRY(parse_mode(h, (const char *)buf + AT_CIPHER_MODE));
    TRY(cipher_by_name(h, (const char *)buf + AT_CIPHER_NAME));
    return digest_by_name((const char *)buf + AT_HASH_SPEC, &h->hash);
}

/* ---- Writing ---- */

static const char *cipher_name(enum cipher_alg alg)
{
    for (size_t i = 0; i < ARRAY_LEN(cipher_names); i++) {
        if (cipher_names[i].alg == alg)
            return cipher_names[i].name;
    }
    return NULL;
}

static void put_text(uint8_t *at, const char *text, size_t max)
{
    memcpy(at, text, MIN(strlen(text), max));
}

void luks_header_encode(const struct luks_header *h, uint8_t buf[LUKS_HEADER_LEN])
{
    CLEANUP(str_fini) struct str mode = { 0 };

    str_addf(&mode, "%s-%s", cipher_mode_names[h->spec.mode], ivgen_names[h->spec.ivgen]);
    if (h->has_ivgen_hash)
        str_addf(&mode, ":%s", digest_names[h->spec.ivgen_hash]);
    memset(buf, 0, LUKS_HEADER_LEN);
    memcpy(buf, magic, sizeof(magic));
    store_be16(buf + AT_VERSION, 1);
    put_text(buf + AT_CIPHER_NAME, cipher_name(h->spec.alg), LUKS_NAME_LEN);
    put_text(buf + AT_CIPHER_MODE, str_cstr(&mode), LUKS_NAME_LEN);
    put_text(buf + AT_HASH_SPEC, digest_names[h->hash], LUKS_NAME_LEN);
    store_be32(buf + AT_PAYLOAD, h->payload_offset);
    store_be32(buf + AT_KEY_LEN, h->key_len);
    memcpy(buf + AT_MK_DIGEST, h->mk_digest, LUKS_DIGEST_LEN);
    memcpy(buf + AT_MK_SALT, h->mk_salt, LUKS_SALT_LEN);
    store_be32(buf + AT_MK_ITERATIONS, h->mk_iterations);
    put_text(buf + AT_UUID, h->uuid, LUKS_UUID_LEN);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        uint8_t *at = buf + AT_SLOTS + (size_t)i * SLOT_LEN;
        const struct luks_slot *slot = &h->slots[i];

        store_be32(at, slot->active ? slot_active : slot_disabled);
        store_be32(at + 4, slot->iterations);
        memcpy(at + 8, slot->salt, LUKS_SALT_LEN);
        store_be32(at + 40, slot->key_offset);
        store_be32(at + 44, slot->stripes);
    }
}

/* Sectors from one slot to the next. */
static uint32_t slot_stride(size_t key_len)
{
    return (uint32_t)(align_up_u64(key_len * LUKS_STRIPES, SLOT_ALIGN) / CRYPT_SECTOR);
}

static struct err *check_options(const struct luks_options *options)
{
    const struct sector_spec *spec = &options->spec;
    uint8_t key[CIPHER_KEY_MAX] = { 0 };
    struct sector_cipher *cipher;

    if (!cipher_name(spec->alg))
        return err_new("Algorithm '%s' not supported", cipher_alg_names[spec->alg]);
    TRY(sector_cipher_new(spec, key, cipher_key_len_of_mode(spec->alg, spec->mode), &cipher));
    sector_cipher_free(cipher);
    return NULL;
}

struct err *luks_overhead(const struct luks_options *options, uint64_t *out)
{
    size_t key_len = cipher_key_len_of_mode(options->spec.alg, options->spec.mode);

    TRY(check_options(options));
    *out = SLOT_ALIGN + (uint64_t)LUKS_SLOTS * slot_stride(key_len) * CRYPT_SECTOR;
    return NULL;
}

struct err *luks_header_init(struct luks_header *h, const struct luks_options *options)
{
    uint64_t overhead = 0;
    struct uuid uuid;

    TRY(luks_overhead(options, &overhead));
    *h = (struct luks_header){
        .spec = options->spec,
        .has_ivgen_hash = options->has_ivgen_hash || options->spec.ivgen == IVGEN_ESSIV,
        .hash = options->hash,
        .key_len = (uint32_t)cipher_key_len_of_mode(options->spec.alg, options->spec.mode),
        .payload_offset = options->detached ? 0 : (uint32_t)(overhead / CRYPT_SECTOR),
    };
    random_bytes(h->mk_salt, LUKS_SALT_LEN);
    random_bytes(uuid.bytes, sizeof(uuid.bytes));
    uuid.bytes[6] = (uuid.bytes[6] & 0x0f) | 0x40; /* Version 4, RFC 4122 section 4.4. */
    uuid.bytes[8] = (uuid.bytes[8] & 0x3f) | 0x80;
    uuid_format(&uuid, h->uuid);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        h->slots[i].stripes = LUKS_STRIPES;
        h->slots[i].key_offset = SLOT_ALIGN / CRYPT_SECTOR + i * slot_stride(h->key_len);
    }
    return NULL;
}

/* ---- Queries ---- */

static struct json *slot_info(const struct luks_header *h, unsigned i)
{
    const struct luks_slot *slot = &h->slots[i];
    struct json *info = json_object();

    json_object_set_bool(info, "active", slot->active);
    if (slot->active) {
        json_object_set_uint(info, "iters", slot->iterations);
        json_object_set_uint(info, "stripes", slot->stripes);
    }
    json_object_set_uint(info, "key-offset", luks_slot_offset(h, i));
    return info;
}

struct json *luks_info(const struct luks_header *h, bool detached)
{
    struct json *info = json_object(), *slots = json_array();

    json_object_set_str(info, "cipher-alg", cipher_alg_names[h->spec.alg]);
    json_object_set_str(info, "cipher-mode", cipher_mode_names[h->spec.mode]);
    json_object_set_str(info, "ivgen-alg", ivgen_names[h->spec.ivgen]);
    if (h->spec.ivgen == IVGEN_ESSIV)
        json_object_set_str(info, "ivgen-hash-alg", digest_names[h->spec.ivgen_hash]);
    json_object_set_str(info, "hash-alg", digest_names[h->hash]);
    json_object_set_bool(info, "detached-header", detached);
    json_object_set_uint(info, "payload-offset", luks_payload_offset(h));
    json_object_set_uint(info, "master-key-iters", h->mk_iterations);
    json_object_set_str(info, "uuid", h->uuid);
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        json_array_add(slots, slot_info(h, i));
    json_object_set(info, "slots", slots);
    return info;
}
