#ifndef EMU_CMD_COMMON_BACKGROUND_H
#define EMU_CMD_COMMON_BACKGROUND_H

/*
 * --daemonize and --pidfile: a program whose parent exits once startup is complete, and the file
 * that holds its process ID until it ends. Zeroed memory with ready_fd -1 is a program in the
 * foreground without a pidfile.
 */

#include <limits.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"

struct background {
    int ready_fd;              /* Where the parent waits; -1: nobody does. */
    char pidfile[PATH_MAX];    /* Absolute; "": none. */
};

/*
 * Forks; the parent waits for the child's word and exits with its status, 1 if the child ends
 * without one. Returns in the child. Call before threads exist and before a reactor is made.
 */
void background_fork(struct background *bg, const char *program);

/* Writes the process ID to path. A daemon leaves the folder the name may be relative to, so it is kept
 * absolute. */
struct err *background_write_pidfile(struct background *bg, const char *path) MUST_USE;

/* Startup is complete: the parent may exit. A daemon gives its terminal up. */
void background_ready(struct background *bg);

/* The process ends: the pidfile goes. */
void background_end(struct background *bg);

#endif
