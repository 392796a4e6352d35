#ifndef EMU_CMD_COMMON_FRONT_END_H
#define EMU_CMD_COMMON_FRONT_END_H

/*
 * What the programs with monitors share: the roots (graph, jobs, exports, character devices, QMP
 * server), the options that make things in them, and their end in order.
 *
 *     front_end_init(&fe, &(struct front_end_config){ .argv0 = argv[0], .sets = command_sets });
 *     TRY(front_end_option(&fe, "blockdev", text));  ... once for each option
 *     front_end_run(&fe);                            until quit or a signal
 *     front_end_fini(&fe);
 *
 * The order of the end is what clients see: exports go, jobs are cancelled, the reply to quit is
 * written, then monitors and nodes are closed. Each step has a time limit of its own below it, so a
 * frozen peer cannot keep the process.
 */

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/base/vec.h"
#include "emu/jobs/job.h"
#include "emu/qmp/handlers/events.h"
#include "emu/qmp/handlers/export.h"
#include "emu/qmp/handlers/storage_events.h"
#include "emu/qmp/handlers/world.h"
#include "emu/qmp/schema/qapi.h"
#include "emu/qmp/spec.h"

struct chardev;
struct hmp_config;
struct qapi_chardev_add_args;

/* Who asked for the end and waits for it to begin. */
struct quitter {
    void (*done)(void *arg);
    void *arg;
};

struct front_end_config {
    const char *argv0;
    const struct qmp_command_set *const *sets; /* Ended by NULL. */
    const struct hmp_config *hmp;              /* Commands for people, or NULL. */
    /* The end begins: clients are told. May be NULL. */
    void (*ending)(void *program);
    /* Jobs and monitors are gone: what the program has plugged into nodes lets go. May be NULL. */
    void (*release)(void *program);
    /* A signal that asks for the end. NULL: quit. */
    void (*signalled)(void *program, int signo);
    void *program; /* For the three above. */
};

struct front_end {
    struct front_end_config config;
    const char *name; /* Last part of argv[0]: the prefix of messages. */
    struct reactor *reactor;
    struct jobs jobs;
    struct objects *objects; /* Of --object and object-add; also graph_objects(). */
    struct job_events job_events;
    struct export_events export_events;
    struct storage_events storage_events;
    struct world world;
    VEC(struct quitter) quitters;
    bool quitting;
    bool ended; /* All is closed: the loop may end. */
};

/* Creates the roots; exits with a message when the reactor cannot be had. */
void front_end_init(struct front_end *fe, const struct front_end_config *config);

/* Lets SIGTERM, SIGINT and SIGHUP ask for the end; before other threads exist. */
struct err *front_end_on_signals(struct front_end *fe) MUST_USE;

/* Ends the exports when the start failed: what was mounted must not outlive the process. */
void front_end_abandon(struct front_end *fe);
/* Runs the loop until all has ended. */
void front_end_run(struct front_end *fe);

/* Frees the roots. */
void front_end_fini(struct front_end *fe);

/* ---- Options ---- */

/*
 * Carries out an option that makes something, waiting for it: blockdev, chardev, export, monitor,
 * nbd-server. The error has no prefix.
 */
struct err *front_end_option(struct front_end *fe, const char *name, const char *value) MUST_USE;

/* Makes a chardev from its decoded options, waiting until it is ready. */
struct err *front_end_add_chardev(struct front_end *fe, const struct qapi_chardev_add_args *args,
                                  struct chardev **out) MUST_USE;

/* key=value text or JSON as an object (new); *mode tells how to decode it. */
struct err *front_end_parse(const char *text, const char *implied_key, struct json **out,
                            enum qapi_input *mode) MUST_USE;

#endif
