#ifndef EMU_STORAGE_DRIVERS_QCOW2_REOPEN_H
#define EMU_STORAGE_DRIVERS_QCOW2_REOPEN_H

/* Reopening a qcow2 image: read-only or not, and the runtime options. The caches keep the size of the first opening. */

#include "emu/storage/driver.h"

extern const char *const qcow2_reopen_options[];
void qcow2_reopen_join(struct json *options, const struct json *changes);
void qcow2_reopen_prepare(struct node *node, struct opts *opts, const struct node_options *open,
                          driver_done_fn *done, void *arg);
void qcow2_reopen_commit(struct node *node);

#endif
