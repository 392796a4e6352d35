#ifndef EMU_CMD_IMG_CONVERT_H
#define EMU_CMD_IMG_CONVERT_H

/* emu-img convert: what was asked for, what is open, and the ways of copying. */

#include "emu/cmd/common/source_snapshot.h"
#include "emu/cmd/common/tool.h"
#include "emu/cmd/img/progress.h"

struct convert_options {
    const char *source_format, *target_format, *target_options;
    const char *source_cache, *target_cache;
    const char *backing, *backing_format;
    char *owned_backing; /* Behind `backing` when it came by -o. */
    struct source_snapshot snapshot;
    bool source_opts, target_opts; /* The names are specifications. */
    bool no_create, target_is_zero, compress, salvage, force_share, progress, quiet;
    bool copy_range, have_sparse;
    bool bitmaps, skip_broken_bitmaps;
    uint64_t sparse_bytes; /* Zeroes in runs at least this long are not written; 0: all data is. */
    uint64_t rate;         /* Bytes per second; 0: no limit. */
    unsigned parallel;     /* Requests in flight. */
    unsigned source_count;
    char **sources;
    const char *target;
};

struct conversion {
    struct tool *tool;
    const struct convert_options *options;
    struct image *sources; /* owned, options->source_count of them */
    struct image target;
    uint64_t size;          /* Sum of the sources. */
    uint64_t backing_size;  /* With a backing file of the target: how far it reaches. */
    bool zero;              /* The target reads as zeroes. */
    bool zero_behind; /* It does behind the end of its backing file. */
    struct progress progress;
};

/* Copies all, many requests at a time; not for salvage, nor for compressing several sources. */
struct err *convert_copy(struct conversion *cv) MUST_USE;

/*
 * Copies all, one request after the other: for salvage, which goes sector by sector where a source
 * cannot be read, and for compressed clusters that hold the end of one source and the start of the next.
 */
struct err *convert_copy_carefully(struct conversion *cv) MUST_USE;

/* Refuses what convert_bitmaps could not do. */
struct err *convert_bitmaps_check(struct conversion *cv) MUST_USE;
/* Copies the persistent bitmaps of the one source. */
struct err *convert_bitmaps(struct conversion *cv) MUST_USE;

#endif
