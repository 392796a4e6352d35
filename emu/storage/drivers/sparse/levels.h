#ifndef EMU_STORAGE_DRIVERS_SPARSE_LEVELS_H
#define EMU_STORAGE_DRIVERS_SPARSE_LEVELS_H

/*
 * Tables of two levels with words of 64 bits: an L1 table whose words are offsets of L2 tables, whose words say where
 * the blocks are. For formats that only ever take space behind all that is in use (qed, qcow).
 *
 * A new L2 table is written before the L1 word that refers to it (META_LEAF before META_ROOT), and so that the file
 * reaches to its end. Functions with wait are as those of struct sparse_ops.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/storage/drivers/sparse/sparse.h"

struct levels {
    /* ---- Set by the driver ---- */
    struct sparse *s;
    uint64_t l1_offset, l1_words; /* Bytes in the file; words. */
    uint64_t l2_words,
        l2_bytes; /* Of a table; l2_bytes is what it takes in the file, a multiple of 512. */
    bool big_endian;
    uint32_t align; /* Of what is placed: 512 or more, a power of two. */
    uint64_t end;   /* All of the file in use lies before. */
    /* Whether a table may lie at offset (not 0). */
    bool (*table_valid)(const struct levels *l, uint64_t offset);
};

/* The word of a block; 0 when it has no table. -EINVAL: the table cannot be. */
MUST_USE int levels_word(struct levels *l, uint64_t block, struct meta_wait *wait, uint64_t *word);
/* For sparse_ops.place. */
MUST_USE int levels_place(struct levels *l, uint64_t block, uint64_t *count, struct meta_wait *wait,
                          uint64_t *host);
/*
 * Sets the words of `count` blocks to first, first + step and so on, making the table when there is none. end is where
 * what they refer to ends (0: they refer to nothing).
 */
struct levels_run {
    uint64_t block, count;
    uint64_t first, step;
    uint64_t end;
};
MUST_USE int levels_link(struct levels *l, struct levels_run run, struct meta_wait *wait);

uint64_t levels_load(const struct levels *l, const uint8_t *bytes);
void levels_store(const struct levels *l, uint8_t *bytes, uint64_t word);

#endif
