#ifndef EMU_STORAGE_OVERLAY_H
#define EMU_STORAGE_OVERLAY_H

/*
 * External snapshots: an overlay takes the place of a node, which becomes its backing file. All of the change is in the
 * graph and happens at one moment; file locks are taken afterwards (node_settle).
 */

#include "emu/storage/node.h"

/* The texts of the reference: "The overlay already has a backing image" and the like. */
struct err *overlay_check(const struct node *overlay) MUST_USE;
/* Puts overlay above node: the parents of node move to it. */
struct err *overlay_put(struct node *overlay, struct node *node) MUST_USE;
/* Undoes it: the parents of overlay move back. */
void overlay_take(struct node *overlay, struct node *node);

#endif
