#ifndef EMU_CMD_IMG_CONVERT_H
#define EMU_CMD_IMG_CONVERT_H

#include "emu/cmd/common/tool.h"
#include "emu/cmd/img/progress.h"

/* What convert was asked for. */
struct convert_options {
    const char *source_format, *target_format, *target_options;
    const char *source_cache, *target_cache;
    const char *backing, *backing_format;
    bool source_opts, target_opts; /* The names are specifications. */
    bool no_create, target_is_zero, compress, salvage, force_share, progress, quiet;
    uint64_t
        sparse_bytes; /* Runs of zeroes at least this long are not written; 0: all data is written. */
    unsigned parallel; /* Requests in flight. */
    unsigned source_count;
    char **sources;
    const char *target;
};

/*
 * Copies the content of source to [offset, ...) of target. Sources shorter than what is asked of
 * them read as zeroes.
 */
struct err *convert_copy(struct image *source, struct image *target, uint64_t target_offset,
                         const struct convert_options *options, bool target_is_zero,
                         bool skip_backing, struct progress *progress, uint64_t total) MUST_USE;

#endif
