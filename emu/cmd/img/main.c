/* emu-img: disk image utility. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/cmd/common/image_options.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/img/img.h"

static const struct command {
    const char *name;
    int (*run)(struct tool *tool, int argc, char **argv);
    const char *summary;
} commands[] = {
    { "amend", img_amend, "Update format-specific options of the image" },
    { "bench", img_bench, "Run simple image benchmark" },
    { "bitmap", img_bitmap, "Perform modifications of the persistent bitmap in the image" },
    { "check", img_check, "Check basic image integrity" },
    { "commit", img_commit, "Commit image to its backing file" },
    { "compare", img_compare, "Check if two images have the same contents" },
    { "convert", img_convert, "Copy one image to another with optional format conversion" },
    { "create", img_create, "Create and format new image file" },
    { "dd", img_dd, "Copy input to output with optional format conversion" },
    { "info", img_info, "Display information about image" },
    { "map", img_map, "Dump image metadata" },
    { "measure", img_measure, "Calculate file size required for a new image" },
    { "rebase", img_rebase, "Change backing file of the image" },
    { "resize", img_resize, "Resize the image to the new size" },
    { "snapshot", img_snapshot, "List or manipulate snapshots within image" },
};

int img_getopt(struct tool *tool, int argc, char **argv, const char *short_options,
               const struct option *long_options, const char *help)
{
    int c;

    opterr = 0;
    c = getopt_long(argc, argv, short_options, long_options, NULL);
    if (c == 'h') {
        printf(help, tool->program);
        fflush(stdout);
        exit(0);
    }
    if (c == ':') {
        tool_usage(tool, "missing argument for option '%s'", argv[optind - 1]);
        return '?';
    }
    if (c == '?')
        tool_usage(tool, "unrecognized option '%s'", argv[optind - 1]);
    return c;
}

static int add_object(struct tool *tool, const char *text)
{
    struct err *err = tool_add_object(tool, text);

    if (!err)
        return 0;
    tool_report(tool, err);
    return 1;
}

int img_image_option(struct tool *tool, int c, struct image_spec *spec)
{
    switch (c) {
    case 'f': spec->format = optarg; return 0;
    case 'U': spec->force_share = true; return 0;
    case OPT_IMAGE_OPTS: spec->image_opts = true; return 0;
    case OPT_OBJECT: return add_object(tool, optarg);
    default: return 1;
    }
}

int img_parse_output(struct tool *tool, const char *text, bool *json)
{
    *json = strcmp(text, "json") == 0;
    if (*json || strcmp(text, "human") == 0)
        return 0;
    tool_error(tool, "--output must be used with human or json as argument.");
    return 1;
}

/* A number below zero is out of range, where "-1k" is no number. */
static bool is_negative(const char *text)
{
    return text[0] == '-' && text[1] && !text[1 + strspn(text + 1, "0123456789")];
}

int img_parse_number(struct tool *tool, const char *what, const char *text, uint64_t min,
                     uint64_t max, uint64_t *out)
{
    struct err *err = parse_size(text, out);
    bool number = !err || err_errnum(err) == ERANGE || is_negative(text);
    bool fits = !err && *out >= min && *out <= max;

    err_free(err);
    if (fits)
        return 0;
    if (!number) {
        tool_error(tool, "Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
        tool_error(tool, "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
    } else if (max == INT64_MAX && min != 0) {
        tool_error(tool, "Invalid %s specified. Must be greater than or equal to %" PRIu64 ".",
                   what, min);
    } else {
        tool_error(tool, "Invalid %s specified. Must be between %" PRIu64 " and %" PRIu64 ".", what,
                   min, max);
    }
    return 1;
}

int img_parse_size(struct tool *tool, const char *what, const char *text, uint64_t *out)
{
    return img_parse_number(tool, what, text, 0, INT64_MAX, out);
}

int img_join_options(struct tool *tool, char **options, const char *text)
{
    char *joined;

    if (!image_options_valid(text)) {
        tool_error(tool, "Invalid option list: %s", text);
        return 1;
    }
    joined = *options ? xasprintf("%s,%s", *options, text) : xstrdup(text);
    xfree(*options);
    *options = joined;
    return 0;
}

int img_flush_output(struct tool *tool, int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    tool_error(tool, "Could not write to standard output: %s", strerror(errno));
    return status ? status : 1;
}

static void print_help(struct tool *tool)
{
    unsigned column = 2;

    version_print(tool->program);
    printf("emu disk image utility.  Usage:\n\n"
           "  %s [standard options] COMMAND [--help | command options]\n\n"
           "Standard options:\n"
           "  -h, --help\n     display this help and exit\n"
           "  -V, --version\n     display version info and exit\n"
           "  -T, --trace TRACE\n     [enable=]PATTERN of the trace points to print\n\n"
           "Recognized commands (run %s COMMAND --help for command-specific help):\n\n",
           tool->program, tool->program);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %s - %s\n", commands[i].name, commands[i].summary);
    printf("\nSupported image formats:\n\n ");
    for (const struct driver *const *d = all_drivers; *d; d++) {
        if (column + strlen((*d)->name) + 1 > 78) {
            printf("\n ");
            column = 2;
        }
        column += (unsigned)printf(" %s", (*d)->name);
    }
    printf("\n");
}

static int run_command(struct tool *tool, int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, argv[0]) == 0) {
            tool->command = argv[0];
            optind = 0;
            return img_flush_output(tool, commands[i].run(tool, argc, argv));
        }
    }
    return tool_usage(tool, "Command not found: %s", argv[0]);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                             { "version", no_argument, NULL, 'V' },
                                             { "trace", required_argument, NULL, 'T' },
                                             { 0 } };
    struct tool tool;
    int status = 0, c;

    tool_init(&tool, argv[0]);
    tool_watch_signal(&tool);
    opterr = 0;
    while ((c = getopt_long(argc, argv, "+:hVT:", options, NULL)) == 'T')
        tool_trace(optarg);
    if (c == 'h')
        print_help(&tool);
    else if (c == 'V')
        version_print(tool.program);
    else if (c == ':')
        status = tool_usage(&tool, "missing argument for option '%s'", argv[optind - 1]);
    else if (c == '?')
        status = tool_usage(&tool, "unrecognized option '%s'", argv[optind - 1]);
    else if (optind >= argc)
        status = tool_usage(&tool, "Not enough arguments");
    else
        status = run_command(&tool, argc - optind, argv + optind);
    tool_fini(&tool);
    return status;
}
