#include "emu/storage/drivers/sparse/levels.h"

#include <errno.h>

#include "emu/base/arith.h"
#include "emu/base/bytes.h"

enum { WORD = 8 };

uint64_t levels_load(const struct levels *l, const uint8_t *bytes)
{
    return l->big_endian ? load_be64(bytes) : load_le64(bytes);
}

void levels_store(const struct levels *l, uint8_t *bytes, uint64_t word)
{
    if (l->big_endian)
        store_be64(bytes, word);
    else
        store_le64(bytes, word);
}

static uint64_t l1_place(const struct levels *l, uint64_t block)
{
    return l->l1_offset + block / l->l2_words * WORD;
}

static uint64_t l2_place(const struct levels *l, uint64_t table, uint64_t block)
{
    return table + block % l->l2_words * WORD;
}

/* The table of a block, 0 when there is none. */
static int table_of(struct levels *l, uint64_t block, struct meta_wait *wait, uint64_t *table)
{
    uint8_t *bytes;
    int ret;

    if (block / l->l2_words >= l->l1_words)
        return -EINVAL;
    ret = meta_get(&l->s->meta, l1_place(l, block), WORD, wait, &bytes);
    if (ret)
        return ret;
    *table = levels_load(l, bytes);
    return !*table || l->table_valid(l, *table) ? 0 : -EINVAL;
}

int levels_word(struct levels *l, uint64_t block, struct meta_wait *wait, uint64_t *word)
{
    uint64_t table;
    uint8_t *bytes;
    int ret = table_of(l, block, wait, &table);

    *word = 0;
    if (ret || !table)
        return ret;
    ret = meta_get(&l->s->meta, l2_place(l, table, block), WORD, wait, &bytes);
    if (!ret)
        *word = levels_load(l, bytes);
    return ret;
}

/* Where space may be taken: places that were written without being linked do not read as zeroes, and are left out. */
static uint64_t next_place(const struct levels *l)
{
    return align_up_u64(MAX(l->end, l->s->fresh_from), l->align);
}

int levels_place(struct levels *l, uint64_t block, uint64_t *count, struct meta_wait *wait,
                 uint64_t *host)
{
    uint64_t table, end = next_place(l);
    uint8_t *bytes;
    int ret = table_of(l, block, wait, &table);

    if (ret)
        return ret;
    *count = MIN(*count, l->l2_words - block % l->l2_words);
    if (table)
        ret = meta_get(&l->s->meta, l2_place(l, table, block), WORD, wait, &bytes);
    else
        end = align_up_u64(end + l->l2_bytes, l->align);
    if (end > INT64_MAX - *count * l->s->block_size)
        return -EFBIG;
    *host = end;
    return ret;
}

/* Makes a table at the next place: its last sector is written, the rest reads as zeroes. */
static int new_table(struct levels *l, uint64_t block, struct meta_wait *wait, uint64_t *table)
{
    uint64_t offset = next_place(l);
    uint8_t *bytes = NULL;
    int ret;

    if (offset > INT64_MAX - l->l2_bytes)
        return -EFBIG;
    ret = meta_fresh(&l->s->meta, offset + l->l2_bytes - META_SECTOR, META_SECTOR, 0, META_LEAF,
                     wait);
    if (!ret)
        ret = meta_edit(&l->s->meta, l1_place(l, block), WORD, META_ROOT, wait, &bytes);
    if (ret)
        return ret;
    levels_store(l, bytes, offset);
    l->end = offset + l->l2_bytes;
    l->s->fresh_from = MAX(l->s->fresh_from, l->end);
    *table = offset;
    return 0;
}

int levels_link(struct levels *l, struct levels_run run, struct meta_wait *wait)
{
    uint64_t table, in_page = META_PAGE / WORD;
    uint8_t *bytes;
    int ret = table_of(l, run.block, wait, &table);

    if (!ret && !table)
        ret = new_table(l, run.block, wait, &table);
    /* All pages first, so that nothing has changed when one has to be waited for. */
    for (uint64_t i = 0; i < run.count && !ret; i++) {
        if (i == 0 || l2_place(l, table, run.block + i) / WORD % in_page == 0)
            ret = meta_get(&l->s->meta, l2_place(l, table, run.block + i), WORD, wait, &bytes);
    }
    for (uint64_t i = 0; i < run.count && !ret; i++) {
        ret = meta_edit(&l->s->meta, l2_place(l, table, run.block + i), WORD, META_LEAF, wait,
                        &bytes);
        if (!ret)
            levels_store(l, bytes, run.first + i * run.step);
    }
    if (!ret)
        l->end = MAX(l->end, run.end);
    return ret;
}
