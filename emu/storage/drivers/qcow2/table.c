/* L1 and refcount table in memory: change tracking by sector, and captures for commits. */

#include "emu/storage/drivers/qcow2/table.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/check.h"
#include "emu/storage/drivers/qcow2/format.h"

enum { ENTRIES_PER_SECTOR = QCOW2_SECTOR / 8 };

static uint32_t sector_count(uint32_t entries)
{
    return (entries + ENTRIES_PER_SECTOR - 1) / ENTRIES_PER_SECTOR;
}

bool qcow2_table_init(struct qcow2_table *table, uint32_t count, uint64_t offset)
{
    *table = (struct qcow2_table){ .count = count, .offset = offset };
    table->entries = try_calloc(MAX(count, UINT32_C(1)), sizeof(uint64_t));
    if (!table->entries || !bitset_try_init(&table->dirty, MAX(sector_count(count), UINT32_C(1)))) {
        qcow2_table_fini(table);
        return false;
    }
    return true;
}

void qcow2_table_fini(struct qcow2_table *table)
{
    xfree(table->entries);
    if (table->dirty.words)
        bitset_fini(&table->dirty);
    *table = (struct qcow2_table){ 0 };
}

void qcow2_table_decode(struct qcow2_table *table, const uint8_t *data, uint32_t count)
{
    check(count <= table->count);
    for (uint32_t i = 0; i < count; i++)
        table->entries[i] = load_be64(data + (size_t)i * 8);
}

void qcow2_table_set(struct qcow2_table *table, uint32_t index, uint64_t value)
{
    check(index < table->count);
    table->entries[index] = value;
    bitset_set(&table->dirty, index / ENTRIES_PER_SECTOR);
    table->any_dirty = true;
}

bool qcow2_table_grown(const struct qcow2_table *table, uint32_t count, uint64_t offset,
                       struct qcow2_table *out)
{
    if (!qcow2_table_init(out, count, offset))
        return false;
    memcpy(out->entries, table->entries, sizeof(uint64_t) * MIN(count, table->count));
    out->moved = true;
    return true;
}

static void encode_sector(const struct qcow2_table *table, uint32_t sector, uint8_t *out)
{
    memset(out, 0, QCOW2_SECTOR);
    for (uint32_t i = 0; i < ENTRIES_PER_SECTOR; i++) {
        uint32_t index = sector * ENTRIES_PER_SECTOR + i;

        if (index >= table->count)
            break;
        store_be64(out + (size_t)i * 8, table->entries[index]);
    }
}

bool qcow2_table_capture(struct qcow2_table *table, struct qcow2_table_capture *capture)
{
    uint32_t total = sector_count(table->count);
    size_t count = table->moved ? total : table->any_dirty ? bitset_count(&table->dirty) : 0;

    *capture = (struct qcow2_table_capture){ .offset = table->offset,
                                             .entries = table->count,
                                             .moved = table->moved };
    if (!count)
        return true;
    capture->data = try_alloc(count * QCOW2_SECTOR);
    capture->sectors = try_calloc(count, sizeof(uint32_t));
    if (!capture->data || !capture->sectors) {
        qcow2_table_capture_fini(capture);
        return false;
    }
    for (uint32_t sector = 0; sector < total; sector++) {
        if (!table->moved && !bitset_test(&table->dirty, sector))
            continue;
        capture->sectors[capture->count] = sector;
        encode_sector(table, sector, capture->data + (size_t)capture->count * QCOW2_SECTOR);
        capture->count++;
    }
    bitset_clear_range(&table->dirty, 0, total);
    table->any_dirty = table->moved = false;
    return true;
}

void qcow2_table_uncapture(struct qcow2_table *table, const struct qcow2_table_capture *capture)
{
    /* A table that moved again since has all its entries written with that move. */
    if (table->offset != capture->offset)
        return;
    table->moved |= capture->moved;
    for (uint32_t i = 0; i < capture->count; i++) {
        bitset_set(&table->dirty, capture->sectors[i]);
        table->any_dirty = true;
    }
}

bool qcow2_table_capture_next(struct qcow2_table_capture *capture, uint32_t max_bytes,
                              uint64_t *offset, uint8_t **data, uint32_t *len)
{
    uint32_t first = capture->next, n = 1;

    if (first == capture->count)
        return false;
    while (first + n < capture->count &&
           capture->sectors[first + n] == capture->sectors[first] + n &&
           (n + 1) * QCOW2_SECTOR <= max_bytes)
        n++;
    capture->next += n;
    *offset = capture->offset + (uint64_t)capture->sectors[first] * QCOW2_SECTOR;
    *data = capture->data + (size_t)first * QCOW2_SECTOR;
    *len = n * QCOW2_SECTOR;
    return true;
}

void qcow2_table_capture_fini(struct qcow2_table_capture *capture)
{
    xfree(capture->data);
    xfree(capture->sectors);
    *capture = (struct qcow2_table_capture){ 0 };
}
