#ifndef EMU_CMD_IO_IO_H
#define EMU_CMD_IO_IO_H

/* emu-io: the shell of emu/storage/shell on one image at a time. */

#include "emu/base/notify.h"
#include "emu/cmd/common/tool.h"
#include "emu/storage/shell/shell.h"

struct io_tool {
    struct tool tool;
    struct shell *shell;
    struct notifier on_event; /* Of the graph. */
    struct image image; /* image.node is NULL while nothing is open. */
    bool misalign;
    bool quitting;
};

/* What the options of the program and of `open` say about an image. */
struct io_open {
    const char *name;    /* NULL: only options. */
    const char *options; /* key=value,... of -o, or NULL. */
    const char *format, *cache, *aio, *discard;
    bool image_opts, read_only, snapshot, copy_on_read, force_share;
};

/* Opens the image and gives it to the shell. An error's text is complete. */
struct err *io_open(struct io_tool *io, const struct io_open *how) MUST_USE;
void io_close(struct io_tool *io);

extern const struct shell_command io_commands[];

/* Lines of the standard input, read without keeping requests in flight from completing. */
struct line_reader {
    struct str text; /* Read and not yet given out. */
    size_t taken;
    bool ended;
};
/* The next line without its end, new; NULL at the end of input. */
char *line_reader_next(struct line_reader *reader, struct reactor *reactor, bool busy) MUST_USE;
void line_reader_fini(struct line_reader *reader);

#endif
