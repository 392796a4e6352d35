/*
 * Monitors: character devices whose clients speak QMP, one session at a time on each, or on which
 * people type commands.
 */
#ifndef EMU_QMP_MONITOR_H
#define EMU_QMP_MONITOR_H

#include <stdbool.h>

#include "emu/base/attrs.h"
#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/chardev/chardev.h"
#include "emu/qmp/schema/qapi_control.h" // Generated.
#include "emu/qmp/session.h"

struct qmp_server;

struct monitor {
    struct list link; /* In the server. */
    struct qmp_server *server;
    struct chardev *chr; /* borrowed, claimed */
    struct chardev_frontend frontend;
    bool pretty;
    struct qmp_session *session; /* owned; NULL: no client, or its channel is gone */
    struct readline *readline;   /* owned; of a monitor for people, which has no session */
};

/* Puts a monitor on chr, which lives as long as the server. Fails when chr is in use. */
MUST_USE struct err *monitor_add(struct qmp_server *server, struct chardev *chr, bool pretty);

/* The same for people; the server needs a struct hmp: "Only QMP is supported" otherwise. */
MUST_USE struct err *monitor_add_readline(struct qmp_server *server, struct chardev *chr);

/*
 * The options of a --monitor or -mon: "[chardev=]ID,mode=control,pretty=on", or JSON. Without
 * readline support in the program, mode=readline is an error. *out is new.
 */
MUST_USE struct err *monitor_parse(const char *text, struct qapi_monitor_options **out);

/* Finds the chardev of the options and adds the monitor. */
MUST_USE struct err *monitor_add_from_opts(struct qmp_server *server, struct chardevs *chardevs,
                                           const struct qapi_monitor_options *opts);

/* ---- For server.c ---- */

/* Ends the session, if there is one, and the monitor. */
void monitor_free(struct monitor *m);
/* Bytes not yet written. */
size_t monitor_pending(const struct monitor *m);
void monitor_stop_input(struct monitor *m);
/* The server's hold has begun or ended. */
void monitor_held(struct monitor *m, bool held);

#endif
