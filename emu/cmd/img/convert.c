/* emu-img convert: the command line and the opening of images; the copying is convert_copy.c. */

#include "emu/cmd/img/convert.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "emu/base/alloc.h"
#include "emu/base/keyval.h"
#include "emu/base/str.h"
#include "emu/cmd/common/create.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Copy one image to another with optional format conversion.  Usage:\n\n"
    "  %s convert [-f SRC_FMT | --image-opts] [-T SRC_CACHE] [-O TGT_FMT]\n"
    "        [-o TGT_OPTS | --target-image-opts] [-t TGT_CACHE] [-n] [-c] [-p] [-q]\n"
    "        [-B BACKING_FILENAME [-F BACKING_FMT]] [-S SIZE] [-m N] [-W] [-U]\n"
    "        [-l SNAPSHOT_PARAM] [-r RATE] [-C] [--bitmaps [--skip-broken-bitmaps]]\n"
    "        [--target-is-zero] [--salvage] [--object OBJDEF] SRC_FILENAME [...] TGT_FILENAME\n\n"
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
    "  -l, --source-snapshot PARAM   a snapshot within the source\n"
    "  -r, --rate RATE               bytes per second at most\n"
    "  -C, --copy-range-offloading   let the storage copy where it can\n"
    "      --bitmaps                 also copy persistent bitmaps\n"
    "      --skip-broken-bitmaps     leave out inconsistent ones\n"
    "      --object OBJDEF           an object, such as a secret\n"
    "      --salvage                 read errors become zeroes\n"
    "  -U, --force-share             open the sources although others write to them\n";

enum {
    OPT_SALVAGE = OPT_IMG_LAST,
    OPT_BITMAPS,
    OPT_SKIP_BROKEN,
    OPT_TARGET_OPTS,
    OPT_TARGET_ZERO,
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "progress", no_argument, NULL, 'p' },
    { "source-format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "source-image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "source-cache", required_argument, NULL, 'T' },
    { "target-format", required_argument, NULL, 'O' },
    { "target-options", required_argument, NULL, 'o' },
    { "target-image-opts", no_argument, NULL, OPT_TARGET_OPTS },
    { "target-cache", required_argument, NULL, 't' },
    { "no-create", no_argument, NULL, 'n' },
    { "target-is-zero", no_argument, NULL, OPT_TARGET_ZERO },
    { "compress", no_argument, NULL, 'c' },
    { "backing", required_argument, NULL, 'B' },
    { "backing-format", required_argument, NULL, 'F' },
    { "sparse-size", required_argument, NULL, 'S' },
    { "parallel", required_argument, NULL, 'm' },
    { "oob-writes", no_argument, NULL, 'W' },
    { "salvage", no_argument, NULL, OPT_SALVAGE },
    { "source-snapshot", required_argument, NULL, 'l' },
    { "rate", required_argument, NULL, 'r' },
    { "copy-range-offloading", no_argument, NULL, 'C' },
    { "bitmaps", no_argument, NULL, OPT_BITMAPS },
    { "skip-broken-bitmaps", no_argument, NULL, OPT_SKIP_BROKEN },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "force-share", no_argument, NULL, 'U' },
    { 0 },
};

enum { PARALLEL_DEFAULT = 8, PARALLEL_MAX = 16, SPARSE_DEFAULT = 4096, SPARSE_MAX = 16 << 20 };

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

        if (!tool_cache_valid(o->source_cache))
            return err_new("Invalid source cache option: %s", o->source_cache);
        TRY(image_open(cv->tool, &spec, &cv->sources[i]));
        TRY(source_snapshot_load(&o->snapshot, &cv->sources[i]));
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

/* The backing file may also come by -o. */
static struct err *check_backing(struct conversion *cv, const struct json *values)
{
    const struct convert_options *o = cv->options;
    const char *format = o->backing_format;

    if (!o->backing)
        return NULL;
    if (o->source_count > 1)
        return err_new("Having a backing file for the target makes no sense when concatenating "
                       "multiple input images");
    if (!format && !o->no_create)
        format = json_object_get_str(values, "backing_fmt");
    if (!format && !o->no_create)
        return err_new("Use of backing file requires explicit backing format");
    return NULL;
}

static struct err *check_options(struct conversion *cv, struct convert_options *o)
{
    const struct driver *driver = driver_find(cv->tool->graph, o->target_format);
    CLEANUP(json_free) struct json *values = NULL;
    struct option_tables tables;

