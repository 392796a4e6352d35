#ifndef EMU_CMD_COMMON_TOOL_H
#define EMU_CMD_COMMON_TOOL_H

/*
 * What the image tools share: the reactor and the graph of one run, error messages that start with the
 * program's name, and images opened the way their command lines name them.
 */

#include <stdbool.h>

#include "emu/cmd/common/loop.h"
#include "emu/storage/driver.h"

struct tool {
    const char *program; /* Last part of argv[0]: the prefix of messages. */
    const char *invoked; /* argv[0] itself. */
    const char *command; /* Subcommand, for "Try ... --help". */
    struct reactor *reactor;
    struct graph *graph;
    struct objects *objects; /* Of --object. */
    void (*progress_asked)(void *arg); /* SIGUSR1 came (tool_watch_signal); may be NULL. */
    void *progress_arg;
};

/* Creates reactor and graph; exits with status 1 and a message when that fails. */
void tool_init(struct tool *tool, const char *argv0);
/* Makes the object of an --object argument, "TYPE,id=ID,..." or JSON. */
struct err *tool_add_object(struct tool *tool, const char *text) MUST_USE;
/* From now on SIGUSR1 calls tool->progress_asked from the loop. */
void tool_watch_signal(struct tool *tool);
/* The argument of --trace: "[enable=]PATTERN[,...]". Trace points whose names match are printed to stderr. */
void tool_trace(const char *text);
/* Closes what is open and frees. */
void tool_fini(struct tool *tool);

/* "PROGRAM: text" on stderr. */
void tool_error(const struct tool *tool, const char *fmt, ...) PRINTF(2, 3);
/* "PROGRAM: warning: text" on stderr. */
void tool_warn(const struct tool *tool, const char *fmt, ...) PRINTF(2, 3);
/* The same with an error's text and hint; takes err. */
void tool_report(const struct tool *tool, struct err *err);
/* The error of a wrong command line: message and a pointer to --help. Returns 1, the exit status. */
int tool_usage(const struct tool *tool, const char *fmt, ...) PRINTF(2, 3);

/* Whether it is one of the cache modes of struct image_spec; NULL is. */
bool tool_cache_valid(const char *mode);

/* How a tool opens an image. */
struct image_spec {
    const char *name;   /* File name, or with opts an options string or json:{}. */
    const char *format; /* NULL: probe. */
    bool image_opts;    /* name is "driver=...,file.filename=...". */
    bool writable;
    bool force_share;
    const char *cache; /* none, writeback, writethrough, directsync, unsafe; NULL: writeback. */
    const char *options; /* More options, "key=value,...", or NULL; over those that name implies. */
    const char *aio;     /* threads, native, io_uring, for a host file; NULL: its default. */
    const char *discard; /* ignore (off), unmap (on); NULL: ignore. */
    bool copy_on_read;
    bool no_resize; /* Take no permission to resize. */
    unsigned flags;    /* enum node_open_flags */
};

/* An open image: its node and an edge that takes what the tool needs. */
struct image {
    struct tool *tool;
    struct node *node;
    struct edge *edge;
};

/* Opens; a failure's text starts with "Could not open 'NAME': ". */
struct err *image_open(struct tool *tool, const struct image_spec *spec,
                       struct image *out) MUST_USE;
/* The same without that start. */
struct err *image_open_plain(struct tool *tool, const struct image_spec *spec,
                             struct image *out) MUST_USE;
/* Detaches and closes, waiting until the metadata is written. Zeroed memory is fine. */
void image_close(struct image *image);

/* One synchronous request each; 0 or -errno. */
int image_read(struct image *image, uint64_t offset, void *buf, uint64_t len);
int image_write(struct image *image, uint64_t offset, const void *buf, uint64_t len);
int image_flush(struct image *image);
/* What is known of [offset, offset+len); flags: REQ_WANT_ZERO and REQ_STATUS_ONE. */
int image_status(struct image *image, uint64_t offset, uint64_t len, uint32_t flags,
                 struct req_status *out);

#endif
