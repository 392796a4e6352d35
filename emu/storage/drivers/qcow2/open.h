#ifndef EMU_STORAGE_DRIVERS_QCOW2_OPEN_H
#define EMU_STORAGE_DRIVERS_QCOW2_OPEN_H

/* Opening and closing of images. */

#include "emu/storage/driver.h"

/* driver->open, driver->close */
void qcow2_open(struct node *node, struct opts *opts, unsigned flags, driver_done_fn *done,
                void *arg);
/* Writes all metadata back, but the bitmaps; no request is in flight. The image stays open. */
void qcow2_write_back(struct node *node, driver_done_fn *done, void *arg);
void qcow2_close(struct node *node, driver_done_fn *done, void *arg);

struct qcow2;
/* Sizes that follow from q->header. */
void qcow2_set_geometry(struct qcow2 *q);
/* Fills the empty map of metadata clusters from the tables in memory. -ENOMEM. */
MUST_USE int qcow2_build_owners(struct qcow2 *q);

#endif
