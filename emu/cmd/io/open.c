/* Opening an image for the shell, and the commands open, close, info and quit. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "emu/base/alloc.h"
#include "emu/cmd/io/io.h"

struct err *io_open(struct io_tool *io, const struct io_open *how)
{
    const struct image_spec spec = {
        .name = how->name ? how->name : "",
        .format = how->format,
        .image_opts = how->image_opts,
        .options = how->options,
        .writable = !how->read_only,
        .force_share = how->force_share,
        .cache = how->cache,
        .aio = how->aio,
        .discard = how->discard,
        .copy_on_read = how->copy_on_read,
        .no_resize = true,
    };
    struct err *err;

    if (io->image.node)
        return err_new("file open already, try 'help close'");
    err = image_open_plain(&io->tool, &spec, &io->image);
    if (err && how->name && !how->image_opts)
        return err_prefix(err, "can't open device %s: ", how->name);
    if (err)
        return err_prefix(err, "can't open: ");
    shell_set_edge(io->shell, io->image.edge);
    return NULL;
}

void io_close(struct io_tool *io)
{
    shell_set_edge(io->shell, NULL);
    image_close(&io->image);
}

static bool parse_aio(struct shell_call *call, const char *text)
{
    if (str_eq(text, "threads") || str_eq(text, "native") || str_eq(text, "io_uring"))
        return true;
    shell_report(call->shell, err_new("Invalid aio option: %s", text));
    shell_done(call, -EINVAL);
    return false;
}

static void open_run(struct shell_call *call)
{
    struct io_tool *io = shell_owner(call->shell);
    struct io_open how = { .discard = "unmap" };
    struct err *err;
    int c;

    shell_getopt_start();
    while ((c = shell_getopt(call, "snCro:ki:t:d:U")) != -1) {
        switch (c) {
        case 's': how.snapshot = true; break;
        case 'n': how.cache = "none"; break;
        case 'C': how.copy_on_read = true; break;
        case 'r': how.read_only = true; break;
        case 'k': how.aio = "native"; break;
        case 't': how.cache = optarg; break;
        case 'd': how.discard = optarg; break;
        case 'U': how.force_share = true; break;
        case 'o': how.options = optarg; break;
        case 'i':
            if (!parse_aio(call, optarg))
                return;
            how.aio = optarg;
            break;
        default: return;
        }
    }
    if (optind < call->argc - 1 || (optind == call->argc && !how.options)) {
        shell_usage(call);
        return;
    }
    how.name = optind < call->argc ? call->argv[optind] : NULL;
    err = io_open(io, &how);
    if (err)
        shell_report(call->shell, err);
    shell_done(call, err ? -EINVAL : 0);
}

static void close_run(struct shell_call *call)
{
    io_close(shell_owner(call->shell));
    shell_done(call, 0);
}

static void quit_run(struct shell_call *call)
{
    struct io_tool *io = shell_owner(call->shell);

    io->quitting = true;
    shell_done(call, 0);
}

const struct shell_command io_commands[] = {
    { .name = "open",
      .alias = "o",
      .args_min = 1,
      .args_max = -1,
      .flags = SHELL_NO_FILE,
      .args = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
      .summary = "open the file specified by path",
      .help =
          "\n"
          " opens an image for the commands that follow\n"
          "\n"
          " Example:\n"
          " 'open -n -o driver=raw /tmp/data' - opens a raw file for reading and writing, uncached\n"
          "\n"
          " -r, -- read-only\n"
          " -s, -- write to a temporary file instead of the image\n"
          " -C, -- keep what is read from a backing file (copy-on-read)\n"
          " -n, -- past the host's cache, short for -t none\n"
          " -U, -- although others write to it\n"
          " -k, -- the kernel's AIO, short for -i native\n"
          " -i, -- how the host does the I/O (threads, native or io_uring)\n"
          " -t, -- cache mode of the image\n"
          " -d, -- discard mode of the image\n"
          " -o, -- options of the block driver\n"
          "\n",
      .run = open_run },
    { .name = "close", .alias = "c", .summary = "close the current open file", .run = close_run },
    { .name = "quit",
      .alias = "q",
      .flags = SHELL_NO_FILE,
      .summary = "exit the program",
      .run = quit_run },
    { 0 },
};