    if (!tool_cache_valid(o->target_cache))
        return err_new("Invalid cache option: %s", o->target_cache);
    if (o->source_count > 1 && source_snapshot_set(&o->snapshot))
        return err_new("No support for concatenating multiple snapshot");
    if (o->bitmaps && o->source_count > 1)
        return err_new("Copying bitmaps only possible with single source");
    if (o->target_opts)
        return NULL;
    if (!driver)
        return err_new("Unknown file format '%s'", o->target_format);
    if (o->compress && !driver->can_compress)
        return err_new("Compression not supported for this file format");
    if (!o->no_create) {
        TRY(image_create_check_format(cv->tool, o->target_format));
        TRY(image_create_tables(cv->tool, o->target_format, o->target, &tables));
        TRY(image_options_parse(&tables, o->target_options, &values));
        if (!o->backing)
            o->backing = json_object_get_str(values, "backing_file");
        if (o->backing && !image_options_find(&tables, "backing_file"))
            return err_new("Backing file not supported for file format '%s'", o->target_format);
        /* The option itself is given by image_create()'s -o text then. */
        if (o->backing)
            o->backing = o->owned_backing = xstrdup(o->backing);
    }
    return check_backing(cv, values);
}

/* "encrypt.key-secret=X": what the new image was encrypted with also opens it. Returns new text, NULL for nothing. */
static char *key_secrets(const struct convert_options *o)
{
    CLEANUP(json_free) struct json *values = NULL;
    CLEANUP(str_fini) struct str text = { 0 };
    const char *key;
    struct json *value;

    if (o->no_create || !o->target_options)
        return NULL;
    err_ignore(keyval_parse_flags(o->target_options, NULL, KEYVAL_FLAT | KEYVAL_LEGACY_BOOL, NULL,
                                  &values));
    if (!values)
        return NULL;
    json_object_for_each(values, i, key, value) {
        if (!str_has_suffix(key, "key-secret") || !json_as_str(value))
            continue;
        str_addf(&text, "%s%s=", text.len ? "," : "", key);
        for (const char *c = json_as_str(value); *c; c++)
            str_add_repeat(&text, *c, *c == ',' ? 2 : 1);
    }
    return text.len ? str_steal(&text) : NULL;
}

static struct err *open_target(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    CLEANUP(xfree) char *secrets = key_secrets(o);
    struct image_spec spec = {
        .options = secrets,
        .name = o->target,
        .format = o->target_opts ? NULL : o->target_format,
        .image_opts = o->target_opts,
        .cache = o->target_cache ? o->target_cache : "unsafe",
        .writable = true,
        .no_resize = true, /* A window for a source behind others could not be opened otherwise. */
    };
    struct node *backing;

    TRY(image_open(cv->tool, &spec, &cv->target));
    backing = node_backing(cv->target.node);
    cv->backing_size = backing ? backing->size : 0;
    if (o->compress && !cv->target.node->driver->can_compress)
        return err_new("Compression not supported for this file format");
    if (cv->target.node->size < cv->size) {
        uint64_t missing = cv->size - cv->target.node->size;

        /* The last sector of a source may be partial where the target counts whole ones. */
        if (missing >= 512)
            return err_new("output file is smaller than input file");
    }
    return NULL;
}

static bool is_device(const char *name)
{
    struct stat st;

    return stat(name, &st) == 0 && !S_ISREG(st.st_mode);
}

/* What is encrypted reads as noise where the file has zeroes; the target itself knows where it has none. */
static bool reads_as_zero(struct conversion *cv)
{
    struct image *target = &cv->target;
    struct req_status status;

    for (uint64_t at = 0; at < target->node->size; at += status.len) {
        if (image_status(target, at, target->node->size - at, REQ_WANT_ZERO, &status) < 0 ||
            !(status.flags & STATUS_ZERO))
            return false;
    }
    return true;
}

/* Whatever was just created without a backing file reads as zeroes, unless it was there before. */
static bool target_is_zero(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    const struct node *node = cv->target.node;

    if (o->target_is_zero)
        return true;
    if (o->no_create || node->backing || is_device(o->target))
        return false;
    if (json_object_has(node->options, "key-secret") || json_object_has(node->options, "encrypt"))
        return reads_as_zero(cv);
    return node->driver->create || !node->file || node->file->node->driver->create;
}

static struct err *copy_all(struct conversion *cv)
{
    const struct convert_options *o = cv->options;
    struct err *err;
    int result;

