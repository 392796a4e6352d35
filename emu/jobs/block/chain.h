#ifndef EMU_JOBS_BLOCK_CHAIN_H
#define EMU_JOBS_BLOCK_CHAIN_H

/* Backing chains: walks, and the change of a backing file at the end of a job. */

#include "emu/storage/node.h"

/* The node below: filtered or backing, filters not passed over; NULL at the end. */
struct node *chain_next(struct node *node);
/* Whether node is at or below top, filters counting. */
bool chain_contains(struct node *top, const struct node *node);
/* The lowest node at or below top whose next non-filter is base (or, for NULL, the lowest that is no filter). */
struct node *chain_overlay(struct node *top, struct node *base);
/* Layers (nodes that are no filters) from top down to, not counting, base. */
unsigned chain_layers(struct node *top, struct node *base);
/* The node of the chain with that file name, passed over filters; NULL when there is none. */
struct node *chain_find_file(struct node *top, const char *filename);

/*
 * Gives node another backing file: the reference in the image header first, then the link. name NULL: the file name
 * of base; base NULL: none. With mask_protocol a base that is no format is called "raw". done may come at once.
 */
struct chain_change {
    struct node *node; /* Reference while running. */
    struct node *base; /* Reference while running; or NULL. */
    bool relink;       /* Change the link, too. */
    graph_done_fn *done;
    void *arg;
    bool was_read_only;
    char *name, *format; /* Owned. */
    struct err *err;
};
struct chain_change_options {
    struct node *node, *base;
    const char *name;
    bool mask_protocol;
    bool relink;
};
void chain_change_start(struct chain_change *change, const struct chain_change_options *options,
                        graph_done_fn *done, void *arg);

#endif
