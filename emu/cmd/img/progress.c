#include "emu/cmd/img/progress.h"

#include <stdio.h>

static void show(struct progress *progress, double percent)
{
    progress->shown = percent;
    printf("    (%3.2f/100%%)\r", percent);
    fflush(stdout);
}

void progress_start(struct progress *progress, bool enabled)
{
    progress->enabled = enabled;
    if (enabled)
        show(progress, 0);
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
    double percent = total ? 100.0 * (double)done / (double)total : 100;

    if (progress->enabled && percent >= progress->shown + 1)
        show(progress, percent);
}

void progress_end(struct progress *progress)
{
    if (!progress->enabled)
        return;
    show(progress, 100);
    printf("\n");
    progress->enabled = false;
}
