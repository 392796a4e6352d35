#ifndef EMU_STORAGE_SHELL_SHELL_H
#define EMU_STORAGE_SHELL_SHELL_H

/*
 * The command language of emu-io: reads, writes and other requests to one disk, typed by people and tests. The tool
 * runs it on an image it opens, the human monitor on a node of the machine. Nothing waits: a command ends by a
 * callback. Texts are the reference's.
 *
 * A shell runs one command at a time; requests of the aio_ commands go on beside. It lives on its graph's reactor.
 */

#include "emu/base/str.h"
#include "emu/storage/node.h"

struct shell;
struct shell_call;

struct shell_config {
    struct reactor *reactor;
    void (*print)(void *arg, const char *text);    /* Results. */
    void (*complain)(void *arg, const char *text); /* Wrong command lines; complete lines. */
    void (*report)(void *arg,
                   struct err *err); /* Errors that other programs word, too; takes err. */
    void *arg;
    const struct shell_command
        *extra; /* Commands of the front end, or NULL. Ends with name NULL. */
};

enum { SHELL_NO_FILE = 1 /* Needs no open disk. */ };

struct shell_command {
    const char *name, *alias; /* alias: a letter or NULL. */
    int args_min, args_max;   /* args_max -1: any. */
    unsigned flags;
    uint32_t perm;       /* Taken on the edge before it runs. */
    const char *args;    /* For help; NULL when there are none. */
    const char *summary; /* One line. */
    const char *help;    /* Printed by "help NAME" and after a wrong option; NULL: nothing more. */
    /* Ends, now or later, by one call of shell_done(). */
    void (*run)(struct shell_call *call);
};

/* One command under way. argv[0] is its name. */
struct shell_call {
    struct shell *shell;
    const struct shell_command *command;
    int argc;
    char **argv; /* Owned by the shell until shell_done(). */
};

struct shell *shell_new(const struct shell_config *config);
/* No command may be under way; requests of aio_ commands may: they complete unseen. NULL is ignored. */
void shell_free(struct shell *shell);
void *shell_owner(struct shell *shell);
/* The disk: an edge of the caller's, or NULL for none. */
void shell_set_edge(struct shell *shell, struct edge *edge);
struct edge *shell_edge(struct shell *shell);

/*
 * Splits a line at blanks and runs it; done gets 0 or -errno, maybe before this returns. An empty line succeeds.
 */
typedef void shell_done_fn(void *arg, int result);
void shell_run(struct shell *shell, const char *line, shell_done_fn *done, void *arg);
void shell_done(struct shell_call *call, int result);

/* Waits until no request of an aio_ command is in flight; done may be called at once. */
void shell_quiesce(struct shell *shell, shell_done_fn *done, void *arg);

/* Whether requests of aio_ commands are in flight. */
bool shell_is_busy(const struct shell *shell);

/* ---- For commands ---- */
void shell_print(struct shell *shell, const char *fmt, ...) PRINTF(2, 3);
void shell_complain(struct shell *shell, const char *fmt, ...) PRINTF(2, 3);
void shell_report(struct shell *shell, struct err *err /* takes */);
/* The one-line usage, after options that make no sense. Ends the call with -EINVAL. */
void shell_usage(struct shell_call *call);
/*
 * getopt() over the call's arguments, from the first after shell_getopt_start(). -1 at the end; '?' after the
 * complaint and help were printed and the call has ended.
 */
void shell_getopt_start(void);
int shell_getopt(struct shell_call *call, const char *options);
/* A size argument. Prints what is wrong, ends the call with -EINVAL and returns false. */
bool shell_size(struct shell_call *call, const char *text, uint64_t *out);
/* "1.500 KiB": as the reference shortens sizes. buf holds at least 64 bytes; returns it. */
const char *shell_size_text(double bytes, char *buf);

#endif
