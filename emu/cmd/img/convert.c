/* emu-img convert: the command line and the opening of images; the copying is convert_copy.c. */

#include "emu/cmd/img/convert.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/str.h"
#include "emu/cmd/common/create.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Copy one image to another with optional format conversion.  Usage:\n\n"
    "  %s convert [-f SRC_FMT | --image-opts] [-T SRC_CACHE] [-O TGT_FMT]\n"
    "        [-o TGT_OPTS | --target-image-opts] [-t TGT_CACHE] [-n] [-c] [-p] [-q]\n"
    "        [-B BACKING_FILENAME [-F BACKING_FMT]] [-S SIZE] [-m N] [-W] [-U]\n"
    "        [--target-is-zero] [--salvage] SRC_FILENAME [...] TGT_FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operations\n"
    "  -p, --progress                show operation progress\n"
    "  -f, --source-format FMT       format of the source images\n"
    "      --image-opts              the sources are complete image specifications\n"
    "  -T, --source-cache MODE       cache mode of the sources (writeback)\n"
    "  -O, --target-format FMT       format of the target (default is raw)\n"
    "  -o, --target-options OPTS     format-specific options of the target\n"
    "      --target-image-opts       the target is a complete image specification\n"
    "  -t, --target-cache MODE       cache mode of the target (unsafe)\n"
    "  -n, --no-create               write into an existing target\n"
    "      --target-is-zero          with -n: the target reads as zeroes already\n"
    "  -c, --compress                write compressed clusters (qcow2)\n"
    "  -B, --backing FILENAME        make the target an overlay of FILENAME\n"
    "  -F, --backing-format FMT      format of the backing file\n"
    "  -S, --sparse-size SIZE        zeroes to detect for holes (4k; 0 writes all)\n"
    "  -m, --parallel N              requests in flight (default 8)\n"
    "  -W, --oob-writes              accepted; writes are always out of order\n"
    "      --salvage                 read errors become zeroes\n"
    "  -U, --force-share             open the sources although others write to them\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "progress", no_argument, NULL, 'p' },
    { "source-format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, 'I' },
    { "source-image-opts", no_argument, NULL, 'I' },
    { "source-cache", required_argument, NULL, 'T' },
    { "target-format", required_argument, NULL, 'O' },
    { "target-options", required_argument, NULL, 'o' },
    { "target-image-opts", no_argument, NULL, 'J' },
    { "target-cache", required_argument, NULL, 't' },
    { "no-create", no_argument, NULL, 'n' },
    { "target-is-zero", no_argument, NULL, 'Z' },
    { "compress", no_argument, NULL, 'c' },
    { "backing", required_argument, NULL, 'B' },
    { "backing-format", required_argument, NULL, 'F' },
    { "sparse-size", required_argument, NULL, 'S' },
    { "parallel", required_argument, NULL, 'm' },
    { "oob-writes", no_argument, NULL, 'W' },
    { "salvage", no_argument, NULL, 'A' },
    { "force-share", no_argument, NULL, 'U' },
    { 0 },
};

enum { PARALLEL_DEFAULT = 8, PARALLEL_MAX = 16, SPARSE_DEFAULT = 4096, SPARSE_MAX = 16 << 20 };

struct conversion {
    struct tool *tool;
    const struct convert_options *options;
    struct image *sources; /* owned, options->source_count of them */
    struct image target;
    uint64_t size; /* Sum of the sources. */
};

static struct err *open_sources(struct conversion *cv)
{
    const struct convert_options *o = cv->options;

    cv->sources = xcalloc(o->source_count, sizeof(*cv->sources));
    for (unsigned i = 0; i < o->source_count; i++) {
        struct image_spec spec = {
            .name = o->sources[i],
            .format = o->source_format,
            .image_opts = o->source_opts,
            .cache = o->source_cache,
            .force_share = o->force_share,
        };

        TRY(image_open(cv->tool, &spec, &cv->sources[i]));
        cv->size += cv->sources[i].node->size;
    }
    return NULL;
}

static struct err *make_target(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    struct create_spec spec = {
        .filename = o->target,
        .format = o->target_format,
        .options = o->target_options,
        .backing = o->backing,
        .backing_format = o->backing_format,
        .quiet = true,
        .converting = true,
        .have_size = true,
        .size = cv->size,
    };

    if (o->no_create)
        return NULL;
    return image_create(cv->tool, &spec);
}

static struct err *check_options(struct conversion *cv)
{
    const struct convert_options *o = cv->options;

    const struct driver *driver = driver_find(cv->tool->graph, o->target_format);

    if (!o->target_opts && !driver)
        return err_new("Unknown file format '%s'", o->target_format);
    if (o->compress && driver && !driver->can_compress)
        return err_new("Compression not supported for this file format");
    if (o->backing && !o->backing_format)
        return err_new("Use of backing file requires explicit backing format");
    if (o->backing && o->source_count > 1)
        return err_new(
            "Having a backing file for the target makes no sense when concatenating multiple input images");
    return NULL;
}

