/* UUIDs (RFC 4122): 16 bytes in the order of the text form. */
#ifndef EMU_BASE_UUID_H
#define EMU_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "emu/base/attrs.h"
#include "emu/base/rng.h"

#define UUID_TEXT_LEN 36

struct uuid {
    uint8_t bytes[16];
};

/* Strict "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" of any case; false otherwise and *out unchanged. */
MUST_USE bool uuid_parse(const char *text, struct uuid *out);

/* Lower case, terminated. Returns out. */
char *uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN + 1]);

/* A version 4 (random) UUID. */
struct uuid uuid_random(struct rng *rng);

bool uuid_is_null(const struct uuid *uuid);
bool uuid_equal(const struct uuid *a, const struct uuid *b);

/* Swaps the first three fields between this order and the little-endian one of SMBIOS and EFI. */
struct uuid uuid_swap(const struct uuid *uuid);

#endif
