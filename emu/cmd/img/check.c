/* emu-img check */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/json_write.h"
#include "emu/cmd/img/img.h"

static const char help[] =
    "Check basic image integrity.  Usage:\n\n"
    "  %s check [-f FMT | --image-opts] [-T CACHE_MODE] [-r leaks|all] [-q] [-U]\n"
    "        [--output human|json] FILENAME\n\n"
    "  -h, --help                    print this help and exit\n"
    "  -q, --quiet                   quiet operations\n"
    "  -f, --format FMT              format of the image\n"
    "      --image-opts              FILENAME is a complete image specification\n"
    "  -T, --cache CACHE_MODE        image cache mode (writeback)\n"
    "  -r, --repair leaks|all        repair what is found\n"
    "  -U, --force-share             open the image although others write to it\n"
    "      --output human|json       form of the output\n\n"
    "Exit status: 0 clean, 1 the check failed, 2 corruption found, 3 only leaks found,\n"
    "63 the format has no checks.\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "quiet", no_argument, NULL, 'q' },
    { "format", required_argument, NULL, 'f' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "cache", required_argument, NULL, 'T' },
    { "repair", required_argument, NULL, 'r' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "output", required_argument, NULL, OPT_OUTPUT },
    { 0 },
};

enum { EXIT_CORRUPT = 2, EXIT_LEAKS = 3, EXIT_NO_CHECKS = 63 };

struct check_options {
    struct image_spec image;
    unsigned fix;
    bool json, quiet;
};

static void result_fini(struct check_result *result)
{
    xfree(result->report);
    memset(result, 0, sizeof(*result));
}

static struct err *run_check(struct image *image, unsigned fix, struct check_result *result)
{
    struct waiter waiter = { 0 };

    memset(result, 0, sizeof(*result));
    image->node->driver->check(image->node, fix, result, wait_done, &waiter);
    return wait_for(image->tool->reactor, &waiter);
}

static double percent(uint64_t part, uint64_t total)
{
    return total ? 100.0 * (double)part / (double)total : 0;
}

static void print_human(const struct check_result *r)
{
    if (!r->corruptions && !r->leaks && !r->check_errors) {
        printf("No errors were found on the image.\n");
    } else {
        if (r->corruptions)
            printf("\n%" PRIu64 " errors were found on the image.\n"
                   "Data may be corrupted, or further writes to the image may corrupt it.\n",
                   r->corruptions);
        if (r->leaks)
            printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
                   "This means waste of disk space, but no harm to data.\n",
                   r->leaks);
        if (r->check_errors)
            printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
                   r->check_errors);
    }
    if (r->total_clusters && r->allocated_clusters)
        printf("%" PRIu64 "/%" PRIu64
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               r->allocated_clusters, r->total_clusters,
               percent(r->allocated_clusters, r->total_clusters),
               percent(r->fragmented_clusters, r->allocated_clusters),
               percent(r->compressed_clusters, r->allocated_clusters));
    if (r->image_end_offset)
        printf("Image end offset: %" PRIu64 "\n", r->image_end_offset);
}

static void print_json(const struct check_result *r, const struct check_options *o,
                       const char *format)
{
    CLEANUP(json_free) struct json *out = json_object();
    const struct {
        const char *key;
        uint64_t value;
    } optional[] = {
        { "image-end-offset", r->image_end_offset },
        { "corruptions", r->corruptions },
        { "leaks", r->leaks },
        { "corruptions-fixed", r->corruptions_fixed },
        { "leaks-fixed", r->leaks_fixed },
        { "total-clusters", r->total_clusters },
        { "allocated-clusters", r->allocated_clusters },
        { "fragmented-clusters", r->fragmented_clusters },
        { "compressed-clusters", r->compressed_clusters },
    };
    char *text;

    json_object_set_str(out, "filename", o->image.name);
    json_object_set_str(out, "format", format);
    json_object_set_uint(out, "check-errors", r->check_errors);
    for (size_t i = 0; i < ARRAY_LEN(optional); i++) {
        if (optional[i].value)
            json_object_set_uint(out, optional[i].key, optional[i].value);
    }
    text = json_to_text(out, JSON_PRETTY | JSON_HASH_ORDER);
    printf("%s\n", text);
    xfree(text);
}

static int exit_status(const struct check_result *r)
{
    if (r->check_errors)
        return 1;
    if (r->corruptions)
        return EXIT_CORRUPT;
    return r->leaks ? EXIT_LEAKS : 0;
}

/* Findings are told whatever the form of the output, and even when the check fails in the end. */
static struct err *run_and_report(struct image *image, unsigned fix, struct check_result *result)
{
    struct err *err = run_check(image, fix, result);

    if (result->report)
        fprintf(stderr, "%s", result->report);
    return err;
}

static struct err *check_twice(struct image *image, const struct check_options *o,
                               struct check_result *result)
{
    uint64_t leaks_fixed, corruptions_fixed;

    TRY(run_and_report(image, o->fix, result));
    leaks_fixed = result->leaks_fixed;
    corruptions_fixed = result->corruptions_fixed;
    if (!leaks_fixed && !corruptions_fixed)
        return NULL;
    if (!o->quiet && !o->json)
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
               "Double checking the fixed image now...\n",
               leaks_fixed, corruptions_fixed);
    result_fini(result);
    TRY(run_and_report(image, 0, result));
    result->leaks_fixed = leaks_fixed;
    result->corruptions_fixed = corruptions_fixed;
    return NULL;
}

static int check_image(struct tool *tool, const struct check_options *o)
{
    struct check_result result = { 0 };
    struct image image;
    struct err *err = image_open(tool, &o->image, &image);
    int status = 1;

    if (err) {
        tool_report(tool, err);
        return 1;
    }
    if (!image.node->driver->check) {
        tool_error(tool, "This image format does not support checks");
        image_close(&image);
        return EXIT_NO_CHECKS;
    }
    err = check_twice(&image, o, &result);
    if (err) {
        tool_report(tool, err_prefix(err, "Check failed: "));
    } else {
        if (o->json)
            print_json(&result, o, image.node->driver->name);
        else if (!o->quiet)
            print_human(&result);
        status = exit_status(&result);
    }
    result_fini(&result);
    image_close(&image);
    return status;
}

int img_check(struct tool *tool, int argc, char **argv)
{
    struct check_options o = { .image = { .flags = NODE_OPEN_CHECK | NODE_OPEN_NO_BACKING } };
    int c, status = 0;

    while (status == 0 &&
           (c = img_getopt(tool, argc, argv, ":hqf:T:r:U", long_options, help)) != -1) {
        switch (c) {
        case 'q': o.quiet = true; break;
        case 'I': o.image.image_opts = true; break;
        case 'T': o.image.cache = optarg; break;
        case OPT_OUTPUT: status = img_parse_output(tool, optarg, &o.json); break;
        case 'r':
            o.image.writable = true;
            o.fix = CHECK_FIX_LEAKS;
            if (strcmp(optarg, "all") == 0)
                o.fix |= CHECK_FIX_ERRORS;
            else if (strcmp(optarg, "leaks") != 0)
                status = tool_usage(
                    tool, "Unknown option value for -r (expecting 'leaks' or 'all'): %s", optarg);
            break;
        default: status = img_image_option(tool, c, &o.image);
        }
    }
    if (status == 0 && optind != argc - 1)
        status = tool_usage(tool, "Expecting one image file name");
    if (status)
        return status;
    o.image.name = argv[optind];
    return check_image(tool, &o);
}