static struct err *open_target(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    struct image_spec spec = {
        .name = o->target,
        .format = o->target_opts ? NULL : o->target_format,
        .image_opts = o->target_opts,
        .cache = o->target_cache ? o->target_cache : "unsafe",
        .writable = true,
    };

    TRY(image_open(cv->tool, &spec, &cv->target));
    if (cv->target.node->size < cv->size) {
        uint64_t missing = cv->size - cv->target.node->size;

        /* The last sector of a source may be partial where the target counts whole ones. */
        if (missing >= 512)
            return err_new("output file is smaller than input file");
    }
    return NULL;
}

static struct err *copy_all(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    struct progress progress = { 0 };
    uint64_t offset = 0;
    /* Whatever was just created without a backing file reads as zeroes. */
    bool zero = o->target_is_zero || (!o->no_create && !cv->target.node->backing);
    int result;

    progress_start(&progress, o->progress);
    for (unsigned i = 0; i < o->source_count; i++) {
        TRY(convert_copy(&cv->sources[i], &cv->target, offset, o, zero, o->backing != NULL,
                         &progress, cv->size));
        offset += cv->sources[i].node->size;
    }
    result = image_flush(&cv->target);
    if (result < 0)
        return err_new_errno(result, "error while flushing '%s'", o->target);
    progress_end(&progress);
    return NULL;
}

static struct err *convert(struct conversion *cv)
{
    TRY(check_options(cv));
    TRY(open_sources(cv));
    TRY(make_target(cv));
    TRY(open_target(cv));
    return copy_all(cv);
}

static int run(struct tool *tool, const struct convert_options *o)
{
    struct conversion cv = { .tool = tool, .options = o };
    struct err *err = convert(&cv);

    image_close(&cv.target);
    for (unsigned i = 0; cv.sources && i < o->source_count; i++)
        image_close(&cv.sources[i]);
    xfree(cv.sources);
    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}

/* Wrong arguments of convert are told without a pointer to the help. */
#define usage_error(tool, ...) (tool_error((tool), __VA_ARGS__), 1)

static int parse_parallel(struct tool *tool, const char *text, unsigned *out)
{
    uint64_t value;

    if (!parse_u64(text, &value) || value < 1 || value > PARALLEL_MAX)
        return usage_error(tool,
                           "Invalid number of coroutines specified. Must be between 1 and %d.",
                           PARALLEL_MAX);
    *out = (unsigned)value;
    return 0;
}

static int parse_sparse(struct tool *tool, const char *text, uint64_t *out)
{
    struct err *err = parse_size(text, out);

    if (!err && *out % 512 == 0 && *out <= SPARSE_MAX)
        return 0;
    err_free(err);
    return usage_error(
        tool,
        "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up "
        "to %d. Select 0 to disable sparse detection (fully allocates output).",
        SPARSE_MAX);
}

static int parse(struct tool *tool, int argc, char **argv, struct convert_options *o,
                 char **target_options)
{
    int c, status = 0;

    while (status == 0 && (c = img_getopt(tool, argc, argv, ":hqpf:T:O:o:t:ncB:F:S:m:WU",
                                          long_options, help)) != -1) {
        switch (c) {
        case 'q': o->quiet = true; break;
        case 'p': o->progress = true; break;
        case 'f': o->source_format = optarg; break;
        case 'I': o->source_opts = true; break;
        case 'T': o->source_cache = optarg; break;
        case 'O': o->target_format = optarg; break;
        case 'o': img_join_options(target_options, optarg); break;
        case 'J': o->target_opts = true; break;
        case 't': o->target_cache = optarg; break;
        case 'n': o->no_create = true; break;
        case 'Z': o->target_is_zero = true; break;
        case 'c': o->compress = true; break;
        case 'B': o->backing = optarg; break;
        case 'F': o->backing_format = optarg; break;
        case 'S': status = parse_sparse(tool, optarg, &o->sparse_bytes); break;
        case 'm': status = parse_parallel(tool, optarg, &o->parallel); break;
        case 'W': break;
        case 'A': o->salvage = true; break;
        case 'U': o->force_share = true; break;
        default: status = 1;
        }
    }
    return status;
}

int img_convert(struct tool *tool, int argc, char **argv)
{
    struct convert_options o = { .target_format = "raw",
                                 .parallel = PARALLEL_DEFAULT,
                                 .sparse_bytes = SPARSE_DEFAULT };
    char *target_options = NULL;
    int status = parse(tool, argc, argv, &o, &target_options);

    o.target_options = target_options;
    o.progress = o.progress && !o.quiet;
    if (status == 0 && target_options && strcmp(target_options, "help") == 0) {
        struct err *err = image_create_help(tool, o.target_format, NULL);

        if (err)
            tool_report(tool, err);
        status = err ? 1 : 0;
    } else if (status == 0 && argc - optind < 2) {
        status = usage_error(tool, "Must specify image file name");
    } else if (status == 0 && o.target_opts && !o.no_create) {
        status = usage_error(tool, "--target-image-opts requires use of -n flag");
    } else if (status == 0 && o.target_is_zero && !o.no_create) {
        status = usage_error(tool, "--target-is-zero requires use of -n flag");
    } else if (status == 0 && o.no_create && target_options) {
        status = usage_error(tool, "-o has no effect when skipping image creation");
    } else if (status == 0) {
        o.source_count = (unsigned)(argc - optind - 1);
        o.sources = argv + optind;
        o.target = argv[argc - 1];
        status = run(tool, &o);
    }
    xfree(target_options);
    return status;
}
