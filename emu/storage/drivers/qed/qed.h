#ifndef EMU_STORAGE_DRIVERS_QED_QED_H
#define EMU_STORAGE_DRIVERS_QED_QED_H

/*
 * The state of an open QED image, private to this folder.
 *
 * Clusters of the disk are found by an L1 table of L2 tables, all of one size. Space is only ever taken behind
 * everything that is in use, and a commit (sparse/meta.h) writes data, L2 and L1 in this order with flushes between:
 * after a crash there are leaked clusters at most. So the bit NEED_CHECK, by which writers without such an order
 * announce that tables may be wrong, is honoured but never set.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emu/storage/drivers/qed/header.h"
#include "emu/storage/drivers/sparse/levels.h"
#include "emu/storage/drivers/sparse/sparse.h"

/* Words of an L2 table with a meaning of their own; all others are offsets. */
enum { QED_UNALLOCATED = 0, QED_ZERO = 1 };

struct qed {
    struct sparse sparse; /* First: see sparse_submit(). */
    struct qed_header header;
    struct levels levels;
};

static inline struct qed *qed_of(const struct node *node) { return node->state; }

/* Whether `clusters` clusters may lie at offset in the file. */
bool qed_offset_valid(const struct qed *q, uint64_t offset, uint64_t clusters);

/*
 * Writes the header sector as it is in memory, behind a commit of the tables; done gets -errno or 0. For the
 * functions of the control path, one at a time.
 */
typedef void qed_written_fn(void *arg, int result);
void qed_write_header(struct qed *q, qed_written_fn *done, void *arg);

/* driver->check */
void qed_check(struct node *node, unsigned fix, struct check_result *result, driver_done_fn *done,
               void *arg);
/* driver->open, close, truncate, set_backing, create */
void qed_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
              void *arg);
void qed_close(struct node *node, driver_done_fn *done, void *arg);
void qed_truncate(struct node *node, uint64_t size, bool exact, enum prealloc prealloc,
                  driver_done_fn *done, void *arg);
void qed_set_backing(struct node *node, const char *name, const char *format, driver_done_fn *done,
                     void *arg);
void qed_create(struct graph *graph, const struct json *options, driver_done_fn *done, void *arg);
extern const struct create_option qed_create_options[];
extern const struct sparse_ops qed_sparse_ops;
/* For struct levels. */
bool qed_table_valid(const struct levels *l, uint64_t offset);

#endif
