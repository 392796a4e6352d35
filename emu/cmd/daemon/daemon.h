#ifndef EMU_CMD_DAEMON_DAEMON_H
#define EMU_CMD_DAEMON_DAEMON_H

/*
 * emu-storage-daemon: block nodes, jobs and exports without a machine.
 *
 * main.c has the command line and the life of the process, options.c carries each option out, shutdown.c
 * ends it all in order.
 */

#include <limits.h>
#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/vec.h"
#include "emu/cmd/common/loop.h"
#include "emu/jobs/job.h"
#include "emu/qmp/handlers/events.h"
#include "emu/qmp/handlers/export.h"
#include "emu/qmp/handlers/nbd.h"
#include "emu/qmp/handlers/world.h"

/* Who asked for the end and waits for it to begin. */
struct quitter {
    void (*done)(void *arg);
    void *arg;
};

struct daemon {
    struct reactor *reactor;
    struct jobs jobs;
    struct job_events job_events;
    struct export_events export_events;
    struct world world;
    const char *program;
    const char *pidfile; /* NULL: none. */
    char pidfile_path[PATH_MAX]; /* The same, absolute, once it is written. */
    bool daemonize;
    int ready_fd; /* Of --daemonize: where the parent waits; -1: nobody does. */
    VEC(struct quitter) quitters;
    bool quitting;
    bool ended; /* All is closed: the loop may end. */
};

/* Creates the roots; exits with a message when the reactor cannot be had. */
void daemon_init(struct daemon *d, const char *argv0);

/* Carries out one option that makes something, waiting for it. The error starts with "--NAME VALUE: ". */
struct err *daemon_option(struct daemon *d, const char *name, const char *value) MUST_USE;

/* The end: world->quit. May be asked for several times. */
void daemon_quit(struct world *world, void (*done)(void *arg), void *arg);
/* Frees the roots after d->ended. */
void daemon_fini(struct daemon *d);

#endif
