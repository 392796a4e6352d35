#ifndef EMU_CMD_COMMON_CREATE_H
#define EMU_CMD_COMMON_CREATE_H

/* Making image files from a tool's `-o` options: shared by create and convert. */

#include "emu/cmd/common/image_options.h"
#include "emu/cmd/common/tool.h"

struct create_spec {
    const char *filename, *format;
    const char *options; /* Text of all -o joined by ',', or NULL. */
    const char *backing, *backing_format;
    bool have_size;
    uint64_t size;       /* Bytes; without have_size from -o size= or the backing file. */
    bool unsafe_backing; /* -u: do not open the backing file. */
    bool quiet;          /* No "Formatting ..." line. */
    bool converting;     /* Errors say that a conversion failed. */
};

/* Creates the image and waits until it is closed. Errors start with the file name as the reference's do. */
struct err *image_create(struct tool *tool, const struct create_spec *spec) MUST_USE;

/* Prints the table of -o help for a format. */
struct err *image_create_help(struct tool *tool, const char *format, const char *filename) MUST_USE;

/* What -o may hold for a new image: filename NULL leaves out what depends on where the file lies. */
struct err *image_create_tables(struct tool *tool, const char *format, const char *filename,
                                struct option_tables *out) MUST_USE;

/* Fails with the reference's text when the format is unknown or cannot be created. */
struct err *image_create_check_format(struct tool *tool, const char *format) MUST_USE;

#endif
