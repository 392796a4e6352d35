#include "tests/sim/oracle.h"

#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/base/iov.h"

void oracle_init(struct oracle *oracle, uint64_t size)
{
    memset(oracle, 0, sizeof(*oracle));
    oracle->size = size;
    oracle->sectors = xcalloc(size / ORACLE_SECTOR, sizeof(*oracle->sectors));
    oracle->next_number = 1;
    oracle->oldest_read = UINT64_MAX;
    for (uint64_t i = 0; i < size / ORACLE_SECTOR; i++)
        vec_push(&oracle->sectors[i].values, ((struct oracle_value){ 0, UINT64_MAX }));
}

void oracle_fini(struct oracle *oracle)
{
    for (uint64_t i = 0; i < oracle->size / ORACLE_SECTOR; i++)
        vec_fini(&oracle->sectors[i].values);
    xfree(oracle->sectors);
}

/* Every 16 bytes name the write and the place, so that torn and misplaced data is seen. */
void oracle_fill(uint32_t number, uint64_t offset, uint8_t *buf, uint64_t len)
{
    for (uint64_t i = 0; i < len; i += 16) {
        store_le32(buf + i, number ? 0x656d7500 : 0);
        store_le32(buf + i + 4, number);
        store_le64(buf + i + 8, number ? offset + i : 0);
    }
}

bool oracle_identify(const uint8_t *sector, uint64_t offset, uint32_t *number)
{
    uint8_t expected[ORACLE_SECTOR];

    *number = load_le32(sector + 4);
    oracle_fill(*number, offset, expected, ORACLE_SECTOR);
    return memcmp(sector, expected, ORACLE_SECTOR) == 0;
}

/* Drops what neither a read, one that runs included, nor a crash can bring back. */
static void prune(const struct oracle *oracle, struct oracle_sector *sector)
{
    uint64_t needed_since = MIN(oracle->stable_since, oracle->oldest_read);
    size_t kept = 0;

    for (size_t i = 0; i < vec_len(&sector->values); i++) {
        struct oracle_value value = vec_at(&sector->values, i);

        if (value.dead_since > needed_since)
            vec_at(&sector->values, kept++) = value;
    }
    while (vec_len(&sector->values) > kept)
        (void)vec_pop(&sector->values);
    check(kept > 0);
}

void oracle_write_begin(struct oracle *oracle, uint32_t number, uint64_t offset, uint64_t len)
{
    oracle->time++;
    for (uint64_t i = offset / ORACLE_SECTOR; i < (offset + len) / ORACLE_SECTOR; i++) {
        prune(oracle, &oracle->sectors[i]);
        vec_push(&oracle->sectors[i].values, ((struct oracle_value){ number, UINT64_MAX }));
    }
}

void oracle_write_end(struct oracle *oracle, uint32_t number, uint64_t offset, uint64_t len,
                      bool ok)
{
    oracle->time++;
    if (!ok)
        return;
    for (uint64_t i = offset / ORACLE_SECTOR; i < (offset + len) / ORACLE_SECTOR; i++) {
        struct oracle_sector *sector = &oracle->sectors[i];
        size_t own = 0;

        for (size_t k = 0; k < vec_len(&sector->values); k++) {
            if (vec_at(&sector->values, k).number == number)
                own = k;
        }
        /* The guest never has two writes to one sector in flight, so all before it are gone. */
        for (size_t k = 0; k < own; k++) {
            if (vec_at(&sector->values, k).dead_since == UINT64_MAX)
                vec_at(&sector->values, k).dead_since = oracle->time;
        }
    }
}

void oracle_discard(struct oracle *oracle, uint64_t offset, uint64_t len)
{
    oracle_write_begin(oracle, 0, offset, len);
}

uint64_t oracle_flush_begin(struct oracle *oracle) { return ++oracle->time; }

void oracle_flush_end(struct oracle *oracle, uint64_t began)
{
    if (began > oracle->stable_since)
        oracle->stable_since = began;
    oracle->time++;
}

void oracle_init_crashed(struct oracle *after, const struct oracle *before)
{
    uint64_t sectors = before->size / ORACLE_SECTOR;

    memset(after, 0, sizeof(*after));
    after->size = before->size;
    after->sectors = xcalloc(sectors, sizeof(*after->sectors));
    after->next_number = before->next_number;
    after->oldest_read = UINT64_MAX;
    for (uint64_t i = 0; i < sectors; i++) {
        vec_for_each(value, &before->sectors[i].values) {
            if (value->dead_since > before->stable_since)
                vec_push(&after->sectors[i].values,
                         ((struct oracle_value){ value->number, UINT64_MAX }));
        }
    }
}

/* Whether 16 bytes are of a value the sector may hold: a running request may be seen in part. */
static bool allowed(const struct oracle_sector *sector, const uint8_t *piece, uint64_t offset,
                    uint64_t since)
{
    uint8_t expected[16];

    for (size_t i = 0; i < vec_len(&sector->values); i++) {
        const struct oracle_value *value = &vec_at(&sector->values, i);

        if (value->dead_since <= since)
            continue;
        oracle_fill(value->number, offset, expected, sizeof(expected));
        if (memcmp(piece, expected, sizeof(expected)) == 0)
            return true;
    }
    return false;
}

static uint64_t check_range(const struct oracle *oracle, uint64_t since, uint64_t offset,
                            const uint8_t *buf, uint64_t len)
{
    for (uint64_t at = 0; at < len; at += 16) {
        if (!allowed(&oracle->sectors[(offset + at) / ORACLE_SECTOR], buf + at, offset + at, since))
            return (offset + at) / ORACLE_SECTOR * ORACLE_SECTOR;
    }
    return UINT64_MAX;
}

uint64_t oracle_check_read(const struct oracle *oracle, uint64_t since, uint64_t offset,
                           const uint8_t *buf, uint64_t len)
{
    return check_range(oracle, since, offset, buf, len);
}

uint64_t oracle_check_crash(const struct oracle *oracle, uint64_t offset, const uint8_t *buf,
                            uint64_t len)
{
    return check_range(oracle, oracle->stable_since, offset, buf, len);
}

void oracle_describe(const struct oracle *oracle, uint64_t offset, uint64_t since, char *out,
                     size_t out_len)
{
    const struct oracle_sector *sector = &oracle->sectors[offset / ORACLE_SECTOR];
    size_t used = 0;

    out[0] = 0;
    for (size_t i = 0; i < vec_len(&sector->values) && used < out_len; i++) {
        const struct oracle_value *value = &vec_at(&sector->values, i);

        if (value->dead_since > since)
            used += (size_t)snprintf(out + used, out_len - used, " %u", value->number);
    }
}
