#ifndef EMU_CMD_IMG_PROGRESS_H
#define EMU_CMD_IMG_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* The "(12.34/100%)" line of -p. Prints when at least 1 % went by, and only when enabled. */
struct progress {
    bool enabled;
    double shown;
};

void progress_start(struct progress *progress, bool enabled);
/* done of total units are complete. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total);
void progress_end(struct progress *progress);

#endif
