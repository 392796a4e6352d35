#ifndef EMU_STORAGE_DRIVERS_QCOW2_BITMAPS_H
#define EMU_STORAGE_DRIVERS_QCOW2_BITMAPS_H

/*
 * Dirty bitmaps kept in the image ("Bitmaps extension").
 *
 * Opening reads the directory and all tables, which are kept in memory; and the data of the bitmaps that can be
 * used. While the image is writable all bitmaps that are in memory are marked "in use" in the file, in place; so
 * after a crash they are known to be too old (inconsistent). Storing writes data, tables and a directory to new
 * clusters and switches the header to them; then the old ones are freed. So a crash leaves either all old
 * or all new ones.
 *
 * Operations on what is stored have the image to themselves (exclusive.h).
 */

#include <stdbool.h>

#include "emu/storage/driver.h"
#include "emu/storage/drivers/qcow2/bitmap_dir.h"

struct qcow2;

struct qcow2_bitmaps {
    qcow2_stored_bitmaps stored;
    bool marked; /* Those in memory are marked as in use: the guest may write. */
};

void qcow2_bitmaps_fini(struct qcow2 *q);

/*
 * Reads directory and tables; with data the bitmaps become bitmaps of the node. Drops the extension from the
 * header in memory when the image was changed by a program that does not know of bitmaps.
 */
void qcow2_bitmaps_load(struct qcow2 *q, bool data, driver_done_fn *done, void *arg);
/* Marks what is in memory as in use. */
void qcow2_bitmaps_mark(struct qcow2 *q, driver_done_fn *done, void *arg);
/* Writes the persistent bitmaps of the node, not in use any more. */
void qcow2_bitmaps_store(struct qcow2 *q, driver_done_fn *done, void *arg);
/* Whether a resize would leave stored bitmaps behind that nothing in memory stands for. */
MUST_USE struct err *qcow2_bitmaps_check_resize(const struct qcow2 *q);

extern const struct bitmap_ops qcow2_bitmap_ops;

#endif
