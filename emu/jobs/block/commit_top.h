#ifndef EMU_JOBS_BLOCK_COMMIT_TOP_H
#define EMU_JOBS_BLOCK_COMMIT_TOP_H

/*
 * The filter of a commit job. It lies above the top of the range that is merged down: what is below may look
 * different meanwhile when seen from anywhere but through the top, so the filter lets others write there.
 */

#include "emu/storage/driver.h"

extern const struct driver driver_commit_top; /* "commit_top", made by node_new_filter() only. */

#endif
