/* emu-img: disk image utility. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/img/img.h"

static const struct command {
    const char *name;
    int (*run)(struct tool *tool, int argc, char **argv);
    const char *summary;
} commands[] = {
    { "check", img_check, "Check basic image integrity" },
    { "compare", img_compare, "Check if two images have the same contents" },
    { "convert", img_convert, "Copy one image to another with optional format conversion" },
    { "create", img_create, "Create and format new image file" },
    { "info", img_info, "Display information about image" },
    { "map", img_map, "Dump image metadata" },
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
        tool_usage(tool, "option '%s' requires an argument", argv[optind - 1]);
        return '?';
    }
    if (c == '?')
        tool_usage(tool, "unrecognized option '%s'", argv[optind - 1]);
    return c;
}

int img_parse_output(struct tool *tool, const char *text, bool *json)
{
    *json = strcmp(text, "json") == 0;
    if (!*json && strcmp(text, "human") != 0)
        return tool_usage(tool, "--output expects 'human' or 'json' not '%s'", text);
    return 0;
}

int img_parse_size(struct tool *tool, const char *what, const char *text, uint64_t *out)
{
    struct err *err = parse_size(text, out);

    if (!err && *out <= INT64_MAX)
        return 0;
    if (err && err_errnum(err) != ERANGE && text[0] != '-')
        tool_error(tool, "Invalid %s specified: '%s'.", what, text);
    else
        tool_error(tool, "Invalid %s specified. Must be between 0 and %lld.", what,
                   (long long)INT64_MAX);
    err_free(err);
    return 1;
}

void img_join_options(char **options, const char *text)
{
    char *joined = *options ? xasprintf("%s,%s", *options, text) : xstrdup(text);

    xfree(*options);
    *options = joined;
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
           "  -V, --version\n     display version info and exit\n\n"
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
                                             { 0 } };
    struct tool tool;
    int status = 0, c;

    tool_init(&tool, argv[0]);
    opterr = 0;
    c = getopt_long(argc, argv, "+:hV", options, NULL);
    if (c == 'h')
        print_help(&tool);
    else if (c == 'V')
        version_print(tool.program);
    else if (c == '?' || c == ':')
        status = tool_usage(&tool, "unrecognized option '%s'", argv[optind - 1]);
    else if (optind >= argc)
        status = tool_usage(&tool, "Not enough arguments");
    else
        status = run_command(&tool, argc - optind, argv + optind);
    tool_fini(&tool);
    return status;
}
