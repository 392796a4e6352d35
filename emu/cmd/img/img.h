#ifndef EMU_CMD_IMG_IMG_H
#define EMU_CMD_IMG_IMG_H

/* The subcommands of emu-img. Each gets the arguments from its own name on and returns the exit status. */

#include "emu/cmd/common/tool.h"

int img_amend(struct tool *tool, int argc, char **argv);
int img_bench(struct tool *tool, int argc, char **argv);
int img_bitmap(struct tool *tool, int argc, char **argv);
int img_check(struct tool *tool, int argc, char **argv);
int img_commit(struct tool *tool, int argc, char **argv);
int img_compare(struct tool *tool, int argc, char **argv);
int img_convert(struct tool *tool, int argc, char **argv);
int img_create(struct tool *tool, int argc, char **argv);
int img_dd(struct tool *tool, int argc, char **argv);
int img_info(struct tool *tool, int argc, char **argv);
int img_map(struct tool *tool, int argc, char **argv);
int img_measure(struct tool *tool, int argc, char **argv);
int img_rebase(struct tool *tool, int argc, char **argv);
int img_resize(struct tool *tool, int argc, char **argv);
int img_snapshot(struct tool *tool, int argc, char **argv);

/* Options without a letter that several subcommands have; their own start at OPT_IMG_LAST. */
enum { OPT_IMAGE_OPTS = 256, OPT_OBJECT, OPT_OUTPUT, OPT_IMG_LAST };

/*
 * getopt_long for subcommands: returns the option character, -1 at the end, or '?' after a message was printed in
 * the reference's form. Handles -h/--help itself by printing help and exiting with 0.
 */
struct option;
int img_getopt(struct tool *tool, int argc, char **argv, const char *short_options,
               const struct option *long_options, const char *help);

/*
 * The options that mean the same to all subcommands: -f, -U, --image-opts, --object. Returns 0, or 1 for others
 * (after a message by img_getopt) and for errors (after a message).
 */
int img_image_option(struct tool *tool, int c, struct image_spec *spec);

/* Parses the argument of --output: 0 and *json set, or 1 after a message. */
int img_parse_output(struct tool *tool, const char *text, bool *json);

/* A size argument with suffixes, at most INT64_MAX; 1 after a message ("Invalid image size specified. ..."). */
int img_parse_size(struct tool *tool, const char *what, const char *text, uint64_t *out);

/* The same within [min, max]. */
int img_parse_number(struct tool *tool, const char *what, const char *text, uint64_t min,
                     uint64_t max, uint64_t *out);

/* Appends one -o argument to those before; *options is owned by the caller. 1 after a message. */
int img_join_options(struct tool *tool, char **options, const char *text);

/* Exit status 1 and a message for output that could not be written (full disk, closed pipe). */
int img_flush_output(struct tool *tool, int status);

#endif
