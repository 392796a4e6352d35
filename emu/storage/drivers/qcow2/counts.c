/* Refcount structures in memory. */

#include "emu/storage/drivers/qcow2/counts.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/arith.h"
#include "emu/base/bytes.h"
#include "emu/storage/drivers/qcow2/format.h"
#include "emu/storage/drivers/qcow2/refcount.h"

enum { BLOCK_ALIGN = 4096 };

bool qcow2_counts_init(struct qcow2_counts *counts, unsigned cluster_bits, unsigned order,
                       uint64_t count)
{
    *counts = (struct qcow2_counts){
        .cluster_bits = cluster_bits,
        .order = order,
        .block_bits = cluster_bits + 3 - order,
        .max = bits_mask64(1U << order),
        .count = count,
    };
    counts->blocks = try_calloc(MAX(count, UINT64_C(1)), sizeof(*counts->blocks));
    counts->places = try_calloc(MAX(count, UINT64_C(1)), sizeof(*counts->places));
    if (counts->blocks && counts->places)
        return true;
    qcow2_counts_fini(counts);
    return false;
}

static bool shared(const struct qcow2_counts *counts, uint64_t i)
{
    return counts->twin && i < counts->twin->count && counts->blocks[i] == counts->twin->blocks[i];
}

void qcow2_counts_fini(struct qcow2_counts *counts)
{
    for (uint64_t i = 0; counts->blocks && i < counts->count; i++) {
        if (!shared(counts, i))
            xfree(counts->blocks[i]);
    }
    xfree(counts->blocks);
    xfree(counts->places);
    *counts = (struct qcow2_counts){ 0 };
}

bool qcow2_counts_share(struct qcow2_counts *counts, const struct qcow2_counts *twin)
{
    if (!qcow2_counts_init(counts, twin->cluster_bits, twin->order, twin->count))
        return false;
    memcpy(counts->blocks, twin->blocks, twin->count * sizeof(*twin->blocks));
    memcpy(counts->places, twin->places, twin->count * sizeof(*twin->places));
    counts->twin = twin;
    return true;
}

/* Twice the room, up to what a table may have. */
static int extend(struct qcow2_counts *counts, uint64_t need)
{
    uint64_t count = MAX(need, MIN(counts->count * 2, QCOW2_REFTABLE_BYTES_MAX / 8));
    uint8_t **blocks;
    uint64_t *places;

    if (need > QCOW2_REFTABLE_BYTES_MAX / 8)
        return -EFBIG;
    blocks = try_realloc(counts->blocks, count * sizeof(*blocks));
    if (!blocks)
        return -ENOMEM;
    counts->blocks = blocks;
    places = try_realloc(counts->places, count * sizeof(*places));
    if (!places)
        return -ENOMEM;
    counts->places = places;
    memset(blocks + counts->count, 0, (count - counts->count) * sizeof(*blocks));
    memset(places + counts->count, 0, (count - counts->count) * sizeof(*places));
    counts->count = count;
    return 0;
}

uint64_t qcow2_counts_get(const struct qcow2_counts *counts, uint64_t cluster)
{
    uint64_t i = cluster >> counts->block_bits;

    if (i >= counts->count || !counts->blocks[i])
        return 0;
    return qcow2_refcount_load(counts->blocks[i], counts->order,
                               cluster & bits_mask64(counts->block_bits));
}

int qcow2_counts_set(struct qcow2_counts *counts, uint64_t cluster, uint64_t value,
                     uint64_t *vacated)
{
    uint64_t i = cluster >> counts->block_bits, size = BIT64(counts->cluster_bits);

    *vacated = 0;
    if (value > counts->max)
        return -ERANGE;
    if (i >= counts->count) {
        int ret = extend(counts, i + 1);

        if (ret)
            return ret;
    }
    if (!counts->blocks[i] || shared(counts, i)) {
        uint8_t *block = try_alloc_aligned(BLOCK_ALIGN, size);

        if (!block)
            return -ENOMEM;
        if (counts->blocks[i])
            memcpy(block, counts->blocks[i], size);
        else
            memset(block, 0, size);
        counts->blocks[i] = block;
        *vacated = counts->places[i];
        counts->places[i] = 0;
    }
    qcow2_refcount_store(counts->blocks[i], counts->order,
                         cluster & bits_mask64(counts->block_bits), value);
    return 0;
}

uint64_t qcow2_counts_used(const struct qcow2_counts *counts)
{
    uint64_t n = counts->count;

    while (n && !counts->blocks[n - 1])
        n--;
    return n;
}
