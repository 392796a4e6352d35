#ifndef EMU_QMP_HANDLERS_GRAPH_PICTURE_H
#define EMU_QMP_HANDLERS_GRAPH_PICTURE_H

/* The graph as x-debug-query-block-graph shows it. */

#include "emu/base/json.h"
#include "emu/storage/node.h"

/* An XDbgBlockGraph; returns new. */
struct json *graph_picture(struct graph *graph);

#endif
