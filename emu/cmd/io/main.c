/* emu-io: reads, writes and other requests to an image, typed by people and tests. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/vec.h"
#include "emu/cmd/common/version.h"
#include "emu/cmd/io/io.h"
#include "emu/storage/event.h"

static const char help[] =
    "Usage: %s [OPTIONS]... [-c STRING]... [file]\n"
    "emu disk exerciser\n\n"
    "      --object OBJECTDEF   make an object, such as a secret with the password of an image\n"
    "      --image-opts         file is a string of options, not a name\n"
    "  -c, --cmd STRING         run a command; may be repeated\n"
    "  -f, --format FMT         the format of the image; default: look at it\n"
    "  -r, --read-only          open it read-only\n"
    "  -s, --snapshot           write to a temporary file instead of the image\n"
    "  -n, --nocache            past the host's cache, short for -t none\n"
    "  -C, --copy-on-read       keep what is read from a backing file\n"
    "  -m, --misalign           accepted without effect\n"
    "  -k, --native-aio         short for -i native\n"
    "  -i, --aio=MODE           how the host does the I/O (threads, native or io_uring)\n"
    "  -t, --cache=MODE         cache mode of the image (writeback)\n"
    "  -d, --discard=MODE       discard mode of the image (unmap)\n"
    "  -T, --trace SPEC         accepted without effect\n"
    "  -U, --force-share        open the image although others write to it\n"
    "  -h, --help               display this help and exit\n"
    "  -V, --version            output version information and exit\n\n"
    "Without -c, commands are read from the standard input.\n"
    "See '%s -c help' for the commands.\n";

enum { OPT_OBJECT = 256, OPT_IMAGE_OPTS };

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "cmd", required_argument, NULL, 'c' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "nocache", no_argument, NULL, 'n' },
    { "copy-on-read", no_argument, NULL, 'C' },
    { "misalign", no_argument, NULL, 'm' },
    { "native-aio", no_argument, NULL, 'k' },
    { "aio", required_argument, NULL, 'i' },
    { "discard", required_argument, NULL, 'd' },
    { "cache", required_argument, NULL, 't' },
    { "trace", required_argument, NULL, 'T' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { 0 },
};

static void print(void *arg, const char *text)
{
    (void)arg;
    fputs(text, stdout);
}

static void complain(void *arg, const char *text)
{
    (void)arg;
    fflush(stdout);
    fputs(text, stderr);
}

static void report(void *arg, struct err *err) { tool_report(&((struct io_tool *)arg)->tool, err); }

static void on_event(struct notifier *self, void *data)
{
    const struct storage_event *event = data;

    (void)self;
    if (event->kind == STORAGE_REQUEST_SUSPENDED)
        printf("blkdebug: Suspended request '%s'\n", event->u.suspended.tag);
    else if (event->kind == STORAGE_REQUEST_RESUMED)
        printf("blkdebug: Resuming request '%s'\n", event->u.suspended.tag);
}

/* ---- Command line ---- */

struct command_line {
    VEC(const char *) commands;
    struct io_open open;
    int status; /* -1: go on. */
};

static void object_option(struct io_tool *io, struct command_line *line, const char *text)
{
    struct err *err = tool_add_object(&io->tool, text);

    if (!err)
        return;
    tool_report(&io->tool, err);
    line->status = 1;
}

static void one_option(struct io_tool *io, struct command_line *line, int c)
{
    switch (c) {
    case 'c': vec_push(&line->commands, optarg); break;
    case 'f': line->open.format = optarg; break;
    case 'r': line->open.read_only = true; break;
    case 's': line->open.snapshot = true; break;
    case 'n': line->open.cache = "none"; break;
    case 'C': line->open.copy_on_read = true; break;
    case 'm':
    case 'T': break;
    case 'k': line->open.aio = "native"; break;
    case 'i': line->open.aio = optarg; break;
    case 't': line->open.cache = optarg; break;
    case 'd': line->open.discard = optarg; break;
    case 'U': line->open.force_share = true; break;
    case OPT_IMAGE_OPTS: line->open.image_opts = true; break;
    case OPT_OBJECT: object_option(io, line, optarg); break;
    case 'V':
        version_print(io->tool.program);
        line->status = 0;
        break;
    case 'h':
        printf(help, io->tool.program, io->tool.program);
        line->status = 0;
        break;
    default: printf(help, io->tool.program, io->tool.program); line->status = 1;
    }
}

