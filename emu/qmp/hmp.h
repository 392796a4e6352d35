#ifndef EMU_QMP_HMP_H
#define EMU_QMP_HMP_H

/*
 * Commands for people: one line of text in, text out.
 *
 * Most commands are a QMP command in other words: hmp_qmp() runs it, with its checks, errors and
 * answers, and the command prints what came of it. Nothing waits: a command ends by hmp_end(), now or
 * later.
 *
 * Home: the main reactor.
 */

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/str.h"

struct hmp;
struct hmp_call;
struct qmp_registry;
struct qmp_server;
struct world;

/* Kinds of arguments; in a command's args, "name:K", with "?" behind for optional ones. */
enum hmp_arg {
    HMP_WORD = 's', /* Text, in quotes when it has blanks. */
    HMP_LINE = 'S', /* The rest of the line as it is. */
    HMP_INT = 'i',
    HMP_SIZE = 'o', /* With a suffix; without one in MiB. */
    HMP_FLAG = '-', /* "-f" */
    HMP_SWITCH = 'b', /* on or off */
};

struct hmp_command {
    const char *name;   /* "q|quit": other names behind bars. */
    const char *args;   /* "device:s,force:-f" or "" */
    const char *params; /* For help: "[-f] device" */
    const char *help;
    void (*run)(struct hmp_call *call);
};

struct hmp_config {
    const struct hmp_command *const
        *commands;                         /* Tables, ended by NULL; each ends with name NULL. */
    const struct hmp_command *const *info;     /* Of "info TOPIC". */
    const struct qmp_registry *registry;
    struct qmp_server *server;
    struct world *world;
};

struct hmp *hmp_new(const struct hmp_config *config);
void hmp_free(struct hmp *hmp); /* NULL is fine. */

/*
 * Runs one line. done(arg, text) is called once, from within or later; text (borrowed) has '\n' at the
 * ends of its lines.
 */
typedef void hmp_done_fn(void *arg, const char *text);
void hmp_run(struct hmp *hmp, const char *line, hmp_done_fn *done, void *arg);

/* The program ends: no prompt follows. */
bool hmp_is_ending(const struct hmp *hmp);

/* ---- For commands ---- */

void hmp_set_ending(struct hmp *hmp);

struct hmp_call {
    struct hmp *hmp;
    struct world *world;
    const struct hmp_command *command;
    struct json *args; /* Owned; the members that were given. */
    struct str out;
    void *state; /* Of a command that goes on for long ... */
    void (*free_state)(void *state); /* ... freed when the call ends; or NULL. */
    /* Of hmp_qmp(). */
    void (*reply)(struct hmp_call *call, struct json *ret);
    hmp_done_fn *done;
    void *arg;
};

PRINTF(2, 3) void hmp_print(struct hmp_call *call, const char *fmt, ...);
/* Ends the call; it is gone then. */
void hmp_end(struct hmp_call *call);
/* The same after "Error: text"; err NULL is success. Takes err. */
void hmp_end_err(struct hmp_call *call, struct err *err);

const char *hmp_word(const struct hmp_call *call, const char *name); /* NULL: not given. */
bool hmp_flag(const struct hmp_call *call, const char *name);

/*
 * Runs a QMP command; args is taken, NULL: none. On success reply(call, ret) goes on, where ret is
 * borrowed; NULL ends the call. An error ends it.
 */
void hmp_qmp(struct hmp_call *call, const char *command, struct json *args,
             void (*reply)(struct hmp_call *call, struct json *ret));

/* The arguments given, with their names: for commands that are a QMP command as they are. New. */
struct json *hmp_args(const struct hmp_call *call);

/* For help: calls fn for each command of the tables, then of info's. */
void hmp_for_each(const struct hmp_command *const *tables,
                  void (*fn)(void *arg, const struct hmp_command *command), void *arg);
const struct hmp_config *hmp_config(const struct hmp *hmp);

#endif
