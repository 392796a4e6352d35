/*
 * The monitor thread: reads, parses and writes for the sessions that enabled oob, and executes what
 * they send with exec-oob, while the main reactor may be busy.
 *
 * struct qmp_remote is the part of a session that lives there. All functions are called on the main
 * reactor; the two sides talk by posts only.
 */
#ifndef EMU_QMP_OOB_H
#define EMU_QMP_OOB_H

#include <stdbool.h>
#include <stddef.h>

#include "emu/base/attrs.h"
#include "emu/base/str.h"
#include "emu/chardev/channel.h"
#include "emu/reactor/reactor.h"

struct qmp_env;
struct qmp_oob;
struct qmp_remote;
struct qmp_session;

/* Starts no thread yet. */
struct qmp_oob *qmp_oob_new(struct reactor *main);

/* Stops the thread; all remotes must be gone. NULL is fine. */
void qmp_oob_free(struct qmp_oob *oob);

/* Remotes not yet gone. When the last one is, gone(arg) is called. */
unsigned qmp_oob_remotes(const struct qmp_oob *oob);
void qmp_oob_on_empty(struct qmp_oob *oob, void (*empty)(void *arg), void *arg);

/* Starts the thread unless it runs. False, after a warning, when it cannot be had. */
MUST_USE bool qmp_oob_start(struct qmp_oob *oob);

/* Moves the connection to the monitor thread, which runs. Takes what parts owns. */
MUST_USE struct qmp_remote *qmp_remote_new(const struct qmp_env *env, struct qmp_session *session,
                                           bool pretty, struct channel_parts *parts);

/* Queues output; takes text's content. */
void qmp_remote_send(struct qmp_remote *r, struct str *text);
size_t qmp_remote_pending(const struct qmp_remote *r);

/* A message that came from there was taken out of the session's queue. */
void qmp_remote_dequeued(struct qmp_remote *r);

void qmp_remote_stop_input(struct qmp_remote *r);

/* The session is over. The remote goes by itself. */
void qmp_remote_close(struct qmp_remote *r);

#endif
