#include "emu/base/uuid.h"

#include <stdio.h>
#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool dash_at(size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

bool uuid_parse(const char *text, struct uuid *out)
{
    struct uuid parsed = { { 0 } };
    size_t digit = 0;

    if (strlen(text) != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
        if (dash_at(i) ? text[i] != '-' : hex(text[i]) < 0)
            return false;
        if (dash_at(i))
            continue;
        parsed.bytes[digit / 2] |= (uint8_t)(hex(text[i]) << (digit % 2 ? 0 : 4));
        digit++;
    }
    *out = parsed;
    return true;
}

char *uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    size_t digit = 0;

    for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
        if (dash_at(i)) {
            out[i] = '-';
            continue;
        }
        out[i] = digits[uuid->bytes[digit / 2] >> (digit % 2 ? 0 : 4) & 15];
        digit++;
    }
    out[UUID_TEXT_LEN] = 0;
    return out;
}

struct uuid uuid_random(struct rng *rng)
{
    struct uuid uuid;

    rng_fill(rng, uuid.bytes, sizeof(uuid.bytes));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

bool uuid_is_null(const struct uuid *uuid)
{
    static const struct uuid null;

    return uuid_equal(uuid, &null);
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

struct uuid uuid_swap(const struct uuid *uuid)
{
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    struct uuid out = { { 0 } };

    for (size_t i = 0; i < 16; i++)
        out.bytes[i] = uuid->bytes[order[i]];
    return out;
}