    cv->zero = target_is_zero(cv);
    cv->zero_behind = cv->zero || (!o->no_create && cv->backing_size);
    progress_start(&cv->progress, cv->tool, o->progress);
    if (o->salvage || (o->compress && o->source_count > 1))
        err = convert_copy_carefully(cv);
    else
        err = convert_copy(cv);
    if (!err && (result = image_flush(&cv->target)) < 0)
        err = err_new_errno(result, "error while flushing '%s'", o->target);
    if (!err && o->bitmaps)
        err = convert_bitmaps(cv);
    if (!err)
        progress_end(&cv->progress);
    cv->tool->progress_asked = NULL;
    return err;
}

static struct err *convert(struct conversion *cv, struct convert_options *o)
{
    TRY(check_options(cv, o));
    TRY(open_sources(cv));
    if (o->bitmaps)
        TRY(convert_bitmaps_check(cv));
    TRY(make_target(cv));
    TRY(open_target(cv));
    return copy_all(cv);
}

static int run(struct tool *tool, struct convert_options *o)
{
    struct conversion cv = { .tool = tool, .options = o };
    struct err *err = convert(&cv, o);

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

    while (status == 0 && (c = img_getopt(tool, argc, argv, ":hqpf:T:O:o:t:ncB:F:S:m:WUl:r:C",
                                          long_options, help)) != -1) {
        switch (c) {
        case 'q': o->quiet = true; break;
        case 'p': o->progress = true; break;
        case 'f': o->source_format = optarg; break;
        case OPT_IMAGE_OPTS: o->source_opts = true; break;
        case 'T': o->source_cache = optarg; break;
        case 'O': o->target_format = optarg; break;
        case 'o': status = img_join_options(tool, target_options, optarg); break;
        case OPT_TARGET_OPTS: o->target_opts = true; break;
        case 't': o->target_cache = optarg; break;
        case 'n': o->no_create = true; break;
        case OPT_TARGET_ZERO: o->target_is_zero = true; break;
        case 'c': o->compress = true; break;
        case 'B': o->backing = optarg; break;
        case 'F': o->backing_format = optarg; break;
        case 'S':
            o->have_sparse = true;
            status = parse_sparse(tool, optarg, &o->sparse_bytes);
            break;
        case 'm': status = parse_parallel(tool, optarg, &o->parallel); break;
        case 'W': break;
        case OPT_SALVAGE: o->salvage = true; break;
        case OPT_BITMAPS: o->bitmaps = true; break;
        case OPT_SKIP_BROKEN: o->skip_broken_bitmaps = true; break;
        case 'l': status = source_snapshot_parse(&o->snapshot, tool, optarg); break;
        case 'r': status = img_parse_size(tool, "rate limit", optarg, &o->rate); break;
        case 'C': o->copy_range = true; break;
        case OPT_OBJECT: status = img_image_option(tool, c, NULL); break;
        case 'U': o->force_share = true; break;
        default: status = 1;
        }
    }
    return status;
}

/* What does not go together, in the order in which it is looked for. */
static const char *find_mistake(const struct convert_options *o)
{
    if (o->target_opts && !o->no_create)
        return "--target-image-opts requires use of -n flag";
    if (o->skip_broken_bitmaps && !o->bitmaps)
        return "Use of --skip-broken-bitmaps requires --bitmaps";
    if (o->copy_range && o->have_sparse)
        return "Cannot enable copy offloading when -S is used";
    if (o->copy_range && o->compress)
        return "Cannot enable copy offloading when -c is used";
    if (o->copy_range && o->salvage)
        return "Cannot use copy offloading in salvaging mode";
    if (o->no_create && o->target_options)
        return "-o has no effect when skipping image creation";
    if (o->target_is_zero && !o->no_create)
        return "--target-is-zero requires use of -n flag";
    return NULL;
}

static int check_and_run(struct tool *tool, struct convert_options *o, int operands,
                         char **arguments)
{
    const char *mistake;

    if (image_options_want_help(o->target_options)) {
        struct err *err =
            image_create_help(tool, o->target_format, operands ? arguments[operands - 1] : NULL);

        if (err)
            tool_report(tool, err);
        return err ? 1 : 0;
    }
    if (operands < 2)
        return usage_error(tool, "Must specify image file name");
    mistake = find_mistake(o);
    if (mistake)
        return usage_error(tool, "%s", mistake);
    o->source_count = (unsigned)(operands - 1);
    o->sources = arguments;
    o->target = arguments[operands - 1];
    return run(tool, o);
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
    if (status == 0)
        status = check_and_run(tool, &o, argc - optind, argv + optind);
    source_snapshot_fini(&o.snapshot);
    xfree(o.owned_backing);
    xfree(target_options);
    return status;
}
