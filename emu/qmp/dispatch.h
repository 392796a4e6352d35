/*
 * One request: is it one, which command does it name, are its arguments right, and then its
 * handler.
 */
#ifndef EMU_QMP_DISPATCH_H
#define EMU_QMP_DISPATCH_H

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/json.h"
#include "emu/qmp/call.h"
#include "emu/qmp/registry.h"

/* How a request is to be seen. */
enum qmp_dispatch_mode {
    QMP_NEGOTIATING, /* Only qmp_capabilities. */
    QMP_IN_BAND,     /* Negotiated, without the capability oob. */
    QMP_WITH_OOB,    /* Negotiated with it; the request may have exec-oob. */
};

/* Where a request comes from and where its reply goes. */
struct qmp_dispatch {
    const struct qmp_registry *registry;
    struct qmp_server *server;
    struct world *world;
    struct qmp_session *session; /* NULL out of band. */
    enum qmp_dispatch_mode mode;
    /* Takes the reply. Called once, from within qmp_dispatch() or later; the call is freed after
     * it. */
    void (*deliver)(struct qmp_call *call, struct json *reply);
    void *deliver_arg;
};

/* Whether a message asks to be executed out of band: exec-oob is there and execute is not. */
bool qmp_wants_oob(const struct json *message);

/*
 * Does one message: takes value, or err when the message was not JSON. Returns the call when its
 * reply is still to come, else NULL.
 */
struct qmp_call *qmp_dispatch(const struct qmp_dispatch *d, struct json *value, struct err *err);

/* The client of an unanswered call is gone: its reply will be dropped. */
void qmp_call_abandon(struct qmp_call *call);

#endif
