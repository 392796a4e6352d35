#ifndef EMU_STORAGE_DRIVERS_QCOW2_SHADOW_TREE_H
#define EMU_STORAGE_DRIVERS_QCOW2_SHADOW_TREE_H

/*
 * Walks over L1 and L2 tables for a plan of shadow.h: what an L1 table refers to is counted up or down; afterwards
 * the COPIED flags of the new active table are made to agree with the new counts.
 *
 * The functions are called again by plan() until they return 0.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/storage/drivers/qcow2/shadow.h"

struct qcow2_tree {
    struct qcow2_shadow *s;
    uint32_t next; /* Entry of the L1 table. */
    bool loaded, writing;
    uint64_t place; /* Of the copy that is being written. */
    uint8_t *buf;   /* owned; one L2 table. */
};

void qcow2_tree_fini(struct qcow2_tree *tree);
/*
 * Adds `addend` to the counts of the L2 tables that entries [from, count) of l1 refer to and of all that those refer
 * to.
 */
MUST_USE int qcow2_tree_count(struct qcow2_tree *tree, const uint64_t *l1, uint32_t from,
                              uint32_t count, int addend);
/*
 * Sets the flags in s->l1 and in the L2 tables it refers to. A table that changes is written to a new place, which
 * `twin` (another table with the same entries so far, or NULL) refers to as well, then.
 */
MUST_USE int qcow2_tree_flag(struct qcow2_tree *tree, uint64_t *twin);
/*
 * The entries of the table of l1 number `index` from guest cluster `first` of it on are given up: s->l1 gets a copy
 * without them.
 */
MUST_USE int qcow2_tree_cut(struct qcow2_tree *tree, uint32_t index, uint32_t first);

#endif
