#ifndef EMU_STORAGE_WRITE_THRESHOLD_H
#define EMU_STORAGE_WRITE_THRESHOLD_H

/* A watermark on a node: the first write beyond it raises an event, once. For management that grows disks in time. */

#include "emu/storage/node.h"

/* offset in bytes; 0 takes the watermark away. */
void node_set_write_threshold(struct node *node, uint64_t offset);
uint64_t node_write_threshold(const struct node *node); /* 0: none, or raised. */

#endif
