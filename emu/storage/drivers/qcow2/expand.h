#ifndef EMU_STORAGE_DRIVERS_QCOW2_EXPAND_H
#define EMU_STORAGE_DRIVERS_QCOW2_EXPAND_H

/*
 * Plans of shadow.h that rewrite parts of an image as they are: for changes of the version.
 */

#include "emu/storage/driver.h"

struct qcow2;

/*
 * Version 2 knows no zero clusters: in all tables, those of snapshots included, each becomes unallocated, or a cluster
 * of zeroes where a backing file could show.
 */
void qcow2_expand_zeroes(struct qcow2 *q, driver_done_fn *done, void *arg);
/* Writes the snapshot table anew, with the extra data that version 3 needs in every entry. */
void qcow2_rewrite_snapshots(struct qcow2 *q, driver_done_fn *done, void *arg);
/* Gives refcounts another width. Fails when one does not fit. */
void qcow2_change_refcount_order(struct qcow2 *q, unsigned order, driver_done_fn *done, void *arg);

#endif
