#include "emu/cmd/img/progress.h"

#include <stdio.h>

static void show(struct progress *progress, FILE *out, const char *end)
{
    fprintf(out, "    (%3.2f/100%%)%s", progress->now, end);
    fflush(out);
}

static void asked(void *arg)
{
    struct progress *progress = arg;

    if (!progress->enabled)
        show(progress, stderr, "\n");
}

void progress_start(struct progress *progress, struct tool *tool, bool enabled)
{
    *progress = (struct progress){ .tool = tool, .enabled = enabled };
    tool->progress_asked = asked;
    tool->progress_arg = progress;
    if (enabled)
        show(progress, stdout, "\r");
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
    progress->now = total ? 100.0 * (double)done / (double)total : 100;
    if (!progress->enabled || progress->now < progress->shown + 1)
        return;
    progress->shown = progress->now;
    show(progress, stdout, "\r");
}

void progress_end(struct progress *progress)
{
    if (progress->tool)
        progress->tool->progress_asked = NULL;
    if (!progress->enabled)
        return;
    progress->now = 100;
    show(progress, stdout, "\r\n");
    progress->enabled = false;
}
