#ifndef EMU_STORAGE_DRIVERS_QCOW2_SNAPSHOT_H
#define EMU_STORAGE_DRIVERS_QCOW2_SNAPSHOT_H

/* Internal snapshots of an open image: driver->snapshots. */

#include "emu/storage/snapshot.h"

struct qcow2;

extern const struct snapshot_ops qcow2_snapshot_ops;

/* The list for others is made anew from q->snapshots. */
void qcow2_snapshot_refresh(struct qcow2 *q);
/* snapshot_vmstate.c */
void qcow2_submit_vmstate(struct node *node, struct req *req);
/* First entry of the L1 table behind the disk: there the state of the VM begins. */
uint32_t qcow2_vmstate_index(const struct qcow2 *q);

#endif
