#ifndef EMU_CMD_IMG_PUMP_H
#define EMU_CMD_IMG_PUMP_H

/* Copying of ranges from one image to another for convert and commit: a copy window with a speed and a progress. */

#include "emu/cmd/img/progress.h"
#include "emu/storage/copy.h"

struct pump_options {
    /* source, target and how; sizes left 0 get the tools' defaults. range_done and owner are the pump's. */
    struct copy_options copy;
    uint64_t rate; /* Bytes per second at most; 0: no limit. */
    struct progress *progress;
    uint64_t done, total; /* For the progress: bytes before this pump, and of all. */
};

struct pump *pump_new(struct tool *tool, const struct pump_options *options);
/* Copies [offset, offset + len), waiting for room and time. An error is that of an earlier range. */
struct err *pump_copy(struct pump *pump, uint64_t offset, uint64_t len) MUST_USE;
/* Only counts. */
void pump_skip(struct pump *pump, uint64_t len);
/* Waits for what is in flight and frees. Takes err and returns it, or else the pump's own. */
struct err *pump_end(struct pump *pump, struct err *err) MUST_USE;

#endif
