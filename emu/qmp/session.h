/*
 * One client's conversation: greeting, negotiation, requests in order, replies, events.
 *
 * Requests of a session are done one at a time, in order; those of different sessions take turns.
 * Without the capability oob the next request is not even read before the reply; with it, up to
 * QMP_QUEUE_MAX requests wait behind the running one, and requests with exec-oob overtake them all.
 *
 * A session lives on the main reactor. So do its bytes, until the client enables oob: then its
 * channel moves to the monitor thread (oob.h), which can do exec-oob while the main reactor is busy.
 *
 * A client may end its input and still read: what it sent is done and answered before the session
 * goes. It lingers by itself then, so that the next client need not wait for it.
 *
 * Output is bounded: a client that does not read gets no further requests done beyond
 * QMP_OUTPUT_HIGH of pending output, and loses events beyond QMP_OUTPUT_MAX.
 */
#ifndef EMU_QMP_SESSION_H
#define EMU_QMP_SESSION_H

#include <stdbool.h>

#include "emu/base/err.h"
#include "emu/base/list.h"
#include "emu/chardev/channel.h"
#include "emu/qmp/events.h"
#include "emu/qmp/oob.h"
#include "emu/qmp/registry.h"
#include "emu/reactor/reactor.h"

struct qmp_server;
struct qmp_session;
struct world;

#define QMP_QUEUE_MAX 8
#define QMP_FDS_MAX 16
#define QMP_OUTPUT_HIGH (UINT64_C(1) << 16)
#define QMP_OUTPUT_MAX (UINT64_C(8) << 20)

/* What all sessions of a program share; borrowed by them. */
struct qmp_env {
    struct reactor *reactor;
    const struct qmp_registry *registry;
    struct qmp_events *events;
    struct qmp_oob *oob;
    struct list *lingering;    /* Sessions without an owner. */
    struct qmp_server *server; /* For handlers; opaque here. */
    struct world *world;       /* For handlers; opaque here. */
    const char *package;       /* Name and version, in the greeting. */
    bool held;                 /* Clients are greeted and not yet served. */
};

/*
 * Begins a session with the peer of ch (taken). pretty: replies over several lines. ended(arg) is
 * called once from the loop when the client will send nothing more; the session is then its own
 * master, and the owner forgets it.
 */
struct qmp_session *qmp_session_new(const struct qmp_env *env, struct channel *ch, bool pretty,
                                    void (*ended)(void *arg), void *arg);

/* Ends a session that has not ended, at once. Requests that wait are dropped; the reply of a running
 * one will be. NULL is fine. */
void qmp_session_close(struct qmp_session *s);

/* Ends all lingering sessions at once. */
void qmp_sessions_close_lingering(const struct qmp_env *env);
/* Bytes of theirs not yet written. */
size_t qmp_sessions_lingering_pending(const struct qmp_env *env);

/* env->held changed. */
void qmp_session_held(struct qmp_session *s);

/* Takes no more input: what runs may still reply. */
void qmp_session_stop_input(struct qmp_session *s);
/* Bytes not yet written. */
size_t qmp_session_pending(const struct qmp_session *s);

/* For the handler of qmp_capabilities: ends the negotiation. */
MUST_USE struct err *qmp_session_negotiate(struct qmp_session *s, bool oob);

/*
 * The oldest descriptor that the client has sent (SCM_RIGHTS) up to now and nobody took; -1: there is none. The
 * caller owns it. Of those that nobody takes the session keeps QMP_FDS_MAX and closes the others.
 */
int qmp_session_take_fd(struct qmp_session *s);

/* ---- For oob.c: what arrives from the monitor thread, on the main reactor. ---- */

/* Descriptors that came before the next message. Takes them. */
void qmp_session_fds(struct qmp_session *s, const int *fds, unsigned count);
/* Takes value or err. */
void qmp_session_message(struct qmp_session *s, struct json *value, struct err *err);
/* Nothing more will come; broken: nor can anything be sent. */
void qmp_session_peer_ended(struct qmp_session *s, bool broken);
/* Output was written. */
void qmp_session_sent(struct qmp_session *s);

#endif
