#ifndef EMU_CMD_IMG_PROGRESS_H
#define EMU_CMD_IMG_PROGRESS_H

#include "emu/cmd/common/tool.h"

/*
 * The "(12.34/100%)" line of -p. Prints when at least 1 % went by, and only when enabled. SIGUSR1 prints where the
 * operation stands to stderr, enabled or not. A zeroed one may be ended.
 */
struct progress {
    struct tool *tool;
    bool enabled;
    double shown, now; /* Percent. */
};

/* progress must live until progress_end(). */
void progress_start(struct progress *progress, struct tool *tool, bool enabled);
/* done of total units are complete. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total);
void progress_end(struct progress *progress);

#endif
