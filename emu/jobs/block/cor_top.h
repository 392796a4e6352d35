#ifndef EMU_JOBS_BLOCK_COR_TOP_H
#define EMU_JOBS_BLOCK_COR_TOP_H

/*
 * The filter of a stream job: marks the place in the graph and keeps the permission to fill the node below. Guests'
 * requests pass; the job's own copies go to the node itself, whose serialising keeps the two apart.
 */

#include "emu/storage/driver.h"

extern const struct driver driver_cor_top; /* "copy-on-read", made by node_new_filter() only. */

#endif
