#ifndef EMU_STORAGE_BACKEND_H
#define EMU_STORAGE_BACKEND_H

/*
 * Backends: the named places into which a disk is plugged. `-drive id=` makes one, and so does every block device for
 * itself. Commands that take "device" mean a backend by its name, by the id of its device, or a node.
 */

#include "emu/storage/node.h"

struct backend {
    struct list link;    /* In the graph's list of backends. */
    struct graph *graph; /* Borrowed. */
    char *name;          /* Of -drive; "" for a device's own. Owned. */
    char *device;        /* Id or QOM path of the device that uses it, or NULL. Owned. */
    struct edge *root;   /* The disk; NULL without a medium. Owned by whoever plugs it. */
};

/* name is "" or unused by nodes and backends: "Device with id 'x' already exists" otherwise. */
struct err *backend_new(struct graph *graph, const char *name, struct backend **out) MUST_USE;
void backend_free(struct backend *backend); /* root must be NULL. NULL is ignored. */
struct list *graph_backends(struct graph *graph);
struct backend *backend_find(struct graph *graph, const char *name);      /* By name. */
struct backend *backend_find_device(struct graph *graph, const char *id); /* By id of the device. */

/*
 * The disk of a "device" argument: of the backend of that name, else the node of that name. Texts of the reference:
 * "Cannot find device='x' nor node-name='x'", "Device 'x' has no medium".
 */
struct err *graph_lookup_disk(struct graph *graph, const char *device, struct node **out) MUST_USE;
/* The same for commands with optional `device` and `node-name`, of which either is given (NULL: not). */
struct err *graph_lookup_either(struct graph *graph, const char *device, const char *node_name,
                                struct node **out) MUST_USE;

#endif
