/*
 * One request of a client, as its handler sees it.
 *
 * A handler gets the call and its decoded arguments. It replies exactly once, now or later, on the
 * main reactor (a handler of a command with allow-oob: on the thread it was called on, now). The
 * arguments stay valid until the reply. After the reply the call is gone. When the client is gone
 * the reply goes nowhere; the handler does not notice.
 *
 * While a call waits for its reply, its monitor starts no other in-band command; other monitors do.
 */
#ifndef EMU_QMP_CALL_H
#define EMU_QMP_CALL_H

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/json.h"

struct qmp_session;
struct qmp_server;
struct world;

struct qmp_call {
    struct world *world; /* borrowed: the roots of the program (emu/qmp/handlers/world.h). */
    void *args;          /* owned: what the handler was given, for those that reply later. */
    /* ---- The fields below belong to dispatch.c. ---- */
    struct qmp_server *server;
    struct qmp_session *session; /* NULL when executed out of band. */
    const struct qmp_command *command;
    struct json *id; /* owned, or NULL */
    void (*deliver)(struct qmp_call *call, struct json *reply);
    void *deliver_arg;
    bool *answered; /* Set by the reply while qmp_dispatch() runs; NULL later. */
};

/* Replies with an empty object, or with the error when there is one. Takes err. */
void qmp_reply(struct qmp_call *call, struct err *err);

/* Replies with a value; the generated qmp_reply_<command>() call this. Takes ret. */
void qmp_reply_json(struct qmp_call *call, struct json *ret);

#endif
