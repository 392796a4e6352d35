#ifndef EMU_CMD_CTL_JOBS_H
#define EMU_CMD_CTL_JOBS_H

/* `emuctl SOCK jobs [--watch]`: the jobs of a server, with progress, rate and time to go. */

#include "emu/cmd/ctl/client.h"

/* Prints the jobs once. */
struct err *jobs_print(struct client *client) MUST_USE;
/*
 * Follows them until none is left that still works: all gone, concluded or (mirrors) ready. On a
 * terminal bars are redrawn in place; otherwise a line is printed for each change of status and
 * about one a second of progress. *failed tells whether a job ended with an error.
 */
struct err *jobs_watch(struct client *client, bool *failed) MUST_USE;

#endif
