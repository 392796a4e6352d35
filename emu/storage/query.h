#ifndef EMU_STORAGE_QUERY_H
#define EMU_STORAGE_QUERY_H

/* What the nodes of a graph are, in the form of the query commands. */

#include "emu/storage/node.h"

typedef void query_done_fn(void *arg, struct json *result /* takes */);

/*
 * query-named-block-nodes: an array of BlockDeviceInfo, newest node first. flat: without the images of backing
 * files nested in the images.
 */
void query_nodes(struct graph *graph, bool flat, query_done_fn *done, void *arg);

/* ImageInfo of one node and, unless flat, of its backing files nested in it. */
void query_image(struct node *node, bool flat, query_done_fn *done, void *arg);

/* query-block: an array of BlockInfo, of the backends that have a name or a device, oldest first. */
void query_backends(struct graph *graph, query_done_fn *done, void *arg);

/* query-blockstats of the same. Returns new. */
struct json *query_backend_stats(struct graph *graph);

/* query-blockstats with query-nodes: an array of BlockStats. Returns new. */
struct json *query_node_stats(struct graph *graph);

#endif