static void parse(struct io_tool *io, struct command_line *line, int argc, char **argv)
{
    int c;

    line->status = -1;
    line->open.discard = "unmap";
    while (line->status < 0 &&
           (c = getopt_long(argc, argv, "hVc:d:f:rsnCmki:t:T:U", long_options, NULL)) != -1)
        one_option(io, line, c);
    if (line->status >= 0)
        return;
    if (argc - optind > 1) {
        printf(help, io->tool.program, io->tool.program);
        line->status = 1;
    } else if (line->open.format && line->open.image_opts) {
        tool_error(&io->tool, "--image-opts and -f are mutually exclusive");
        line->status = 1;
    } else if (optind < argc) {
        line->open.name = argv[optind];
    }
}

/* ---- Commands ---- */

struct outcome {
    bool finished;
    int result;
};

static void finished(void *arg, int result)
{
    struct outcome *outcome = arg;

    outcome->finished = true;
    outcome->result = result;
}

static int await(struct io_tool *io, struct outcome *outcome)
{
    while (!outcome->finished)
        reactor_run_once(io->tool.reactor, INT64_MAX);
    fflush(stdout);
    return outcome->result;
}

static int run_line(struct io_tool *io, const char *text)
{
    struct outcome outcome = { 0 };

    shell_run(io->shell, text, finished, &outcome);
    return await(io, &outcome);
}

static int run_commands(struct io_tool *io, const struct command_line *line)
{
    int status = 0;

    for (size_t i = 0; i < vec_len(&line->commands) && !io->quitting; i++)
        if (run_line(io, vec_at(&line->commands, i)) < 0)
            status = 1;
    return status;
}

static int run_input(struct io_tool *io)
{
    struct line_reader reader = { 0 };
    int status = 0;

    while (!io->quitting) {
        char *text;

        printf("%s> ", io->tool.program);
        fflush(stdout);
        text = line_reader_next(&reader, io->tool.reactor, shell_is_busy(io->shell));
        if (!text)
            break;
        if (run_line(io, text) < 0)
            status = 1;
        xfree(text);
    }
    line_reader_fini(&reader);
    return status;
}

static int run(struct io_tool *io, const struct command_line *line)
{
    struct err *err = line->open.name ? io_open(io, &line->open) : NULL;
    struct outcome outcome = { 0 };
    int status;

    if (err) {
        tool_report(&io->tool, err);
        return 1;
    }
    status = vec_len(&line->commands) ? run_commands(io, line) : run_input(io);
    shell_quiesce(io->shell, finished, &outcome);
    await(io, &outcome);
    io_close(io);
    return status;
}

int main(int argc, char **argv)
{
    struct command_line line = { 0 };
    struct io_tool io = { 0 };

    tool_init(&io.tool, argv[0]);
    io.shell = shell_new(&(struct shell_config){
        .reactor = io.tool.reactor,
        .print = print,
        .complain = complain,
        .report = report,
        .arg = &io,
        .extra = io_commands,
    });
    io.on_event.fn = on_event;
    notifier_add(graph_events(io.tool.graph), &io.on_event);
    parse(&io, &line, argc, argv);
    if (line.status < 0)
        line.status = run(&io, &line);
    vec_fini(&line.commands);
    shell_free(io.shell);
    notifier_remove(&io.on_event);
    tool_fini(&io.tool);
    return line.status;
}
